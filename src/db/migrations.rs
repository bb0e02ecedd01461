//! Brings the schema up to date.
//!
//! Unlike elsewhere, PostgreSQL's message is passed on when a statement fails: these statements carry no data, and an
//! administrator needs to know which right is missing.

use diesel::migration::MigrationSource;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel_async::{AsyncMigrationHarness, RunQueryDsl, SimpleAsyncConnection as _};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness as _, embed_migrations};

use super::{Connection, DbError, Fault};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!();

/// How long one `init` waits for another.
const LOCK_TIMEOUT: &str = "60s";

/// A statement of the schema failed.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// The schema, or a role of ours, is somebody else's: whoever owns it would own the vault.
    #[error(
        "{what} exists and is not as `init` would make it. Nothing was changed. Find out who made it; if nobody needs \
         it, drop it and run `pii-vault init` again"
    )]
    NotOurs {
        /// Which.
        what: String,
    },
    /// PostgreSQL's message; no row is in it.
    #[error(
        "{step}: {message}. `init` needs a login with CREATEROLE and INHERIT, CREATE on the database, and USAGE and CREATE on \
         schema public; \
         where another administrator made pii_vault_owner, also that role from them"
    )]
    Refused {
        /// What was being done.
        step: &'static str,
        /// Its message.
        message: String,
    },
}

/// How the schema and this program go together.
#[derive(Debug)]
pub struct Versions {
    /// Migrations that both have.
    pub applied: usize,
    /// Those that the schema lacks.
    pub missing: Vec<String>,
    /// Those that this program does not know.
    pub unknown: Vec<String>,
}

#[derive(QueryableByName)]
struct Version {
    #[diesel(sql_type = Text)]
    version: String,
}

#[derive(QueryableByName)]
struct Column {
    #[diesel(sql_type = Text)]
    description: String,
}

/// The columns of a `public.user_logins` that is not ours, each as `name type`; empty where there is none.
///
/// # Errors
/// [`MigrationError`].
pub async fn foreign_user_logins(conn: &mut Connection) -> Result<Vec<String>, MigrationError> {
    let columns: Vec<Column> = diesel::sql_query(
        "SELECT a.attname || ' ' || format_type(a.atttypid, a.atttypmod) AS description \
         FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid \
         WHERE c.oid = to_regclass('public.user_logins') AND a.attnum > 0 AND NOT a.attisdropped \
         AND pg_get_userbyid(c.relowner) <> 'pii_vault_owner' ORDER BY a.attnum",
    )
    .load(conn)
    .await
    .map_err(refused("looking for a table user_logins"))?;
    Ok(columns.into_iter().map(|column| column.description).collect())
}

/// Renames a foreign `public.user_logins` to the first free name of `user_logins_original`, `…_2`, … and returns it.
///
/// # Errors
/// [`MigrationError`].
pub async fn rename_foreign_user_logins(conn: &mut Connection) -> Result<String, MigrationError> {
    let mut name = "user_logins_original".to_owned();
    for attempt in 2.. {
        let taken: bool = diesel::select(
            diesel::dsl::sql::<diesel::sql_types::Bool>("to_regclass(")
                .bind::<Text, _>(format!("public.{name}"))
                .sql(") IS NOT NULL"),
        )
        .get_result(conn)
        .await
        .map_err(refused("looking for a free name"))?;
        if !taken {
            break;
        }
        name = format!("user_logins_original_{attempt}");
    }
    conn.batch_execute(&format!("ALTER TABLE public.user_logins RENAME TO {name}"))
        .await
        .map_err(refused("renaming the table user_logins"))?;
    Ok(name)
}

/// Serialises this with every other `init` of the database until the connection ends.
///
/// # Errors
/// [`MigrationError`] where another holds it for a minute.
pub async fn lock(conn: &mut Connection) -> Result<(), MigrationError> {
    conn.batch_execute(&format!(
        "SET lock_timeout = '{LOCK_TIMEOUT}'; SELECT pg_advisory_lock(hashtextextended('pii-vault/init', 0))"
    ))
    .await
    .map_err(refused("waiting for another init of this database"))
}

