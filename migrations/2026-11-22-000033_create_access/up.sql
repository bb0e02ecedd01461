CREATE TYPE pii_vault.sealed_field AS ENUM ('ip', 'device_id');
COMMENT ON TYPE pii_vault.sealed_field IS 'A field of an event that is stored sealed';

CREATE TYPE pii_vault.checkpoint_policy AS ENUM ('required', 'scheduled');
COMMENT ON TYPE pii_vault.checkpoint_policy IS
    'required: nothing is handed out before a signed checkpoint covers its receipt; '
    'scheduled: checkpoints come when they come, and what lies between the last one and a read is not signed yet';

CREATE TABLE pii_vault.access_policy (
    seq bigint PRIMARY KEY,
    alone_limit integer NOT NULL CHECK (alone_limit BETWEEN 0 AND 1000000),
    -- None would mean open.
    approvals integer NOT NULL CHECK (approvals BETWEEN 1 AND 10),
    longest_grant_seconds integer NOT NULL CHECK (longest_grant_seconds BETWEEN 60 AND 2592000),
    case_pattern text NOT NULL CHECK (char_length(case_pattern) BETWEEN 1 AND 200),
    checkpoints pii_vault.checkpoint_policy NOT NULL
);
COMMENT ON TABLE pii_vault.access_policy IS 'What may be opened; the last row counts. Without a row nothing opens';
COMMENT ON COLUMN pii_vault.access_policy.seq IS 'Of the audit log';
COMMENT ON COLUMN pii_vault.access_policy.alone_limit IS 'Values that an officer may open in 24 hours without a grant';
COMMENT ON COLUMN pii_vault.access_policy.approvals IS 'Of how many others a grant needs';
COMMENT ON COLUMN pii_vault.access_policy.case_pattern IS 'What the whole of a case id must match';

CREATE TABLE pii_vault.access_requests (
    id uuid PRIMARY KEY,
    requested_at timestamptz NOT NULL,
    requester text NOT NULL,
    fields pii_vault.sealed_field[] NOT NULL CHECK (cardinality(fields) BETWEEN 1 AND 2),
    reason text NOT NULL,
    case_id text NOT NULL,
    max_values integer NOT NULL CHECK (max_values BETWEEN 1 AND 1000000),
    duration_seconds integer NOT NULL CHECK (duration_seconds BETWEEN 60 AND 2592000),
    approvals_needed integer NOT NULL CHECK (approvals_needed > 0),
    UNIQUE (id, requester)
);
COMMENT ON TABLE pii_vault.access_requests IS 'Grants that were asked for. What became of one is in access_grants';
COMMENT ON COLUMN pii_vault.access_requests.duration_seconds IS 'How long it lasts from its last approval';

CREATE TYPE pii_vault.access_verdict AS ENUM ('approved', 'denied');
COMMENT ON TYPE pii_vault.access_verdict IS 'What an approver said to a request';

CREATE TABLE pii_vault.access_decisions (
    request uuid NOT NULL,
    requester text NOT NULL,
    decided_by text NOT NULL,
    decided_at timestamptz NOT NULL,
    verdict pii_vault.access_verdict NOT NULL,
    PRIMARY KEY (request, decided_by),
    FOREIGN KEY (request, requester) REFERENCES pii_vault.access_requests (id, requester),
    CONSTRAINT nobody_decides_on_her_own_request CHECK (decided_by <> requester)
);
COMMENT ON TABLE pii_vault.access_decisions IS 'Who approved or denied which request';

-- No foreign key and nothing to wait for: a revocation is in force once it is committed, whoever holds up the log.
CREATE TABLE pii_vault.access_revocations (
    id uuid PRIMARY KEY,
    request uuid NOT NULL,
    revoked_at timestamptz NOT NULL,
    reason text,
    origin pii_vault.audit_origin NOT NULL,
    revoked_by text NOT NULL,
    seq bigint,
    UNIQUE (request, revoked_by)
);
COMMENT ON TABLE pii_vault.access_revocations IS 'Grants that were taken back, and requests that were withdrawn';
COMMENT ON COLUMN pii_vault.access_revocations.seq IS 'Of the audit log; NULL until the next who appends to it adds this';
CREATE INDEX access_revocations_to_chain ON pii_vault.access_revocations (revoked_at) WHERE seq IS NULL;

CREATE TYPE pii_vault.receipt_kind AS ENUM ('unmask', 'dry_run', 'lookup');
COMMENT ON TYPE pii_vault.receipt_kind IS
    'unmask: permits fetching the rows of its list; dry_run: permits nothing; lookup: permits fetching token keys';

CREATE TABLE pii_vault.receipts (
    id uuid PRIMARY KEY,
    kind pii_vault.receipt_kind NOT NULL,
    seq bigint NOT NULL UNIQUE,
    recorded_at timestamptz NOT NULL,
    recorded_by xid8 NOT NULL DEFAULT pg_current_xact_id(),
    actor text NOT NULL,
    fields pii_vault.sealed_field[] NOT NULL,
    case_id text,
    grant_id uuid,
    decision pii_vault.audit_decision NOT NULL,
    refusal pii_vault.access_refusal,
    row_count integer NOT NULL,
    value_count integer NOT NULL,
    armed_at_lsn pg_lsn,
    armed_by xid8,
    settled_through integer NOT NULL DEFAULT 0,
    CONSTRAINT refusal_has_its_reason CHECK ((decision = 'refused') = (refusal IS NOT NULL)),
    CONSTRAINT armed_is_whole CHECK (num_nulls(armed_at_lsn, armed_by) IN (0, 2))
);
COMMENT ON TABLE pii_vault.receipts IS 'What was recorded before anything was handed out, and what it may still hand out';
COMMENT ON COLUMN pii_vault.receipts.recorded_by IS 'The transaction; rows are handed out once it is committed';
COMMENT ON COLUMN pii_vault.receipts.armed_at_lsn IS
    'A position in the write-ahead log after the record; rows are handed out once it is on disk';
