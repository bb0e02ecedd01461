use std::io::{Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{STACK, Who, World};

/// The binary, while it runs. Killed when dropped.
pub(crate) struct Running {
    child: Option<Child>,
    what: String,
}

/// What it left.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    what: String,
}

impl World {
    /// Starts `pii-vault` with the environment of this world and no other.
    pub(crate) fn pii_vault(&self, who: Who, args: &[&str]) -> Running {
        self.pii_vault_with(who, args, &[])
    }

    pub(crate) fn pii_vault_with(&self, who: Who, args: &[&str], env: &[(&str, &str)]) -> Running {
        self.start(self.command(who, args).envs(env.iter().copied()), args)
    }

    /// Starts `pii-vault` and gives it `input` on its standard input.
    pub(crate) fn pii_vault_given(&self, who: Who, args: &[&str], env: &[(&str, &str)], input: &[u8]) -> Running {
        let mut command = self.command(who, args);
        let mut running = self.start(command.envs(env.iter().copied()).stdin(Stdio::piped()), args);
        let mut stdin = running.child.as_mut().and_then(|child| child.stdin.take()).expect("piped");
        // One that refuses before it reads hangs up.
        let _ = stdin.write_all(input);
        running
    }

    /// Starts `pii-vault etl run --output json` by a shell script, where it is `"$0" "$@"`.
    pub(crate) fn pii_vault_through(&self, script: &str, args: &[&str]) -> Running {
        let drain = ["etl", "run", "--output", "json"];
        self.start(&mut self.script(Who::Ingest, script, &[&drain, args].concat()), args)
    }

    /// A shell script in the environment of this world and no other, where the binary is `"$0" "$@"`. Not started yet.
    pub(crate) fn script(&self, who: Who, script: &str, args: &[&str]) -> Command {
        let mut command = self.environment(who, Command::new("/bin/sh"));
        command.args(["-c", script, env!("CARGO_BIN_EXE_pii-vault")]).args(args).env("PATH", "/usr/bin:/bin");
        command
    }

    fn start(&self, command: &mut Command, args: &[&str]) -> Running {
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
        Running { child: Some(child), what: format!("pii-vault {}", args.join(" ")) }
    }

    /// The binary in the environment of this world and no other, not started yet.
    pub(crate) fn command(&self, who: Who, args: &[&str]) -> Command {
        let mut command = self.environment(who, Command::new(env!("CARGO_BIN_EXE_pii-vault")));
        command.args(args);
        command
    }

    fn environment(&self, who: Who, mut command: Command) -> Command {
        command
            .env_clear()
            .env("DATABASE_URL", self.database_url(who))
            .env("PII_VAULT_QUEUE_URL", &self.queue_url)
            .env("PII_VAULT_DATA_KMS_KEY", self.kms_key("data"))
            .env("PII_VAULT_TOKEN_KMS_KEY", self.kms_key("token"))
            .env("PII_VAULT_DEAD_LETTER_KMS_KEY", self.kms_key("dead-letter"))
            .env("PII_VAULT_SIGNING_KMS_KEY", self.kms_key("signing"))
            .env("AWS_ENDPOINT_URL_SQS", STACK.sqs.url())
            .env("AWS_ENDPOINT_URL_KMS", STACK.kms.url())
            .env("AWS_ENDPOINT_URL_S3", STACK.kms.url())
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .stdin(Stdio::null());
        command
    }

    /// Drains the queue, with what a test wants beyond that, and returns the summary.
    pub(crate) fn drain(&self, args: &[&str]) -> Value {
        self.start_drain(args).finish().done().json()
    }

    pub(crate) fn start_drain(&self, args: &[&str]) -> Running {
        let drain = ["etl", "run", "--drain", "--wait", "1s", "--output", "json"];
        self.pii_vault(Who::Ingest, &[&drain, args].concat())
    }
}

impl Running {
    pub(crate) fn finish(mut self) -> Finished {
        let output = self.child.take().expect("not finished yet").wait_with_output().expect("it ends");
        Finished {
            status: output.status,
            stdout: String::from_utf8(output.stdout).expect("UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8"),
            what: self.what.clone(),
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.as_ref().expect("not finished yet").id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status().expect("kill");
        assert!(sent.success(), "{} was gone before it got {name}", self.what);
    }

    /// What it left, and the most memory that it had resident, in KiB.
    pub(crate) async fn finish_with_peak(self) -> (Finished, u64) {
        let mut peak = 0;
        while let Some(memory) = self.peak_memory() {
            peak = peak.max(memory);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        (self.finish(), peak)
    }

    /// The most memory that it had resident so far, in KiB; `None` once it has ended.
    pub(crate) fn peak_memory(&self) -> Option<u64> {
        let pid = self.child.as_ref().expect("not finished yet").id();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
        line.split_whitespace().nth(1)?.parse().ok()
    }

    /// Kills it after a while; what it left, where it has ended before.
    pub(crate) async fn struck_after(mut self, delay: Duration) -> Option<Finished> {
        let until = Instant::now() + delay;
        let child = self.child.as_mut().expect("not finished yet");
        while Instant::now() < until && child.try_wait().expect("a status").is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        child.kill().expect("killed");
        let finished = self.finish();
        (finished.status.signal() != Some(9)).then_some(finished)
    }

    pub(crate) fn kill(&mut self) {
        if let Some(child) = &mut self.child {
            child.kill().expect("killed");
            child.wait().expect("it ends");
        }
    }

    /// Waits for a word on standard error.
    pub(crate) fn wait_for_log(&mut self, word: &str) {
        let stderr = self.child.as_mut().and_then(|child| child.stderr.as_mut()).expect("piped");
        let (mut seen, mut byte) = (Vec::new(), [0]);
        let deadline = Instant::now() + Duration::from_secs(30);
        while !String::from_utf8_lossy(&seen).contains(word) {
            assert!(Instant::now() < deadline, "{}: no {word:?} in {}", self.what, String::from_utf8_lossy(&seen));
            assert_eq!(stderr.read(&mut byte).expect("readable"), 1, "{} ended", String::from_utf8_lossy(&seen));
            seen.push(byte[0]);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Finished {
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    #[track_caller]
    pub(crate) fn done(self) -> Self {
        self.exits(0)
    }

    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code(), Some(code), "{}: {:?}\n{}\n{}", self.what, self.status, self.stdout, self.stderr);
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }
}
