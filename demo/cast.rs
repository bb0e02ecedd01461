//! Who takes part: each with a login of PostgreSQL, an identity of AWS, or both.

use anyhow::{Context, Result};

use crate::servers::Servers;

/// The database of the demo.
pub(crate) const DATABASE: &str = "logins";

/// The region that the AWS stand-ins are asked for.
pub(crate) const REGION: &str = "eu-central-1";

/// Somebody, or a service.
pub(crate) struct Person {
    /// The login of PostgreSQL.
    pub(crate) login: &'static str,
    /// The AWS identity, for those who need one.
    pub(crate) aws: Option<&'static str>,
    pub(crate) password: String,
}

/// All of them, and the addresses they go to.
pub(crate) struct Cast {
    pub(crate) superuser: Person,
    pub(crate) dba: Person,
    pub(crate) etl_service: Person,
    pub(crate) analyst: Person,
    pub(crate) compliance_ops: Person,
    pub(crate) officer: Person,
    pub(crate) approver: Person,
    pub(crate) auditor: Person,
    pub(crate) rewrap_service: Person,
    pub(crate) reseal_service: Person,
    pub(crate) sqs: String,
    pub(crate) kms: String,
    host: String,
    port: u16,
}

impl Cast {
    pub(crate) fn new(servers: &Servers) -> Result<Self> {
        let postgres = &servers.stack().postgres;
        let admin: tokio_postgres::Config = postgres.admin_url("postgres").parse()?;
        let password = String::from_utf8(admin.get_password().context("the superuser has no password")?.to_vec())?;
        let person = |login, aws| -> Result<Person> { Ok(Person { login, aws, password: random_password()? }) };
        Ok(Self {
            superuser: Person { login: "postgres", aws: None, password },
            dba: person("dba", Some("init"))?,
            etl_service: person("etl_service", Some("ingestion"))?,
            analyst: person("analyst", None)?,
            compliance_ops: person("compliance_ops", None)?,
            officer: person("officer", Some("unmask"))?,
            approver: person("approver", None)?,
            auditor: person("auditor", None)?,
            rewrap_service: person("rewrap_service", Some("rewrap-data"))?,
            reseal_service: person("reseal_service", Some("reseal"))?,
            sqs: servers.stack().sqs.url(),
            kms: servers.stack().kms.url(),
            host: postgres.host().to_owned(),
            port: postgres.port(),
        })
    }

    /// Those who get a login from the administrator.
    pub(crate) fn logins(&self) -> [&Person; 9] {
        [
            &self.dba,
            &self.etl_service,
            &self.analyst,
            &self.compliance_ops,
            &self.officer,
            &self.approver,
            &self.auditor,
            &self.rewrap_service,
            &self.reseal_service,
        ]
    }

    /// What `DATABASE_URL` is for this person. Names and passwords need no escaping.
    pub(crate) fn database_url(&self, person: &Person, password: &str) -> String {
        format!("postgresql://{}:{password}@{}:{}/{DATABASE}", person.login, self.host, self.port)
    }

    /// The whole environment of what this person runs, so that nothing of ours leaks in: no profile, no real keys.
    pub(crate) fn environment(&self, person: &Person) -> Vec<(&'static str, String)> {
        let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/bin:/bin".to_owned());
        let mut environment = vec![
            ("PATH", path),
            ("LC_ALL", "C.UTF-8".to_owned()),
            ("DATABASE_URL", self.database_url(person, &person.password)),
            ("PGUSER", person.login.to_owned()),
            ("PGPASSWORD", person.password.clone()),
            ("PSQLRC", "/dev/null".to_owned()),
        ];
        environment.extend(self.database());
        environment.extend(person.aws.map(|identity| self.aws(identity)).into_iter().flatten());
        environment
    }

    /// Where psql and pg_dump go.
    pub(crate) fn database(&self) -> [(&'static str, String); 3] {
        [("PGHOST", self.host.clone()), ("PGPORT", self.port.to_string()), ("PGDATABASE", DATABASE.to_owned())]
    }

    /// The AWS part of it.
    pub(crate) fn aws(&self, identity: &str) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_REGION", REGION.to_owned()),
            ("AWS_ENDPOINT_URL_SQS", self.sqs.clone()),
            ("AWS_ENDPOINT_URL_KMS", self.kms.clone()),
            ("AWS_ACCESS_KEY_ID", identity.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "any-will-do".to_owned()),
            ("AWS_CONFIG_FILE", "/dev/null".to_owned()),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null".to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ]
    }
}

fn random_password() -> Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).context("no random numbers")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
