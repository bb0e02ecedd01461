-- The roles that commands take on with SET ROLE. None can log in: the administrator grants them to logins.
-- Roles belong to the whole cluster, so another vault in it may have made them already, or be making them right now.
SET LOCAL ROLE NONE;

DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY[
        'pii_vault_ingest',    -- etl run: inserts events and dead letters, reads wrapped token keys
        'pii_vault_analyst',   -- reads the view user_logins
        'pii_vault_unmask',    -- unmask and access request, through functions only
        'pii_vault_lookup',    -- lookup, through functions only
        'pii_vault_approver',  -- access approve and deny
        'pii_vault_auditor',   -- audit
        'pii_vault_notary',    -- audit notary
        'pii_vault_rewrap',    -- key-rotation kek
        'pii_vault_reseal',    -- key-rotation data-key
        'pii_vault_redrive'    -- etl dead-letters
    ] LOOP
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END LOOP;
END
$$;

-- Whoever lacks INHERIT has no right here but through the owner.
SET LOCAL ROLE pii_vault_owner;
