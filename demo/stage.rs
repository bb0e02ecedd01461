//! Runs commands as somebody and shows them, with all they print, as a terminal would.

use std::ffi::OsStr;
use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use tokio::process::Command;
use tokio::task::spawn_blocking;

use crate::cast::{Cast, DATABASE, Person};

/// Where the audience looks.
pub(crate) struct Stage {
    pii_vault: PathBuf,
    postgres_binaries: PathBuf,
    bold: bool,
    steps: u32,
    transcript: String,
}

/// What a command did.
pub(crate) struct Heard {
    command: String,
    /// Standard output and standard error, in the order in which they came.
    pub(crate) text: String,
    status: Option<i32>,
}

impl Stage {
    pub(crate) fn new() -> Result<Self> {
        let demo = std::env::current_exe()?;
        let folder = demo.ancestors().nth(2).context("the demo is in no target folder")?;
        let pii_vault = folder.join("pii-vault");
        ensure!(pii_vault.is_file(), "{} is missing. Run: cargo build --bins", pii_vault.display());
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Ok(Self {
            pii_vault,
            postgres_binaries: PathBuf::new(),
            bold: io::stdout().is_terminal() && !plain,
            steps: 0,
            transcript: String::new(),
        })
    }

    /// Where psql and pg_dump are: those of the server's own version.
    pub(crate) fn set_postgres_binaries(&mut self, folder: PathBuf) {
        self.postgres_binaries = folder;
    }

    /// The folder of the binary `pii-vault`.
    pub(crate) fn binaries(&self) -> &Path {
        self.pii_vault.parent().unwrap_or(Path::new("."))
    }

    pub(crate) fn steps(&self) -> u32 {
        self.steps
    }

    /// All that the commands printed.
    pub(crate) fn transcript(&self) -> &str {
        &self.transcript
    }

    pub(crate) fn say(&self, text: &str) -> Result<()> {
        Ok(writeln!(io::stdout(), "{text}")?)
    }

    /// Begins a step.
    pub(crate) fn heading(&mut self, title: &str) -> Result<()> {
        self.steps += 1;
        self.title(&format!("{}. {title}", self.steps))
    }

    pub(crate) fn title(&self, title: &str) -> Result<()> {
        self.say("")?;
        self.say(&if self.bold { format!("\x1b[1m{title}\x1b[0m") } else { title.to_owned() })
    }

