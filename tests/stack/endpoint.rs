//! Stand-ins for AWS services: Python programs of the virtual environment that `demo/bootstrap` makes.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::supervised::{Recipe, Supervised};

/// One or more AWS services on a loopback port.
pub(crate) struct Endpoint {
    server: Supervised,
}

impl Endpoint {
    /// Starts SQS, KMS, IAM and STS with policies in force (see [`super::iam`]) and waits until they are ready. Not
    /// part of the stack: few need it.
    pub(crate) fn start_with_iam() -> Result<Self> {
        let mut endpoint = Self::spawn(Ministack { name: "iam", services: "sqs,kms,iam,sts", python: find_python()? })?;
        endpoint.wait_until_ready()?;
        Ok(endpoint)
    }

    /// Takes any credentials.
    pub(super) fn spawn_sqs() -> Result<Self> {
        Self::spawn(Ministack { name: "sqs", services: "sqs", python: find_python()? })
    }

    /// Takes any credentials.
    pub(super) fn spawn_kms() -> Result<Self> {
        Self::spawn(Kms { python: find_python()? })
    }

    fn spawn(recipe: impl Recipe + 'static) -> Result<Self> {
        Ok(Self { server: Supervised::spawn(recipe)? })
    }

    pub(super) fn wait_until_ready(&mut self) -> Result<()> {
        self.server.wait_until_ready()
    }

    pub(super) fn server(&mut self) -> &mut Supervised {
        &mut self.server
    }

    /// For the SDK's endpoint URL.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.server.port())
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.server.log()
    }
}

/// ministack: its receipt handles, visibility timeouts and long polls behave like those of SQS.
struct Ministack {
    name: &'static str,
    services: &'static str,
    python: PathBuf,
}

impl Recipe for Ministack {
    fn name(&self) -> &'static str {
        self.name
    }

    fn command(&self, port: u16) -> Command {
        let mut command = python(&self.python);
        command
            .args(["-m", "ministack"])
            .env("GATEWAY_PORT", port.to_string())
            .env("BIND_HOST", "127.0.0.1")
            // Its MQTT broker would listen on every interface.
            .env("IOT_MTLS_ENABLED", "0")
            .env("SERVICES", self.services)
            .env("AUTH", if self.services.contains("iam") { "true" } else { "false" })
            // It would look for containers of its own to remove.
            .env("DOCKER_HOST", "unix:///nonexistent");
        command
    }

    fn is_ready(&self, folder: &Path, port: u16) -> bool {
        serves(folder, port, "/_ministack/health")
    }

    fn patience(&self) -> u8 {
        PATIENCE
    }
}

/// moto: unlike others it binds a ciphertext to its encryption context. The script adds new material, and refuses for keys
/// that are disabled.
struct Kms {
    python: PathBuf,
}

impl Recipe for Kms {
    fn name(&self) -> &'static str {
        "kms"
    }

    fn command(&self, port: u16) -> Command {
        let mut command = python(&self.python);
        command.args(["-c", include_str!("kms.py"), "-H", "127.0.0.1", "-p"]).arg(port.to_string());
        command
    }

    fn is_ready(&self, folder: &Path, port: u16) -> bool {
        serves(folder, port, "/")
    }

    fn patience(&self) -> u8 {
        PATIENCE
    }
}

/// All they have is in memory, and ministack would wait for open long polls to end.
const PATIENCE: u8 = 1;

pub(super) fn find_python() -> Result<PathBuf> {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/python");
    ensure!(python.is_file(), "{} is missing. Run demo/bootstrap", python.display());
    Ok(python)
}

fn python(program: &Path) -> Command {
    let mut command = Command::new(program);
    // Unbuffered, as the log is what says that the server is ready.
    command.args(["-u", "-s"]);
    command
}

/// The log proves that it is this server that listens, the answer that it serves.
fn serves(folder: &Path, port: u16, path: &str) -> bool {
    fs::read_to_string(folder.join("log")).is_ok_and(|log| log.contains("Running on http")) && answers(port, path)
}

fn answers(port: u16, path: &str) -> bool {
    let limit = Duration::from_secs(5);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut start = [0; 6];
    TcpStream::connect_timeout(&address, limit)
        .and_then(|mut stream| {
            stream.set_read_timeout(Some(limit))?;
            write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
            stream.read_exact(&mut start)
        })
        .is_ok_and(|()| &start == b"HTTP/1")
}
