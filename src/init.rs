//! `init`: from an empty database and an empty KMS to a vault.
//!
//! Guaranteed: idempotent; safe twice at once; interrupted anywhere, the next run goes on; a `user_logins` that is not
//! ours is never touched unasked. Not guaranteed: that a KMS key made by a run that was killed before it named the key
//! is found again; such a key has our description and no alias.

use time::OffsetDateTime;

use crate::aws::kms_keys::KmsKey;
use crate::aws::{AwsError, Kms, KmsKeys};
use crate::db::migrations::{self, MigrationError};
use crate::db::{ConnectError, Connection, DbError, Role, Server, audit_log, months, vault};
use crate::domain::{Month, VaultId};
use crate::keyring::{KeyringError, TokenKeys};

/// What `init` may do beyond what is its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Make KMS keys that are missing.
    pub create_kms_keys: bool,
    /// Rename a `public.user_logins` that is not ours.
    pub rename_existing: bool,
}

/// What `init` found and did.
#[derive(Debug)]
pub struct Report {
    /// The vault.
    pub vault: VaultId,
    /// Migrations that were applied; none where the schema was up to date.
    pub migrations: Vec<String>,
    /// KMS keys that were made.
    pub created_kms_keys: Vec<String>,
    /// Whether the first token key was made.
    pub created_token_key: bool,
    /// The new name of a `user_logins` that was not ours.
    pub renamed_to: Option<String>,
}

/// Why there is no vault yet.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// `public.user_logins` is somebody else's.
    #[error("public.user_logins exists and is not pii-vault's")]
    ForeignUserLogins {
        /// Its columns, `name type`.
        columns: Vec<String>,
    },
    /// KMS keys are missing.
    #[error("KMS keys are missing")]
    MissingKmsKeys(Vec<KmsKey>),
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The schema.
    #[error(transparent)]
    Migration(#[from] MigrationError),
    /// A statement.
    #[error(transparent)]
    Db(#[from] DbError),
    /// KMS.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// The first token key.
    #[error(transparent)]
    Key(#[from] KeyringError),
}

/// Makes what is missing of the vault: schema, roles, vault id, first token key.
///
/// # Errors
/// [`InitError`]. What was done by then stays, and the next run goes on from there.
pub async fn init(server: &Server, kms: &Kms, keys: &KmsKeys, options: Options) -> Result<Report, InitError> {
    let mut conn = server.connect(Role::Administrator).await?;
    migrations::lock(&mut conn).await?;

    let columns = migrations::foreign_user_logins(&mut conn).await?;
    if !columns.is_empty() && !options.rename_existing {
        return Err(InitError::ForeignUserLogins { columns });
    }
    let created_kms_keys = ensure_kms_keys(kms, keys, options.create_kms_keys).await?;
    let renamed_to = match columns.is_empty() {
        true => None,
        false => Some(migrations::rename_foreign_user_logins(&mut conn).await?),
    };

    let (mut conn, applied) = migrations::run(conn).await?;
    let vault = vault::found(&mut conn, VaultId::random()).await?;
    ensure_months(&mut conn).await?;
    let created_token_key = TokenKeys::ensure_first(&mut conn, kms, vault).await?;
    audit_log::record_init(&mut conn, applied.len(), created_token_key).await?;
    Ok(Report { vault, migrations: applied, created_kms_keys, created_token_key, renamed_to })
}

/// This month's partition and the next one's. Where an open reader holds that up, ingestion makes them.
async fn ensure_months(conn: &mut Connection) -> Result<(), DbError> {
    let this_month = Month::of(OffsetDateTime::now_utc().date());
    for month in [Some(this_month), this_month.next()].into_iter().flatten() {
        months::ensure(conn, month).await?;
    }
    Ok(())
}

async fn ensure_kms_keys(kms: &Kms, keys: &KmsKeys, create: bool) -> Result<Vec<String>, InitError> {
    let mut missing = Vec::new();
    for key in keys.all() {
        if !kms.exists(&key).await? {
            missing.push(key);
        }
    }
    let makeable = missing.iter().all(|key| key.commands().is_some());
    if !(missing.is_empty() || create && makeable) {
        return Err(InitError::MissingKmsKeys(missing));
    }
    for key in &missing {
        kms.create(key).await?;
    }
    Ok(missing.into_iter().map(|key| key.name).collect())
}