COMMENT ON COLUMN pii_vault.receipts.grant_id IS 'The request whose grant is charged; NULL: what the officer may open alone';
COMMENT ON COLUMN pii_vault.receipts.settled_through IS 'The last row of the list that has an outcome';
CREATE INDEX receipts_grant ON pii_vault.receipts (grant_id);
CREATE INDEX receipts_actor ON pii_vault.receipts (actor, recorded_at);

CREATE TABLE pii_vault.receipt_rows (
    receipt uuid NOT NULL REFERENCES pii_vault.receipts,
    ordinal integer NOT NULL CHECK (ordinal > 0),
    create_date date NOT NULL,
    event_id uuid NOT NULL,
    PRIMARY KEY (receipt, ordinal)
);
COMMENT ON TABLE pii_vault.receipt_rows IS 'The exact list of a receipt; its hash is in the audit log';

CREATE TABLE pii_vault.checkpoints (
    seq bigint PRIMARY KEY CHECK (seq > 0),
    head_hash bytea NOT NULL CHECK (octet_length(head_hash) = 32),
    previous_hash bytea NOT NULL CHECK (octet_length(previous_hash) = 32),
    at timestamptz NOT NULL,
    signing_key text NOT NULL CHECK (signing_key <> ''),
    signature bytea NOT NULL CHECK (octet_length(signature) BETWEEN 8 AND 72)
);
COMMENT ON TABLE pii_vault.checkpoints IS 'Signed heads of the audit log';
COMMENT ON COLUMN pii_vault.checkpoints.previous_hash IS 'SHA-256 of the signed bytes of the checkpoint before; zeros in the first';

CREATE TYPE pii_vault.access_state AS ENUM ('pending', 'granted', 'expired', 'denied', 'revoked');
COMMENT ON TYPE pii_vault.access_state IS
    'pending: waits for approvals; granted: permits reading; expired: did so for its time; denied: by an approver; '
    'revoked: by an approver, or by who asked';

-- What became of each request, by the policy of today: what it tightens holds at once.
CREATE VIEW pii_vault.access_grants AS
SELECT r.id, r.requested_at, r.requester, r.fields, r.reason, r.case_id, r.max_values, r.duration_seconds,
    n.approvals_needed, d.approved_by, d.denied_by, v.revoked_by, g.granted_at, e.expires_at,
    (SELECT coalesce(sum(t.value_count), 0) FROM pii_vault.receipts AS t
     WHERE t.grant_id = r.id AND t.kind = 'unmask' AND t.decision = 'allowed') AS used,
    CASE
        WHEN cardinality(v.revoked_by) > 0 THEN 'revoked'
        WHEN cardinality(d.denied_by) > 0 THEN 'denied'
        WHEN g.granted_at IS NULL OR p.seq IS NULL THEN 'pending'
        WHEN e.expires_at <= clock_timestamp() THEN 'expired'
        ELSE 'granted'
    END::pii_vault.access_state AS state
FROM pii_vault.access_requests AS r
LEFT JOIN (SELECT * FROM pii_vault.access_policy ORDER BY seq DESC LIMIT 1) AS p ON true
CROSS JOIN LATERAL (SELECT greatest(r.approvals_needed, p.approvals) AS approvals_needed) AS n
CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(a.decided_by ORDER BY a.decided_at, a.decided_by) FILTER (WHERE a.verdict = 'approved'), '{}')
            AS approved_by,
        coalesce(array_agg(a.decided_at ORDER BY a.decided_at) FILTER (WHERE a.verdict = 'approved'), '{}') AS approved_at,
        coalesce(array_agg(a.decided_by ORDER BY a.decided_by) FILTER (WHERE a.verdict = 'denied'), '{}') AS denied_by
    FROM pii_vault.access_decisions AS a WHERE a.request = r.id AND a.decided_by <> r.requester
) AS d
CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(x.revoked_by ORDER BY x.revoked_by), '{}') AS revoked_by
    FROM pii_vault.access_revocations AS x WHERE x.request = r.id
) AS v
CROSS JOIN LATERAL (SELECT d.approved_at[n.approvals_needed] AS granted_at) AS g
CROSS JOIN LATERAL (
    SELECT g.granted_at + make_interval(secs => least(r.duration_seconds, p.longest_grant_seconds)) AS expires_at
) AS e;
COMMENT ON VIEW pii_vault.access_grants IS 'Requests with what became of them';

GRANT SELECT ON
    pii_vault.access_policy, pii_vault.access_requests, pii_vault.access_decisions, pii_vault.access_revocations,
    pii_vault.receipts, pii_vault.receipt_rows, pii_vault.checkpoints, pii_vault.access_grants
    TO pii_vault_auditor;
