//! Rotations of keys in the audit log: listed, reported, replayed, compared with their table, and with AWS's own record.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::support::jobs::{begin, begin_reseal, note};
use crate::support::{Finished, Who, World, lay_hands_on, put_back};

/// A vault with rotations of each kind: entries 2 to 4, 5 and 6, and 7 to 12.
struct Scene {
    world: World,
    reseal: Client,
    data: Uuid,
    token: Uuid,
}

impl Scene {
    async fn rotated() -> Self {
        let world = World::vault().await;
        world.allow_raw_rotations().await;
        let (reseal, rewrap) = (world.connect(Who::Reseal).await, world.connect(Who::Rewrap).await);
        let keys = [Uuid::from_u128(1), Uuid::from_u128(2)];
        let data = begin_reseal(&reseal, &keys, 1200).await;
        reseal.execute("SELECT pii_vault.pause_rotation($1, 'at night')", &[&data]).await.unwrap();
        reseal.execute("SELECT pii_vault.arm_rotation($1, gen_random_uuid())", &[&data]).await.unwrap();
        let kek = json!({"kind": "kek", "purpose": "dead-letter", "reason": "moved", "total": 3,
            "target_kms_key": "arn:aws:kms:x", "wrapped_before": "2026-01-01 00:00:00.000001+00"});
        let kek = begin(&rewrap, &kek).await;
        note(&rewrap, kek, "done", "done").await;
        let token = json!({"kind": "token-key", "purpose": "token", "reason": "leaked", "total": 9,
            "old_keys": [Uuid::from_u128(3)], "new_key": Uuid::from_u128(4), "old_slot": "a"});
        let token = begin(&reseal, &token).await;
        for (word, step) in [("filled", "filled"), ("cut_over", "cut_over"), ("finish", "emptying"), ("done", "done")] {
            note(&reseal, token, word, step).await;
        }
        reseal.execute("SELECT public.map_tokens($1)", &[&token]).await.unwrap();
        Self { world, reseal, data, token }
    }

    fn audit(&self, args: &[&str]) -> Finished {
        self.world.pii_vault(Who::Auditor, &[&["audit"], args].concat()).finish()
    }

