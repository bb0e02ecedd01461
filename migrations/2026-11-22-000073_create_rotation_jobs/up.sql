-- Rotations of keys as durable jobs: record, arm, then claim a page and work on it, until nothing is left.

CREATE TYPE pii_vault.rotation_kind AS ENUM ('kek', 'data-key', 'token-key');
COMMENT ON TYPE pii_vault.rotation_kind IS
    'kek: wrapped keys are wrapped anew; data-key: values are sealed anew; token-key: values get tokens of a new key';

CREATE TYPE pii_vault.key_purpose AS ENUM ('data', 'token', 'dead-letter');
COMMENT ON TYPE pii_vault.key_purpose IS
    'data: seals values of events; token: keys tokens; dead-letter: seals dead letters. As in the encryption context';

CREATE TYPE pii_vault.rotation_step AS ENUM ('work', 'filled', 'cut_over', 'emptying', 'done', 'abandoned');
COMMENT ON TYPE pii_vault.rotation_step IS
    'work: keys are wrapped anew, rows sealed anew, or the other token slot is filled; '
    'filled: of a token key: nothing is left to fill; cut_over: of a token key: the view shows the new tokens; '
    'emptying: of a token key: the slot that is out of use is emptied; done: nothing is left; '
    'abandoned: not of a token key: somebody gave it up, and what was done stays done';

CREATE TYPE pii_vault.rotation_failure AS ENUM (
    'key_missing', 'key_does_not_unwrap', 'key_commitment',
    'too_short', 'unknown_version', 'step_above_maximum', 'not_authentic', 'malformed_plaintext', 'token_mismatch'
);
COMMENT ON TYPE pii_vault.rotation_failure IS
    'As open_failure; token_mismatch: it opens, and its old token is not the one of its value';

CREATE TABLE pii_vault.rotation_jobs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    kind pii_vault.rotation_kind NOT NULL,
    purpose pii_vault.key_purpose NOT NULL,
    seq bigint NOT NULL UNIQUE,
    recorded_at timestamptz NOT NULL,
    recorded_by xid8 NOT NULL DEFAULT pg_current_xact_id(),
    armed_at_lsn pg_lsn,
    armed_by xid8,
    actor text NOT NULL DEFAULT session_user,
    reason text NOT NULL CHECK (char_length(reason) BETWEEN 1 AND 1000 AND reason ~ '[^[:space:]]'),
    old_keys uuid[] NOT NULL DEFAULT '{}',
    new_key uuid,
    old_slot pii_vault.token_slot,
    target_kms_key text,
    wrapped_before timestamptz,
    step pii_vault.rotation_step NOT NULL DEFAULT 'work',
    paused boolean NOT NULL DEFAULT false,
    rolled_back boolean NOT NULL DEFAULT false,
    pass integer NOT NULL DEFAULT 1,
    cursor_day date,
    cursor_id uuid,
    total bigint NOT NULL CHECK (total >= 0),
    changed bigint NOT NULL DEFAULT 0,
    failed bigint NOT NULL DEFAULT 0,
    worked_at timestamptz,
    ended_at timestamptz,
    CONSTRAINT armed_is_whole CHECK (num_nulls(armed_at_lsn, armed_by) IN (0, 2)),
    CONSTRAINT cursor_is_whole CHECK (num_nulls(cursor_day, cursor_id) IN (0, 2)),
    CONSTRAINT kind_has_its_members CHECK (CASE kind
        WHEN 'kek' THEN target_kms_key IS NOT NULL AND step IN ('work', 'done', 'abandoned')
        WHEN 'data-key' THEN purpose = 'data' AND old_keys <> '{}' AND step IN ('work', 'done', 'abandoned')
        ELSE purpose = 'token' AND num_nulls(new_key, old_slot) = 0 AND cardinality(old_keys) = 1 AND step <> 'abandoned'
    END),
    CONSTRAINT end_is_whole CHECK ((step IN ('done', 'abandoned')) = (ended_at IS NOT NULL))
) WITH (fillfactor = 50);
CREATE UNIQUE INDEX rotation_jobs_one_unfinished ON pii_vault.rotation_jobs (kind, purpose) WHERE ended_at IS NULL;
COMMENT ON TABLE pii_vault.rotation_jobs IS 'Rotations of keys: what is to be done, and how far it is. One of a kind at a time';
COMMENT ON COLUMN pii_vault.rotation_jobs.seq IS 'The entry of the audit log that records it';
COMMENT ON COLUMN pii_vault.rotation_jobs.recorded_by IS 'The transaction; work begins once it is committed';
COMMENT ON COLUMN pii_vault.rotation_jobs.armed_at_lsn IS
    'A position in the write-ahead log after the record; rows are handed out once it is on disk';
