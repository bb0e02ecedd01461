//! The binary under the identities of the page.

use pii_vault::crypto::checkpoint::{CheckpointKey, SignedCheckpoint};
use serde_json::json;

use super::scene::{Scene, Sides};
use super::table::Resource;
use crate::stack::iam::{Keys, Kind, Principal};
use crate::support::{Finished, Who, World, login};

/// The vault is there when the policies are filled in, as their vault id is `init`'s to give.
#[tokio::test(flavor = "multi_thread")]
async fn init_ingestion_unmask_and_redrive_do_with_the_rights_of_their_own() {
    let (world, mut scene) = (World::empty().await, Scene::new().await);
    let [init] = scene.identities(&["init"], Sides::Iam).try_into().ok().expect("one");
    let made = run(&world, &scene, &init, Who::Administrator, &["init", "--output", "json"]).done().json();
    scene.vault = made["vault"].as_str().and_then(|vault| vault.parse().ok()).expect("a vault id");
    scene.put_key_policies().await;
    let [ingestion] = scene.identities(&["ingestion"], Sides::Both).try_into().ok().expect("one");
    world.make_login(Who::Ingest).await;

    let sqs = scene.account.sqs(&scene.account.root());
    for body in [login(1).to_string(), login(2).to_string(), "no login".to_owned()] {
        sqs.send_message().queue_url(&scene.queue_url).message_body(body).send().await.expect("sent");
    }
    let drain = ["etl", "run", "--drain", "--wait", "1s", "--output", "json"];
    let summary = run(&world, &scene, &ingestion, Who::Ingest, &drain).done().json();
    assert_eq!((&summary["stored"], &summary["deleted"]), (&2.into(), &3.into()), "{summary}");
    assert_eq!(summary["dead_letters"]["invalid_json"], 1);

    // And what it has just sealed it cannot open, though it is the very key that it made.
    let row = world.sql.query_one("SELECT wrapped_key, kms_key FROM pii_vault.data_keys", &[]).await.expect("a key");
    let refused = scene
        .account
        .kms(&ingestion)
        .decrypt()
        .key_id(row.get::<_, String>(1))
        .ciphertext_blob(aws_sdk_kms::primitives::Blob::new(row.get::<_, Vec<u8>>(0)))
        .send()
        .await;
    assert!(refused.expect_err("refused").into_service_error().to_string().contains("AccessDenied"));

    // The officer's identity does, and gets its rows; others that reach KMS get none.
    world.make_login(Who::Officer).await;
    world.sql.batch_execute("SELECT pii_vault.set_policy(NULL, NULL, NULL, NULL, NULL, 'x')").await.expect("a policy");
    let names = ["unmask", "lookup", "auditor"];
    let unmask =
        ["unmask", "--user-id", "user-1", "--fields", "ip", "--reason", "x", "--case", "C-1", "--format", "csv"];
    let identities = scene.identities(&names, Sides::Both);
    for (name, keys) in names.iter().zip(&identities).chain([(&"ingestion", &ingestion)]) {
        let finished = run(&world, &scene, keys, Who::Officer, &unmask);
        if *name == "unmask" {
            assert!(finished.done().stdout.ends_with(",user-1,10.0.0.1\n"));
        } else {
            let refused = finished.exits(1);
            assert_told(&refused, "kms:Decrypt");
            assert!(!refused.stdout.contains("10.0.0.1"), "{name}");
        }
    }

    // Nor does ingestion open the dead letter, which another identity does.
    let [redrive] = scene.identities(&["redrive"], Sides::Both).try_into().ok().expect("one");
    world.make_login(Who::Redrive).await;
    let args = ["etl", "dead-letters", "redrive", "--all", "--note", "x", "--output", "json"];
    assert_told(&run(&world, &scene, &ingestion, Who::Redrive, &args).exits(1), "kms:Decrypt");
    let report = run(&world, &scene, &redrive, Who::Redrive, &args).done().json();
    assert_eq!(report["still_dead"], json!({ "invalid_json": 1 }), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lookup_makes_tokens_as_itself_and_no_other_person_does() {
    let (world, mut scene) = (World::empty().await, Scene::new().await);
    let [init] = scene.identities(&["init"], Sides::Iam).try_into().ok().expect("one");
    let made = run(&world, &scene, &init, Who::Administrator, &["init", "--output", "json"]).done().json();
    scene.vault = made["vault"].as_str().and_then(|vault| vault.parse().ok()).expect("a vault id");
    scene.put_key_policies().await;
    world.make_login(Who::Lookup).await;
    world.sql.batch_execute("SELECT pii_vault.set_policy(NULL, NULL, NULL, NULL, NULL, 'x')").await.expect("a policy");

    let names = ["lookup", "unmask", "auditor", "notary", "rewrap-token"];
    let identities = scene.identities(&names, Sides::Both);
    for (name, keys) in names.iter().zip(&identities) {
        let args = ["lookup", "ip", "--reason", "x", "--case", "C-1", "--output", "json"];
        let finished = run_given(&world, &scene, keys, Who::Lookup, &args, b"192.0.2.1\n192.0.2.2");
        if *name == "lookup" {
            assert_eq!(finished.done().json().as_array().map(Vec::len), Some(2));
        } else {
            let refused = finished.exits(1);
            assert_told(&refused, "kms:Decrypt");
            assert_eq!(refused.stdout, "", "{name}");
        }
    }
    assert_eq!(world.count("pii_vault.audit_log WHERE action = 'lookup'").await, 5);
    assert_eq!(world.count("pii_vault.audit_log WHERE action = 'lookup_tokens'").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wrong_identity_is_told_so_and_changes_nothing() {
    let (world, scene) = (World::empty().await, Scene::new().await);
    let [init, ingestion] = scene.identities(&["init", "ingestion"], Sides::Iam).try_into().ok().expect("two");

    let refused = run(&world, &scene, &ingestion, Who::Administrator, &["init"]).exits(1);
    assert_told(&refused, "kms:DescribeKey");
    assert_eq!(world.count("pg_namespace WHERE nspname = 'pii_vault'").await, 0);

    run(&world, &scene, &init, Who::Administrator, &["init"]).done();
    world.make_login(Who::Ingest).await;
    let refused = run(&world, &scene, &init, Who::Ingest, &["etl", "run", "--drain"]).exits(1);
    assert_told(&refused, "kms:Decrypt");
    assert_eq!(world.count("pii_vault.data_keys").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_notary_signs_and_the_auditor_verifies_and_neither_does_more() {
    let (world, mut scene) = (World::empty().await, Scene::new().await);
    let [init] = scene.identities(&["init"], Sides::Iam).try_into().ok().expect("one");
    let made = run(&world, &scene, &init, Who::Administrator, &["init", "--output", "json"]).done().json();
    scene.vault = made["vault"].as_str().and_then(|vault| vault.parse().ok()).expect("a vault id");
    scene.put_key_policies().await;
    let [notary, auditor] = scene.identities(&["notary", "auditor"], Sides::Both).try_into().ok().expect("two");
    world.make_login(Who::Notary).await;
    world.make_login(Who::Auditor).await;
    let (sign, print) = (["audit", "checkpoint", "--sink", "-"], ["audit", "public-key"]);
    assert_told(&run(&world, &scene, &auditor, Who::Notary, &sign).exits(1), "kms:Sign");
    assert_told(&run(&world, &scene, &notary, Who::Auditor, &print).exits(1), "kms:GetPublicKey");
    let copy = run(&world, &scene, &notary, Who::Notary, &sign).done().stdout;
    let key = run(&world, &scene, &auditor, Who::Auditor, &print).done().stdout;
    let signed = SignedCheckpoint::from_copy(copy.as_bytes()).expect("a copy");
    assert_eq!(signed.signing_key, scene.arns[&Resource::Signing]);
    assert_eq!(signed.verify(&CheckpointKey::from_pem(&key).expect("a key")), Ok(()));
    // And in the database only the notary's role signs.
    let refused = run(&world, &scene, &notary, Who::Auditor, &sign).exits(1);
    assert!(refused.stderr.contains("GRANT pii_vault_notary"), "{}", refused.stderr);
}

/// The endpoint judges CreateAlias by no resource at all: hence one statement more, for that call alone.
#[tokio::test(flavor = "multi_thread")]
async fn init_makes_the_keys_under_the_policy_for_that() {
    let (world, scene) = (World::empty().await, Scene::new().await);
    let mut policy = scene.policy("iam/init-create-kms-keys.json");
    let statements = policy["Statement"].as_array_mut().expect("statements");
    statements.push(json!({ "Effect": "Allow", "Action": "kms:CreateAlias", "Resource": "*" }));
    let maker = Principal { kind: Kind::User, name: "maker".to_owned(), policy: Some(policy) };
    let maker = scene.account.make(&[maker]).expect("a user").remove(0);
    let aliases: Vec<_> = Resource::KMS_KEYS.iter().map(|key| format!("alias/pii-vault-{}", key.name())).collect();
    let environment = Resource::KMS_KEYS.map(variable).into_iter().zip(&aliases);
    let environment: Vec<_> = environment.map(|(name, alias)| (name, alias.clone())).collect();
    let run = |args: &[&str]| {
        let mut all = scene.account.environment(&maker);
        all.extend(environment.iter().cloned());
        let all: Vec<_> = all.iter().map(|(name, value)| (*name, value.as_str())).collect();
        world.pii_vault_with(Who::Administrator, args, &all).finish()
    };
    let made = run(&["init", "--create-kms-keys", "--output", "json"]).done().json();
    assert_eq!(made["created_kms_keys"], json!(aliases));
    assert_eq!(made["created_token_key"], true);
}

fn run(world: &World, scene: &Scene, keys: &Keys, who: Who, args: &[&str]) -> Finished {
    run_given(world, scene, keys, who, args, b"")
}

fn run_given(world: &World, scene: &Scene, keys: &Keys, who: Who, args: &[&str], input: &[u8]) -> Finished {
    let mut environment = scene.account.environment(keys);
    environment.push(("PII_VAULT_QUEUE_URL", scene.queue_url.clone()));
    environment.extend(Resource::KMS_KEYS.map(|key| (variable(key), scene.arns[&key].clone())));
    let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    world.pii_vault_given(who, args, &environment, input).finish()
}

fn variable(key: Resource) -> &'static str {
    match key {
        Resource::Data => "PII_VAULT_DATA_KMS_KEY",
        Resource::Token => "PII_VAULT_TOKEN_KMS_KEY",
        Resource::DeadLetter => "PII_VAULT_DEAD_LETTER_KMS_KEY",
        Resource::Signing => "PII_VAULT_SIGNING_KMS_KEY",
        Resource::Queue => "PII_VAULT_QUEUE_URL",
    }
}

#[track_caller]
fn assert_told(refused: &Finished, call: &str) {
    let error = &refused.stderr;
    for word in [call, "this AWS identity may not", "keys/README.md", "AccessDenied"] {
        assert!(error.contains(word), "{word} is not in: {error}");
    }
}
