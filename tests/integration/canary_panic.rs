//! A panic with plaintext in hand tells nothing of it.

use std::process::Command;

use pii_vault::aws::{AwsError, EncryptionContext, GeneratedKey, KeyWrapper, Kms};
use pii_vault::crypto::SecretKey;
use pii_vault::etl::EtlError;
use serde_json::json;

use crate::support::{World, login};

const IN_CHILD: &str = "PII_VAULT_TEST_PANICS";

/// KMS that panics when a data key is asked for: by then messages are received and parsed.
struct Panics(Kms);

impl KeyWrapper for Panics {
    async fn generate(&self, _: EncryptionContext) -> Result<GeneratedKey, AwsError> {
        panic!("deliberate")
    }

    async fn unwrap(&self, kms_key: &str, wrapped: &[u8], context: EncryptionContext) -> Result<SecretKey, AwsError> {
        self.0.unwrap(kms_key, wrapped, context).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_process_that_panics() {
    // Run by the test below, in a process of its own: what a panic writes goes to its standard error.
    if std::env::var_os(IN_CHILD).is_none() {
        return;
    }
    let world = World::vault().await;
    let mut canary = login(1);
    canary["ip"] = json!("203.0.113.252");
    canary["device_id"] = json!("canary-device");
    world.send([canary.to_string()]).await;
    let (result, _) = world.drain_in_process(world.sqs().await, Panics(world.kms().await)).await;
    assert!(matches!(result, Err(EtlError::Task)), "{result:?}");
}

#[test]
fn a_panic_tells_nothing_of_what_was_in_hand() {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "canary_panic::the_process_that_panics", "--nocapture"])
        .env(IN_CHILD, "1")
        .env("RUST_BACKTRACE", "full")
        .env("RUST_LOG", "trace")
        .output()
        .unwrap();
    let said = [child.stdout, child.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(child.status.success() && said.contains("deliberate"), "{said}");
    for secret in ["203.0.113.252", "canary-device"] {
        assert!(!said.contains(secret), "{said}");
    }
}
