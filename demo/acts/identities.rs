//! KMS refuses as well. The endpoint of the other steps takes any credentials, so this one has an endpoint of its own.

use std::collections::HashMap;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use aws_sdk_kms::error::ProvideErrorMetadata as _;
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::DataKeySpec;
use tokio::task::spawn_blocking;

use crate::cast::Cast;
use crate::stack::Endpoint;
use crate::stack::iam::{Account, Keys, Kind, Principal, policy};
use crate::stage::{Stage, indent, wrap};

const IDENTITIES: [&str; 2] = ["ingestion", "unmask"];
const KMS_KEYS: [&str; 4] = ["DATA_KEY_ARN", "TOKEN_KEY_ARN", "DEAD_LETTER_KEY_ARN", "SIGNING_KEY_ARN"];

pub(crate) async fn ingestion_cannot_open(stage: &mut Stage, cast: &Cast) -> Result<()> {
    stage.heading("Nor does KMS let ingestion open what it seals")?;
    let began = Instant::now();
    let endpoint = spawn_blocking(Endpoint::start_with_iam).await??;
    let account = Account::new(&endpoint)?;
    let vault = stage.value(cast, &cast.superuser, "SELECT id FROM pii_vault.vault").await?;
    let (data_key, [ingestion, unmask]) = enact(&account, &vault).await?;
    stage.say(
        "The KMS of the other steps takes any credentials. For this step a second one runs, which enforces policies:",
    )?;
    stage.say(&format!(
        "those of keys/iam and keys/kms, as shipped, for assumed roles (ministack with IAM, ready in {:.1} s).",
        began.elapsed().as_secs_f64()
    ))?;

    let context = [("app", "pii-vault"), ("vault", &vault), ("purpose", "data"), ("key-id", "a-new-one")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let context = HashMap::from(context);
    let (ingestion, unmask) = (account.kms(&ingestion), account.kms(&unmask));
    let made = ingestion.generate_data_key().key_id(&data_key).key_spec(DataKeySpec::Aes256);
    let made = made.set_encryption_context(Some(context.clone())).send().await.context("kms:GenerateDataKey")?;
    let wrapped = made.ciphertext_blob.context("kms:GenerateDataKey returns no blob")?;
    stage.say("\n(AWS identity: ingestion)")?;
    stage.say(&format!("kms:GenerateDataKey        a data key, and {} bytes to store", wrapped.as_ref().len()))?;

    let refused = decrypt(&ingestion, &data_key, &wrapped, &context).await.err();
    let refused = refused.context("ingestion was let open a data key, which should have been refused")?;
    let code = refused.code().unwrap_or_default();
    ensure!(code == "AccessDeniedException", "kms:Decrypt failed in another way: {refused}");
    stage.say(&format!("kms:Decrypt                {code}"))?;
    stage.say(&indent(&wrap(refused.message().unwrap_or_default(), 90), 27))?;

    stage.say("\n(AWS identity: unmask)")?;
    let opened = decrypt(&unmask, &data_key, &wrapped, &context).await.context("kms:Decrypt as unmask")?;
    ensure!(opened == made.plaintext, "kms:Decrypt returns another key");
    stage.say("kms:Decrypt                the same data key")
}

/// Makes the keys and the identities and puts the policies in force; returns the data key's ARN and the credentials.
async fn enact(account: &Account<'_>, vault: &str) -> Result<(String, [Keys; 2])> {
    let kms = account.kms(&account.root());
    let mut placeholders = vec![
        ("ACCOUNT_ID", account.id.clone()),
        ("VAULT_ID", vault.to_owned()),
        ("QUEUE_ARN", "arn:aws:sqs".to_owned()),
    ];
    for name in KMS_KEYS {
        let made = kms.create_key().send().await.context("kms:CreateKey")?;
        placeholders.push((name, made.key_metadata.and_then(|it| it.arn).context("kms:CreateKey names no key")?));
    }
    let placeholders: Vec<_> = placeholders.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let data_key = placeholders.iter().find(|(name, _)| *name == KMS_KEYS[0]).context("no data key")?.1;
    let key_policy = policy("kms/data.json", &placeholders)?.to_string();
    kms.put_key_policy().key_id(data_key).policy_name("default").policy(key_policy).send().await?;
    let roles = IDENTITIES.map(|name| {
        let policy = policy(&format!("iam/{name}.json"), &placeholders)?;
        Ok(Principal { kind: Kind::Role, name: format!("pii-vault-{name}"), policy: Some(policy) })
    });
    let made = account.make(&roles.into_iter().collect::<Result<Vec<_>>>()?)?;
    Ok((data_key.to_owned(), made.try_into().ok().context("two roles were asked for")?))
}

async fn decrypt(
    kms: &aws_sdk_kms::Client,
    key: &str,
    wrapped: &Blob,
    context: &HashMap<String, String>,
) -> Result<Option<Blob>, aws_sdk_kms::Error> {
    let call = kms.decrypt().key_id(key).ciphertext_blob(wrapped.clone()).set_encryption_context(Some(context.clone()));
    Ok(call.send().await?.plaintext)
}
