use super::finding::shortened;
use super::{Finding, Status};
use crate::db::access_policy::{self, AccessPolicy};
use crate::db::inspect::contents::{self, Orphans, SAMPLE};
use crate::db::{Connection, DbError, migrations};
use crate::domain::Purpose;

/// Days. A sealing key is used for one; what is left `active` is the normal trace of a process that ended.
const OLD_SEALING_KEY: i64 = 90;
const OLD_TOKEN_KEY: i64 = 365;
const MANY_DEAD_LETTERS: i64 = 100;

/// The schema's version, the vault's row, the keys, whether rows and keys go together, and what may be opened.
pub(super) async fn check(conn: &mut Connection) -> Vec<Finding> {
    vec![
        schema(migrations::versions(conn).await),
        vault(contents::vaults(conn).await),
        token_key(contents::token_key_ages(conn).await),
        sealing_keys(contents::sealing_key_ages(conn).await),
        orphans(contents::orphans(conn).await),
        dead_letters(contents::dead_letters(conn).await),
        policy(access_policy::current(conn).await),
    ]
}

fn schema(versions: Result<migrations::Versions, DbError>) -> Finding {
    const CHECK: &str = "schema-version";
    match versions {
        Err(error) => Finding::unchecked(CHECK, &error),
        Ok(versions) if !versions.unknown.is_empty() => Finding::bad(
            CHECK,
            Status::Fail,
            format!("migrations that this program does not know: {}", shortened(&versions.unknown)),
            "a newer version made them; use that one",
        ),
        Ok(versions) if !versions.missing.is_empty() => Finding::bad(
            CHECK,
            Status::Fail,
            format!("migrations that are not applied: {}", shortened(&versions.missing)),
            "run `pii-vault init`",
        ),
        Ok(versions) => Finding::ok(CHECK, format!("all {} migrations are applied", versions.applied)),
    }
}

fn vault(ids: Result<Vec<String>, DbError>) -> Finding {
    match ids.as_deref() {
        Err(error) => Finding::unchecked("vault", error),
        Ok([id]) => Finding::ok("vault", id.as_str()),
        Ok(_) => Finding::bad(
            "vault",
            Status::Fail,
            "it has no id, or more than one",
            "if it is new, run `pii-vault init`; if it holds events, restore pii_vault.vault from a backup: \
             no value opens without the id that it was sealed for",
        ),
    }
}

fn token_key(ages: Result<Vec<i64>, DbError>) -> Finding {
    const CHECK: &str = "token-key";
    match ages.as_deref() {
        Err(error) => Finding::unchecked(CHECK, error),
        Ok([days]) if *days > OLD_TOKEN_KEY => Finding::bad(
            CHECK,
            Status::Warn,
            format!("the active token key is {days} days old"),
            "plan its rotation; who has it and a copy of the tokens finds every IPv4 address",
        ),
        Ok([days]) => Finding::ok(CHECK, format!("one is active, {days} days old")),
        Ok(keys) => Finding::bad(
            CHECK,
            Status::Fail,
            format!("{} are active; it must be one", keys.len()),
            "if the vault is new, run `pii-vault init`; if it holds events, restore pii_vault.token_keys from a backup",
        ),
    }
}

fn sealing_keys(ages: Result<Vec<(Purpose, i64)>, DbError>) -> Finding {
    const CHECK: &str = "sealing-keys";
    let ages = match ages {
        Ok(ages) => ages,
        Err(error) => return Finding::unchecked(CHECK, &error),
    };
    let of = |wanted: Purpose| {
        let ages = ages.iter().filter(|(purpose, _)| *purpose == wanted);
        (ages.clone().filter(|(_, days)| *days > OLD_SEALING_KEY).count(), ages.count())
    };
    let (data, letters) = (of(Purpose::Data), of(Purpose::DeadLetter));
    let told = |(old, all), kind: &str| (old > 0).then(|| format!("{old} of {all} {kind} keys"));
    let old: Vec<_> = [told(data, "data"), told(letters, "dead-letter")].into_iter().flatten().collect();
    match old.is_empty() {
        true => Finding::ok(
            CHECK,
            format!(
                "{} data keys and {} dead-letter keys open rows, none over {OLD_SEALING_KEY} days",
                data.1, letters.1
            ),
        ),
        false => Finding::bad(
            CHECK,
            Status::Warn,
            format!("{} are over {OLD_SEALING_KEY} days old", old.join(" and ")),
            "the longer a key opens what it sealed, the more its loss would show: `pii-vault key-rotation data-key run \
             --max-age 90d`; dead letters: redrive them, or let retention delete them",
        ),
    }
}

fn orphans(orphans: Result<Orphans, DbError>) -> Finding {
    const CHECK: &str = "keys-of-rows";
    match orphans {
        Err(error) => Finding::unchecked(CHECK, &error),
        Ok(Orphans { without_data_key: 0, without_token_key: 0, letters_without_key: 0 }) => {
            Finding::ok(CHECK, format!("the newest {SAMPLE} rows name keys that are there"))
        }
        Ok(found) => Finding::bad(
            CHECK,
            Status::Broken,
            format!(
                "of the newest {SAMPLE} rows, {} events name a data key, {} a token key and {} dead letters a key that \
                 is not there",
                found.without_data_key, found.without_token_key, found.letters_without_key
            ),
            "rows or wrapped keys were changed behind the program's back: stop ingestion, keep the server's log, and \
             restore data_keys, token_keys and dead_letter_keys from a backup beside them",
        ),
    }
}

fn dead_letters(counts: Result<Vec<(String, i64)>, DbError>) -> Finding {
    const CHECK: &str = "dead-letters";
    let counts = match counts {
        Ok(counts) => counts,
        Err(error) => return Finding::unchecked(CHECK, &error),
    };
    let total: i64 = counts.iter().map(|(_, count)| count).sum();
    let by_reason: Vec<_> = counts.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    match total {
        0 => Finding::ok(CHECK, "none"),
        1..=MANY_DEAD_LETTERS => Finding::ok(CHECK, shortened(&by_reason)),
        _ => Finding::bad(
            CHECK,
            Status::Warn,
            format!("{total}: {}", shortened(&by_reason)),
            "has a producer changed its messages? `pii-vault etl dead-letters list` shows reason and member of each",
        ),
    }
}

fn policy(policy: Result<Option<AccessPolicy>, DbError>) -> Finding {
    const CHECK: &str = "access-policy";
    match policy {
        Err(error) => Finding::unchecked(CHECK, &error),
        Ok(Some(policy)) => Finding::ok(
            CHECK,
            format!("{} values alone in 24 hours, {} approvals for more", policy.alone_limit, policy.approvals),
        ),
        Ok(None) => Finding::bad(
            CHECK,
            Status::Warn,
            "none is set, so nothing opens",
            "set one, before an officer needs it: `pii-vault access policy set --reason …`",
        ),
    }
}
