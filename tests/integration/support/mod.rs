//! A world for each test: its own database, logins, queue and KMS keys, on servers that the test binary shares.

mod access;
mod analyst;
mod attempt;
mod audit;
mod authority;
mod command;
mod cut_over;
mod cutter;
mod dose;
mod events;
mod gate;
mod hold;
mod in_process;
pub(crate) mod jobs;
mod kms_fault;
mod letters;
mod log;
mod messages;
mod office;
mod opened;
mod others;
mod queue;
mod readers;
pub(crate) mod receipts;
mod relay;
mod reseal;
mod sql;
mod superuser;
mod tokens;
mod traffic;
mod unmask;

use std::process::Command;
use std::sync::LazyLock;

use aws_sdk_sqs::types::QueueAttributeName;
use pii_vault::aws::client;
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

pub(crate) use access::record;
pub(crate) use analyst::{Analyst, duplicates, keys_seen};
pub(crate) use attempt::{Ended, Pages, ROWS};
pub(crate) use audit::Story;
pub(crate) use authority::Authority;
pub(crate) use command::{Finished, Running};
pub(crate) use cutter::{Cutter, Point, Sender, Strike};
pub(crate) use dose::{Chance, soak};
pub(crate) use events::add_raw_events;
pub(crate) use gate::Gate;
pub(crate) use hold::{Hold, Way};
pub(crate) use kms_fault::KmsFault;
pub(crate) use messages::{assert_adds_up, login};
pub(crate) use office::Office;
pub(crate) use others::Others;
pub(crate) use readers::Readers;
pub(crate) use relay::Relay;
pub(crate) use reseal::{DAY, ended};
pub(crate) use sql::sqlstate;
pub(crate) use superuser::{dump, lay_hands_on, put_back, restore};
pub(crate) use traffic::Traffic;
pub(crate) use unmask::json_lines;

use crate::stack::Stack;

static STACK: LazyLock<Stack> = LazyLock::new(|| Stack::start().expect("PostgreSQL, SQS and KMS start"));

pub(crate) struct World {
    /// Makes names in shared servers unique.
    pub(crate) id: String,
    /// Superuser in this world's database.
    pub(crate) sql: Client,
    pub(crate) queue_url: String,
    pub(super) sqs: aws_sdk_sqs::Client,
}

/// Who connects to PostgreSQL.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Who {
    /// CREATEROLE, CREATE on database and schema public: what `init` asks for.
    Administrator,
    Ingest,
    Analyst,
    Redrive,
    /// A compliance officer.
    Officer,
    /// Another one.
    Colleague,
    Approver,
    /// Another one.
    SecondApprover,
    Lookup,
    Auditor,
    Notary,
    /// Services that rotate keys.
    Rewrap,
    Reseal,
    /// No role and no right.
    Nobody,
}

impl Who {
    fn name(self, world: &World) -> String {
        match self {
            // One for all, as a cluster has: since PostgreSQL 16, who made a role grants it.
            Self::Administrator => "administrator".to_owned(),
            _ => format!("{self:?}_{}", world.id).to_lowercase(),
        }
    }

    fn role(self) -> Option<&'static str> {
        match self {
            Self::Administrator | Self::Nobody => None,
            Self::Ingest => Some("pii_vault_ingest"),
            Self::Analyst => Some("pii_vault_analyst"),
            Self::Redrive => Some("pii_vault_redrive"),
            Self::Officer | Self::Colleague => Some("pii_vault_unmask"),
            Self::Approver | Self::SecondApprover => Some("pii_vault_approver"),
            Self::Lookup => Some("pii_vault_lookup"),
            Self::Auditor => Some("pii_vault_auditor"),
            Self::Notary => Some("pii_vault_notary"),
            Self::Rewrap => Some("pii_vault_rewrap"),
            Self::Reseal => Some("pii_vault_reseal"),
        }
    }
}

/// Of every login of every test.
pub(crate) const PASSWORD: &str = "a test password";

impl World {
    /// An empty database and queue.
    pub(crate) async fn empty() -> Self {
        let id = Uuid::new_v4().simple().to_string();
        let postgres = connect(&STACK.postgres.admin_url("postgres")).await;
        postgres.batch_execute(&format!("CREATE DATABASE test_{id}")).await.expect("a database");
        let sql = connect(&STACK.postgres.admin_url(&format!("test_{id}"))).await;
        let sqs = aws_sdk_sqs::Client::new(&aws_config(&STACK.sqs.url()).await);
        let queue_url = sqs
            .create_queue()
            .queue_name(format!("logins-{id}"))
            .attributes(QueueAttributeName::VisibilityTimeout, "30")
            .send()
            .await
            .expect("a queue")
            .queue_url
            .expect("its URL");
        let world = Self { id, sql, queue_url, sqs };
        let admin = Who::Administrator.name(&world);
        world
            .sql
            .batch_execute(&format!(
                "DO $$ BEGIN
                     CREATE ROLE {admin} LOGIN CREATEROLE PASSWORD '{PASSWORD}';
                 EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
                 END $$;
                 GRANT CREATE ON DATABASE test_{} TO {admin};
                 GRANT CREATE ON SCHEMA public TO {admin};",
                world.id
            ))
            .await
            .expect("an administrator");
        world
    }