/// Makes the owner, the schema and everything in it, or what of it is missing. Each migration is a transaction, so an
/// interrupted run is continued by the next. Returns the connection under the owner's role.
///
/// # Errors
/// [`MigrationError`].
pub async fn run(mut conn: Connection) -> Result<(Connection, Vec<String>), MigrationError> {
    refuse_what_is_not_ours(&mut conn).await?;
    conn.batch_execute(OWNER_AND_SCHEMA).await.map_err(refused("making the owner and the schema"))?;
    let harness = move || {
        let mut harness = AsyncMigrationHarness::new(conn);
        let applied = harness
            .run_pending_migrations(MIGRATIONS)
            .map(|versions| versions.iter().map(ToString::to_string).collect())
            .map_err(|error| MigrationError::Refused { step: "making the schema", message: root_cause(&*error) })?;
        Ok((harness.into_inner(), applied))
    };
    // The harness is synchronous over an asynchronous connection: diesel's, for the multi-thread runtime.
    tokio::task::block_in_place(harness)
}

/// Compares the schema's migrations with this program's.
///
/// # Errors
/// [`DbError`].
pub async fn versions(conn: &mut Connection) -> Result<Versions, DbError> {
    let sql = "SELECT version::text FROM pii_vault.__diesel_schema_migrations ORDER BY 1";
    let rows: Vec<Version> =
        diesel::sql_query(sql).load(conn).await.map_err(DbError::during("reading the schema's version"))?;
    let known: Vec<String> = MigrationSource::<Pg>::migrations(&MIGRATIONS)
        .map_err(|_| DbError::new("reading this program's migrations", Fault::Unreadable))?
        .iter()
        .map(|migration| migration.name().version().to_string())
        .collect();
    let (applied, unknown): (Vec<_>, Vec<_>) =
        rows.into_iter().map(|row| row.version).partition(|version| known.contains(version));
    let missing = known.into_iter().filter(|version| !applied.contains(version)).collect();
    Ok(Versions { applied: applied.len(), missing, unknown })
}

/// The migrations run as `pii_vault_owner`, diesel's own table included, and step out of it where they make roles.
const OWNER_AND_SCHEMA: &str = "
    DO $$
    BEGIN
        CREATE ROLE pii_vault_owner NOLOGIN;
    EXCEPTION WHEN duplicate_object OR unique_violation THEN
        NULL;
    END
    $$;
    DO $$
    BEGIN
        IF NOT pg_has_role(current_user, 'pii_vault_owner', 'USAGE') THEN
            EXECUTE format('GRANT pii_vault_owner TO %I', current_user);
        END IF;
    EXCEPTION WHEN unique_violation THEN
        NULL; -- another database's init, at this very moment
    END
    $$;
    CREATE SCHEMA IF NOT EXISTS pii_vault AUTHORIZATION pii_vault_owner;
    SET ROLE pii_vault_owner;
    SET search_path = pii_vault;
";

async fn refuse_what_is_not_ours(conn: &mut Connection) -> Result<(), MigrationError> {
    let found: Vec<Column> = diesel::sql_query(
        "SELECT 'schema pii_vault of ' || nspowner::regrole AS description FROM pg_namespace \
         WHERE nspname = 'pii_vault' AND pg_get_userbyid(nspowner) <> 'pii_vault_owner' \
         UNION ALL SELECT 'role ' || rolname FROM pg_roles \
         WHERE rolname IN ('pii_vault_owner', 'pii_vault_ingest', 'pii_vault_analyst', 'pii_vault_unmask', \
             'pii_vault_lookup', 'pii_vault_approver', 'pii_vault_auditor', 'pii_vault_notary', 'pii_vault_rewrap', \
             'pii_vault_reseal', 'pii_vault_redrive') \
         AND (rolsuper OR rolcanlogin OR rolcreaterole OR rolcreatedb OR rolbypassrls OR rolreplication)",
    )
    .load(conn)
    .await
    .map_err(refused("looking for what is not ours"))?;
    match found.into_iter().next() {
        Some(Column { description }) => Err(MigrationError::NotOurs { what: description }),
        None => Ok(()),
    }
}

fn refused(step: &'static str) -> impl Fn(diesel::result::Error) -> MigrationError {
    move |error| MigrationError::Refused { step, message: error.to_string() }
}

fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
