//! `audit list` and `audit show`: what was recorded, for people and for scripts.

use serde_json::Value;

use crate::support::{Finished, Story, Who, World};

fn audit(world: &World, args: &[&str]) -> Finished {
    world.pii_vault(Who::Auditor, &[&["audit"], args].concat()).finish()
}

fn listed(world: &World, args: &[&str]) -> Vec<i64> {
    let finished = audit(world, &[&["list", "--output", "json"], args].concat()).done();
    finished.json().as_array().unwrap().iter().map(|entry| entry["seq"].as_i64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_are_listed_by_who_what_and_when() {
    let story = Story::told().await;
    let world = &story.world;
    assert_eq!(listed(world, &[]), (1..=19).collect::<Vec<_>>());
    assert_eq!(listed(world, &["--limit", "2"]), [18, 19]);
    assert_eq!(listed(world, &["--all", "--action", "unmask", "--action", "lookup"]), [5, 8, 11, 12, 19]);
    assert_eq!(listed(world, &["--limit", "2", "--action", "unmask"]), [11, 19]);
    assert_eq!(listed(world, &["--case", "CASE-2", "--action", "unmask_page"]), [9]);
    assert_eq!(listed(world, &["--actor", &format!("lookup_{}", world.id)]), [12, 13]);
    assert_eq!(listed(world, &["--actor", "nobody"]), [0_i64; 0]);
    let all = audit(world, &["list", "--output", "json"]).done().json();
    let at = all[7]["at"].as_str().unwrap();
    assert_eq!(listed(world, &["--since", at]), (8..=19).collect::<Vec<_>>());
    assert_eq!(listed(world, &["--until", at]), (1..=7).collect::<Vec<_>>());
    assert_eq!(listed(world, &["--until", "2020-01-01"]), [0_i64; 0]);

    let human = audit(world, &["list", "--case", "CASE-2"]).done().stdout;
    let lines: Vec<_> = human.lines().collect();
    assert_eq!(lines.len(), 5, "{human}");
    assert!(lines[4].contains("no: alone_limit") && lines[4].ends_with("fraud"), "{human}");
    assert_eq!(audit(world, &["list", "--actor", "nobody"]).done().stdout.trim(), "no entries");
    // More than a page, and the newest last.
    story
        .world
        .sql
        .batch_execute(
            "SELECT pii_vault.audit_append(clock_timestamp(), pii_vault.audit_origin(), 'init',
        NULL, NULL, NULL, NULL, NULL, '{}') FROM generate_series(1, 1200)",
        )
        .await
        .unwrap();
    assert_eq!(listed(world, &["--all"]), (1..=1219).collect::<Vec<_>>());
    assert_eq!(listed(world, &["--limit", "700"]), (520..=1219).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_is_shown_whole_and_nothing_of_it_moves_the_cursor() {
    let story = Story::told().await;
    let world = &story.world;
    let sql = "SELECT pii_vault.record_unmask('{ip}', '{}', ARRAY[E'\\u202e\\x1b[31m'], '{}', '{}', NULL, NULL,
                   E'red\\x1b[31m\\nline \\u202e', 'CASE-9', NULL, true)";
    story.officer.batch_execute(sql).await.unwrap();
    let shown = audit(world, &["show", "20"]).done().stdout;
    assert!(shown.contains(r"red\u{1b}[31m\u{a}line \u{202e}") && shown.contains("\n    \"rows\": 0,\n"), "{shown}");
    let listed = audit(world, &["list", "--limit", "1"]).done().stdout;
    for text in [&shown, &listed] {
        assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'), "{text}");
    }
    let json = audit(world, &["show", "20", "--output", "json"]).done().json();
    assert_eq!(json["reason"], "red\u{1b}[31m\nline \u{202e}");
    assert_eq!(json["details"]["selector"]["user_ids"][0], "\u{202e}\u{1b}[31m");
    let hash: Vec<u8> = world.sql.query_one("SELECT hash FROM pii_vault.audit_head", &[]).await.unwrap().get(0);
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((&json["hash"], &json["client_address"]), (&Value::from(hex.clone()), &"127.0.0.1".into()));
    assert!(shown.contains(&format!("hash              {hex}\n")), "{shown}");
    let missing = audit(world, &["show", "21"]).exits(1);
    assert!(missing.stderr.contains("there is no entry 21; the log goes from 1 to 20"), "{}", missing.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_the_auditors_alone() {
    let world = World::vault().await;
    for who in [Who::Officer, Who::Approver, Who::Lookup, Who::Ingest, Who::Analyst, Who::Redrive] {
        for args in [["audit", "list"].as_slice(), &["audit", "show", "1"], &["audit", "verify"]] {
            let refused = world.pii_vault(who, args).finish().exits(1);
            assert!(refused.stderr.contains("pii_vault_auditor") && refused.stdout.is_empty(), "{}", refused.stderr);
        }
    }
}
