//! What is handed out of a rotation beside the pages of its work: recorded, committed, armed, and only then fetched.

use serde_json::json;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::support::{Who, World};

/// The word that says why, else the SQLSTATE, else how many rows came.
async fn told(conn: &Client, sql: &str) -> String {
    match conn.query(sql, &[]).await {
        Ok(rows) => rows.len().to_string(),
        Err(error) => {
            let error = error.as_db_error().unwrap();
            error.constraint().unwrap_or(error.code().code()).to_owned()
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_the_token_key_s_sample_go_out_for_a_committed_armed_fresh_record_of_their_own() {
    let world = World::vault().await;
    world.import(40);
    world.token_key(&["run", "--reason", "x"]).done();
    let reseal = world.connect(Who::Reseal).await;
    let job: Uuid = world.token_job().await["id"].as_str().unwrap().parse().unwrap();
    let record = format!("SELECT pii_vault.record_sample('{job}', 7)");
    let arm = |id: Uuid| format!("SELECT pii_vault.arm_handout('{id}')");
    let fetch = |id: Uuid| format!("SELECT FROM pii_vault.fetch_sample('{id}')");
    let new = async |sql: &str| -> Uuid { reseal.query_one(sql, &[]).await.unwrap().get(0) };
    // The job is recorded, armed and committed, and that is not enough.
    assert_eq!(told(&reseal, &fetch(job)).await, "unknown_handout");
    reseal.batch_execute("BEGIN").await.unwrap();
    let gone = new(&record).await;
    assert_eq!(told(&reseal, &arm(gone)).await, "unknown_handout", "in the transaction that recorded it");
    reseal.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(told(&reseal, &fetch(gone)).await, "unknown_handout");

    let sample = new(&record).await;
    assert_eq!(told(&reseal, &fetch(sample)).await, "not_armed");
    reseal.batch_execute("BEGIN").await.unwrap();
    assert_eq!(told(&reseal, &arm(sample)).await, "1");
    assert_eq!(told(&reseal, &fetch(sample)).await, "not_armed", "in the transaction that arms it");
    reseal.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(told(&reseal, &arm(sample)).await, "1");
    for _ in 0..2 {
        assert_eq!(told(&reseal, &fetch(sample)).await, "7", "the same ones, as often as asked for");
    }
    reseal.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ").await.unwrap();
    assert_eq!(told(&reseal, &fetch(sample)).await, "25000");
    reseal.batch_execute("ROLLBACK").await.unwrap();
    let entry = world.log("key_rotation").await.pop().unwrap();
    assert_eq!((&entry["subject"], &entry["details"]["step"]), (&json!(job), &json!("sample")));
    assert_eq!((&entry["details"]["handout"], &entry["details"]["rows"]), (&json!(sample), &json!(7)));

    // A sample is no map, and a map no sample.
    let map = new(&format!("SELECT pii_vault.record_token_map('{job}', 'x')")).await;
    reseal.batch_execute(&arm(map)).await.unwrap();
    assert_eq!(told(&reseal, &fetch(map)).await, "unknown_handout");
    let pairs = |id: Uuid| format!("SELECT FROM pii_vault.fetch_token_map('{id}', 'ip', '', '')");
    assert_eq!(
        (told(&reseal, &pairs(map)).await, told(&reseal, &pairs(sample)).await.as_str()),
        ("40".to_owned(), "unknown_handout")
    );

    let set = async |set: &str| {
        world.sql.batch_execute(&format!("UPDATE pii_vault.rotation_handouts SET {set}")).await.unwrap();
    };
    set("recorded_at = recorded_at - interval '10 minutes'").await;
    assert_eq!(
        (told(&reseal, &fetch(sample)).await.as_str(), told(&reseal, &pairs(map)).await.as_str()),
        ("stale", "40")
    );
    set("recorded_at = clock_timestamp(), armed_at_lsn = 'FFFFFFFF/0'").await;
    assert_eq!(told(&reseal, &fetch(sample)).await, "not_durable");
    set("armed_at_lsn = '0/1'").await;
    world.sql.batch_execute("SELECT pii_vault.set_policy(NULL, NULL, NULL, NULL, 'required', 'x')").await.unwrap();
    assert_eq!(told(&reseal, &fetch(sample)).await, "no_checkpoint");
    world.sql.batch_execute("SELECT pii_vault.set_policy(NULL, NULL, NULL, NULL, 'scheduled', 'x')").await.unwrap();
    assert_eq!(told(&reseal, &fetch(sample)).await, "7");
    world.sql.batch_execute("UPDATE pii_vault.rotation_jobs SET step = 'emptying'").await.unwrap();
    assert_eq!(told(&reseal, &record).await, "not_filled", "its rows are under one key or both");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_verification_has_an_entry_that_names_its_rows() {
    let world = World::vault().await;
    world.import(40);
    world.token_key(&["run", "--reason", "x"]).done();
    world.token_key(&["verify", "--sample", "0"]).done();
    assert_eq!(world.rotation_steps().await, ["start", "filled"], "nothing was opened");
    let verified = world.token_key(&["verify", "--sample", "9"]).done().json();
    assert_eq!((&verified["sampled"], &verified["wrong"]), (&json!(9), &json!([])));
    assert_eq!(world.rotation_steps().await, ["start", "filled", "sample"]);
    // Of another's value, in either slot.
    for slot in ["a", "b"] {
        let alter = format!(
            "UPDATE pii_vault.login_events SET ip_token_{slot} = repeat('x', 43)
             WHERE event_id = (SELECT min(event_id::text)::uuid FROM pii_vault.login_events)"
        );
        world
            .sql
            .batch_execute(&format!("CREATE TABLE public.kept AS SELECT * FROM pii_vault.login_events; {alter}"))
            .await
            .unwrap();
        let found = world.token_key(&["verify"]).exits(4).json();
        assert_eq!((&found["sampled"], &found["wrong"][0]["why"]), (&json!(40), &json!("token_mismatch")), "{slot}");
        let back = format!(
            "UPDATE pii_vault.login_events AS e SET ip_token_{slot} = k.ip_token_{slot} FROM public.kept AS k
             WHERE k.event_id = e.event_id; DROP TABLE public.kept"
        );
        world.sql.batch_execute(&back).await.unwrap();
    }
    world.token_key(&["verify"]).done();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_takes_too_long_is_told_so_in_words_of_its_own() {
    let world = World::vault().await;
    world.import(3);
    world.token_key(&["run", "--reason", "x"]).done();
    world
        .sql
        .batch_execute(
            "CREATE FUNCTION public.an_hour_goes_by() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN NEW.recorded_at := NEW.recorded_at - interval '1 hour'; RETURN NEW; END $$;
             CREATE TRIGGER goes_by BEFORE UPDATE ON pii_vault.rotation_handouts
                 FOR EACH ROW EXECUTE FUNCTION public.an_hour_goes_by()",
        )
        .await
        .unwrap();
    let map = ["key-rotation", "token-key", "token-map", "--reason", "x"];
    let refused = world.pii_vault(Who::Reseal, &map).finish().exits(3).stderr;
    assert!(refused.contains("for an hour") && refused.contains("(stale)"), "{refused}");
    assert!(!refused.contains("10 minutes"), "{refused}");
}
