//! What one writes by hand: the ids first, then row by row SELECT, open, seal, UPDATE by primary key, on one
//! connection, each row a transaction. And the same without a database: what opening and sealing cost.

use std::hint::black_box;
use std::time::Instant;

use anyhow::{Context as _, Result};
use pii_vault::aws::{EncryptionContext, KeyWrapper as _, Kms};
use pii_vault::crypto::{Opener, Ratchet, SealingKey, ValueBinding, open_value, seal_value};
use pii_vault::domain::{EventId, Field, KeyId, Purpose, VaultId};
use secrecy::ExposeSecret as _;
use time::macros::format_description;
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use crate::bed::{Bed, vault_id};

/// What opens the rows of one data key, and seals them under another.
struct Keys {
    vault: VaultId,
    old: (KeyId, Opener),
    new: (KeyId, SealingKey),
}

/// Rows a second: `(by the loop, by opening and sealing alone)`.
pub(crate) async fn rates(bed: &Bed, database: &str, most: i64) -> Result<(f64, f64)> {
    let client = bed.connect(database).await?;
    let mut keys = keys(bed, &client).await?;
    let sql = "SELECT create_date::text, event_id FROM pii_vault.login_events WHERE data_key_id = $1 LIMIT $2";
    let positions = client.query(sql, &[&keys.old.0.0, &most]).await?;
    let read = client
        .prepare(
            "SELECT create_date::text, event_id, user_id, ip_ciphertext, device_id_ciphertext
             FROM pii_vault.login_events WHERE create_date = $1::text::date AND event_id = $2",
        )
        .await?;
    let write = client
        .prepare(
            "UPDATE pii_vault.login_events SET ip_ciphertext = $3, device_id_ciphertext = $4, data_key_id = $5
             WHERE create_date = $1::text::date AND event_id = $2",
        )
        .await?;
    let mut rows = Vec::new();
    let began = Instant::now();
    for position in &positions {
        let row = client.query_one(&read, &[&position.get::<_, &str>(0), &position.get::<_, Uuid>(1)]).await?;
        let (ip, device_id) = keys.reseal(&row)?;
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
            [&position.get::<_, &str>(0), &position.get::<_, Uuid>(1), &ip, &device_id, &keys.new.0.0];
        client.execute(&write, &values).await?;
        rows.push(row);
    }
    let by_hand = per_second(rows.len(), began);
    let began = Instant::now();
    let mut done = 0;
    while began.elapsed().as_millis() < 1_000 {
        for row in &rows {
            black_box(keys.reseal(row)?);
        }
        done += rows.len();
    }
    Ok((by_hand, per_second(done, began)))
}

#[expect(clippy::cast_precision_loss, clippy::as_conversions, reason = "a count of rows")]
pub(crate) fn per_second(count: usize, began: Instant) -> f64 {
    count as f64 / began.elapsed().as_secs_f64()
}

async fn keys(bed: &Bed, client: &Client) -> Result<Keys> {
    let vault = vault_id(client).await?;
    let kms = Kms::new(&bed.kms_config().await, Bed::kms_keys());
    let sql =
        "SELECT id, wrapped_key, kms_key, commitment, max_step FROM pii_vault.data_keys ORDER BY created_at LIMIT 1";
    let row = client.query_one(sql, &[]).await?;
    let old = KeyId(row.get(0));
    let secret = kms.unwrap(row.get(2), row.get(1), context(vault, old)).await?;
    let opener = Opener::new(secret, row.get(3), row.get::<_, i32>(4).try_into()?)?;
    let new = KeyId::random();
    let made = kms.generate(context(vault, new)).await?;
    Ok(Keys { vault, old: (old, opener), new: (new, Ratchet::new(made.plaintext).sealing_key()) })
}

pub(crate) fn context(vault: VaultId, key: KeyId) -> EncryptionContext {
    EncryptionContext { vault, purpose: Purpose::Data, key }
}

impl Keys {
    fn reseal(&mut self, row: &Row) -> Result<(Vec<u8>, Vec<u8>)> {
        Ok((self.value(row, Field::Ip, 3)?, self.value(row, Field::DeviceId, 4)?))
    }

    fn value(&mut self, row: &Row, field: Field, column: usize) -> Result<Vec<u8>> {
        let create_date = time::Date::parse(row.get(0), format_description!("[year]-[month]-[day]"))?;
        let binding = |key| ValueBinding {
            vault: self.vault,
            field,
            create_date,
            event: EventId(row.get(1)),
            user_id: row.get(2),
            key,
        };
        let (under_old, under_new) = (binding(self.old.0), binding(self.new.0));
        let text = open_value(&mut self.old.1, &under_old, row.get(column)).context("it opens")?;
        Ok(seal_value(&self.new.1, &under_new, text.expose_secret())?.as_bytes().to_vec())
    }
}
