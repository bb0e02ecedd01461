-- Functions that everything recorded goes through. None may be called but by the functions of the owner.

-- u32 BE length before the bytes; NULL is a length that no field has.
CREATE FUNCTION pii_vault.audit_part(field bytea) RETURNS bytea
LANGUAGE sql IMMUTABLE
SET search_path = pii_vault, pg_temp
AS $$ SELECT coalesce(int4send(octet_length(field)) || field, int4send(-1)) $$;

CREATE FUNCTION pii_vault.audit_part(field text) RETURNS bytea
LANGUAGE sql IMMUTABLE
SET search_path = pii_vault, pg_temp
AS $$ SELECT pii_vault.audit_part(convert_to(field, 'UTF8')) $$;

-- Microseconds since the Unix epoch: exactly, where extract() goes through a float on some versions.
CREATE FUNCTION pii_vault.unix_microseconds(at timestamptz) RETURNS bigint
LANGUAGE sql IMMUTABLE
SET search_path = pii_vault, pg_temp
AS $$ SELECT ('x' || encode(timestamptz_send(at), 'hex'))::bit(64)::bigint + 946684800000000 $$;

-- Never over text renderings: a session's settings change those.
CREATE FUNCTION pii_vault.audit_hash(vault uuid, before bytea, entry pii_vault.audit_log) RETURNS bytea
LANGUAGE sql STABLE
SET search_path = pii_vault, pg_temp
AS $$
    SELECT sha256(
        pii_vault.audit_part('pii-vault/v1/audit') || pii_vault.audit_part(vault.uuid_bytes)
        || pii_vault.audit_part(before)
        || pii_vault.audit_part(int8send(entry.seq)) || pii_vault.audit_part(int8send(pii_vault.unix_microseconds(entry.at)))
        || pii_vault.audit_part(entry.action::text) || pii_vault.audit_part(entry.actor) || pii_vault.audit_part(entry.role)
        || pii_vault.audit_part(entry.client_address) || pii_vault.audit_part(entry.claimed_host)
        || pii_vault.audit_part(entry.claimed_version) || pii_vault.audit_part(entry.decision::text)
        || pii_vault.audit_part(entry.refusal::text) || pii_vault.audit_part(entry.reason)
        || pii_vault.audit_part(entry.case_id) || pii_vault.audit_part(uuid_send(entry.subject))
        || pii_vault.audit_part(entry.details::text)
    )
    FROM (SELECT uuid_send(audit_hash.vault) AS uuid_bytes) AS vault
$$;

CREATE FUNCTION pii_vault.audit_origin() RETURNS pii_vault.audit_origin
LANGUAGE sql STABLE
SET search_path = pii_vault, pg_temp
AS $$
    SELECT ROW(
        session_user::text, current_setting('role'), host(inet_client_addr()),
        nullif(left(current_setting('pii_vault.host', true), 255), ''),
        nullif(left(current_setting('pii_vault.version', true), 255), '')
    )::pii_vault.audit_origin
$$;

-- Under the lock on the head, which the caller holds. What is planned here holds what is decided and what others wrote
-- in their revocations, and a session can ask to be told of plans (here and in what begins a record).
CREATE FUNCTION pii_vault.audit_append(
    at timestamptz, origin pii_vault.audit_origin, action pii_vault.audit_action, subject uuid,
    decision pii_vault.audit_decision, refusal pii_vault.access_refusal, reason text, case_id text, details json
)
RETURNS bigint
LANGUAGE plpgsql
SET search_path = pii_vault, pg_temp
SET client_min_messages = 'error'
SET debug_print_plan = off
AS $$
DECLARE
    head pii_vault.audit_head;
    entry pii_vault.audit_log;
BEGIN
    SELECT h.* INTO STRICT head FROM pii_vault.audit_head AS h FOR UPDATE;
    entry.seq := head.seq + 1;
    entry.at := audit_append.at;
    entry.action := audit_append.action;
    entry.actor := (audit_append.origin).actor;
    entry.role := (audit_append.origin).role;
    entry.client_address := (audit_append.origin).client_address;
    entry.claimed_host := (audit_append.origin).claimed_host;
    entry.claimed_version := (audit_append.origin).claimed_version;
    entry.decision := audit_append.decision;
    entry.refusal := audit_append.refusal;
    entry.reason := audit_append.reason;
    entry.case_id := audit_append.case_id;
    entry.subject := audit_append.subject;
    entry.details := audit_append.details;
    entry.hash := pii_vault.audit_hash((SELECT v.id FROM pii_vault.vault AS v), head.hash, entry);
    INSERT INTO pii_vault.audit_log SELECT entry.*;
    UPDATE pii_vault.audit_head AS h SET seq = entry.seq, hash = entry.hash;
    -- Wakes the notary once this is committed. Says nothing, as any login may listen.
    PERFORM pg_notify('pii_vault_audit', '');
    RETURN entry.seq;
END
$$;

REVOKE EXECUTE ON FUNCTION
    pii_vault.audit_part(bytea), pii_vault.audit_part(text), pii_vault.unix_microseconds, pii_vault.audit_hash,
    pii_vault.audit_origin, pii_vault.audit_append
    FROM PUBLIC;
