use std::path::Path;

use anyhow::Context as _;

use crate::crypto::checkpoint::CheckpointKey;

/// The public key of a PEM file.
pub(super) fn checkpoint_key(path: &Path) -> anyhow::Result<CheckpointKey> {
    let told = || format!("the public key of checkpoints, {}", path.display());
    let pem = std::fs::read_to_string(path).with_context(told)?;
    CheckpointKey::from_pem(&pem).with_context(told)
}
