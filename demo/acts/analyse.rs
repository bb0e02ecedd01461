//! What masked rows are good for, and what they do not give away.

use anyhow::{Result, ensure};

use crate::cast::Cast;
use crate::sample::{Group, Sample};
use crate::stage::Stage;

pub(crate) async fn rows(stage: &mut Stage, cast: &Cast) -> Result<()> {
    stage.heading("What the analyst sees")?;
    let sql = "SELECT left(user_id, 8) AS user_id, device_type, left(masked_ip, 16) AS masked_ip,\n  \
               left(masked_device_id, 16) AS masked_device_id, locale, app_version, create_date\n\
               FROM user_logins ORDER BY user_id LIMIT 5";
    let heard = stage.psql(cast, &cast.analyst, &[sql]).await?.succeeded()?;
    ensure!(heard.text.contains("(5 rows)"), "user_logins shows no five rows");
    Ok(())
}

pub(crate) async fn duplicates(stage: &mut Stage, cast: &Cast, sample: &Sample) -> Result<()> {
    stage.heading("Duplicates show, although nobody can tell of what")?;
    report(stage, cast, "masked_ip", &sample.repeated_ips()).await?;
    report(stage, cast, "masked_device_id", &sample.repeated_device_ids()).await?;

    let [plain, mapped] = sample.two_spellings()?;
    stage.say(&format!("\nTwo users came from {} and {}: one address, one token.", plain.ip, mapped.ip))?;
    let chosen =
        format!("FROM user_logins\nWHERE user_id IN ('{}',\n                  '{}')", plain.user_id, mapped.user_id);
    stage.psql(cast, &cast.analyst, &[&format!("SELECT user_id, masked_ip {chosen}")]).await?.succeeded()?;
    let found = format!("SELECT count(*), count(DISTINCT masked_ip) {chosen}");
    let found = stage.value(cast, &cast.analyst, &found).await?;
    ensure!(found == "2|1", "{} and {} are not two rows with one token ({found})", plain.ip, mapped.ip);
    Ok(())
}

pub(crate) async fn refusals(stage: &mut Stage, cast: &Cast) -> Result<()> {
    stage.heading("What the analyst is refused")?;
    for sql in ["SELECT ip_ciphertext FROM pii_vault.login_events", "SELECT * FROM pii_vault.token_keys"] {
        stage.psql(cast, &cast.analyst, &[sql]).await?.refused("schema pii_vault")?;
    }
    Ok(())
}

/// Shows which values come more than once, and compares that with what the originals say.
pub(crate) async fn report(stage: &mut Stage, cast: &Cast, column: &str, expected: &[Group]) -> Result<()> {
    let sql = format!(
        "SELECT {column}, count(*) AS logins, count(DISTINCT user_id) AS users\n\
         FROM user_logins GROUP BY {column} HAVING count(*) > 1 ORDER BY logins DESC, users DESC"
    );
    stage.psql(cast, &cast.analyst, &[&sql]).await?.succeeded()?;
    let groups = format!("SELECT coalesce(string_agg(logins || '/' || users, ' '), '') FROM ({sql}) AS report");
    let found = stage.value(cast, &cast.analyst, &groups).await?;
    let expected: Vec<_> = expected.iter().map(|group| format!("{}/{}", group.logins, group.users)).collect();
    let expected = expected.join(" ");
    ensure!(found == expected, "duplicates by {column} (logins/users) are {found}, but of the originals {expected}");
    Ok(())
}