    /// The word and row of each finding.
    fn verify(&self) -> Vec<String> {
        let report = self.audit(&["verify", "--output", "json"]).json();
        let findings = report["findings"].as_array().unwrap().iter();
        findings.map(|found| format!("{} {}", found["word"], found["seq"]).replace('"', "")).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_say_what_was_done_and_the_log_verifies() {
    let scene = Scene::rotated().await;
    assert_eq!(scene.verify(), [""; 0]);
    let listed = scene.audit(&["list", "--action", "key_rotation"]).done().stdout;
    let lines: Vec<_> = listed.lines().skip(1).collect();
    for (line, end) in lines.iter().zip([
        "  data-key rotation of data keys: start, 1200 rows under 2 keys; too old",
        "  data-key rotation of data keys: pause, 0 rows changed; at night",
        "  data-key rotation of data keys: resume, 0 rows changed",
        "  kek rotation of dead-letter keys: start, 3 keys, to arn:aws:kms:x; moved",
        "  kek rotation of dead-letter keys: done, 0 keys changed; decided",
        "  token-key rotation of token keys: start, 9 rows under 1 key; leaked",
        "  token-key rotation of token keys: filled, 0 rows changed; decided",
    ]) {
        assert!(line.ends_with(end), "{line}\n{end}");
    }
    assert_eq!(lines.len(), 11, "{listed}");
    let shown = scene.audit(&["show", "2"]).done().stdout;
    assert!(shown.contains("what              data-key rotation of data keys: start"), "{shown}");
    assert!(shown.contains(&format!("about             {}", scene.data)), "{shown}");
    let details = scene.audit(&["show", "5", "--output", "json"]).done().json()["details"].clone();
    assert_eq!(details["wrapped_before"], 1_767_225_600_000_001_i64);
    // Of an export too, which has no tables.
    let export = scene.audit(&["export"]).done().stdout;
    let args = ["audit", "verify", "--export", "-", "--output", "json"];
    let offline = scene.world.pii_vault_given(Who::Auditor, &args, &[], export.as_bytes()).finish().done().json();
    assert_eq!((&offline["entries"], &offline["findings"]), (&json!(12), &json!([])));

    // More keys than the log lists are held to their hash.
    note(&scene.reseal, scene.data, "done", "done").await;
    let many: Vec<_> = (1..=1001).map(Uuid::from_u128).collect();
    begin_reseal(&scene.reseal, &many, 5).await;
    let details = scene.audit(&["show", "14", "--output", "json"]).done().json()["details"].clone();
    assert_eq!((&details["keys"], &details["old_keys"]), (&json!(1001), &Value::Null));
    assert_eq!(scene.verify(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_tampering_is_named() {
    let scene = Scene::rotated().await;
    let world = &scene.world;
    lay_hands_on(world).await;
    let update = |set: &str, seq: i64| format!("UPDATE pii_vault.rotation_jobs SET {set} WHERE seq = {seq}");
    // Exchanges two entries, but for their numbers.
    let exchange = |one: i64, other: i64| {
        format!(
            "UPDATE pii_vault.audit_log SET seq = 1000 WHERE seq = {one};
             UPDATE pii_vault.audit_log SET seq = {one} WHERE seq = {other};
             UPDATE pii_vault.audit_log SET seq = {other} WHERE seq = 1000; SELECT public.rechain()"
        )
    };
    for (name, sql, found) in [
        (
            "a job that nobody recorded",
            "INSERT INTO pii_vault.rotation_jobs (kind, purpose, seq, recorded_at, reason, target_kms_key, total)
             VALUES ('kek', 'data', 99, now(), 'x', 'arn:aws:kms:x', 1)"
                .to_owned(),
            vec!["rotation_jobs_not_logged 99"],
        ),
        ("more keys", update("old_keys = old_keys || gen_random_uuid()", 2), vec!["rotation_jobs_differs 2"]),
        ("another target", update("target_kms_key = 'arn:aws:kms:y'", 5), vec!["rotation_jobs_differs 5"]),
        ("newer material", update("wrapped_before = now()", 5), vec!["rotation_jobs_differs 5"]),
        ("another new key", update("new_key = gen_random_uuid()", 7), vec!["rotation_jobs_differs 7"]),
        ("another login", update("actor = 'x'", 2), vec!["rotation_jobs_differs 2"]),
        ("gone on after its end", update("step = 'work', ended_at = NULL", 7), vec!["rotation_jobs_differs 7"]),
        ("ended before its end", update("step = 'done', ended_at = now()", 2), vec!["rotation_jobs_differs 2"]),
        ("removed", "DELETE FROM pii_vault.rotation_jobs WHERE seq = 5".to_owned(), vec!["rotation_jobs_gone 5"]),
        // The table says so as well: its job has another place.
        ("finished before it was cut over", exchange(9, 10), vec!["rotation 9"]),
        (
            "done before it began",
            exchange(5, 6),
            vec!["rotation 5", "rotation_jobs_not_logged 5", "rotation_jobs_gone 6"],
        ),
        (
            "a kind that there is not",
            "SELECT public.edit(4, 'kind', '\"all\"'); SELECT public.rechain()".to_owned(),
            vec!["rotation 4"],
        ),
    ] {
        world.sql.batch_execute(&sql).await.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        let words = scene.verify();
        assert!(found.iter().all(|found| words.iter().any(|word| word == found)), "{name}: {words:?}");
        put_back(world).await;
    }
    assert_eq!(scene.verify(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_has_its_rotations() {
    let scene = Scene::rotated().await;
    let month = OffsetDateTime::now_utc().date().to_string()[..7].to_owned();
    for format in ["markdown", "html"] {
        let told = scene.audit(&["report", "--month", &month, "--format", format, "--output", "json"]).done();
        let summary: Value = serde_json::from_str(&told.stderr).unwrap();
        assert_eq!((&summary["rotations"], &summary["others"]), (&json!(11), &json!(1)), "{summary}");
        let section = told.stdout.split_once("Rotations of keys").unwrap().1;
        let section = section.split_once("Timeline").unwrap().0.replace('\\', "");
        for said in [
            "data-key of data keys",
            "too old",
            "0 of 1200 rows changed",
            "kek of dead-letter keys",
            "0 of 3 keys changed",
            "token-key of token keys",
            &format!("reseal_{}", scene.world.id),
        ] {
            assert!(section.contains(said), "{said}: {section}");
        }
        for step in ["start", "pause", "resume", "filled", "cut_over", "finish", "done"] {
            assert!(section.contains(&format!("{step} 20")), "{step}: {section}");
        }
    }
    let case = scene.audit(&["report", "--case", "C-1"]).done().stdout;
    assert!(!case.contains("Rotations of keys"), "{case}");
}

const SERVICE: &str = "arn:aws:sts::111122223333:assumed-role/pii-vault-reseal/x";
const OFFICER: &str = "arn:aws:sts::111122223333:assumed-role/pii-vault-unmask/jane";

#[tokio::test(flavor = "multi_thread")]
async fn unwraps_of_a_rotation_are_explained_by_it() {
    let scene = Scene::rotated().await;
    let vault: Uuid = scene.world.sql.query_one("SELECT id FROM pii_vault.vault", &[]).await.unwrap().get(0);
    let kek: Uuid = scene
        .world
        .sql
        .query_one("SELECT id FROM pii_vault.rotation_jobs WHERE kind = 'kek'", &[])
        .await
        .unwrap()
        .get(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    let unwrap = |job: Uuid, purpose: &str, principal: &str, seconds: i64| {
        let at = OffsetDateTime::from_unix_timestamp(now + seconds).unwrap().format(&Rfc3339).unwrap();
        json!({
            "userIdentity": {"arn": principal}, "eventTime": at, "eventSource": "kms.amazonaws.com",
            "eventName": "Decrypt", "userAgent": format!("aws-sdk-rust/1.3 app/pv-job-{job}"),
            "requestParameters": {"encryptionContext": {"app": "pii-vault", "vault": vault, "purpose": purpose, "key-id": "k"}},
            "eventID": Uuid::new_v4().to_string()
        })
    };
    let reconcile = |entries: &[Value], args: &[&str]| {
        let trail = json!({ "Records": entries }).to_string();
        let reconcile = ["audit", "reconcile", "--output", "json", "--cloudtrail", "-"];
        scene.world.pii_vault_given(Who::Auditor, &[&reconcile, args].concat(), &[], trail.as_bytes()).finish()
    };
    let (data, token) = (scene.data, scene.token);
    let fine = [
        unwrap(data, "data", SERVICE, 0),
        unwrap(data, "data", SERVICE, 9000),
        unwrap(token, "data", SERVICE, 0),
        unwrap(token, "token", SERVICE, 60),
    ];
    let roles = ["--principal", "arn:aws:sts::*:assumed-role/pii-vault-unmask/*", "--reseal-principal", SERVICE];
    let report = reconcile(&fine, &roles).done().json();
    assert_eq!((&report["rotation_unwraps"], &report["data_unwraps"]), (&json!(4), &json!(0)));
    let told = report["rotations"].as_array().unwrap().iter();
    let told: Vec<_> =
        told.map(|one| json!([one["job"], one["seq"], one["kind"], one["purpose"], one["unwraps"]])).collect();
    assert_eq!(
        told,
        [
            json!([data, 2, "data-key", "data", 2]),
            json!([token, 7, "token-key", "data", 1]),
            json!([token, 7, "token-key", "token", 1])
        ]
    );
    assert_eq!((&report["services"], &report["rotations"][0]["principal"]), (&json!([]), &json!(SERVICE)));
    let trail = json!({ "Records": fine }).to_string();
    let args = ["audit", "reconcile", "--cloudtrail", "-"];
    let human = scene.world.pii_vault_given(Who::Auditor, &args, &[], trail.as_bytes()).finish().done().stdout;
    assert!(
        human.contains(&format!("rotation     {data} (data-key): 2 unwraps of data keys by {SERVICE}\n")),
        "{human}"
    );

    for (entry, args, word) in [
        (unwrap(Uuid::from_u128(9), "data", SERVICE, 0), &[][..], "unknown_job"),
        (unwrap(kek, "data", SERVICE, 0), &[], "not_permitted"),
        (unwrap(data, "dead-letter", SERVICE, 0), &[], "not_permitted"),
        (unwrap(data, "data", OFFICER, 0), &roles[2..], "wrong_principal"),
        (unwrap(data, "data", OFFICER, 0), &roles[..2], "unmask_principal"),
        (unwrap(data, "data", SERVICE, -3600), &[], "apart"),
        (unwrap(token, "data", SERVICE, 3600), &[], "apart"),
    ] {
        let found = reconcile(&[entry], args).exits(4).json();
        let words: Vec<_> = found["findings"].as_array().unwrap().iter().map(|found| found["word"].clone()).collect();
        assert_eq!(words, [word], "{found:#}");
        assert!(found["findings"][0]["job"].is_string() && found["findings"][0]["receipt"].is_null(), "{found:#}");
    }
}
