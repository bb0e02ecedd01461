//! From nothing to a vault.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::cast::{Cast, DATABASE, Person};
use crate::servers::Servers;
use crate::stage::Stage;

const REQUIREMENTS: &str = include_str!("../requirements.in");

pub(crate) fn servers(stage: &mut Stage, servers: &Servers) -> Result<()> {
    let (stack, psql) = (servers.stack(), servers.stack().postgres.bin("psql"));
    ensure!(psql.is_file(), "{} is missing; the demo needs PostgreSQL's client programs as well", psql.display());
    stage.set_postgres_binaries(psql.parent().context("psql is in no folder")?.to_path_buf());
    let version = Command::new(stack.postgres.bin("postgres")).arg("--version").output()?.stdout;
    let version = String::from_utf8(version)?;
    let version = version.split_whitespace().nth(2).context("PostgreSQL does not say its version")?;
    stage.say(&format!("PostgreSQL {version} on {}:{}", stack.postgres.host(), stack.postgres.port()))?;
    stage.say(&format!(
        "SQS at {} (ministack {}), KMS at {} (moto {})",
        stack.sqs.url(),
        pinned("ministack")?,
        stack.kms.url(),
        pinned("moto")?
    ))?;
    stage.say("")?;
    stage.say(
        "The AWS stand-ins take any credentials: here an AWS identity only names who would call, until one step asks",
    )?;
    stage.say("a KMS that enforces policies.")?;
    stage.say(
        "PostgreSQL's logins and refusals are real. Passwords are random and in no command line: pii-vault takes",
    )?;
    stage.say("them from DATABASE_URL, psql from PGPASSWORD, both set for the one command that is shown.")
}

pub(crate) async fn database(stage: &mut Stage, cast: &Cast) -> Result<()> {
    stage.heading("A database, and logins without rights")?;
    let script = |password: fn(&Person) -> &str| {
        let logins: String = cast
            .logins()
            .iter()
            .map(|person| {
                let right = if person.login == cast.dba.login { " CREATEROLE" } else { "" };
                format!("CREATE ROLE {} LOGIN{right} PASSWORD '{}';\n", person.login, password(person))
            })
            .collect();
        let dba = cast.dba.login;
        format!(
            "{logins}CREATE DATABASE {DATABASE};\nGRANT CREATE ON DATABASE {DATABASE} TO {dba};\n\
             \\connect {DATABASE}\nGRANT CREATE ON SCHEMA public TO {dba};\n"
        )
    };
    stage.psql_script(cast, &cast.superuser, &script(|person| &person.password), &script(|_| "...")).await
}

pub(crate) async fn vault(stage: &mut Stage, cast: &Cast) -> Result<()> {
    stage.heading("The vault: schema, roles, KMS keys, first token key")?;
    stage.pii_vault(cast, &cast.dba, &["init", "--create-kms-keys"], &[]).await?.succeeded()?;
    let grants = [
        "GRANT pii_vault_ingest TO etl_service",
        "GRANT pii_vault_analyst TO analyst",
        "GRANT pii_vault_redrive TO compliance_ops",
        "GRANT pii_vault_unmask TO officer",
        "GRANT pii_vault_approver TO approver",
        "GRANT pii_vault_auditor TO auditor",
        "GRANT pii_vault_rewrap TO rewrap_service",
        "GRANT pii_vault_reseal TO reseal_service",
    ];
    let heard = stage.psql(cast, &cast.dba, &grants).await?.succeeded()?;
    // psql's exit status is that of the last statement.
    let granted = heard.text.matches("GRANT ROLE").count();
    ensure!(granted == grants.len(), "{granted} of {} roles were granted:\n{}", grants.len(), heard.text);
    let superuser = stage.value(cast, &cast.dba, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user").await?;
    ensure!(superuser == "f", "the administrator is a superuser, who proves nothing");
    Ok(())
}

/// How to go on from here.
pub(crate) fn your_own(stage: &Stage) -> Result<()> {
    stage.title("The same with a queue and keys of your own:")?;
    stage.say(
        "
  export AWS_REGION=eu-central-1
  DATABASE_URL=postgres://dba:...@db.internal/logins pii-vault init --create-kms-keys
  psql postgres://dba@db.internal/logins -c 'GRANT pii_vault_ingest TO etl_service' \\
      -c 'GRANT pii_vault_analyst TO analyst'

  export PII_VAULT_QUEUE_URL=https://sqs.eu-central-1.amazonaws.com/123456789012/logins
  DATABASE_URL=postgres://etl_service:...@db.internal/logins pii-vault etl run",
    )
}

fn pinned(package: &str) -> Result<&'static str> {
    let version = REQUIREMENTS.lines().find_map(|line| line.strip_prefix(package)?.strip_prefix("=="));
    version.with_context(|| format!("requirements.in does not pin {package}"))
}
