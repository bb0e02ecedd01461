//! Wrapping keys anew: as many calls of KMS as keys, whatever is under them.

use std::time::Instant;

use anyhow::{Context as _, Result};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use pii_vault::aws::{KeyRewrapper as _, KeyWrapper as _, Kms};
use pii_vault::crypto::Commitment;
use pii_vault::domain::KeyId;
use tokio_postgres::Client;

use crate::bed::{Bed, LOADED, Who, vault_id};
use crate::by_hand::{context, per_second};
use crate::report::say;
use crate::round::measure;

const KEYS: usize = 1_000;
/// Calls that a run has under way: 8 for each of its two workers.
const AT_ONCE: usize = 16;

pub(crate) async fn kek(bed: &Bed) -> Result<()> {
    bed.copy(LOADED, "keys").await?;
    let client = bed.connect("keys").await?;
    let kms = Kms::new(&bed.kms_config().await, Bed::kms_keys());
    add_keys(&client, &kms).await?;
    let target = another_kms_key(bed).await?;
    let floor = floor(bed, &client, &target).await?;
    let total: i64 = client.query_one("SELECT count(*) FROM pii_vault.data_keys", &[]).await?.get(0);
    let calls = bed.kms_calls()?;
    // Without --rate there are 200 calls a second.
    let args = ["key-rotation", "kek", "run", "--purpose", "data", "--to", &target, "--reason", "bench"];
    let mut command = bed.command("keys", Who::Rewrap, &[&args[..], &["--rate", "1000000"]].concat());
    let round = measure(&client, &mut command, total).await?;
    #[expect(clippy::cast_precision_loss, clippy::as_conversions, reason = "a count of keys")]
    let rate = total as f64 / round.whole.as_secs_f64();
    drop(client);
    bed.remove("keys").await?;
    let (calls, percent, peak) = (bed.kms_calls()? - calls, 100.0 * rate / floor, round.peak >> 10);
    say(&format!("\nkek run: {total} keys in {:.1} s", round.whole.as_secs_f64()))?;
    say(&format!(
        "{rate:.0} keys/s, {percent:.0}% of {floor:.0} bare ReEncrypts a second ({AT_ONCE} at once); \
         {calls} calls of KMS, {peak} MiB at most"
    ))
}

async fn add_keys(client: &Client, kms: &Kms) -> Result<()> {
    let vault = vault_id(client).await?;
    let made = stream::iter(0..KEYS).map(|_| async {
        let key = KeyId::random();
        let made = kms.generate(context(vault, key)).await?;
        let commitment = Commitment::to(&made.plaintext);
        let sql = "INSERT INTO pii_vault.data_keys (id, wrapped_key, kms_key, commitment, max_step)
                   VALUES ($1, $2::bytea, $3, $4::bytea, 60)";
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
            [&key.0, &made.wrapped, &made.kms_key, &commitment.as_bytes()];
        client.execute(sql, &values).await?;
        anyhow::Ok(())
    });
    made.buffer_unordered(AT_ONCE).try_collect().await
}

async fn another_kms_key(bed: &Bed) -> Result<String> {
    let kms = aws_sdk_kms::Client::new(&bed.kms_config().await);
    let made = kms.create_key().send().await?;
    made.key_metadata.and_then(|made| made.arn).context("its ARN")
}

/// The calls alone, of the same keys, with nothing stored.
async fn floor(bed: &Bed, client: &Client, target: &str) -> Result<f64> {
    let (vault, kms) = (vault_id(client).await?, Kms::new(&bed.kms_config().await, Bed::kms_keys()));
    let keys = client.query("SELECT id, kms_key, wrapped_key FROM pii_vault.data_keys", &[]).await?;
    let began = Instant::now();
    let calls =
        stream::iter(&keys).map(|key| kms.rewrap(key.get(1), key.get(2), context(vault, KeyId(key.get(0))), target));
    let _: Vec<_> = calls.buffer_unordered(AT_ONCE).try_collect().await?;
    Ok(per_second(keys.len(), began))
}
