use serde::Serialize;

use crate::aws::{Kms, KmsKeys, client};
use crate::cli::config::KmsArgs;
use crate::cli::exit::ExitStatus;
use crate::cli::output::{self, OutputFormat};
use crate::crypto::checkpoint::CheckpointKey;

const EXAMPLES: &str = "\
An auditor keeps it: signatures are verified with it, without AWS. It stays the same for the life of
the KMS key. The AWS identity needs kms:GetPublicKey on the signing key; no database is needed.

Examples:
  pii-vault audit public-key > checkpoint-key.pem
  export PII_VAULT_CHECKPOINT_PUBLIC_KEY=checkpoint-key.pem";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    kms: KmsArgs,
}

pub(in crate::cli) async fn run(args: Args, format: OutputFormat) -> anyhow::Result<ExitStatus> {
    let kms = Kms::new(&client::load().await, KmsKeys::from(args.kms));
    let pem = CheckpointKey::from_der(&kms.public_key().await?)?.to_pem();
    output::result(format, &pem, &PublicKey { public_key: &pem })?;
    Ok(ExitStatus::Done)
}

#[derive(Serialize)]
struct PublicKey<'a> {
    public_key: &'a str,
}
