//! One run of a command over a table: how fast, with how much memory, and what it leaves.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tokio_postgres::Client;

/// What a round took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Round {
    /// Rows or keys a second, from when the runner is known to the job to when all are changed.
    pub(crate) rate: f64,
    /// From the start of the process to its end.
    pub(crate) whole: Duration,
    /// The most resident memory, in KiB.
    pub(crate) peak: u64,
    pub(crate) left: Left,
}

/// What updates left of the table of events.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Left {
    /// Bytes, without indexes.
    pub(crate) table: i64,
    /// Bytes.
    pub(crate) indexes: i64,
    pub(crate) updated: i64,
    /// Of those, the ones that no index has heard of.
    pub(crate) hot: i64,
    pub(crate) dead: i64,
}

/// Runs a rotation and watches its job in `client`'s database until it has changed `total`.
pub(crate) async fn measure(client: &Client, command: &mut Command, total: i64) -> Result<Round> {
    let began = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let (mut peak, mut first, mut last) = (0, None, None);
    let status = loop {
        let progress = progress(client).await?;
        let now = Instant::now();
        if progress.is_some() {
            first.get_or_insert(now);
        }
        if progress.is_some_and(|changed| changed >= total) {
            last.get_or_insert(now);
        }
        peak = peak.max(peak_memory(&child).unwrap_or(0));
        if let Some(status) = child.try_wait()? {
            break status;
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    };
    let whole = began.elapsed();
    let mut told = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().context("its standard error")?, &mut told)?;
    ensure!(status.success(), "{command:?}: {told}");
    let (first, last) = first.zip(last).context("it changed less than there was to change")?;
    #[expect(clippy::cast_precision_loss, clippy::as_conversions, reason = "a count of rows")]
    let rate = total as f64 / (last - first).as_secs_f64();
    Ok(Round { rate, whole, peak, left: Left::default() })
}

/// What the newest job has changed, once a runner works on it. When it ends, it has no runner any more.
async fn progress(client: &Client) -> Result<Option<i64>> {
    let sql = "SELECT j.changed FROM pii_vault.rotation_jobs AS j
               WHERE j.step IN ('done', 'filled') OR j.step IN ('work', 'emptying')
                   AND EXISTS (SELECT FROM pii_vault.rotation_runners AS r WHERE r.job = j.id)
               ORDER BY j.seq DESC LIMIT 1";
    Ok(client.query_opt(sql, &[]).await?.map(|row| row.get(0)))
}

fn peak_memory(child: &Child) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

impl Left {
    /// As it is once `updated` rows are counted: a backend tells its counts when it ends, or a second later.
    pub(crate) async fn of(client: &Client, updated: i64) -> Result<Self> {
        for _ in 0..40 {
            let left = Self::now(client).await?;
            if left.updated >= updated {
                return Ok(left);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Self::now(client).await
    }

    async fn now(client: &Client) -> Result<Self> {
        let sql = "SELECT sum(pg_table_size(s.relid))::bigint, sum(pg_indexes_size(s.relid))::bigint,
                       sum(s.n_tup_upd)::bigint, sum(s.n_tup_hot_upd)::bigint, sum(s.n_dead_tup)::bigint
                   FROM pg_stat_user_tables AS s JOIN pg_inherits AS i ON i.inhrelid = s.relid
                   WHERE i.inhparent = 'pii_vault.login_events'::regclass";
        let row = client.query_one(sql, &[]).await?;
        Ok(Self { table: row.get(0), indexes: row.get(1), updated: row.get(2), hot: row.get(3), dead: row.get(4) })
    }
}
