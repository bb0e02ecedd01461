//! A vault on servers of its own, and copies of it: each round begins on the same pages of the same table.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use aws_sdk_kms::config::Credentials;
use pii_vault::aws::{KmsKeys, client};
use pii_vault::domain::VaultId;
use tokio_postgres::{Client, NoTls};

use crate::stack::Stack;

/// Who runs a command.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Who {
    Administrator,
    Ingest,
    Rewrap,
    Reseal,
}

/// The server listens on this machine alone, and goes with the bench.
const PASSWORD: &str = "bench";

/// The database that others are copied from.
pub(crate) const LOADED: &str = "loaded";

/// KMS key that wraps what a purpose seals.
pub(crate) const KMS_KEY: &str = "alias/bench";

pub(crate) struct Bed {
    stack: Stack,
}

impl Bed {
    /// An empty vault in [`LOADED`].
    pub(crate) async fn make() -> Result<Self> {
        let bed = Self { stack: Stack::start()? };
        let postgres = bed.connect("postgres").await?;
        postgres.batch_execute(&format!("CREATE DATABASE {LOADED}")).await?;
        let loaded = bed.connect(LOADED).await?;
        loaded
            .batch_execute(&format!(
                "CREATE ROLE administrator LOGIN CREATEROLE PASSWORD '{PASSWORD}';
                 GRANT CREATE ON DATABASE {LOADED} TO administrator;
                 GRANT CREATE ON SCHEMA public TO administrator"
            ))
            .await?;
        run(&mut bed.command(LOADED, Who::Administrator, &["init", "--create-kms-keys"]))?;
        for (who, role) in [("ingest", "ingest"), ("rewrap", "rewrap"), ("reseal", "reseal")] {
            let sql = format!("CREATE ROLE {who} LOGIN PASSWORD '{PASSWORD}'; GRANT pii_vault_{role} TO {who}");
            loaded.batch_execute(&sql).await?;
        }
        Ok(bed)
    }

    /// A superuser's connection.
    pub(crate) async fn connect(&self, database: &str) -> Result<Client> {
        let (client, driver) = tokio_postgres::connect(&self.stack.postgres.admin_url(database), NoTls).await?;
        tokio::spawn(driver);
        Ok(client)
    }

    /// A database with the very pages of another, on disk, and none of its statistics.
    pub(crate) async fn copy(&self, from: &str, to: &str) -> Result<()> {
        let postgres = self.connect("postgres").await?;
        let mut tries = 0;
        // A connection that was closed may not have ended yet, and autovacuum may be there.
        while let Err(error) = postgres.batch_execute(&format!("CREATE DATABASE {to} TEMPLATE {from}")).await {
            tries += 1;
            if tries == 20 {
                return Err(error).context("copying a database");
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        // Or the first to change a page would pay for the copy.
        postgres.batch_execute("CHECKPOINT").await?;
        Ok(())
    }

    pub(crate) async fn remove(&self, database: &str) -> Result<()> {
        let sql = format!("DROP DATABASE {database} WITH (FORCE)");
        Ok(self.connect("postgres").await?.batch_execute(&sql).await?)
    }

    /// `pii-vault` as it is released, with an environment of its own.
    pub(crate) fn command(&self, database: &str, who: Who, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pii-vault"));
        let login = format!("{who:?}").to_lowercase();
        command
            .args(args)
            .env_clear()
            .env("DATABASE_URL", self.stack.postgres.url(&login, PASSWORD, database))
            .env("AWS_ENDPOINT_URL_KMS", self.stack.kms.url())
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "bench")
            .env("AWS_SECRET_ACCESS_KEY", "bench")
            .env("AWS_EC2_METADATA_DISABLED", "true");
        for (purpose, name) in
            [("DATA", "data"), ("TOKEN", "token"), ("DEAD_LETTER", "dead-letter"), ("SIGNING", "signing")]
        {
            command.env(format!("PII_VAULT_{purpose}_KMS_KEY"), format!("{KMS_KEY}-{name}"));
        }
        command
    }

    pub(crate) async fn kms_config(&self) -> aws_config::SdkConfig {
        let credentials = Credentials::new("bench", "bench", None, None, "bench");
        client::load()
            .await
            .into_builder()
            .endpoint_url(self.stack.kms.url())
            .region(aws_config::Region::new("us-east-1"))
            .credentials_provider(aws_sdk_kms::config::SharedCredentialsProvider::new(credentials))
            .build()
    }

    pub(crate) fn kms_keys() -> KmsKeys {
        let key = |name| format!("{KMS_KEY}-{name}");
        KmsKeys { data: key("data"), token: key("token"), dead_letter: key("dead-letter"), signing: key("signing") }
    }

    /// Requests that KMS has answered so far, by its log.
    pub(crate) fn kms_calls(&self) -> Result<usize> {
        Ok(std::fs::read_to_string(self.stack.kms.log())?.matches("\"POST / HTTP").count())
    }
}

pub(crate) async fn vault_id(client: &Client) -> Result<VaultId> {
    Ok(VaultId(client.query_one("SELECT id FROM pii_vault.vault", &[]).await?.get(0)))
}

/// Runs a command to its end and returns what it prints.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Ingests `rows` logins of `days` days, each by a process and hence under a data key of its own.
pub(crate) async fn load(bed: &Bed, rows: u32, days: u32) -> Result<()> {
    for day in 0..days {
        let logins = (0..rows / days).map(|number| login(day * (rows / days) + number)).collect::<String>();
        let (source, date) = (format!("bench-{day}"), format!("2026-03-{:02}", day + 1));
        let args = ["etl", "run", "--input", "-", "--source", &source, "--date", &date];
        let mut command = bed.command(LOADED, Who::Ingest, &args);
        tokio::task::spawn_blocking(move || ingest(&mut command, logins)).await??;
    }
    let loaded = bed.connect(LOADED).await?;
    // As a table is that was there for a while: no hint bit is left to write.
    loaded.batch_execute("VACUUM (ANALYZE) pii_vault.login_events").await?;
    let stored: i64 = loaded.query_one("SELECT count(*) FROM pii_vault.login_events", &[]).await?.get(0);
    ensure!(stored == i64::from(rows), "{stored} rows of {rows} were ingested");
    Ok(())
}

fn ingest(command: &mut Command, logins: String) -> Result<()> {
    let mut child = command
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()?;
    let mut stdin = child.stdin.take().context("its standard input")?;
    std::io::Write::write_all(&mut stdin, logins.as_bytes())?;
    drop(stdin);
    ensure!(child.wait()?.success(), "ingestion failed");
    Ok(())
}

/// A device id has the length of a UUID, as most have; every tenth login is of the device before.
fn login(number: u32) -> String {
    let device = if number.is_multiple_of(10) { number.saturating_sub(1) } else { number };
    format!(
        "{{\"user_id\":\"user-{}\",\"app_version\":\"2.3.0\",\"device_type\":\"android\",\"ip\":\"10.{}.{}.{}\",\
         \"locale\":\"DE\",\"device_id\":\"6f3d4c1e-8f4b-4c1e-9a57-{device:012}\"}}\n",
        number % 50_000,
        device / 62_500 % 250,
        device / 250 % 250,
        device % 250,
    )
}
