//! unmask by tokens while they change places: by the active key's always, by the previous one's until it is finished.

use crate::support::{Who, World};

async fn found(world: &World, flag: &str, token: &str) -> i64 {
    world.unmask(&[flag, token, "--dry-run"]).done().json()["rows"].as_i64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn unmask_finds_rows_by_either_key_between_cut_over_and_finish() {
    let world = World::vault().await;
    world.policy_set(&["--alone-limit", "1000"]);
    world.send_logins(60).await;
    world.drain(&[]);
    world.fill_other_slot();
    let sql = "SELECT ip_token_a::text, device_id_token_a::text, ip_token_b::text, device_id_token_b::text
               FROM pii_vault.login_events WHERE user_id = 'user-7'";
    let row = world.sql.query_one(sql, &[]).await.unwrap();
    let [old_ip, old_device, new_ip, new_device]: [String; 4] = [0, 1, 2, 3].map(|column| row.get(column));
    let all = async || {
        [
            found(&world, "--masked-ip", &old_ip).await,
            found(&world, "--masked-device-id", &old_device).await,
            found(&world, "--masked-ip", &new_ip).await,
            found(&world, "--masked-device-id", &new_device).await,
        ]
    };
    assert_eq!(all().await, [1, 1, 0, 0]);
    world.administer(&["cut-over"]).finish().done();
    assert_eq!(all().await, [1, 1, 1, 1]);
    let args = ["lookup", "ip", "--reason", "a test", "--case", "C-1", "--output", "json"];
    let looked_up = world.pii_vault_given(Who::Lookup, &args, &[], b"10.0.0.7\n").finish().done().stdout;
    assert!(looked_up.contains(&new_ip) && !looked_up.contains(&old_ip), "{looked_up}");
    let mixed = ["--masked-ip", &old_ip, "--masked-device-id", &new_device, "--dry-run"];
    assert_eq!(world.unmask(&mixed).done().json()["rows"], 1);
    assert_eq!(plan(&world, "'b', 'a'").await, ["device_id_token_a", "device_id_token_b", "ip_token_a", "ip_token_b"]);
    assert_eq!(plan(&world, "'b', NULL").await, ["device_id_token_b", "ip_token_b"]);
    world.administer(&["finish"]).finish().done();
    assert_eq!(all().await, [0, 0, 1, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_rollback_unmask_finds_rows_by_the_old_key_alone() {
    let world = World::vault().await;
    world.policy_set(&["--alone-limit", "1000"]);
    world.fill_other_slot_raw(30).await;
    let sql = "SELECT ip_token_a::text, ip_token_b::text FROM pii_vault.login_events GROUP BY 1, 2 HAVING count(*) = 2 LIMIT 1";
    let row = world.sql.query_one(sql, &[]).await.unwrap();
    let (old, new): (String, String) = (row.get(0), row.get(1));
    world.administer(&["cut-over"]).finish().done();
    assert_eq!((found(&world, "--masked-ip", &old).await, found(&world, "--masked-ip", &new).await), (2, 2));
    world.administer(&["rollback", "--reason", "a test"]).finish().done();
    assert_eq!((found(&world, "--masked-ip", &old).await, found(&world, "--masked-ip", &new).await), (2, 0));
}

/// The columns of the indexes that a search by either field goes through; no table is read from end to end.
async fn plan(world: &World, slots: &str) -> Vec<String> {
    world.sql.batch_execute("SET plan_cache_mode = force_custom_plan; SET enable_seqscan = off").await.unwrap();
    let mut text = String::new();
    for tokens in ["ARRAY[repeat('i', 43)], '{}'", "'{}', ARRAY[repeat('d', 43)]"] {
        let sql = format!("EXPLAIN SELECT * FROM pii_vault.select_events({slots}, '{{}}', {tokens}, NULL, NULL)");
        for row in world.sql.query(&sql, &[]).await.unwrap() {
            text += row.get::<_, &str>(0);
            text += "\n";
        }
    }
    assert!(!text.contains("Seq Scan"), "{text}");
    let columns = ["device_id_token_a", "device_id_token_b", "ip_token_a", "ip_token_b"];
    columns.into_iter().filter(|column| text.contains(&format!("{column}_idx"))).map(ToOwned::to_owned).collect()
}
