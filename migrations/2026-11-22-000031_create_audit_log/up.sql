CREATE TYPE pii_vault.audit_action AS ENUM (
    'init', 'policy',
    'access_request', 'access_approval', 'access_denial', 'access_revocation',
    'unmask', 'unmask_dry_run', 'unmask_page',
    'lookup', 'lookup_tokens',
    'redrive', 'redrive_page'
);
COMMENT ON TYPE pii_vault.audit_action IS
    'init: the schema was made or brought up to date; policy: what may be opened was set; '
    'access_request, access_approval, access_denial, access_revocation: of a grant; '
    'unmask: a receipt, or its refusal; unmask_dry_run: what one would hold; unmask_page: what became of its rows; '
    'lookup: that values are to be turned into tokens; lookup_tokens: into which; '
    'redrive: that dead letters are to be opened; redrive_page: what became of them';

CREATE TYPE pii_vault.audit_decision AS ENUM ('allowed', 'refused');
COMMENT ON TYPE pii_vault.audit_decision IS 'What was decided about what was asked for';

CREATE TYPE pii_vault.access_refusal AS ENUM (
    'malformed', 'no_policy', 'case_form',
    'no_selector', 'too_many_rows', 'too_many_values', 'too_long',
    'unknown_request', 'own_request', 'not_yours', 'already_decided', 'already_granted',
    'unknown_grant', 'not_approved', 'denied', 'revoked', 'expired', 'other_case', 'other_fields', 'used_up', 'alone_limit',
    'stale', 'not_armed', 'not_durable', 'no_checkpoint'
);
COMMENT ON TYPE pii_vault.access_refusal IS
    'malformed: an argument is missing, empty, too long or of no use; no_policy: none is set, so nothing opens; '
    'case_form: the case id is not as policy has it; no_selector: nothing says which rows; '
    'too_many_rows: more than a receipt holds; too_many_values: more than can be asked for; '
    'too_long: longer than policy lets a grant last; unknown_request: there is none of this id; '
    'own_request: nobody decides on what she asked for; not_yours: another asked for it; '
    'already_decided: by this person, or denied or revoked; already_granted: revoke it instead; '
    'unknown_grant: none of this id and officer; not_approved: still waits; denied, revoked, expired: the grant is; '
    'other_case, other_fields: the grant is for others; used_up: the grant has not as many values left; '
    'alone_limit: more than an officer may open alone in 24 hours; stale: the receipt is older than 10 minutes; '
    'not_armed: it was not armed in a committed transaction; not_durable: its record is not known to be on disk; '
    'no_checkpoint: no checkpoint covers it, and policy asks for one';

-- Who acts. What a client says of itself (host, version) is its claim and no more.
CREATE TYPE pii_vault.audit_origin AS (
    actor text,
    role text,
    client_address text,
    claimed_host text,
    claimed_version text
);

CREATE TABLE pii_vault.audit_log (
    seq bigint PRIMARY KEY CHECK (seq > 0),
    at timestamptz NOT NULL,
    action pii_vault.audit_action NOT NULL,
    actor text NOT NULL,
    role text NOT NULL,
    client_address text,
    claimed_host text,
    claimed_version text,
    decision pii_vault.audit_decision,
    refusal pii_vault.access_refusal,
    reason text,
    case_id text,
    subject uuid,
    details json NOT NULL,
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    CONSTRAINT refusal_has_its_reason CHECK ((decision IS NOT DISTINCT FROM 'refused') = (refusal IS NOT NULL))
);
COMMENT ON TABLE pii_vault.audit_log IS
    'Who did what, when and why. Each row holds the hash over the row before and its own fields (keys/FORMAT.md)';
COMMENT ON COLUMN pii_vault.audit_log.seq IS 'Without gaps from 1';
COMMENT ON COLUMN pii_vault.audit_log.actor IS 'The login (session_user), whatever role it had taken on';
COMMENT ON COLUMN pii_vault.audit_log.role IS 'The role it had taken on, or none';
COMMENT ON COLUMN pii_vault.audit_log.client_address IS 'As PostgreSQL saw it; NULL over a socket of the same host';
COMMENT ON COLUMN pii_vault.audit_log.claimed_host IS 'As the client says';
COMMENT ON COLUMN pii_vault.audit_log.claimed_version IS 'As the client says';
COMMENT ON COLUMN pii_vault.audit_log.subject IS 'The request, receipt or job';
COMMENT ON COLUMN pii_vault.audit_log.details IS 'JSON, kept byte for byte as it was hashed; members by action in keys/FORMAT.md';
CREATE INDEX audit_log_subject ON pii_vault.audit_log (subject);
CREATE INDEX audit_log_case ON pii_vault.audit_log (case_id);

CREATE TABLE pii_vault.audit_head (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    seq bigint NOT NULL,
    hash bytea NOT NULL CHECK (octet_length(hash) = 32)
) WITH (fillfactor = 10);
COMMENT ON TABLE pii_vault.audit_head IS
    'The last row of the log. Who appends locks it, so that there is one chain, and quotas are counted by one at a time';
INSERT INTO pii_vault.audit_head (seq, hash) VALUES (0, decode(repeat('00', 32), 'hex'));

CREATE TABLE pii_vault.audit_turn ();
COMMENT ON TABLE pii_vault.audit_turn IS 'Always empty. Who appends to the log locks it first: a queue that is served in order';

CREATE FUNCTION pii_vault.refuse_change() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pii_vault, pg_temp
AS $$
BEGIN
    RAISE 'the audit log is only ever added to' USING ERRCODE = 'insufficient_privilege';
END
$$;
REVOKE EXECUTE ON FUNCTION pii_vault.refuse_change FROM PUBLIC;

CREATE TRIGGER no_row_is_changed BEFORE UPDATE OR DELETE ON pii_vault.audit_log
    FOR EACH ROW EXECUTE FUNCTION pii_vault.refuse_change();
CREATE TRIGGER nothing_is_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON pii_vault.audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION pii_vault.refuse_change();
CREATE TRIGGER head_stays BEFORE DELETE OR TRUNCATE ON pii_vault.audit_head
    FOR EACH STATEMENT EXECUTE FUNCTION pii_vault.refuse_change();
-- Also where session_replication_role is replica.
ALTER TABLE pii_vault.audit_log
    ENABLE ALWAYS TRIGGER no_row_is_changed, ENABLE ALWAYS TRIGGER nothing_is_changed;
ALTER TABLE pii_vault.audit_head ENABLE ALWAYS TRIGGER head_stays;

GRANT USAGE ON SCHEMA pii_vault TO pii_vault_unmask, pii_vault_lookup, pii_vault_approver;
GRANT SELECT ON pii_vault.vault, pii_vault.audit_log, pii_vault.audit_head TO pii_vault_auditor;
