//! What the sample of `data-key verify` is of, and what it proves.

use serde_json::json;

use crate::support::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_is_of_rows_that_were_there_and_each_must_have_tokens_of_the_active_key() {
    let world = World::vault().await;
    world.ingest(1, 40);
    world.sql.batch_execute("CREATE TABLE public.before AS SELECT event_id FROM pii_vault.login_events").await.unwrap();
    world.data_key(&["run", "--max-age", "0", "--reason", "x"]).done();
    // Of the rows that came since, none has a token of its value, nor of a key that is there.
    world.ingest_more("later", 60);
    let of_no_key = |rows: &str| {
        format!(
            "UPDATE pii_vault.login_events SET token_key_a = gen_random_uuid(), ip_token_a = device_id_token_a,
             device_id_token_a = ip_token_a WHERE event_id IN ({rows})"
        )
    };
    let later = "SELECT event_id FROM pii_vault.login_events EXCEPT SELECT event_id FROM public.before";
    world.past_triggers(&of_no_key(later)).await;
    let verified = world.data_key(&["verify", "--sample", "40"]).done().json();
    assert_eq!((&verified["opened"], &verified["wrong"]), (&json!(40), &json!([])));

    let all = world.data_key(&["verify", "--sample", "100"]).exits(4).json();
    let wrong = all["wrong"].as_array().unwrap();
    assert_eq!((&all["opened"], wrong.len()), (&json!(40), 60), "others are taken where there are no more");
    assert!(wrong.iter().all(|row| row["why"] == "token_mismatch"), "{all}");
    world.past_triggers(&of_no_key("SELECT event_id FROM public.before LIMIT 1")).await;
    let one = world.data_key(&["verify", "--sample", "40"]).exits(4).json();
    assert_eq!((&one["opened"], one["wrong"].as_array().unwrap().len()), (&json!(39), 1));
}
