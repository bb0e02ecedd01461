//! What a superuser can do to a log, past its triggers.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::{STACK, World, connect};

impl World {
    /// What the triggers of the vault's refuse to everybody else. Returns the rows that the one statement changed.
    pub(crate) async fn past_triggers(&self, sql: &str) -> u64 {
        self.sql.batch_execute("SET session_replication_role = replica").await.expect("a superuser");
        let changed = self.sql.execute(sql, &[]).await.expect("what a superuser can");
        self.sql.batch_execute("RESET session_replication_role").await.expect("a superuser");
        changed
    }
}

/// What is put back after each tampering.
const TABLES: [&str; 13] = [
    "audit_log",
    "audit_head",
    "access_policy",
    "access_requests",
    "access_decisions",
    "access_revocations",
    "receipts",
    "receipt_rows",
    "checkpoints",
    "rotation_jobs",
    "rotation_handouts",
    "retired_kms_keys",
    "set_aside_events",
];

/// A superuser's session in which no trigger and no foreign key is in the way, and copies to start from again.
pub(crate) async fn lay_hands_on(world: &World) {
    let mut sql = "SET session_replication_role = replica;
        ALTER TABLE pii_vault.audit_log DISABLE TRIGGER ALL, DROP CONSTRAINT refusal_has_its_reason;
        ALTER TABLE pii_vault.audit_head DISABLE TRIGGER ALL;
        ALTER TABLE pii_vault.checkpoints DISABLE TRIGGER ALL;
        CREATE FUNCTION public.rechain() RETURNS void LANGUAGE plpgsql AS $$
        DECLARE before bytea := decode(repeat('00', 32), 'hex'); entry pii_vault.audit_log;
        BEGIN
            FOR entry IN SELECT * FROM pii_vault.audit_log ORDER BY seq LOOP
                before := pii_vault.audit_hash((SELECT id FROM pii_vault.vault), before, entry);
                UPDATE pii_vault.audit_log SET hash = before WHERE seq = entry.seq;
            END LOOP;
            UPDATE pii_vault.audit_head SET hash = before, seq = (SELECT max(seq) FROM pii_vault.audit_log);
        END $$;
        CREATE FUNCTION public.edit(number bigint, member text, value text) RETURNS void LANGUAGE sql AS $$
            UPDATE pii_vault.audit_log SET details = jsonb_set(details::jsonb, ARRAY[member], value::jsonb)::json
            WHERE seq = number
        $$;"
    .to_owned();
    for table in TABLES {
        sql += &format!("CREATE TABLE public.saved_{table} AS SELECT * FROM pii_vault.{table};");
    }
    world.sql.batch_execute(&sql).await.expect("what a superuser can");
}

pub(crate) async fn put_back(world: &World) {
    for table in TABLES {
        let sql =
            format!("DELETE FROM pii_vault.{table}; INSERT INTO pii_vault.{table} SELECT * FROM public.saved_{table}");
        world.sql.batch_execute(&sql).await.expect("what a superuser can");
    }
}

/// The whole database, as `pg_dump` keeps it for `pg_restore`.
pub(crate) fn dump(world: &World) -> Vec<u8> {
    let url = world.superuser_url();
    let dump =
        Command::new(STACK.postgres.bin("pg_dump")).args(["--format", "custom", &url]).output().expect("pg_dump");
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    dump.stdout
}

/// Loses the database, and makes it anew from a dump: every connection to it is gone, but for the superuser's.
pub(crate) async fn restore(world: &mut World, dump: &[u8]) {
    let postgres = connect(&STACK.postgres.admin_url("postgres")).await;
    for sql in [format!("DROP DATABASE test_{} WITH (FORCE)", world.id), format!("CREATE DATABASE test_{}", world.id)] {
        postgres.batch_execute(&sql).await.expect("what a superuser can");
    }
    let mut restore = Command::new(STACK.postgres.bin("pg_restore"));
    let restore = restore.args(["--exit-on-error", "--dbname", &world.superuser_url()]).stdin(Stdio::piped());
    let mut restore = restore.spawn().expect("pg_restore");
    restore.stdin.take().expect("piped").write_all(dump).expect("written");
    assert!(restore.wait().expect("it ends").success());
    world.sql = world.superuser().await;
}
