//! Every identity tries every call on every key and on the queue.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{DataKeySpec, GrantOperation, MessageType, SigningAlgorithmSpec};

use super::scene::{Scene, Sides};
use super::table::{self, Resource, Row};
use crate::stack::iam::Keys;

/// What nobody may is in here as well.
const KMS_CALLS: [&str; 13] = [
    "DescribeKey",
    "GenerateDataKey",
    "GenerateDataKeyWithoutPlaintext",
    "Encrypt",
    "Decrypt",
    "ReEncrypt",
    "Sign",
    "GetPublicKey",
    "CreateGrant",
    "PutKeyPolicy",
    "DisableKey",
    "ScheduleKeyDeletion",
    "TagResource",
];
const SQS_CALLS: [&str; 10] = [
    "ReceiveMessage",
    "DeleteMessage",
    "DeleteMessageBatch",
    "ChangeMessageVisibility",
    "ChangeMessageVisibilityBatch",
    "GetQueueAttributes",
    "SendMessage",
    "PurgeQueue",
    "SetQueueAttributes",
    "DeleteQueue",
];

#[tokio::test(flavor = "multi_thread")]
async fn iam_policies_alone_allow_what_the_table_says_and_no_more() {
    each_call_by_each_identity(Sides::Iam, &Resource::ALL).await;
}

