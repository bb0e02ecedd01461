//! New material of the same KMS key, which its own rotation brings: RotateKeyOnDemand, or once a year.

use pii_vault::aws::{EncryptionContext, KeyRewrapper as _};
use pii_vault::domain::{KeyId, Purpose};
use serde_json::json;

use super::scene::TABLES;
use crate::support::{Who, World, ended, login};

const UNMASK: [&str; 6] = ["--since", "2000-01-01", "--until", "2999-01-01", "--format", "json"];

impl World {
    /// Of each wrapped key, in the order in which they were made: whether the newest material of its KMS key wraps it, by
    /// KMS's word.
    async fn are_newest(&self, purpose: Purpose, table: &str) -> Vec<bool> {
        let (vault, kms) = (self.vault_id().await, self.kms().await);
        let sql = format!("SELECT id, wrapped_key::bytea, kms_key FROM pii_vault.{table} ORDER BY created_at, id");
        let mut newest = Vec::new();
        for row in self.sql.query(&sql, &[]).await.unwrap() {
            let context = EncryptionContext { vault, purpose, key: KeyId(row.get(0)) };
            let again = kms.rewrap(row.get(2), row.get(1), context, row.get(2)).await.unwrap();
            newest.push(again.same_material.expect("KMS tells"));
        }
        newest
    }

    async fn wrapped(&self, table: &str) -> Vec<Vec<u8>> {
        let sql = format!("SELECT wrapped_key::bytea FROM pii_vault.{table} ORDER BY created_at, id");
        self.sql.query(&sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
    }
}

fn purpose_of(name: &str) -> Purpose {
    Purpose::ALL.into_iter().find(|purpose| purpose.name() == name).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_old_material_wrapped_opens_and_new_keys_and_rotations_use_the_new_one() {
    let world = World::vault().await;
    world.set_policy(1_000).await;
    world.send((0..20).map(|number| login(number).to_string()).chain(["{".to_owned()])).await;
    world.drain(&[]);
    let events = world.events_as_text().await;
    let unmasked = world.unmask(&UNMASK).done().stdout;
    for (purpose, table) in TABLES {
        assert_eq!(world.are_newest(purpose_of(purpose), table).await, [true]);
        world.rotate_material(&world.only_kms_key(table).await).await;
        assert_eq!(world.are_newest(purpose_of(purpose), table).await, [false], "{purpose}: KMS leaves it as it is");
    }
    assert!(world.events_as_text().await == events && world.unmask(&UNMASK).done().stdout == unmasked);
    assert_eq!(world.opened_dead_letters().await.len(), 1);

    // New keys are under the new one by themselves; the token key is the old one, hence so are tokens.
    world.send([login(3).to_string(), "{".to_owned()]).await;
    world.drain(&[]);
    for (purpose, table) in [TABLES[0], TABLES[2]] {
        assert_eq!(world.are_newest(purpose_of(purpose), table).await, [false, true], "{purpose}");
    }
    let opened = world.opened_events().await;
    let tokens: Vec<_> =
        opened.values().filter(|event| event.user_id == "user-3").map(|event| &event.ip_token).collect();
    assert!(tokens.len() == 2 && tokens[0] == tokens[1], "{tokens:?}");

    // So are those that a rotation of data keys makes.
    let report = world.data_key(&["run", "--max-age", "0", "--reason", "x"]).done().json();
    assert_eq!(ended(&report), ("done", 21, 0));
    assert_eq!(world.are_newest(Purpose::Data, "data_keys").await, [false, true, true]);
    let mut again = world.events_as_text().await;
    again.retain(|id, _| events.contains_key(id));
    assert!(again == events);

    for (purpose, table) in TABLES {
        let (kms_key, before) = (world.only_kms_key(table).await, world.wrapped(table).await);
        let run = ["run", "--purpose", purpose, "--newest-material", "--reason", "rotated"];
        assert_eq!(world.kek(&run).finish().done().json()["changed"], before.len());
        let after = world.wrapped(table).await;
        assert!(before.iter().zip(&after).all(|(before, after)| before != after), "{purpose}: each is wrapped anew");
        assert!(world.are_newest(purpose_of(purpose), table).await.iter().all(|newest| *newest), "{purpose}");
        assert_eq!(world.only_kms_key(table).await, kms_key);
        world.kek(&["verify", "--purpose", purpose, "--newest-material", "--sample", "1000"]).finish().done();
    }
    assert_eq!((world.opened_events().await.len(), world.opened_dead_letters().await.len()), (21, 2));

    // An alias that is moved is picked up by who makes the next key.
    let new = world.another_kms_key().await;
    world.move_alias("data", &new).await;
    world.send_logins(1).await;
    world.drain(&[]);
    assert_eq!(world.wrapped_by("data_keys").await.len(), 2);
    assert_eq!(world.count(&format!("pii_vault.data_keys WHERE kms_key = '{new}'")).await, 1);
    assert_eq!(world.opened_events().await.len(), 22);
    world.pii_vault(Who::Auditor, &["audit", "verify"]).finish().done();
}

#[tokio::test(flavor = "multi_thread")]
async fn that_no_key_is_under_older_material_is_proven_by_a_rotation_and_refuted_by_kms() {
    let world = World::vault().await;
    world.add_data_keys(6).await;
    let kms_key = world.only_kms_key("data_keys").await;
    let verify = ["verify", "--purpose", "data", "--newest-material"];
    let unproven = world.kek(&verify).finish().exits(1).json();
    assert_eq!((&unproven["left"], &unproven["older_material"]), (&json!(0), &json!(null)), "of others nobody knows");
    world.rotate_material(&kms_key).await;
    assert_eq!(world.kek(&verify).finish().exits(1).json()["older_material"], true, "by KMS's word");
    let nothing = world.kek(&["run", "--purpose", "data", "--reason", "x"]).finish().done().json();
    assert_eq!(nothing["ended"], "nothing to do", "one KMS key wraps them all");

    let run = ["run", "--purpose", "data", "--newest-material", "--reason", "rotated"];
    assert_eq!(world.kek(&run).finish().done().json()["changed"], 6);
    let proven = world.kek(&verify).finish().done().json();
    assert_eq!((&proven["complete"], &proven["older_material"]), (&json!(true), &json!(false)));
    // A key that ingestion makes later is under the newest by itself; the next rotation begins anew.
    world.add_data_keys(1).await;
    world.kek(&verify).finish().done();
    assert_eq!(world.kek(&run).finish().done().json()["changed"], 7);
    // What the database knows counts as well: a sample need not have hit the key.
    let old = "UPDATE pii_vault.data_keys SET wrapped_at = now() - interval '1 day' WHERE id = (SELECT min(id::text)::uuid \
               FROM pii_vault.data_keys)";
    assert_eq!(world.sql.execute(old, &[]).await.unwrap(), 1);
    assert_eq!(world.kek(&verify).finish().exits(1).json()["older_material"], true);
}
