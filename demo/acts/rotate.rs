//! Every kind of key is rotated, and nothing that anybody sees is lost by it.

use anyhow::{Result, ensure};

use super::analyse;
use crate::cast::Cast;
use crate::sample::Sample;
use crate::stage::Stage;

const WHY: &[&str] = &["--reason", "yearly"];

/// What wraps the data keys: new material of the same KMS key.
pub(crate) async fn key_encryption_key(stage: &mut Stage, cast: &Cast) -> Result<()> {
    stage.heading("What wraps the keys is rotated: KMS wraps them anew, and no row is touched")?;
    let purpose = ["--purpose", "data", "--newest-material"];
    for step in [[&["run"], &purpose[..], WHY].concat(), [&["verify"], &purpose[..]].concat()] {
        let arguments = [&["key-rotation", "kek"], &step[..]].concat();
        stage.pii_vault(cast, &cast.rewrap_service, &arguments, &[]).await?.succeeded()?;
    }
    Ok(())
}

/// What seals the values.
pub(crate) async fn data_key(stage: &mut Stage, cast: &Cast) -> Result<()> {
    stage.heading("What seals the originals is rotated: each row is sealed anew, and the old keys retire")?;
    let before = old_keys(stage, cast, "data_keys").await?;
    for step in [&["run", "--max-age", "0s"][..], &["verify"], &["retire"]] {
        let why = if step == ["verify"] { &[] } else { WHY };
        let arguments = [&["key-rotation", "data-key"], step, why].concat();
        stage.pii_vault(cast, &cast.reseal_service, &arguments, &[]).await?.succeeded()?;
    }
    let left = format!("SELECT count(*) FROM pii_vault.login_events WHERE data_key_id IN ({before})");
    let left = stage.value(cast, &cast.superuser, &left).await?;
    ensure!(left == "0", "{left} rows are under keys that were left");
    Ok(())
}

/// What makes the tokens.
pub(crate) async fn token_key(stage: &mut Stage, cast: &Cast, sample: &Sample, token: &str) -> Result<()> {
    stage.heading("What makes the tokens is rotated: first every row gets new ones beside the old")?;
    for step in [[&["run"], WHY].concat(), vec!["verify"]] {
        let arguments = [&["key-rotation", "token-key"], &step[..]].concat();
        stage.pii_vault(cast, &cast.reseal_service, &arguments, &[]).await?.succeeded()?;
    }
    stage.heading("Then the view shows the new ones, all at once, and the same duplicates")?;
    stage.pii_vault(cast, &cast.dba, &["key-rotation", "token-key", "cut-over"], &[]).await?.succeeded()?;
    analyse::report(stage, cast, "masked_ip", &sample.repeated_ips()).await?;
    let same = format!("SELECT count(*) FROM user_logins WHERE masked_ip = '{token}'");
    let same = stage.value(cast, &cast.analyst, &same).await?;
    ensure!(same == "0", "{same} rows still show a token of the old key");
    for step in [vec!["finish"], [&["retire"], WHY].concat()] {
        let arguments = [&["key-rotation", "token-key"], &step[..]].concat();
        stage.pii_vault(cast, &cast.dba, &arguments, &[]).await?.succeeded()?;
    }
    stage.heading("Nothing is left on an old key, and the log has all of it")?;
    let verify = ["key-rotation", "token-key", "verify"];
    stage.pii_vault(cast, &cast.reseal_service, &verify, &[]).await?.succeeded()?;
    let heard = stage.pii_vault(cast, &cast.auditor, &["key-rotation", "status"], &[]).await?.succeeded()?;
    ensure!(heard.text.contains("retired"), "status shows no retired key:\n{}", heard.text);
    stage.pii_vault(cast, &cast.auditor, &["audit", "verify"], &[]).await?.succeeded().map(drop)
}

async fn old_keys(stage: &mut Stage, cast: &Cast, table: &str) -> Result<String> {
    let sql = format!("SELECT string_agg(quote_literal(id), ', ') FROM pii_vault.{table}");
    stage.value(cast, &cast.superuser, &sql).await
}