/// The queue has no policy of its own.
#[tokio::test(flavor = "multi_thread")]
async fn key_policies_alone_allow_what_the_table_says_and_no_more() {
    each_call_by_each_identity(Sides::KeyPolicies, &Resource::KMS_KEYS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn assumed_roles_under_both_may_do_what_the_table_says_and_no_more() {
    each_call_by_each_identity(Sides::Both, &Resource::ALL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_all_of_kms_in_iam_manages_the_keys_and_uses_none() {
    let scene = Scene::new().await;
    scene.put_key_policies().await;
    let (administrator, wrapped) = (scene.administrator(), scene.wrapped_keys().await);
    let tries = Tries::of(&administrator, &scene, &wrapped);
    for key in Resource::KMS_KEYS {
        for call in KMS_CALLS {
            // Those that would end the scene are left out.
            let manages = ["DescribeKey", "TagResource"].contains(&call);
            if manages || !["PutKeyPolicy", "DisableKey", "ScheduleKeyDeletion"].contains(&call) {
                assert_eq!(tries.kms(call, key).await, manages, "{call} of the {} key", key.name());
            }
        }
    }
}

async fn each_call_by_each_identity(sides: Sides, resources: &[Resource]) {
    let table = table::read();
    let scene = Scene::new().await;
    if sides != Sides::Iam {
        scene.put_key_policies().await;
    }
    let names: Vec<_> = table.keys().map(String::as_str).collect();
    let credentials: BTreeMap<_, _> = names.iter().zip(scene.identities(&names, sides)).collect();
    let wrapped = scene.wrapped_keys().await;
    let (mut wrong, mut allowed, mut refused) = (Vec::new(), 0, 0);
    for (identity, row) in &table {
        let tries = Tries::of(&credentials[&identity.as_str()], &scene, &wrapped);
        for resource in resources {
            let calls = if *resource == Resource::Queue { SQS_CALLS.as_slice() } else { &KMS_CALLS };
            for call in calls {
                let expected = says(row, *resource, call);
                let done = match resource {
                    Resource::Queue => tries.sqs(call).await,
                    key => tries.kms(call, *key).await,
                };
                if done != expected {
                    wrong.push(format!("{identity}: {call} of {}: allowed is {done}", resource.name()));
                }
                *if done { &mut allowed } else { &mut refused } += 1;
            }
        }
    }
    assert!(wrong.is_empty(), "{sides:?}: {wrong:#?}");
    assert!(allowed >= 20 && refused > 500, "{allowed} allowed, {refused} refused");
}

/// A batch is allowed to whom its single call is.
fn says(row: &Row, resource: Resource, call: &str) -> bool {
    row[&resource].contains(call.trim_end_matches("Batch"))
}

/// The calls of one identity: `true` where it was let do them.
struct Tries<'a> {
    scene: &'a Scene,
    wrapped: &'a HashMap<Resource, Blob>,
    kms: aws_sdk_kms::Client,
    sqs: aws_sdk_sqs::Client,
}

impl<'a> Tries<'a> {
    fn of(keys: &Keys, scene: &'a Scene, wrapped: &'a HashMap<Resource, Blob>) -> Self {
        Self { scene, wrapped, kms: scene.account.kms(keys), sqs: scene.account.sqs(keys) }
    }

    async fn kms(&self, call: &str, key: Resource) -> bool {
        let (kms, arn, context) = (&self.kms, &self.scene.arns[&key], self.scene.context(key));
        // For the signing key, which wraps nothing, the blob does not matter: it is refused before.
        let blob = self.wrapped.get(&key).cloned().unwrap_or_else(|| Blob::new([0; 100]));
        match call {
            "DescribeKey" => let_do(call, kms.describe_key().key_id(arn).send().await),
            "GenerateDataKey" => {
                let call = kms.generate_data_key().key_id(arn).key_spec(DataKeySpec::Aes256);
                let_do("GenerateDataKey", call.set_encryption_context(Some(context)).send().await)
            }
            "GenerateDataKeyWithoutPlaintext" => let_do(
                call,
                kms.generate_data_key_without_plaintext().key_id(arn).key_spec(DataKeySpec::Aes256).send().await,
            ),
            "Encrypt" => let_do(call, kms.encrypt().key_id(arn).plaintext(blob).send().await),
            "Decrypt" => {
                let call = kms.decrypt().key_id(arn).ciphertext_blob(blob).set_encryption_context(Some(context));
                let_do("Decrypt", call.send().await)
            }
            // It wraps nothing, so there is no blob by which to name it as the source.
            "ReEncrypt" if key == Resource::Signing => false,
            "ReEncrypt" => {
                let call = kms.re_encrypt().ciphertext_blob(blob).destination_key_id(arn);
                let_do("ReEncrypt", call.source_encryption_context("app", "pii-vault").send().await)
            }
            "Sign" => {
                let algorithm = SigningAlgorithmSpec::EcdsaSha256;
                let call = kms.sign().key_id(arn).message(blob).message_type(MessageType::Raw);
                let_do("Sign", call.signing_algorithm(algorithm).send().await)
            }
            "GetPublicKey" => let_do(call, kms.get_public_key().key_id(arn).send().await),
            "CreateGrant" => {
                let call = kms.create_grant().key_id(arn).grantee_principal("arn:aws:iam::111122223333:root");
                let_do("CreateGrant", call.operations(GrantOperation::Decrypt).send().await)
            }
            "PutKeyPolicy" => {
                let_do(call, kms.put_key_policy().key_id(arn).policy_name("default").policy("{}").send().await)
            }
            "DisableKey" => let_do(call, kms.disable_key().key_id(arn).send().await),
            "ScheduleKeyDeletion" => let_do(call, kms.schedule_key_deletion().key_id(arn).send().await),
            "TagResource" => {
                let tag = aws_sdk_kms::types::Tag::builder().tag_key("a").tag_value("b").build().expect("a tag");
                let_do(call, kms.tag_resource().key_id(arn).tags(tag).send().await)
            }
            _ => panic!("{call}"),
        }
    }

    async fn sqs(&self, call: &str) -> bool {
        let (sqs, url) = (&self.sqs, &self.scene.queue_url);
        match call {
            "ReceiveMessage" => let_do(call, sqs.receive_message().queue_url(url).send().await),
            "DeleteMessage" => let_do(call, sqs.delete_message().queue_url(url).receipt_handle("x").send().await),
            "DeleteMessageBatch" => {
                let entry = aws_sdk_sqs::types::DeleteMessageBatchRequestEntry::builder().id("0").receipt_handle("x");
                let entry = entry.build().expect("an entry");
                let_do(call, sqs.delete_message_batch().queue_url(url).entries(entry).send().await)
            }
            "ChangeMessageVisibility" => {
                let call = sqs.change_message_visibility().queue_url(url).receipt_handle("x").visibility_timeout(60);
                let_do("ChangeMessageVisibility", call.send().await)
            }
            "ChangeMessageVisibilityBatch" => {
                let entry = aws_sdk_sqs::types::ChangeMessageVisibilityBatchRequestEntry::builder().id("0");
                let entry = entry.receipt_handle("x").visibility_timeout(60).build().expect("an entry");
                let_do(call, sqs.change_message_visibility_batch().queue_url(url).entries(entry).send().await)
            }
            "GetQueueAttributes" => let_do(call, sqs.get_queue_attributes().queue_url(url).send().await),
            "SendMessage" => let_do(call, sqs.send_message().queue_url(url).message_body("x").send().await),
            "PurgeQueue" => let_do(call, sqs.purge_queue().queue_url(url).send().await),
            "SetQueueAttributes" => {
                let name = aws_sdk_sqs::types::QueueAttributeName::VisibilityTimeout;
                let_do(call, sqs.set_queue_attributes().queue_url(url).attributes(name, "1").send().await)
            }
            "DeleteQueue" => let_do(call, sqs.delete_queue().queue_url(url).send().await),
            _ => panic!("{call}"),
        }
    }
}

/// `false` for a refusal. Any other failure ends the test, but for those of calls that got past the refusal.
fn let_do<T, E: ProvideErrorMetadata, R>(call: &str, answer: Result<T, SdkError<E, R>>) -> bool {
    let Err(error) = answer else { return true };
    match (call, error.code()) {
        (_, Some("AccessDenied" | "AccessDeniedException")) => false,
        // An endpoint that does not have the call.
        ("ReEncrypt", Some("InvalidAction")) => true,
        // A receipt handle that was made up.
        ("DeleteMessage" | "ChangeMessageVisibility", Some("ReceiptHandleIsInvalid")) => true,
        (_, code) => panic!("{call}: {code:?}: {:?}", error.message()),
    }
}
