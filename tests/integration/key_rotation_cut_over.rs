//! `key-rotation token-key cut-over`, `finish`, `rollback`, `retire`: the whole way, with ingestion going on, and back.

use std::time::Duration;

use serde_json::json;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::support::{Analyst, Who, World, duplicates, keys_seen, login};

#[tokio::test(flavor = "multi_thread")]
async fn analysts_see_the_same_duplicates_under_other_tokens_and_ingestion_goes_on() {
    let world = World::vault().await;
    world.send_logins(250).await;
    let ingestion =
        world.pii_vault(Who::Ingest, &["etl", "run", "--wait", "1s", "--linger", "100ms", "--output", "json"]);
    world.wait_for_rows("true", 250).await;
    world.fill_other_slot();
    world.send_logins(20).await;
    world.wait_for_rows("token_key_b IS NOT NULL", 270).await;

    let analyst = world.connect(Who::Analyst).await;
    let before = duplicates(&analyst).await;
    assert!(before.0.iter().any(|group| group.len() == 2) && before.1.iter().any(|group| group.len() > 2));
    let reader = Analyst::asks(world.connect(Who::Analyst).await, Duration::from_millis(20));
    let done = world.administer(&["cut-over"]).finish().done().json();
    assert_eq!(
        (&done["rows"], &done["distinct_ips"], &done["distinct_device_ids"]),
        (&json!(270), &json!(250), &json!(100))
    );
    assert_eq!(world.token_states().await, "a pending, b active; b");
    assert_eq!(duplicates(&analyst).await, before);
    world.send((1_000..1_030).map(|number| login(number).to_string())).await;
    world.wait_for_rows("token_key_a IS NOT NULL AND token_key_b IS NOT NULL", 300).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let saw = reader.saw().await;
    let slots = world.slots().await;
    let keys = [0, 1].map(|slot| slots.iter().map(|(event, slots)| (*event, slots[slot].clone().unwrap())).collect());
    assert_eq!(keys_seen(&saw, &keys), [0, 1], "the keys change places once");

    let before = duplicates(&analyst).await;
    let refused = world.administer(&["retire", "--reason", "too early"]).finish().done().json();
    assert_eq!(refused, json!({"keys": []}), "a pending key is none that is out of use");
    let done = world.administer(&["finish"]).finish().done().json();
    assert_eq!((&done["ended"], &done["emptied"]), (&json!("finished"), &json!(300)));
    assert_eq!(duplicates(&analyst).await, before);
    assert_eq!((world.slot_a_rows().await, world.slot_b_rows().await), (0, 300));
    assert_eq!(world.slot_traces().await, ["device_id_token_b", "ip_token_b"]);
    assert_eq!(world.odd_partitions().await, [""; 0]);
    world.send((2_000..2_030).map(|number| login(number).to_string())).await;
    world.wait_for_rows("token_key_a IS NULL AND token_key_b IS NOT NULL", 330).await;

    let retired = world.administer(&["retire", "--reason", "rotated"]).finish().done().json();
    assert_eq!(retired["keys"][0]["became"], "retired");
    assert_eq!(world.token_states().await, "a retired, b active; b");
    ingestion.signal("TERM");
    let summary = ingestion.finish().done().json();
    assert_eq!(summary["dead_letters"], json!({}));

    // And the other way round.
    let before = duplicates(&analyst).await;
    world.fill_other_slot();
    world.administer(&["cut-over"]).finish().done();
    world.administer(&["finish"]).finish().done();
    world.administer(&["retire", "--reason", "rotated"]).finish().done();
    assert_eq!(world.token_states().await, "a retired, a active, b retired; a");
    assert_eq!((world.slot_a_rows().await, world.slot_b_rows().await), (330, 0));
    assert_eq!(world.slot_traces().await, ["device_id_token_a", "ip_token_a"]);
    assert_eq!(world.odd_partitions().await, [""; 0]);
    assert_eq!(duplicates(&analyst).await, before);
    let steps: Vec<_> = world.rotation_log().await.into_iter().map(|(step, _)| step).collect();
    let one = ["start", "filled", "cut_over", "finish", "done", "retire"];
    assert_eq!(steps, [one, one].concat());
    world.pii_vault(Who::Auditor, &["audit", "verify"]).finish().done();
    let month = "SELECT to_char(at AT TIME ZONE 'UTC', 'YYYY-MM') FROM pii_vault.audit_log ORDER BY seq LIMIT 1";
    let month: String = world.sql.query_one(month, &[]).await.unwrap().get(0);
    let report = world.pii_vault(Who::Auditor, &["audit", "report", "--month", &month]).finish().done().stdout;
    assert_eq!(report.matches("token-key of token keys").count(), 2, "a retirement is no rotation: {report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_can_be_rolled_back_from_wherever_it_is() {
    for (until, kill_at) in
        [("work", ""), ("filled", ""), ("filled", "no new row can lack"), ("filled", "are indexed"), ("cut_over", "")]
    {
        let world = World::vault().await;
        world.fill_other_slot_raw(300).await;
        let analyst = world.connect(Who::Analyst).await;
        let (before, shown) = (duplicates(&analyst).await, shown(&analyst).await);
        if until == "work" {
            let sql = "UPDATE pii_vault.login_events SET ip_token_b = NULL, device_id_token_b = NULL, token_key_b = NULL
                       WHERE user_id = 'user' AND app_version = '1' AND event_id < '80000000-0000-0000-0000-000000000000'";
            world.sql.batch_execute(sql).await.unwrap();
            world.sql.batch_execute("UPDATE pii_vault.rotation_jobs SET step = 'work'").await.unwrap();
        } else if until == "cut_over" {
            world.administer(&["cut-over"]).finish().done();
            assert_ne!(self::shown(&analyst).await, shown);
        } else if !kill_at.is_empty() {
            let mut run = world.administer(&["cut-over"]);
            run.wait_for_log(kill_at);
            run.kill();
        }
        let why = world.administer(&["rollback"]).finish().exits(2);
        assert!(why.stderr.contains("--reason"), "{}", why.stderr);
        let done = world.administer(&["rollback", "--reason", "dashboards"]).finish().done().json();
        assert_eq!(done["ended"], "rolled back");
        assert_eq!(world.token_states().await, "a active, b decrypt-only; a");
        assert_eq!((world.slot_a_rows().await, world.slot_b_rows().await), (300, 0));
        assert_eq!(world.slot_traces().await, ["device_id_token_a", "ip_token_a"], "{until} {kill_at}");
        assert_eq!(world.odd_partitions().await, [""; 0]);
        assert_eq!((duplicates(&analyst).await, self::shown(&analyst).await), (before, shown));
        assert_eq!(world.rotation_step().await, "done");
        let log = world.rotation_log().await;
        let (step, details) = &log[log.len() - 2];
        let from = details["from"].as_str().unwrap();
        assert_eq!(step, "roll_back");
        // What was killed may have gone on for a moment.
        assert!(from == until || from == "cut_over" && !kill_at.is_empty(), "{from} {until} {kill_at}");
        let retired = world.administer(&["retire", "--reason", "never used"]).finish().done().json();
        assert_eq!(retired["keys"].as_array().unwrap().len(), 1);
    }
}

async fn shown(analyst: &Client) -> Vec<(Uuid, String)> {
    let rows = analyst.query("SELECT event_id, masked_ip::text FROM user_logins ORDER BY 1", &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_analysts_made_of_the_view_goes_on() {
    let world = World::vault().await;
    world.fill_other_slot_raw(300).await;
    world.make_login(Who::Nobody).await;
    let nobody = format!("nobody_{}", world.id);
    world
        .sql
        .batch_execute(&format!(
            "CREATE SCHEMA mine AUTHORIZATION pii_vault_analyst; GRANT SELECT ON user_logins TO {nobody};
             GRANT CREATE ON DATABASE test_{} TO pii_vault_analyst",
            world.id
        ))
        .await
        .unwrap();
    let analyst = world.connect(Who::Analyst).await;
    analyst
        .batch_execute(
            "CREATE VIEW mine.groups AS SELECT masked_ip, count(*) AS n FROM user_logins GROUP BY masked_ip;
             CREATE MATERIALIZED VIEW mine.kept AS SELECT * FROM user_logins;
             CREATE VIEW mine.on_top AS SELECT max(n)::bigint AS most, sum(n)::bigint AS all_of_them FROM mine.groups;
             PREPARE report AS SELECT count(*) FROM (SELECT FROM user_logins GROUP BY masked_ip HAVING count(*) > 1) AS g;
             EXECUTE report; EXECUTE report; EXECUTE report; EXECUTE report; EXECUTE report; EXECUTE report",
        )
        .await
        .unwrap();
    let prepared = analyst.prepare("SELECT event_id FROM user_logins WHERE masked_ip = $1::text").await.unwrap();
    let one = "SELECT masked_ip::text, event_id FROM user_logins ORDER BY event_id LIMIT 1";
    let (old, event): (String, Uuid) = {
        let row = analyst.query_one(one, &[]).await.unwrap();
        (row.get(0), row.get(1))
    };
    assert!(analyst.query(&prepared, &[&old]).await.unwrap().iter().any(|row| row.get::<_, Uuid>(0) == event));

    world.administer(&["cut-over"]).finish().done();
    let top = analyst.query_one("SELECT most, all_of_them FROM mine.on_top", &[]).await.unwrap();
    assert_eq!((top.get::<_, i64>(0), top.get::<_, i64>(1)), (2, 300));
    let report = analyst.simple_query("EXECUTE report").await.unwrap();
    let groups = report.iter().find_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(ToOwned::to_owned),
        _ => None,
    });
    assert_eq!(groups.as_deref(), Some("30"));
    let new: String = analyst.query_one(one, &[]).await.unwrap().get(0);
    assert_ne!(new, old);
    assert!(analyst.query(&prepared, &[&old]).await.unwrap().is_empty());
    assert!(analyst.query(&prepared, &[&new]).await.unwrap().iter().any(|row| row.get::<_, Uuid>(0) == event));
    let kept =
        "SELECT count(*) FROM mine.kept AS k JOIN user_logins AS u USING (event_id) WHERE k.masked_ip <> u.masked_ip";
    assert_eq!(
        analyst.query_one(kept, &[]).await.unwrap().get::<_, i64>(0),
        300,
        "what is stored is hers to make anew"
    );
    analyst.batch_execute("REFRESH MATERIALIZED VIEW mine.kept").await.unwrap();
    assert_eq!(analyst.query_one(kept, &[]).await.unwrap().get::<_, i64>(0), 0);
    let other = world.connect(Who::Nobody).await;
    assert_eq!(other.query("SELECT * FROM user_logins", &[]).await.unwrap().len(), 300);
    let owner: String = world
        .sql
        .query_one("SELECT relowner::regrole::text FROM pg_class WHERE relname = 'user_logins'", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(owner, "pii_vault_owner");
}
