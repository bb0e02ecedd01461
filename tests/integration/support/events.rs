//! Rows of `login_events` by SQL alone, for what is about rows and not about what is in them.

use tokio_postgres::Client;

use super::World;

impl World {
    /// Lets any session of this world insert by `SELECT public.add_events(day, count)`.
    pub(crate) async fn allow_raw_events(&self) {
        self.sql
            .batch_execute(
                "CREATE FUNCTION public.add_events(day date, count integer) RETURNS void LANGUAGE sql AS $$
                     INSERT INTO pii_vault.login_events (create_date, event_id, user_id, device_type, app_version,
                         ip_ciphertext, device_id_ciphertext, data_key_id, ip_token_a, device_id_token_a, token_key_a)
                     SELECT day, gen_random_uuid(), 'user', 'ios', '1', decode(repeat('00', 81), 'hex'),
                         decode(repeat('00', 65), 'hex'), gen_random_uuid(), repeat('i', 43), repeat('d', 43),
                         gen_random_uuid()
                     FROM generate_series(1, count)
                     ON CONFLICT DO NOTHING
                 $$",
            )
            .await
            .expect("a function");
    }

    /// Adds rows as they come where no partition could be made.
    pub(crate) async fn add_raw_events(&self, day: &str, count: usize) {
        add_raw_events(&self.sql, day, count).await;
    }

    /// Each partition that has rows, with their count: `2025_12: 3, default: 1`.
    pub(crate) async fn rows_by_partition(&self) -> String {
        let sql =
            "SELECT coalesce(string_agg(replace(name, 'login_events_', '') || ': ' || count, ', ' ORDER BY name), '')
                   FROM (SELECT relname::text AS name, count(*) FROM pii_vault.login_events AS e
                         JOIN pg_class AS c ON c.oid = e.tableoid GROUP BY relname) AS counted";
        self.sql.query_one(sql, &[]).await.expect("counts").get(0)
    }

    /// What distinguishes partitions from how `login_events` wants them: nothing.
    pub(crate) async fn odd_partitions(&self) -> Vec<String> {
        let sql = "SELECT c.relname::text FROM pg_inherits AS h JOIN pg_class AS c ON c.oid = h.inhrelid
             WHERE h.inhparent = 'pii_vault.login_events'::regclass AND NOT (
                 c.relowner = 'pii_vault_owner'::regrole AND c.relacl IS NULL AND c.reloptions = '{fillfactor=70}'
                 AND NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attacl IS NOT NULL)
                 AND (SELECT count(*) FROM pg_index AS i JOIN pg_inherits AS ih ON ih.inhrelid = i.indexrelid
                      WHERE i.indrelid = c.oid AND i.indisvalid)
                     = (SELECT count(*) FROM pg_index WHERE indrelid = 'pii_vault.login_events'::regclass)
                 AND (SELECT count(*) FROM pg_index WHERE indrelid = c.oid) = 4
                 AND NOT EXISTS (SELECT FROM pg_index AS i JOIN pg_class AS x ON x.oid = i.indexrelid
                      WHERE i.indrelid = c.oid AND NOT starts_with(x.relname, c.relname))
                 AND (SELECT array_agg(conname || pg_get_constraintdef(oid) ORDER BY conname) FROM pg_constraint
                      WHERE conrelid = c.oid AND contype = 'c')
                     = (SELECT array_agg(conname || pg_get_constraintdef(oid) ORDER BY conname) FROM pg_constraint
                        WHERE conrelid = 'pii_vault.login_events'::regclass AND contype = 'c')
                 AND (SELECT array_agg((attname, attnotnull, format_type(atttypid, atttypmod)) ORDER BY attnum)
                      FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0)
                     = (SELECT array_agg((attname, attnotnull, format_type(atttypid, atttypmod)) ORDER BY attnum)
                        FROM pg_attribute WHERE attrelid = 'pii_vault.login_events'::regclass AND attnum > 0)
             ) ORDER BY 1";
        self.sql.query(sql, &[]).await.expect("a comparison").iter().map(|row| row.get(0)).collect()
    }
}

pub(crate) async fn add_raw_events(client: &Client, day: &str, count: usize) {
    client.batch_execute(&format!("SELECT public.add_events('{day}', {count})")).await.expect("rows");
}
