//! A PostgreSQL server with a new, empty cluster.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::supervised::{Recipe, Supervised};

/// `fsync` stays on: what the tests say about a commit must hold for a real one. (`--no-sync` is about the empty
/// cluster that initdb makes, which nobody misses after a crash.) The password comes on standard input.
const SCRIPT: &str = r#"
"$1/initdb" --pgdata=data --username=postgres --pwfile=/dev/stdin --auth=scram-sha-256 \
    --encoding=UTF8 --locale=C --data-checksums --no-sync || exit 1
if [ -n "${HBA-}" ]; then
    echo "$HBA" >data/pg_hba.conf
fi
ssl=off
if [ -n "${TLS_KEY-}" ]; then
    ssl=on
    printf %s "$TLS_KEY" >data/server.key
    printf %s "$TLS_CERTIFICATE" >data/server.crt
    unset TLS_KEY
fi
exec "$1/postgres" -D data -p "$2" -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
    -c max_connections=300 -c max_prepared_transactions=20 -c "ssl=$ssl" </dev/null
"#;

/// PostgreSQL on a loopback port. It has no socket file, and the one of a stack knows passwords alone (SCRAM).
pub(crate) struct Postgres {
    server: Supervised,
    password: String,
    binaries: PathBuf,
}

/// What a server shows its clients, in PEM. Its life is a test's, so the key may pass through the environment.
#[derive(Clone)]
pub(crate) struct TlsIdentity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Postgres {
    /// A server of a test's own that speaks TLS, refuses whoever does not, and asks for a password.
    pub(crate) fn start_with_tls(identity: TlsIdentity) -> Result<Self> {
        Self::start(Some(identity), "hostssl all all 127.0.0.1/32 scram-sha-256")
    }

    /// A server of a test's own that takes everybody for who they say they are.
    pub(crate) fn start_trusting() -> Result<Self> {
        Self::start(None, "host all all 127.0.0.1/32 trust")
    }

    fn start(tls: Option<TlsIdentity>, hba: &'static str) -> Result<Self> {
        let mut server = Self::spawn_as(tls, hba)?;
        server.wait_until_ready()?;
        Ok(server)
    }

    pub(super) fn spawn() -> Result<Self> {
        Self::spawn_as(None, "")
    }

    fn spawn_as(tls: Option<TlsIdentity>, hba: &'static str) -> Result<Self> {
        let binaries = find_binaries()?;
        let password = random_password()?;
        let server = Supervised::spawn(Cluster {
            binaries: binaries.clone(),
            password: password.clone(),
            user: unprivileged_user()?,
            tls,
            hba,
        })?;
        Ok(Self { server, password, binaries })
    }

    pub(super) fn wait_until_ready(&mut self) -> Result<()> {
        self.server.wait_until_ready()
    }

    pub(super) fn server(&mut self) -> &mut Supervised {
        &mut self.server
    }

    /// The address it listens on.
    pub(crate) fn host(&self) -> &str {
        "127.0.0.1"
    }

    pub(crate) fn port(&self) -> u16 {
        self.server.port()
    }

    /// Connects as the superuser `postgres`.
    pub(crate) fn admin_url(&self, database: &str) -> String {
        self.url("postgres", &self.password, database)
    }

    pub(crate) fn url(&self, user: &str, password: &str, database: &str) -> String {
        format!(
            "postgresql://{}:{}@{}:{}/{}",
            percent_encode(user),
            percent_encode(password),
            self.host(),
            self.port(),
            percent_encode(database)
        )
    }

    /// A program of the same version as the server, `psql` for one.
    pub(crate) fn bin(&self, name: &str) -> PathBuf {
        self.binaries.join(name)
    }

    /// What is in it goes when the server goes.
    pub(crate) fn folder(&self) -> &Path {
        self.server.folder()
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.server.log()
    }
}

struct Cluster {
    binaries: PathBuf,
    password: String,
    user: Option<(u32, u32)>,
    tls: Option<TlsIdentity>,
    /// Who may log in and how, instead of what initdb writes.
    hba: &'static str,
}

impl Recipe for Cluster {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn command(&self, port: u16) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT, "postgres"]).arg(&self.binaries).arg(port.to_string());
        command.env("HBA", self.hba);
        if let Some(tls) = &self.tls {
            command.env("TLS_KEY", &tls.key).env("TLS_CERTIFICATE", &tls.certificate);
        }
        command
    }

    fn is_ready(&self, folder: &Path, _port: u16) -> bool {
        // The eighth line of its lock file is where the server says how far it is; `pg_ctl` reads it as well.
        fs::read_to_string(folder.join("data/postmaster.pid"))
            .is_ok_and(|lock| lock.lines().nth(7).is_some_and(|status| status.trim() == "ready"))
    }

    fn patience(&self) -> u8 {
        10
    }

    fn secret(&self) -> &str {
        &self.password
    }

    fn user(&self) -> Option<(u32, u32)> {
        self.user
    }
}

/// `demo/bootstrap` looks in the same places, in the same order.
fn find_binaries() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("PG_BIN") {
        let folder = PathBuf::from(folder);
        ensure!(has_server(&folder), "PG_BIN is {}, but initdb or postgres is not in it", folder.display());
        return behind_links(&folder);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folder = std::env::split_paths(&path)
        .chain(debian_folders())
        .chain(pg_config_folder())
        .find(|folder| folder.is_absolute() && has_server(folder))
        .context(
            "no PostgreSQL server is installed. Run demo/bootstrap, install PostgreSQL 13 or newer (Debian: apt \
             install postgresql), or set PG_BIN to the folder of its initdb",
        )?;
    behind_links(&folder)
}

fn has_server(folder: &Path) -> bool {
    folder.join("initdb").is_file() && folder.join("postgres").is_file()
}

/// The server's programs have siblings that a folder of links to some of them may lack.
fn behind_links(folder: &Path) -> Result<PathBuf> {
    let initdb = folder.join("initdb").canonicalize()?;
    Ok(initdb.parent().unwrap_or(folder).to_path_buf())
}

/// Debian keeps server binaries off PATH, in a folder for each major version. Newest first.
fn debian_folders() -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir("/usr/lib/postgresql") else {
        return Vec::new();
    };
    let mut versions: Vec<u32> = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    versions.sort_unstable();
    versions.iter().rev().map(|version| PathBuf::from(format!("/usr/lib/postgresql/{version}/bin"))).collect()
}

fn pg_config_folder() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim_end()))
}

/// PostgreSQL refuses to run as root.
fn unprivileged_user() -> Result<Option<(u32, u32)>> {
    if id(&["-u"]).context("`id -u` says nothing")? != 0 {
        return Ok(None);
    }
    for name in ["postgres", "nobody"] {
        if let (Some(user), Some(group)) = (id(&["-u", name]), id(&["-g", name])) {
            return Ok(Some((user, group)));
        }
    }
    bail!("PostgreSQL does not run as root, and there is neither a user `postgres` nor `nobody`")
}

fn id(arguments: &[&str]) -> Option<u32> {
    let output = Command::new("id").args(arguments).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim_end().parse().ok()
}

fn random_password() -> Result<String> {
    let mut bytes = [0; 24];
    File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut bytes)).context("reading /dev/urandom")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn percent_encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