    /// Runs `pii-vault`, shown.
    pub(crate) async fn pii_vault(
        &mut self,
        cast: &Cast,
        person: &Person,
        arguments: &[&str],
        more: &[(&'static str, String)],
    ) -> Result<Heard> {
        let settings: String = more.iter().map(|(name, value)| format!("{name}={value} ")).collect();
        let quoted =
            |argument: &&str| if argument.contains(' ') { format!("'{argument}'") } else { (*argument).to_owned() };
        let shown = format!("pii-vault {}", arguments.iter().map(quoted).collect::<Vec<_>>().join(" "));
        self.show(person, person.aws, &format!("{settings}{shown}"))?;
        let mut command = command(&self.pii_vault, cast, person);
        command.args(arguments).envs(more.iter().cloned());
        let heard = self.run(command, shown, "").await?;
        self.show_output(&heard)?;
        Ok(heard)
    }

    /// Runs statements by psql, shown.
    pub(crate) async fn psql(&mut self, cast: &Cast, person: &Person, statements: &[&str]) -> Result<Heard> {
        let shown: Vec<_> = statements.iter().map(|sql| format!("-c \"{}\"", sql.replace('\n', "\n    "))).collect();
        let shown = format!("psql {}", shown.join(" \\\n    "));
        self.show(person, None, &shown)?;
        let mut command = command(self.postgres_binaries.join("psql"), cast, person);
        command.args(statements.iter().flat_map(|sql| ["-c", sql]));
        let heard = self.run(command, shown, "").await?;
        self.show_output(&heard)?;
        Ok(heard)
    }

    /// Feeds a script to psql; what is shown of it may lack the secrets.
    pub(crate) async fn psql_script(&mut self, cast: &Cast, person: &Person, script: &str, shown: &str) -> Result<()> {
        self.show(person, None, &format!("psql -q -v ON_ERROR_STOP=1 postgres <<END\n{shown}END"))?;
        let mut command = command(self.postgres_binaries.join("psql"), cast, person);
        command.args(["-q", "-v", "ON_ERROR_STOP=1", "postgres"]);
        let heard = self.run(command, "psql".to_owned(), script).await?;
        self.show_output(&heard)?;
        heard.succeeded().map(drop)
    }

    /// One value, not shown: what a step is checked by.
    pub(crate) async fn value(&mut self, cast: &Cast, person: &Person, sql: &str) -> Result<String> {
        let mut command = command(self.postgres_binaries.join("psql"), cast, person);
        command.args(["-At", "-c", sql]);
        let heard = self.run(command, format!("psql -At -c \"{sql}\""), "").await?;
        Ok(heard.succeeded()?.text.trim_end().to_owned())
    }

    /// The database as text.
    pub(crate) async fn pg_dump(&mut self, cast: &Cast, person: &Person) -> Result<String> {
        self.show(person, None, &format!("pg_dump {DATABASE}"))?;
        let mut command = command(self.postgres_binaries.join("pg_dump"), cast, person);
        command.arg(DATABASE);
        let heard = self.run(command, "pg_dump".to_owned(), "").await?;
        Ok(heard.succeeded()?.text)
    }

    fn show(&self, person: &Person, aws: Option<&str>, command: &str) -> Result<()> {
        let aws = aws.map(|identity| format!(", AWS identity: {identity}")).unwrap_or_default();
        self.say(&format!("\n(database login: {}{aws})\n$ {command}", person.login))
    }

    fn show_output(&mut self, heard: &Heard) -> Result<()> {
        self.transcript += &heard.text;
        let text = heard.text.trim_end();
        if text.is_empty() { Ok(()) } else { self.say(text) }
    }

    async fn run(&self, mut command: Command, shown: String, input: &str) -> Result<Heard> {
        // Small enough for the pipe to hold, so nobody needs to read it yet.
        let (stdin, mut script) = io::pipe()?;
        script.write_all(input.as_bytes())?;
        drop(script);
        let (output, into) = io::pipe()?;
        command.stdin(stdin).stdout(into.try_clone()?).stderr(into).kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("starting {shown}"))?;
        // It holds our copies of the pipe's end, without which there would be no end to read to.
        drop(command);
        let text = spawn_blocking(move || io::read_to_string(output)).await??;
        Ok(Heard { command: shown, text, status: child.wait().await?.code() })
    }
}

impl Heard {
    pub(crate) fn succeeded(self) -> Result<Self> {
        ensure!(self.status == Some(0), "this failed: {}\n{}", self.command, self.text);
        Ok(self)
    }

    /// Ended with this exit status.
    pub(crate) fn ended_with(self, status: i32) -> Result<()> {
        ensure!(self.status == Some(status), "this ended with {:?}: {}\n{}", self.status, self.command, self.text);
        Ok(())
    }

    /// Refused by PostgreSQL for lack of rights on `what`, and for no other reason.
    pub(crate) fn refused(self, what: &str) -> Result<()> {
        ensure!(self.status != Some(0), "this should have been refused: {}", self.command);
        let refusal = format!("permission denied for {what}\n");
        ensure!(self.text.contains(&refusal), "this failed in another way: {}\n{}", self.command, self.text);
        Ok(())
    }

    /// The number behind a label of a summary.
    pub(crate) fn number(&self, label: &str) -> Result<usize> {
        let number = self.text.lines().find_map(|line| line.trim().strip_prefix(label)?.trim().parse().ok());
        number.with_context(|| format!("{} says no number of \"{label}\":\n{}", self.command, self.text))
    }
}

fn command(program: impl AsRef<OsStr>, cast: &Cast, person: &Person) -> Command {
    let mut command = Command::new(program);
    command.env_clear().envs(cast.environment(person));
    command
}

pub(crate) fn indent(text: &str, width: usize) -> String {
    let lines: Vec<_> = text.lines().map(|line| format!("{:width$}{line}", "").trim_end().to_owned()).collect();
    lines.join("\n")
}

/// Breaks at spaces. A word that is longer has a line of its own.
pub(crate) fn wrap(text: &str, width: usize) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.len() + 1 + word.len() <= width => *line += &format!(" {word}"),
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join("\n")
}
