//! `audit export` writes what `audit verify --export` needs, whole or in part, and nothing else is taken for it.

use serde_json::Value;

use crate::audit_tamperings::Scene;
use crate::support::{Finished, Who};

fn lines(export: &Finished) -> Vec<Value> {
    export.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_a_header_then_entries_with_their_checkpoints() {
    let scene = Scene::told().await;
    let export = scene.export(&[]);
    assert_eq!(export.stderr, "entries 1 to 22, and 2 checkpoints\n");
    let lines = lines(&export);
    let forms: Vec<_> = lines.iter().map(|line| line["format"].as_str().unwrap()).collect();
    let (header, entry, checkpoint) =
        ("pii-vault/v1/audit-export", "pii-vault/v1/audit-entry", "pii-vault/v1/checkpoint");
    let expected = [vec![header], vec![entry; 19], vec![checkpoint], vec![entry; 2], vec![checkpoint], vec![entry]];
    assert_eq!(forms, expected.concat());
    assert_eq!(
        (&lines[0]["first_seq"], &lines[0]["last_seq"], &lines[0]["head_seq"]),
        (&1.into(), &22.into(), &22.into())
    );
    // Copies as they lie in the directory, byte for byte.
    let copy = std::fs::read_to_string(format!("{}/00000000000000000019.json", scene.copies())).unwrap();
    assert!(export.stdout.contains(&format!("\n{copy}")));
    // Each entry as the page has it, in SQL.
    let sql = "SELECT json_build_object('format', 'pii-vault/v1/audit-entry', 'vault_id', v.id, 'seq', l.seq,
            'at', (extract(epoch FROM l.at) * 1000000)::bigint, 'action', l.action,
            'actor', l.actor, 'role', l.role, 'client_address', l.client_address, 'claimed_host', l.claimed_host,
            'claimed_version', l.claimed_version, 'decision', l.decision, 'refusal', l.refusal, 'reason', l.reason,
            'case_id', l.case_id, 'subject', l.subject, 'details', l.details::text, 'hash', encode(l.hash, 'hex'))::text
        FROM pii_vault.audit_log AS l CROSS JOIN pii_vault.vault AS v ORDER BY l.seq";
    let stored: Vec<Value> = (scene.story.world.sql.query(sql, &[]).await.unwrap().iter())
        .map(|row| serde_json::from_str(row.get(0)).unwrap())
        .collect();
    let entries: Vec<_> = lines.iter().filter(|line| line["format"] == entry).cloned().collect();
    assert_eq!(entries, stored);

    let report = scene.verify_export().done().json();
    assert_eq!((&report["entries"], &report["signed"]["seq"], &report["part"]), (&22.into(), &21.into(), &Value::Null));
    let note = &report["notes"][0];
    assert_eq!(
        (&note["word"], &note["seq"], &note["count"]),
        (&"unsigned".into(), &22.into(), &1.into()),
        "{report:#}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_goes_to_a_new_file_that_others_cannot_read() {
    use std::os::unix::fs::PermissionsExt as _;

    let scene = Scene::told().await;
    let path = scene.folder.join("log.jsonl");
    let out = path.to_str().unwrap();
    let done = scene.export(&["--out", out, "--output", "json"]).json();
    assert_eq!((&done["entries"], &done["checkpoints"]), (&22.into(), &2.into()), "{done}");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let before = std::fs::read(&path).unwrap();
    let again = scene.story.world.pii_vault(Who::Auditor, &["audit", "export", "--out", out]).finish().exits(1);
    assert!(again.stderr.contains("not overwritten"), "{}", again.stderr);
    assert_eq!(std::fs::read(&path).unwrap(), before);

    let args = [
        "audit",
        "verify",
        "--export",
        out,
        "--checkpoints",
        scene.copies(),
        "--public-key",
        scene.key.to_str().unwrap(),
    ];
    let human = scene.story.world.pii_vault(Who::Auditor, &args).finish().done();
    let verdict = "verified: the log is whole, and what it allowed follows from it; signatures show that nothing up to \
                   entry 21 was made anew, and say nothing yet of the last 1\n";
    assert!(human.stdout.ends_with(verdict), "{}", human.stdout);
    // Who may not read the log may not export it.
    scene.story.world.pii_vault(Who::Officer, &["audit", "export"]).finish().exits(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_follows_from_the_hash_before_it() {
    let scene = Scene::told().await;
    let world = &scene.story.world;
    let at = async |seq: i64| -> String {
        let sql = "SELECT to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') FROM pii_vault.audit_log WHERE seq = $1";
        world.sql.query_one(sql, &[&seq]).await.unwrap().get(0)
    };
    let trusted = ["--checkpoints", scene.copies(), "--public-key", scene.key.to_str().unwrap()];
    let (since, until) = (at(5).await, at(21).await);
    let part = scene.export(&["--since", &since, "--until", &until]).stdout;
    let report = scene.verify_text(&part, &trusted).finish().done().json();
    assert_eq!(report["part"], serde_json::json!({"first_seq": 5, "last_seq": 20}), "{report:#}");
    assert_eq!((&report["entries"], &report["signed"]["seq"]), (&16.into(), &19.into()), "{report:#}");
    assert!(report["notes"].to_string().contains("\"part\""), "{report:#}");
    // One that begins with the log is replayed.
    let beginning = scene.export(&["--until", &until]).stdout;
    let report = scene.verify_text(&beginning, &trusted).finish().done().json();
    assert!(!report["notes"].to_string().contains("\"part\""), "{report:#}");
    let end = scene.export(&["--since", &since]).stdout;
    let report = scene.verify_text(&end, &trusted).finish().done().json();
    assert_eq!((&report["part"]["last_seq"], &report["signed"]["seq"]), (&22.into(), &21.into()), "{report:#}");
    let none = scene.export(&["--since", "2099-01-01"]).stdout;
    let report = scene.verify_text(&none, &trusted).finish().done().json();
    assert_eq!(report["entries"], 0, "{report:#}");

    let found = |export: &str| {
        let report = scene.verify_text(export, &trusted).finish().exits(4).json();
        (report["findings"][0]["word"].as_str().unwrap().to_owned(), report["findings"][0]["seq"].as_i64().unwrap())
    };
    // Another hash before it, a line less at either end, and a head that a signature contradicts.
    let hash = part.split("\"hash_before\":\"").nth(1).unwrap()[..64].to_owned();
    assert_eq!(found(&part.replacen(&hash, &"7".repeat(64), 1)), ("hash".to_owned(), 5));
    let without = |line: usize| {
        part.lines().enumerate().filter(|(i, _)| *i != line).map(|(_, line)| format!("{line}\n")).collect::<String>()
    };
    assert_eq!(found(&without(1)), ("gap".to_owned(), 6));
    assert_eq!(found(&without(part.lines().count() - 1)), ("head".to_owned(), 20));
    assert_eq!(found(&part.replacen("\"head_seq\":22", "\"head_seq\":20", 1)).0, "head");
    assert_eq!(found(&part.replacen("\"case_id\":", "\"more\":1,\"case_id\":", 1)), ("line".to_owned(), 4));

    for no_export in ["", "{}\n", &without(0)] {
        let refused = scene.verify_text(no_export, &trusted).finish().exits(1);
        assert!(refused.stderr.contains("this is no export of an audit log"), "{}", refused.stderr);
    }
}
