use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pii_vault::aws::{EncryptionContext, KeyWrapper as _};
use pii_vault::crypto::Commitment;
use pii_vault::domain::{KeyId, Purpose};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::support::{Running, Who, World};

pub(super) const TABLES: [(&str, &str); 3] =
    [("data", "data_keys"), ("token", "token_keys"), ("dead-letter", "dead_letter_keys")];

impl World {
    pub(crate) fn kek(&self, args: &[&str]) -> Running {
        self.kek_through("", args)
    }

    /// With another address of KMS; empty: the usual one.
    pub(super) fn kek_through(&self, kms: &str, args: &[&str]) -> Running {
        let env: &[_] = if kms.is_empty() { &[] } else { &[("AWS_ENDPOINT_URL_KMS", kms)] };
        self.pii_vault_with(Who::Rewrap, &[&["key-rotation", "kek"], args, &["--output", "json"]].concat(), env)
    }

    async fn kms_client(&self) -> aws_sdk_kms::Client {
        aws_sdk_kms::Client::new(&self.kms_config().await)
    }

    /// The ARN of a new KMS key.
    pub(crate) async fn another_kms_key(&self) -> String {
        let made = self.kms_client().await.create_key().send().await.unwrap();
        made.key_metadata.unwrap().arn.unwrap()
    }

    pub(super) async fn move_alias(&self, purpose: &str, kms_key: &str) {
        let id = kms_key.rsplit('/').next().unwrap();
        let update = self.kms_client().await.update_alias().alias_name(self.kms_key(purpose)).target_key_id(id);
        update.send().await.unwrap();
    }

    pub(super) async fn rotate_material(&self, kms_key: &str) {
        let id = kms_key.rsplit('/').next().unwrap();
        self.kms_client().await.rotate_key_on_demand().key_id(id).send().await.unwrap();
    }

    /// How many keys each KMS key wraps.
    pub(super) async fn wrapped_by(&self, table: &str) -> Vec<(String, i64)> {
        let sql = format!("SELECT kms_key, count(*) FROM pii_vault.{table} GROUP BY 1 ORDER BY 2 DESC");
        self.sql.query(&sql, &[]).await.unwrap().iter().map(|row| (row.get(0), row.get(1))).collect()
    }

    /// The one KMS key that wraps all keys of a table.
    pub(crate) async fn only_kms_key(&self, table: &str) -> String {
        let [(kms_key, _)] = self.wrapped_by(table).await.try_into().unwrap();
        kms_key
    }

    /// Adds data keys as ingestion makes them, some an hour.
    pub(super) async fn add_data_keys(&self, count: i32) {
        let (vault, kms) = (self.vault_id().await, self.kms().await);
        for hours in 0..count {
            let key = KeyId::random();
            let made = kms.generate(EncryptionContext { vault, purpose: Purpose::Data, key }).await.unwrap();
            let commitment = Commitment::to(&made.plaintext);
            let sql = "INSERT INTO pii_vault.data_keys (id, wrapped_key, kms_key, commitment, max_step, created_at) \
                       VALUES ($1, $2::bytea, $3, $4::bytea, 60, now() - $5::integer * interval '10 minutes')";
            let values: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
                [&key.0, &made.wrapped, &made.kms_key, &commitment.as_bytes(), &hours];
            self.sql.execute(sql, &values).await.unwrap();
        }
    }

    /// Waits until so many keys were changed by the rotation that is under way.
    pub(super) async fn wait_for_changed(&self, count: i64) {
        let sql = "SELECT changed FROM pii_vault.rotation_jobs WHERE step <> 'done'";
        for _ in 0..2_000 {
            let changed = self.sql.query_opt(sql, &[]).await.unwrap().map_or(0, |row| row.get::<_, i64>(0));
            if changed >= count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{count} keys were not changed");
    }

    /// What wraps a key must be all that is new about it.
    pub(super) async fn keys_as_they_stay(&self, table: &str) -> Vec<(uuid::Uuid, String, Vec<u8>)> {
        let sql = format!("SELECT id, state::text, commitment::bytea FROM pii_vault.{table} ORDER BY id");
        self.sql.query(&sql, &[]).await.unwrap().iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
    }
}

/// What KMS says to ReEncrypt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    /// What moto says.
    Usual,
    /// This error.
    Says(&'static str),
    /// Nothing: the connection ends.
    Away,
    /// What moto says, once the mood is another.
    Waits,
}

/// Stands before KMS, with a mood.
pub(super) struct Door {
    pub(super) url: String,
    pub(super) mood: watch::Sender<Mood>,
    passed: Arc<AtomicUsize>,
    turned_away: Arc<AtomicUsize>,
}

impl Door {
    pub(super) async fn before_kms(world: &World, mood: Mood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let door = Self { url, mood: watch::Sender::new(mood), passed: Arc::default(), turned_away: Arc::default() };
        let (port, mood) = (world.kms_port(), door.mood.subscribe());
        let (passed, turned_away) = (door.passed.clone(), door.turned_away.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, port, mood.clone(), passed.clone(), turned_away.clone()));
            }
        });
        door
    }

    /// ReEncrypts that reached KMS.
    pub(super) fn calls(&self) -> usize {
        self.passed.load(Ordering::SeqCst)
    }

    /// Waits for ReEncrypts that did not.
    pub(super) async fn turned_away(&self, count: usize) {
        for _ in 0..6_000 {
            if self.turned_away.load(Ordering::SeqCst) >= count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{count} ReEncrypts were not asked for");
    }
}

async fn pass(
    client: TcpStream,
    port: u16,
    mut mood: watch::Receiver<Mood>,
    passed: Arc<AtomicUsize>,
    turned_away: Arc<AtomicUsize>,
) {
    let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let (mut asked, mut answered) = ([0; 16384], [0; 16384]);
    loop {
        tokio::select! {
            Ok(count @ 1..) = from_client.read(&mut asked) => {
                if String::from_utf8_lossy(&asked[..count]).contains("TrentService.ReEncrypt") {
                    let now = *mood.borrow();
                    if now == Mood::Waits {
                        turned_away.fetch_add(1, Ordering::SeqCst);
                        let _ = mood.wait_for(|mood| *mood != Mood::Waits).await;
                    } else if now != Mood::Usual {
                        turned_away.fetch_add(1, Ordering::SeqCst);
                    }
                    if let Mood::Says(code) = now {
                        let said = format!(r#"{{"__type":"{code}","message":"not now"}}"#);
                        let head = "HTTP/1.1 400 Bad Request\r\nContent-Type: application/x-amz-json-1.1\r\nConnection: close";
                        let answer = format!("{head}\r\nContent-Length: {}\r\n\r\n{said}", said.len());
                        let _ = to_client.write_all(answer.as_bytes()).await;
                        return;
                    }
                    if now == Mood::Away {
                        return;
                    }
                    passed.fetch_add(1, Ordering::SeqCst);
                }
                if to_server.write_all(&asked[..count]).await.is_err() {
                    return;
                }
            }
            Ok(count @ 1..) = from_server.read(&mut answered) => {
                if to_client.write_all(&answered[..count]).await.is_err() {
                    return;
                }
            }
            else => return,
        }
    }
}
