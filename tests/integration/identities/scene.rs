//! An account with KMS keys, a queue, and identities under the policies of `keys/`.

use std::collections::HashMap;
use std::sync::LazyLock;

use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{DataKeySpec, KeySpec, KeyUsageType};
use aws_sdk_sqs::types::QueueAttributeName;
use serde_json::{Value, json};
use uuid::Uuid;

use super::table::Resource;
use crate::stack::Endpoint;
use crate::stack::iam::{Account, Keys, Kind, Principal, policy};

static ENDPOINT: LazyLock<Endpoint> = LazyLock::new(|| Endpoint::start_with_iam().expect("an endpoint with IAM"));

/// Which of the two sides has the shipped policies. Where only one has, it must do on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sides {
    /// Users with the IAM policies, under the key policy that KMS gives a key by default: IAM decides alone.
    Iam,
    /// Roles without any IAM policy. The key policies name them.
    KeyPolicies,
    /// Roles with both, as shipped.
    Both,
}

pub(super) struct Scene {
    pub(super) account: Account<'static>,
    pub(super) arns: HashMap<Resource, String>,
    pub(super) queue_url: String,
    pub(super) vault: Uuid,
}

impl Scene {
    /// Keys under KMS's default policy, and a queue.
    pub(super) async fn new() -> Self {
        let account = Account::new(&ENDPOINT).expect("an account");
        let (kms, sqs) = (account.kms(&account.root()), account.sqs(&account.root()));
        let mut arns = HashMap::new();
        for key in Resource::KMS_KEYS {
            let made = match key {
                Resource::Signing => {
                    kms.create_key().key_usage(KeyUsageType::SignVerify).key_spec(KeySpec::EccNistP256)
                }
                _ => kms.create_key(),
            };
            let metadata = made.send().await.expect("a key").key_metadata.expect("its metadata");
            arns.insert(key, metadata.arn.expect("its ARN"));
        }
        let queue_url =
            sqs.create_queue().queue_name("logins").send().await.expect("a queue").queue_url.expect("a URL");
        let attributes = sqs.get_queue_attributes().queue_url(&queue_url).attribute_names(QueueAttributeName::QueueArn);
        let attributes = attributes.send().await.expect("attributes").attributes.expect("attributes");
        arns.insert(Resource::Queue, attributes[&QueueAttributeName::QueueArn].clone());
        Self { account, arns, queue_url, vault: Uuid::new_v4() }
    }

    /// Puts the shipped policies on the KMS keys.
    pub(super) async fn put_key_policies(&self) {
        let kms = self.account.kms(&self.account.root());
        for key in Resource::KMS_KEYS {
            let policy = self.policy(&format!("kms/{}.json", key.name()));
            kms.put_key_policy()
                .key_id(&self.arns[&key])
                .policy_name("default")
                .policy(policy.to_string())
                .send()
                .await
                .expect("put");
        }
    }

    /// Makes these identities of the table.
    pub(super) fn identities(&self, names: &[&str], sides: Sides) -> Vec<Keys> {
        let principals: Vec<_> = names
            .iter()
            .map(|name| Principal {
                kind: if sides == Sides::Iam { Kind::User } else { Kind::Role },
                name: format!("pii-vault-{name}"),
                policy: (sides != Sides::KeyPolicies).then(|| self.policy(&format!("iam/{name}.json"))),
            })
            .collect();
        self.account.make(&principals).expect("identities")
    }

    /// Somebody whose IAM policy allows everything with KMS and SQS.
    pub(super) fn administrator(&self) -> Keys {
        let statement = json!({ "Effect": "Allow", "Action": ["kms:*", "sqs:*"], "Resource": "*" });
        let policy = Some(json!({ "Version": "2012-10-17", "Statement": [statement] }));
        let made = self.account.make(&[Principal { kind: Kind::User, name: "administrator".to_owned(), policy }]);
        made.expect("a user").remove(0)
    }

    /// A wrapped key of each purpose, by the account's root.
    pub(super) async fn wrapped_keys(&self) -> HashMap<Resource, Blob> {
        let kms = self.account.kms(&self.account.root());
        let mut wrapped = HashMap::new();
        for key in [Resource::Data, Resource::Token, Resource::DeadLetter] {
            let made = kms
                .generate_data_key()
                .key_id(&self.arns[&key])
                .key_spec(DataKeySpec::Aes256)
                .set_encryption_context(Some(self.context(key)))
                .send()
                .await;
            wrapped.insert(key, made.expect("a wrapped key").ciphertext_blob.expect("its blob"));
        }
        wrapped
    }

    pub(super) fn context(&self, key: Resource) -> HashMap<String, String> {
        [("app", "pii-vault"), ("vault", &self.vault.to_string()), ("purpose", key.name()), ("key-id", "1")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    pub(super) fn policy(&self, path: &str) -> Value {
        let vault = self.vault.to_string();
        let names = Resource::ALL.map(|resource| (resource.placeholder(), self.arns[&resource].as_str()));
        let mut placeholders = vec![("ACCOUNT_ID", self.account.id.as_str()), ("VAULT_ID", &vault)];
        placeholders.extend(names.iter().map(|(name, arn)| (name.as_str(), *arn)));
        policy(path, &placeholders).expect("a policy")
    }
}
