//! What was masked is recovered: not by one person alone, and never unrecorded.

use anyhow::{Context, Result, ensure};

use crate::cast::Cast;
use crate::sample::Sample;
use crate::stage::Stage;

/// How many values an officer may open alone in 24 hours: fewer than come from the most frequent address.
const ALONE: usize = 5;

const REASON: &str = "one address, many accounts";
const CASE: &str = "CASE-7";

pub(crate) async fn policy(stage: &mut Stage, cast: &Cast) -> Result<()> {
    stage.heading("What may be opened: nothing, until an administrator says so")?;
    let alone = ALONE.to_string();
    let arguments =
        ["access", "policy", "set", "--alone-limit", &alone, "--case-pattern", "CASE-[0-9]+", "--reason", "go-live"];
    stage.pii_vault(cast, &cast.dba, &arguments, &[]).await?.succeeded().map(drop)
}

pub(crate) async fn refused_alone(stage: &mut Stage, cast: &Cast, token: &str) -> Result<()> {
    stage.heading("The originals of one token: more than one officer may open alone")?;
    let heard = stage.pii_vault(cast, &cast.officer, &unmask(token), &[]).await?;
    ensure!(
        heard.text.contains("alone_limit"),
        "the officer was not refused for opening more than alone:\n{}",
        heard.text
    );
    heard.ended_with(3)
}

pub(crate) async fn granted_by_another(stage: &mut Stage, cast: &Cast, token: &str, sample: &Sample) -> Result<()> {
    stage.heading("She asks, a second person approves, and the originals appear")?;
    let request = [
        "access",
        "request",
        "--fields",
        "ip",
        "--reason",
        REASON,
        "--case",
        CASE,
        "--max-values",
        "20",
        "--for",
        "1h",
    ];
    stage.pii_vault(cast, &cast.officer, &request, &[]).await?.succeeded()?;
    let id = stage.value(cast, &cast.superuser, "SELECT id FROM pii_vault.access_requests").await?;
    let heard = stage.pii_vault(cast, &cast.officer, &["access", "approve", &id], &[]).await?;
    ensure!(!heard.text.contains("approved"), "an officer approved what she asked for:\n{}", heard.text);
    stage.pii_vault(cast, &cast.approver, &["access", "approve", &id], &[]).await?.succeeded()?;

    let heard = stage.pii_vault(cast, &cast.officer, &unmask(token), &[]).await?.succeeded()?;
    let most = sample.repeated_ips().first().copied().context("no address comes twice")?;
    let opened = sample.logins_of_most_frequent_ip();
    ensure!(opened.len() == most.logins, "the sample set has two most frequent addresses");
    for login in opened {
        let shown = heard.text.lines().any(|line| line.contains(&login.user_id) && line.contains(&login.ip));
        ensure!(shown, "unmask does not show the address of {}", login.user_id);
    }
    Ok(())
}

pub(crate) async fn recorded(stage: &mut Stage, cast: &Cast) -> Result<()> {
    stage.heading("The log has all of it")?;
    let heard = stage.pii_vault(cast, &cast.auditor, &["audit", "list"], &[]).await?.succeeded()?;
    for word in ["policy", "access_request", "access_approval", "alone_limit", "unmask_page", CASE] {
        ensure!(heard.text.contains(word), "the log does not show {word}");
    }
    stage.pii_vault(cast, &cast.auditor, &["audit", "verify"], &[]).await?.succeeded().map(drop)
}

/// A superuser can alter anything. What she cannot do is alter it unseen.
pub(crate) async fn altered(stage: &mut Stage, cast: &Cast) -> Result<()> {
    stage.heading("A superuser edits the log, and the log shows it")?;
    let seq = "SELECT min(seq) FROM pii_vault.audit_log WHERE action = 'unmask' AND decision = 'allowed'";
    let seq = stage.value(cast, &cast.superuser, seq).await?;
    let edit = format!("UPDATE pii_vault.audit_log SET reason = 'routine' WHERE seq = {seq}");
    let statements = ["ALTER TABLE pii_vault.audit_log DISABLE TRIGGER USER", &edit];
    let heard = stage.psql(cast, &cast.superuser, &statements).await?.succeeded()?;
    ensure!(heard.text.contains("UPDATE 1"), "the log was not edited:\n{}", heard.text);
    let heard = stage.pii_vault(cast, &cast.auditor, &["audit", "verify"], &[]).await?;
    ensure!(heard.text.contains(&seq), "the edited entry {seq} is not named:\n{}", heard.text);
    heard.ended_with(4)
}

/// The token of the address that most logins came from, as the analyst found it.
pub(crate) async fn most_frequent_token(stage: &mut Stage, cast: &Cast) -> Result<String> {
    let sql = "SELECT masked_ip FROM user_logins GROUP BY masked_ip ORDER BY count(*) DESC LIMIT 1";
    stage.value(cast, &cast.analyst, sql).await
}

fn unmask(token: &str) -> [&str; 9] {
    ["unmask", "--masked-ip", token, "--fields", "ip", "--reason", REASON, "--case", CASE]
}
