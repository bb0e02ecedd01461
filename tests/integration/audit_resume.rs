//! A database that was restored from an older dump: refused by the notary, brought back into service by one entry, which
//! every verification tells for ever; and forgeries of that entry.

use pii_vault::crypto::checkpoint::SignedCheckpoint;
use uuid::Uuid;

use crate::audit_tamperings::{Scene, assert_found};
use crate::support::receipts::{arm, fetch};
use crate::support::{Finished, Who, dump, lay_hands_on, put_back, restore};

/// The last entry that was signed of what is lost; one more was not.
const SIGNED: i64 = 26;

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_log_goes_on_after_one_entry_that_tells_what_is_lost() {
    let (scene, receipt, _) = restored().await;
    let world = &scene.story.world;
    let refused = sign(&scene).exits(4);
    assert!(refused.stderr.contains("an older database was put back"), "{}", refused.stderr);
    assert_found("not told", &scene.verify().exits(4), &[("checkpoint_ahead", 24)]);
    assert_found("not told", &scene.verify_export().exits(4), &[("checkpoint_ahead", 24)]);
    let officer = world.connect(Who::Officer).await;
    assert_eq!(fetch(&officer, receipt).await, Ok(5), "the same server: nothing else closes it");

    let planned = resume(&scene, &["--dry-run"]).done().json();
    assert_eq!((planned["recorded"].as_bool(), planned["seq"].as_i64()), (Some(false), Some(27)), "{planned}");
    let told = resume(&scene, &[]).done().json();
    for (member, value) in [("seq", 27), ("last", 23), ("lost_after", 23), ("lost_through", 26), ("closed_receipts", 1)]
    {
        assert_eq!(told[member].as_i64(), Some(value), "{member} of {told}");
    }
    let again = resume(&scene, &[]).exits(3).json();
    assert_eq!(again["refused"], "nothing_restored");
    assert!(again["because"].as_str().unwrap().contains("nothing tells"), "{again}");

    assert_eq!(fetch(&officer, receipt).await, Err("stale".to_owned()));
    assert_eq!(arm(&officer, receipt).await, Err("stale".to_owned()));
    let settle = "SELECT pii_vault.settle_unmask($1, 5, '{}', '{}')";
    let refused = officer.execute(settle, &[&receipt]).await.unwrap_err();
    assert_eq!(refused.as_db_error().unwrap().constraint(), Some("stale"));

    assert_eq!(sign(&scene).done().json()["seq"], 27);
    scene.append().await;
    assert_eq!(sign(&scene).done().json()["seq"], 28);
    let [lost, first, second] = [26, 27, 28].map(|seq| copy(&scene, seq));
    assert_eq!(first.checkpoint.previous_hash, lost.checkpoint.hash());
    assert_eq!(second.checkpoint.previous_hash, first.checkpoint.hash());

    for verified in [scene.verify().done(), scene.verify_export().done()] {
        let report = verified.json();
        assert_eq!(report["signed"]["seq"], 28);
        let notes = report["notes"].as_array().unwrap();
        assert!(notes.iter().all(|note| note["word"] != "unsigned"), "{notes:?}");
        let lost = notes.iter().find(|note| note["word"] == "lost").expect("a note");
        let what = lost["what"].as_str().unwrap();
        assert!(what.contains("after entry 23, up to entry 26") && what.contains("a broken disk"), "{what}");
    }
    let report = world.pii_vault(Who::Auditor, &["audit", "report", "--case", "CASE-1"]).finish().done().stdout;
    assert!(report.contains("was lost in a restore"), "{report}");
    let shown = world.pii_vault(Who::Auditor, &["audit", "show", "27"]).finish().done().stdout;
    assert!(shown.contains("a broken disk") && shown.contains("\"lost_after\": 23"), "{shown}");
    let doctor = world.pii_vault(Who::Administrator, &["doctor", "--output", "json"]).finish().json();
    let finding = |check: &str| doctor.as_array().unwrap().iter().find(|found| found["check"] == check).unwrap();
    assert!(finding("restored")["detail"].as_str().unwrap().contains("since entry 27"), "{doctor}");

    // A part that would begin behind the numbers that are passed over begins before them.
    let at = "SELECT to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.USZ') FROM pii_vault.audit_log WHERE seq = 27";
    let at: String = world.sql.query_one(at, &[]).await.unwrap().get(0);
    let part = scene.export(&["--since", &at]).stdout;
    assert!(part.contains("\"first_seq\":23,\"last_seq\":28"), "{part}");
    scene.verify_text(&part, &scene.trusted()).finish().done();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_went_on_before_it_was_noticed_is_taken_by_who_says_so() {
    let (scene, _, dump) = restored().await;
    scene.append().await;
    let refused = resume(&scene, &[]).exits(4);
    assert!(refused.stderr.contains("--went-on") && refused.stderr.contains("after entry 21"), "{}", refused.stderr);
    let told = resume(&scene, &["--went-on"]).done().json();
    assert_eq!((&told["seq"], &told["last"], &told["lost_after"]), (&27.into(), &24.into(), &21.into()), "{told}");
    sign(&scene).done();
    for verified in [scene.verify().done(), scene.verify_export().done()] {
        let notes = verified.json()["notes"].to_string();
        assert!(
            notes.contains("after entry 21, up to entry 26, was lost") && notes.contains("entries 22 to 24"),
            "{notes}"
        );
    }

    // The same dump once more: beyond the numbers that were passed over, and what came after them.
    scene.append().await;
    sign(&scene).done();
    let scene = restored_to(scene, &dump).await;
    // And the dump is of a moment at which a copy was there already, and its row was not yet.
    let unstored = "ALTER TABLE pii_vault.checkpoints DISABLE TRIGGER USER; DELETE FROM pii_vault.checkpoints WHERE seq = 21;
         ALTER TABLE pii_vault.checkpoints ENABLE ALWAYS TRIGGER no_row_is_changed, ENABLE ALWAYS TRIGGER nothing_is_changed";
    scene.story.world.sql.batch_execute(unstored).await.unwrap();
    let told = resume(&scene, &[]).done().json();
    assert_eq!((&told["seq"], &told["last"], &told["lost_through"]), (&29.into(), &23.into(), &28.into()), "{told}");
    let signed = sign(&scene).done().json();
    assert_eq!((&signed["taken_over"], &signed["signed"]), (&1.into(), &1.into()), "{signed}");
    assert_eq!(copy(&scene, 29).checkpoint.previous_hash, copy(&scene, 28).checkpoint.hash());
    scene.verify().done();
    scene.verify_export().done();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_entry_is_named() {
    let (scene, _, _) = restored().await;
    let world = &scene.story.world;
    lay_hands_on(world).await;
    let record = |after: &str, named: &str| {
        format!(
            "SELECT pii_vault.record_restored('forged', h.seq, h.hash, {after}, {named}) FROM pii_vault.audit_head AS h"
        )
    };
    let invented = "26, sha256('a'), sha256('b'), now(), 'key', decode(repeat('ab', 70), 'hex')";
    let of_copy = |seq: i64| {
        let signed = copy(&scene, seq);
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let checkpoint = signed.checkpoint;
        format!(
            "{seq}, '\\x{}', '\\x{}', timestamptz 'epoch' + {} * interval '1 microsecond', 'key', '\\x{}'",
            hex(&checkpoint.head_hash),
            hex(&checkpoint.previous_hash),
            checkpoint.at.0,
            hex(&signed.signature)
        )
    };
    let honest = record("23", &of_copy(SIGNED));
    let edit = |member: &str, value: &str| {
        format!("{honest}; SELECT public.edit(27, '{member}', '{value}'), public.rechain()")
    };
    for (name, sql, word, seq) in [
        ("no checkpoint", record("23", invented), "restored_checkpoint", 27),
        ("an older checkpoint", record("23", &of_copy(24)), "checkpoint_ahead", 26),
        ("other bounds", edit("lost_after", "24"), "restored", 27),
        ("another entry before", edit("last", "22"), "restored", 27),
        ("nothing lost", edit("checkpoint", "null"), "gap", 27),
        (
            "another action",
            format!("{honest}; UPDATE pii_vault.audit_log SET action = 'policy' WHERE seq = 27"),
            "gap",
            27,
        ),
        (
            "an entry before it that was altered",
            format!("{honest}; UPDATE pii_vault.audit_log SET reason = 'x' WHERE seq = 8; SELECT public.rechain()"),
            "checkpoint_head",
            19,
        ),
        (
            "entries before it that are gone",
            format!("{honest}; DELETE FROM pii_vault.audit_log WHERE seq IN (22, 23); SELECT public.rechain()"),
            "restored",
            27,
        ),
    ] {
        world.sql.batch_execute(&sql).await.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_found(name, &scene.verify().exits(4), &[(word, seq)]);
        assert_found(name, &scene.verify_export().exits(4), &[(word, seq)]);
        let refused = sign(&scene).exits(4);
        assert!(refused.stderr.contains("ALARM"), "{name}: {}", refused.stderr);
        put_back(world).await;
    }
    world.sql.batch_execute(&honest).await.unwrap();
    scene.verify().done();
    sign(&scene).done();
    // A copy that is newer than the one that is named, from a sink which was not looked at.
    put_back(world).await;
    world.sql.batch_execute(&honest).await.unwrap();
    let refused = sign(&scene).exits(4);
    assert!(refused.stderr.contains("entry 27 with another hash"), "{}", refused.stderr);
    assert_found("newer", &scene.verify().exits(4), &[("checkpoint_head", 27)]);
}

/// Dumped at entry 23, which has an open receipt; then more is recorded, and signed at 24 and [`SIGNED`], then the dump is restored.
async fn restored() -> (Scene, Uuid, Vec<u8>) {
    let scene = Scene::told().await;
    let receipt = scene.story.unmask("{ip}", "2026-01-02", "CASE-2", false).await;
    let dump = dump(&scene.story.world);
    scene.append().await;
    sign(&scene).done();
    scene.append().await;
    scene.append().await;
    sign(&scene).done();
    scene.append().await;
    (restored_to(scene, &dump).await, receipt, dump)
}

async fn restored_to(mut scene: Scene, dump: &[u8]) -> Scene {
    restore(&mut scene.story.world, dump).await;
    scene
}

fn sign(scene: &Scene) -> Finished {
    let key = scene.key.to_str().unwrap();
    let args = ["audit", "checkpoint", "--output", "json", "--sink", scene.copies(), "--public-key", key];
    scene.story.world.pii_vault(Who::Notary, &args).finish()
}

fn resume(scene: &Scene, args: &[&str]) -> Finished {
    let key = scene.key.to_str().unwrap();
    let all = [
        "audit",
        "resume",
        "--output",
        "json",
        "--reason",
        "a broken disk",
        "--sink",
        scene.copies(),
        "--public-key",
        key,
    ];
    scene.story.world.pii_vault(Who::Administrator, &[&all, args].concat()).finish()
}

fn copy(scene: &Scene, seq: i64) -> SignedCheckpoint {
    let path = scene.folder.join("copies").join(SignedCheckpoint::file_name(seq));
    SignedCheckpoint::from_copy(&std::fs::read(path).unwrap()).unwrap()
}
