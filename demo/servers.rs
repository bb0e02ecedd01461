//! The servers, which end with the demo, or with KEEP=1 live on once it has come to its end.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::cast::{Cast, Person};
use crate::stack::Stack;
use crate::stage::{Stage, indent};

/// What tells of servers that were left up.
#[derive(Clone)]
pub(crate) struct Files {
    /// What ends them.
    state: PathBuf,
    /// What a shell sources to use them. It holds passwords.
    environment: PathBuf,
}

/// Dropping it ends the servers, unless they were left running.
pub(crate) struct Servers {
    stack: Stack,
    ended_by: Option<Files>,
}

impl Files {
    pub(crate) fn find() -> Result<Self> {
        let demo = std::env::current_exe()?;
        // target/debug/examples/demo
        let target = demo.ancestors().nth(3).context("the demo is in no target folder")?;
        Ok(Self { state: target.join("demo.state"), environment: target.join("demo.env") })
    }

    fn remove_environment(&self) -> Result<()> {
        match fs::remove_file(&self.environment) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            other => other.with_context(|| format!("deleting {}", self.environment.display())),
        }
    }
}

impl Servers {
    pub(crate) fn start(keep: bool, files: &Files) -> Result<Self> {
        if !keep {
            return Ok(Self { stack: Stack::start()?, ended_by: None });
        }
        ensure!(!files.state.exists(), "the servers of an earlier KEEP=1 are still up. End them with: make demo-down");
        let stack = Stack::start_detached(&files.state)?;
        Ok(Self { stack, ended_by: Some(files.clone()) })
    }

    pub(crate) fn stack(&self) -> &Stack {
        &self.stack
    }

    /// Ends what an earlier run left up; `false` if there is nothing.
    pub(crate) fn stop_kept(files: &Files) -> Result<bool> {
        files.remove_environment()?;
        Stack::stop_detached(&files.state)
    }

    pub(crate) fn leave_running(mut self, files: &Files, cast: &Cast, queue_url: &str, stage: &Stage) -> Result<()> {
        files.remove_environment()?;
        let path = &files.environment;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(environment(cast, queue_url, stage, |person| &person.password).as_bytes())?;

        stage.title("The servers of this demo")?;
        stage.say("\nThis file has the settings below, and the passwords, for a shell. Source it:\n")?;
        stage.say(&format!("  . {}\n", path.display()))?;
        stage.say(&indent(&environment(cast, queue_url, stage, |_| "..."), 2))?;
        stage.say("\nThen, for one:\n")?;
        stage.say("  as_analyst psql -c 'SELECT * FROM user_logins LIMIT 10'")?;
        stage.say("  as_etl_service pii-vault etl run --drain --wait 1s")?;
        stage.say("\nTo end the servers and delete all they hold: make demo-down")?;
        self.ended_by = None;
        Ok(())
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        if let Some(files) = &self.ended_by
            && let Err(error) = Self::stop_kept(files)
        {
            crate::complain(&format!("demo: {error:#}. What is left can be ended by: make demo-down"));
        }
    }
}

/// A function for each person, so that passwords stay in the environment: out of the process list and the history.
fn environment(cast: &Cast, queue_url: &str, stage: &Stage, password: impl Fn(&Person) -> &str) -> String {
    let binaries = stage.binaries().display().to_string().replace('\'', r"'\''");
    let mut lines = vec![
        format!("export PATH='{binaries}':\"$PATH\""),
        "unset AWS_PROFILE AWS_SESSION_TOKEN AWS_ENDPOINT_URL PGSERVICE PGOPTIONS".to_owned(),
        format!("export PII_VAULT_QUEUE_URL={queue_url}"),
    ];
    let shared = cast.aws("nobody").into_iter().chain(cast.database());
    lines.extend(shared.map(|(name, value)| format!("export {name}={value}")));
    for person in cast.logins() {
        let (login, password) = (person.login, password(person));
        lines.push(format!("as_{login}() {{"));
        lines.push(format!("  DATABASE_URL={} \\", cast.database_url(person, password)));
        let identity = person.aws.map(|identity| format!(" AWS_ACCESS_KEY_ID={identity}")).unwrap_or_default();
        lines.push(format!("  PGUSER={login} PGPASSWORD={password}{identity} \"$@\""));
        lines.push("}".to_owned());
    }
    lines.join("\n") + "\n"
}
