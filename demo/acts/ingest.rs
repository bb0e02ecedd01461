//! The queue is drained.

use anyhow::{Result, ensure};

use crate::cast::Cast;
use crate::queue::{BATCH, PRODUCER, Queue};
use crate::sample::Sample;
use crate::stage::Stage;

pub(crate) async fn send(stage: &mut Stage, cast: &Cast, sample: &Sample) -> Result<Queue> {
    let (all, poison) = (sample.messages.len(), sample.poison().count());
    stage.heading("A queue with the sample set")?;
    let queue = Queue::create(cast, "logins").await?;
    queue.send(&sample.messages).await?;
    stage.say(&format!("\n(AWS identity: {PRODUCER})"))?;
    stage.say(&format!("sqs:CreateQueue            {}", queue.url()))?;
    stage.say(&format!(
        "sqs:SendMessageBatch       {all} messages of demo/logins.jsonl in {} calls",
        all.div_ceil(BATCH)
    ))?;
    let depth = queue.depth().await?;
    stage.say(&format!("sqs:GetQueueAttributes     {depth} messages wait; {poison} of them are no logins"))?;
    ensure!(depth == all, "the queue holds {depth} messages instead of {all}");
    Ok(queue)
}

pub(crate) async fn run(stage: &mut Stage, cast: &Cast, sample: &Sample, queue: &Queue) -> Result<()> {
    stage.heading("Ingestion")?;
    let settings = [("PII_VAULT_QUEUE_URL", queue.url().to_owned())];
    let heard = stage
        .pii_vault(cast, &cast.etl_service, &["etl", "run", "--drain", "--wait", "1s"], &settings)
        .await?
        .succeeded()?;
    let expected = [
        ("received", sample.messages.len()),
        ("stored", sample.logins.len()),
        ("already stored", 0),
        ("dead letters", sample.poison().count()),
        ("deleted", sample.messages.len()),
    ];
    for (label, expected) in expected {
        let number = heard.number(label)?;
        ensure!(number == expected, "etl run reports {number} as {label} instead of {expected}");
    }
    let depth = queue.depth().await?;
    ensure!(depth == 0, "the queue still holds {depth} messages");
    Ok(())
}

pub(crate) async fn write_only(stage: &mut Stage, cast: &Cast) -> Result<()> {
    stage.heading("Ingestion writes and reads nothing back")?;
    let statements = ["SET ROLE pii_vault_ingest", "SELECT count(*) FROM pii_vault.login_events"];
    stage.psql(cast, &cast.etl_service, &statements).await?.refused("table login_events")
}

pub(crate) async fn dead_letters(stage: &mut Stage, cast: &Cast, sample: &Sample) -> Result<()> {
    stage.heading("What was no login is set aside, sealed: why and how large, not what it says")?;
    let heard =
        stage.pii_vault(cast, &cast.compliance_ops, &["etl", "dead-letters", "list"], &[]).await?.succeeded()?;
    let (listed, expected) = (heard.text.lines().count().saturating_sub(1), sample.poison().count());
    ensure!(listed == expected, "{listed} dead letters are listed instead of {expected}");
    for body in sample.poison() {
        let size = format!(" {} ", body.len());
        ensure!(heard.text.contains(&size), "no dead letter of {} bytes is listed", body.len());
    }
    let body = "SELECT body_ciphertext FROM pii_vault.dead_letters";
    stage.psql(cast, &cast.compliance_ops, &[body]).await?.refused("table dead_letters")
}