COMMENT ON COLUMN pii_vault.rotation_jobs.old_keys IS
    'data-key: the keys to leave; token-key: the one key to leave; kek: the keys to wrap anew, where they were chosen, else none';
COMMENT ON COLUMN pii_vault.rotation_jobs.new_key IS 'token-key: the new key';
COMMENT ON COLUMN pii_vault.rotation_jobs.old_slot IS 'token-key: the slot of the old key';
COMMENT ON COLUMN pii_vault.rotation_jobs.target_kms_key IS 'kek: ARN of the KMS key to wrap under';
COMMENT ON COLUMN pii_vault.rotation_jobs.wrapped_before IS
    'kek: keys under the target that were wrapped before this are wrapped anew too; NULL: only those under other keys are';
COMMENT ON COLUMN pii_vault.rotation_jobs.rolled_back IS 'token-key: the old key stays, and the slot of the new one is emptied';
COMMENT ON COLUMN pii_vault.rotation_jobs.cursor_day IS
    'With cursor_id: up to where this pass has been handed out, by create_date and event id, or day of creation and key id';
COMMENT ON COLUMN pii_vault.rotation_jobs.pass IS 'What a runner that died had in hand is found by the next pass';
COMMENT ON COLUMN pii_vault.rotation_jobs.total IS 'Keys or rows when it was recorded';
COMMENT ON COLUMN pii_vault.rotation_jobs.changed IS 'Keys or rows that were changed';

CREATE TABLE pii_vault.rotation_scans (job uuid PRIMARY KEY REFERENCES pii_vault.rotation_jobs);
COMMENT ON TABLE pii_vault.rotation_scans IS 'Who looks for what is left of a job has its row locked: one at a time';

CREATE TABLE pii_vault.rotation_failures (
    job uuid NOT NULL REFERENCES pii_vault.rotation_jobs,
    day date NOT NULL,
    id uuid NOT NULL,
    key_id uuid NOT NULL,
    why pii_vault.rotation_failure NOT NULL,
    noted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (job, day, id)
);
COMMENT ON TABLE pii_vault.rotation_failures IS 'Rows (create_date, event id) or keys (day of creation, key id) that a job passes over';
COMMENT ON COLUMN pii_vault.rotation_failures.key_id IS 'The data key of the row, or the key';

CREATE TABLE pii_vault.rotation_runners (
    job uuid NOT NULL REFERENCES pii_vault.rotation_jobs,
    runner uuid NOT NULL,
    actor text NOT NULL DEFAULT session_user,
    began_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (job, runner)
) WITH (fillfactor = 50);
COMMENT ON TABLE pii_vault.rotation_runners IS 'Processes that work on a job. One that was killed stays until the job ends, and is not seen any more';

GRANT USAGE ON SCHEMA pii_vault TO pii_vault_rewrap, pii_vault_reseal;
GRANT SELECT ON pii_vault.vault TO pii_vault_rewrap, pii_vault_reseal;
GRANT SELECT ON pii_vault.token_keys TO pii_vault_reseal;
GRANT INSERT (id, wrapped_key, kms_key, commitment, max_step) ON pii_vault.data_keys TO pii_vault_reseal;
GRANT SELECT ON pii_vault.rotation_jobs, pii_vault.rotation_failures, pii_vault.rotation_runners
    TO pii_vault_rewrap, pii_vault_reseal, pii_vault_auditor;
