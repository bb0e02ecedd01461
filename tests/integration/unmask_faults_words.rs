//! What `unmask` says with plaintext in hand: nothing of it, whatever fails and however much it is asked to log.

use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use pii_vault::aws::{AwsError, EncryptionContext, GeneratedKey, KeyWrapper, Kms};
use pii_vault::crypto::SecretKey;
use pii_vault::db::receipts::{Selector, UnmaskRequest};
use pii_vault::db::{Role, Server};
use pii_vault::domain::Field;
use pii_vault::unmask::{self, Format, Release, Report};
use serde_json::json;
use time::macros::date;
use tokio_util::sync::CancellationToken;

use crate::canary::{CANARIES, assert_clean};
use crate::support::{Who, World, login};

/// Two values that are looked for, opened by each run.
async fn with_canaries() -> World {
    let world = World::vault().await;
    world.set_policy(1_000).await;
    let mut canary = login(1);
    (canary["ip"], canary["device_id"]) = (json!(CANARIES[0]), json!(CANARIES[3]));
    world.send([canary.to_string()]).await;
    world.drain(&[]);
    world
}

const ALL: [&str; 9] =
    ["unmask", "--reason", "a test", "--case", "C-1", "--since", "2000-01-01", "--until", "2999-01-01"];
const TALKATIVE: [(&str, &str); 3] = [("RUST_LOG", "trace"), ("RUST_BACKTRACE", "full"), ("RUST_LIB_BACKTRACE", "1")];

#[tokio::test(flavor = "multi_thread")]
async fn no_log_word_or_table_holds_what_was_opened() {
    let world = with_canaries().await;
    for setting in ["log_statement = 'all'", "log_min_duration_statement = 0", "log_min_messages = 'debug1'"] {
        world.sql.batch_execute(&format!("ALTER DATABASE test_{} SET {setting}", world.id)).await.unwrap();
    }
    for format in ["table", "json", "csv"] {
        for log in ["text", "json"] {
            let args = [&ALL[..], &["--format", format, "--log-format", log]].concat();
            let run = world.pii_vault_with(Who::Officer, &args, &TALKATIVE).finish().done();
            assert!(run.stdout.contains(CANARIES[0]), "{}", run.stdout);
            assert_clean("standard error", run.stderr.as_bytes());
        }
    }
    // Held up with the page opened and not settled: what the system shows of the process, and PostgreSQL of its work.
    let blocker = world.superuser().await;
    let stop = "CREATE FUNCTION public.stop() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            PERFORM FROM pii_vault.vault FOR UPDATE; RETURN NEW; END $$;
        CREATE TRIGGER stop BEFORE INSERT ON pii_vault.audit_log FOR EACH ROW WHEN (NEW.action = 'unmask_page')
        EXECUTE FUNCTION public.stop()";
    blocker.batch_execute(stop).await.unwrap();
    blocker.batch_execute("BEGIN; SELECT FROM pii_vault.vault FOR UPDATE").await.unwrap();
    let mut command = world.command(Who::Officer, &ALL);
    let mut run = command.envs(TALKATIVE).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let settling = "pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%settle_unmask%'";
    while world.count(&format!("{settling} AND datname = current_database()")).await == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for file in ["cmdline", "environ", "status"] {
        assert_clean(file, &std::fs::read(Path::new("/proc").join(run.id().to_string()).join(file)).unwrap());
    }
    let limits = std::fs::read_to_string(Path::new("/proc").join(run.id().to_string()).join("limits")).unwrap();
    let core: Vec<_> = limits.lines().find(|line| line.starts_with("Max core")).unwrap().split_whitespace().collect();
    assert_eq!(core[4..6], ["0", "0"], "no core file");
    let activity = "SELECT string_agg(activity::text, ' ') FROM pg_stat_activity AS activity";
    let activity: String = world.sql.query_one(activity, &[]).await.unwrap().get(0);
    assert_clean("pg_stat_activity", activity.as_bytes());
    run.kill().unwrap();
    let killed = run.wait_with_output().unwrap();
    assert_eq!(killed.stdout, b"");
    assert_clean("what a killed run said", &killed.stderr);
    let log = world.postgres_log();
    assert!(log.windows(14).any(|part| part == b"settle_unmask("), "the server did log statements");
    assert_clean("PostgreSQL's log", &log);
    assert_clean("pg_dump", &world.pg_dump());
}

