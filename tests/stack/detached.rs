//! Servers that outlive their starter, and the file that says how to end them.
//!
//! The file names folders, not process ids: an id may belong to something else by then, perhaps after a reboot. In
//! its folder each supervisor listens on a named pipe, which it removes before it stops its server, and the folder
//! last of all.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::supervised::Supervised;

/// A supervisor that lives takes its pipe away at once.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// Longer than the patience of any supervisor.
const STOP_LIMIT: Duration = Duration::from_secs(20);

pub(super) fn refuse_second(state_file: &Path) -> Result<()> {
    ensure!(!state_file.exists(), "{} names servers that were left running. Stop those first", state_file.display());
    Ok(())
}

pub(super) fn write(state_file: &Path, servers: [&mut Supervised; 3]) -> Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(state_file)
        .with_context(|| format!("creating {}", state_file.display()))?;
    for server in servers {
        writeln!(file, "{} {}", server.port(), server.folder().display())?;
    }
    Ok(())
}

pub(super) fn stop(state_file: &Path) -> Result<bool> {
    let state = match fs::read_to_string(state_file) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        state => state.with_context(|| format!("reading {}", state_file.display()))?,
    };
    let servers = state.lines().map(Server::parse).collect::<Result<Vec<_>>>()?;
    // Held open until the end: a pipe that nobody has open forgets what was written, and a supervisor that was only
    // just detached may not have opened its end yet.
    let _pipes = servers.iter().map(Server::ask_to_stop).collect::<Result<Vec<_>>>()?;
    for server in &servers {
        server.wait_until_gone()?;
    }
    fs::remove_file(state_file)?;
    Ok(true)
}

struct Server {
    port: u16,
    folder: PathBuf,
}

impl Server {
    fn parse(line: &str) -> Result<Self> {
        let (port, folder) = line.split_once(' ').context("a line of the state file has no folder")?;
        Ok(Self { port: port.parse()?, folder: folder.into() })
    }

    /// Returns the pipe, if the supervisor has not taken it away yet.
    fn ask_to_stop(&self) -> Result<Option<File>> {
        // Opened for reading as well, so that it does not block if the supervisor is dead.
        match OpenOptions::new().read(true).write(true).open(self.pipe()) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            pipe => {
                let mut pipe = pipe?;
                writeln!(pipe, "stop")?;
                Ok(Some(pipe))
            }
        }
    }

    fn wait_until_gone(&self) -> Result<()> {
        let asked = Instant::now();
        while self.folder.exists() {
            if asked.elapsed() > ANSWER_LIMIT && self.pipe().exists() {
                return self.clear_up();
            }
            ensure!(asked.elapsed() < STOP_LIMIT, "the server of {} does not stop", self.folder.display());
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// After a reboot there is a folder and nobody who would delete it.
    fn clear_up(&self) -> Result<()> {
        fs::remove_dir_all(&self.folder)?;
        if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok() {
            bail!("what listens on port {} was started here and has lost its supervisor. End it by hand", self.port);
        }
        Ok(())
    }

    fn pipe(&self) -> PathBuf {
        self.folder.join("stop")
    }
}