    /// A vault, by `init`, with a login for each role.
    pub(crate) async fn vault() -> Self {
        let world = Self::empty().await;
        world.pii_vault(Who::Administrator, &["init", "--create-kms-keys"]).finish().done();
        for who in [
            Who::Ingest,
            Who::Analyst,
            Who::Redrive,
            Who::Officer,
            Who::Colleague,
            Who::Approver,
            Who::SecondApprover,
            Who::Lookup,
            Who::Auditor,
            Who::Notary,
            Who::Rewrap,
            Who::Reseal,
        ] {
            world.make_login(who).await;
        }
        world
    }

    pub(crate) async fn make_login(&self, who: Who) {
        let name = who.name(self);
        let grant = who.role().map_or_else(String::new, |role| format!("GRANT {role} TO {name}"));
        let sql = format!("CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'; {grant}");
        self.sql.batch_execute(&sql).await.expect("a login");
    }

    pub(crate) fn superuser_url(&self) -> String {
        STACK.postgres.admin_url(&format!("test_{}", self.id))
    }

    pub(crate) fn database_url(&self, who: Who) -> String {
        STACK.postgres.url(&who.name(self), PASSWORD, &format!("test_{}", self.id))
    }

    /// A connection beside `sql`.
    pub(crate) async fn superuser(&self) -> Client {
        connect(&STACK.postgres.admin_url(&format!("test_{}", self.id))).await
    }

    /// A connection of this login, under its role.
    pub(crate) async fn connect(&self, who: Who) -> Client {
        let client = connect(&self.database_url(who)).await;
        if let Some(role) = who.role() {
            client.batch_execute(&format!("SET ROLE {role}")).await.expect("its role");
        }
        client
    }

    /// A connection of a login that the test made, with the password of them all.
    pub(crate) async fn connect_as(&self, login: &str) -> Client {
        connect(&STACK.postgres.url(login, PASSWORD, &format!("test_{}", self.id))).await
    }

    /// The log of the server, which other tests write to as well.
    pub(crate) fn postgres_log(&self) -> Vec<u8> {
        std::fs::read(STACK.postgres.log()).expect("a log")
    }

    pub(crate) fn pg_dump(&self) -> Vec<u8> {
        let url = STACK.postgres.admin_url(&format!("test_{}", self.id));
        let dump = Command::new(STACK.postgres.bin("pg_dump")).arg(url).output().expect("pg_dump");
        assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
        dump.stdout
    }

    pub(crate) async fn count(&self, from: &str) -> i64 {
        self.sql.query_one(&format!("SELECT count(*) FROM {from}"), &[]).await.expect("a count").get(0)
    }

    /// Waits for this many rows of `login_events`.
    pub(crate) async fn wait_for_rows(&self, condition: &str, count: i64) {
        for _ in 0..200 {
            if self.count(&format!("pii_vault.login_events WHERE {condition}")).await == count {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        panic!("no {count} rows with {condition}");
    }

    pub(crate) fn postgres_port(&self) -> u16 {
        STACK.postgres.port()
    }

    pub(crate) fn kms_port(&self) -> u16 {
        let url = STACK.kms.url();
        url.rsplit(':').next().and_then(|port| port.trim_end_matches('/').parse().ok()).expect("a port")
    }

    /// moto serves S3 and Secrets Manager as well.
    pub(crate) fn kms_url(&self) -> String {
        STACK.kms.url()
    }

    pub(crate) fn secrets_url(&self) -> String {
        STACK.kms.url()
    }

    pub(crate) fn kms_key(&self, purpose: &str) -> String {
        format!("alias/test-{}-{purpose}", self.id)
    }

    pub(crate) async fn sqs_config(&self) -> aws_config::SdkConfig {
        aws_config(&STACK.sqs.url()).await
    }

    pub(crate) async fn kms_config(&self) -> aws_config::SdkConfig {
        aws_config(&STACK.kms.url()).await
    }
}

async fn connect(url: &str) -> Client {
    let (client, driver) = tokio_postgres::connect(url, NoTls).await.expect("a connection");
    tokio::spawn(driver);
    client
}

async fn aws_config(endpoint: &str) -> aws_config::SdkConfig {
    let credentials = aws_sdk_sqs::config::Credentials::new("test", "test", None, None, "test");
    // The library's own configuration, so that its HTTP client is what is tested.
    client::load()
        .await
        .into_builder()
        .endpoint_url(endpoint)
        .region(aws_config::Region::new("us-east-1"))
        .credentials_provider(aws_sdk_sqs::config::SharedCredentialsProvider::new(credentials))
        .build()
}