/// KMS that panics where a key is to be unwrapped.
struct Panics(Option<Kms>);

impl KeyWrapper for Panics {
    async fn generate(&self, _: EncryptionContext) -> Result<GeneratedKey, AwsError> {
        panic!("deliberate")
    }

    async fn unwrap(&self, kms_key: &str, wrapped: &[u8], context: EncryptionContext) -> Result<SecretKey, AwsError> {
        self.0.as_ref().expect("deliberate").unwrap(kms_key, wrapped, context).await
    }
}

/// Panics or fails with the page in hand.
struct Bad {
    panics: bool,
}

impl Write for Bad {
    fn write(&mut self, page: &[u8]) -> io::Result<usize> {
        assert!(page.windows(CANARIES[0].len()).any(|part| part == CANARIES[0].as_bytes()), "it has the plaintext");
        assert!(!self.panics, "deliberate");
        Err(io::Error::other("deliberate"))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const IN_CHILD: &str = "PII_VAULT_TEST_UNMASK_PANICS";

#[tokio::test(flavor = "multi_thread")]
async fn the_process_that_panics() {
    // Run by the test below, in a process of its own: what a panic writes goes to its standard error.
    if std::env::var_os(IN_CHILD).is_none() {
        return;
    }
    let world = with_canaries().await;
    let pool = Server::parse(&world.database_url(Who::Officer).into()).unwrap().pool(Role::Unmask, 1).await.unwrap();
    let request = UnmaskRequest {
        fields: Field::ALL.to_vec(),
        selector: Selector {
            since: Some(date!(2000 - 01 - 01)),
            until: Some(date!(2999 - 01 - 01)),
            ..Selector::default()
        },
        reason: "a test".to_owned(),
        case_id: "C-1".to_owned(),
        grant: None,
        dry_run: false,
    };
    let kms = world.kms().await;
    for (panics_at_kms, panics_at_write) in [(true, false), (false, true), (false, false)] {
        for format in [Format::Table, Format::Json, Format::Csv] {
            let wrapper = Panics((!panics_at_kms).then(|| kms.clone()));
            let (pool, request) = (pool.clone(), request.clone());
            let run = tokio::spawn(async move {
                let out = Bad { panics: panics_at_write };
                let mut release = Release::new(Box::new(out), format, &request.fields);
                let (mut report, stop, patience) = (Report::default(), CancellationToken::new(), Duration::ZERO);
                let ended =
                    unmask::run(&pool, |_| wrapper, &request, None, patience, &mut release, &mut report, &stop, |_| ())
                        .await;
                format!("{ended:?} {release:?} {report:?} {request:?}")
            });
            match run.await {
                Ok(told) => {
                    assert!(!panics_at_kms && !panics_at_write && told.contains("deliberate"), "{told}");
                    io::stderr().write_all(told.as_bytes()).unwrap();
                }
                Err(error) => assert!(error.is_panic() && (panics_at_kms || panics_at_write)),
            }
        }
    }
}

#[test]
fn a_panic_and_a_debug_print_tell_nothing_of_what_was_opened() {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "unmask_faults_words::the_process_that_panics", "--nocapture"])
        .envs(TALKATIVE)
        .env(IN_CHILD, "1")
        .output()
        .unwrap();
    let said = [child.stdout, child.stderr].concat();
    let text = String::from_utf8_lossy(&said);
    assert!(child.status.success() && text.matches("deliberate").count() >= 9, "{text}");
    assert_clean("what it said", &said);
}
