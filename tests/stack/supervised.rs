//! A server, the shell that supervises it, and the pipe whose end ends both.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

const SCRIPT: &str = include_str!("supervise.sh");
/// What the script exits with if the port was taken between our look and the server's.
const PORT_TAKEN: i32 = 75;
const PORTS_TO_TRY: u8 = 5;
/// Generous: a loaded CI machine needs far longer than the one second that is usual.
const START_LIMIT: Duration = Duration::from_secs(60);

/// What differs from server to server.
pub(super) trait Recipe: Send + Sync {
    /// For messages and for the folder's name.
    fn name(&self) -> &'static str;

    /// The command, with arguments and environment. It runs in the server's folder.
    fn command(&self, port: u16) -> Command;

    /// Whether the server that logs into `folder` serves; an answer on the port could be another's.
    fn is_ready(&self, folder: &Path, port: u16) -> bool;

    /// How many seconds it may take to stop by itself.
    fn patience(&self) -> u8;

    /// A line for its standard input.
    fn secret(&self) -> &str {
        ""
    }

    /// The user and group to run as, if not ours.
    fn user(&self) -> Option<(u32, u32)> {
        None
    }
}

/// A server that stops when this is dropped or this process dies, unless it was detached.
pub(super) struct Supervised {
    recipe: Box<dyn Recipe>,
    port: u16,
    shell: Shell,
}

impl Supervised {
    /// Starts the server without waiting for it.
    pub(super) fn spawn(recipe: impl Recipe + 'static) -> Result<Self> {
        let port = free_port()?;
        let shell = Shell::spawn(&recipe, port)?;
        Ok(Self { recipe: Box::new(recipe), port, shell })
    }

    /// Waits until the server serves, on another port if its own was taken meanwhile.
    pub(super) fn wait_until_ready(&mut self) -> Result<()> {
        let name = self.recipe.name();
        for _ in 0..PORTS_TO_TRY {
            let deadline = Instant::now() + START_LIMIT;
            while !self.recipe.is_ready(&self.shell.folder, self.port) {
                if let Some(status) = self.shell.process.try_wait()? {
                    if status.code() == Some(PORT_TAKEN) {
                        break;
                    }
                    bail!("{name} did not start.\n{}", self.shell.last_words()?);
                }
                ensure!(
                    Instant::now() < deadline,
                    "{name} did not get ready within {START_LIMIT:?}. Its log:\n{}",
                    fs::read_to_string(self.log()).unwrap_or_default()
                );
                thread::sleep(Duration::from_millis(10));
            }
            if self.shell.process.try_wait()?.is_none() {
                self.shell.forward_last_words();
                return Ok(());
            }
            self.port = free_port()?;
            self.shell = Shell::spawn(&*self.recipe, self.port)?;
        }
        bail!("{name} found each of {PORTS_TO_TRY} ports taken")
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn folder(&self) -> &Path {
        &self.shell.folder
    }

    pub(super) fn log(&self) -> PathBuf {
        self.shell.folder.join("log")
    }

    /// Lets the server live on after us.
    pub(super) fn detach(&mut self) -> Result<()> {
        let mut orders = self.shell.orders.take().context("the server was told to stop")?;
        writeln!(orders, "detach")?;
        self.shell.detached = true;
        Ok(())
    }

    /// Tells the server to stop, without waiting for it.
    pub(super) fn release(&mut self) {
        self.shell.orders = None;
    }
}

struct Shell {
    process: Child,
    /// Our end of the pipe. Its descriptor is close-on-exec, so no other child of ours can hold the pipe open.
    orders: Option<ChildStdin>,
    words: Option<BufReader<ChildStdout>>,
    folder: PathBuf,
    detached: bool,
}

impl Shell {
    fn spawn(recipe: &dyn Recipe, port: u16) -> Result<Self> {
        let mut process = shell_command(recipe, &recipe.command(port))
            .spawn()
            .with_context(|| format!("starting sh for {}", recipe.name()))?;
        let mut orders = process.stdin.take().context("sh has no standard input")?;
        let mut words = BufReader::new(process.stdout.take().context("sh has no standard output")?);

        writeln!(orders, "{}", recipe.secret())?;
        let mut line = String::new();
        words.read_line(&mut line)?;
        let folder = PathBuf::from(line.trim_end());
        ensure!(folder.is_absolute(), "{} got no folder to run in: {line}", recipe.name());
        Ok(Self { process, orders: Some(orders), words: Some(words), folder, detached: false })
    }

    fn last_words(&mut self) -> Result<String> {
        let mut words = String::new();
        if let Some(mut pipe) = self.words.take() {
            pipe.read_to_string(&mut words)?;
        }
        Ok(words)
    }

    /// A server that dies in the middle of a test should say so there, not as a puzzling "connection refused".
    fn forward_last_words(&mut self) {
        if let Some(mut pipe) = self.words.take() {
            thread::spawn(move || io::copy(&mut pipe, &mut io::stderr()));
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        if !self.detached {
            self.orders = None;
            // The script ends once the folder is gone. If waiting fails there is nobody left to wait for.
            let _ = self.process.wait();
        }
    }
}

/// The environment is built anew: what the owner has in its own, AWS keys for one, is none of a server's business.
fn shell_command(recipe: &dyn Recipe, server: &Command) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", SCRIPT, "supervise"])
        .arg(format!("pii-vault-{}", recipe.name()))
        .arg(recipe.patience().to_string())
        .arg(server.get_program())
        .args(server.get_args())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into()))
        .env("LC_ALL", "C")
        .env("TMPDIR", std::path::absolute(std::env::temp_dir()).unwrap_or_else(|_| "/tmp".into()))
        .envs(server.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    if let Some((user, group)) = recipe.user() {
        // As root, `uid` also drops all supplementary groups.
        command.uid(user).gid(group);
    }
    command
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("looking for a free port")?;
    Ok(listener.local_addr()?.port())
}
