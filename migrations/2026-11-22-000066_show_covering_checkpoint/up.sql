-- The checkpoint that covers a receipt, for its owner to verify: PostgreSQL cannot. One row always; seq is NULL where no
-- checkpoint covers it yet.
CREATE FUNCTION pii_vault.covering_checkpoint(receipt uuid)
RETURNS TABLE (
    required boolean, vault uuid, receipt_seq bigint, seq bigint, head_hash bytea, previous_hash bytea, at timestamptz,
    signing_key text, signature bytea
)
LANGUAGE plpgsql STRICT SECURITY DEFINER
SET search_path = pii_vault, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    own constant pii_vault.receipts := pii_vault.own_receipt(covering_checkpoint.receipt);
BEGIN
    RETURN QUERY
    SELECT coalesce(
            (SELECT p.checkpoints FROM pii_vault.access_policy AS p ORDER BY p.seq DESC LIMIT 1) <> 'scheduled', true
        ),
        v.id, own.seq, c.seq, c.head_hash, c.previous_hash, c.at, c.signing_key, c.signature
    FROM pii_vault.vault AS v
    LEFT JOIN (
        SELECT x.* FROM pii_vault.checkpoints AS x WHERE x.seq >= own.seq ORDER BY x.seq LIMIT 1
    ) AS c ON true;
END
$$;
COMMENT ON FUNCTION pii_vault.covering_checkpoint IS
    'The first checkpoint that covers a receipt of this login, and whether policy asks for one';
REVOKE EXECUTE ON FUNCTION pii_vault.covering_checkpoint FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pii_vault.covering_checkpoint TO pii_vault_unmask, pii_vault_lookup;
