-- The checkpoint that covers a redrive job, for its owner to verify, as covering_checkpoint has it of a receipt. Without a
-- policy none is asked for, as redrive_refusal has it.
CREATE FUNCTION pii_vault.covering_redrive_checkpoint(job uuid)
RETURNS TABLE (
    required boolean, vault uuid, job_seq bigint, seq bigint, head_hash bytea, previous_hash bytea, at timestamptz,
    signing_key text, signature bytea
)
LANGUAGE plpgsql STRICT SECURITY DEFINER
SET search_path = pii_vault, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    own constant pii_vault.redrive_jobs := pii_vault.own_redrive_job(covering_redrive_checkpoint.job);
BEGIN
    RETURN QUERY
    SELECT coalesce(
            (SELECT p.checkpoints FROM pii_vault.access_policy AS p ORDER BY p.seq DESC LIMIT 1) = 'required', false
        ),
        v.id, own.seq, c.seq, c.head_hash, c.previous_hash, c.at, c.signing_key, c.signature
    FROM pii_vault.vault AS v
    LEFT JOIN (
        SELECT x.* FROM pii_vault.checkpoints AS x WHERE x.seq >= own.seq ORDER BY x.seq LIMIT 1
    ) AS c ON true;
END
$$;
COMMENT ON FUNCTION pii_vault.covering_redrive_checkpoint IS
    'The first checkpoint that covers a redrive job of this login, and whether policy asks for one';
REVOKE EXECUTE ON FUNCTION pii_vault.covering_redrive_checkpoint FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pii_vault.covering_redrive_checkpoint TO pii_vault_redrive;
