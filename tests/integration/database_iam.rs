//! `--database-auth iam`: the tokens that a server gets are botocore's, byte for byte, and each connection's its own.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tokio_postgres::NoTls;

use crate::stack::Postgres;
use crate::support::{Authority, Gate, Who, World};

#[tokio::test(flavor = "multi_thread")]
async fn each_connection_gets_a_token_of_its_own() {
    let world = World::empty().await;
    let postgres = Postgres::start_trusting().expect("PostgreSQL starts");
    let authority = Authority::new();
    let gate = Gate::before(postgres.port(), &authority.identity("localhost")).await;
    let ca = authority.file(&postgres);
    let url = format!("postgres://postgres@localhost:{}/postgres", gate.port);
    let env = [("DATABASE_URL", url.as_str()), ("PII_VAULT_DATABASE_AUTH", "iam"), ("PII_VAULT_DATABASE_CA", &ca)];
    let traced = [&env[..], &[("RUST_LOG", "trace")]].concat();
    let init = world.pii_vault_with(Who::Nobody, &["init", "--create-kms-keys"], &traced).finish().done();
    let [token] = gate.passwords().try_into().expect("one connection");
    let (_, signature) = token.split_once("X-Amz-Signature=").expect("a signature");
    assert!(!init.stderr.contains(signature), "{}", init.stderr);

    let (sql, driver) = tokio_postgres::connect(&postgres.admin_url("postgres"), NoTls).await.unwrap();
    tokio::spawn(driver);
    let run = world.pii_vault_with(Who::Nobody, &["etl", "run", "--wait", "1s"], &env);
    let mut stored = 0;
    for _ in 0..2 {
        world.send_logins(10).await;
        stored += 10;
        while sql.query_one("SELECT count(*) FROM pii_vault.login_events", &[]).await.unwrap().get::<_, i64>(0) < stored
        {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        // A token's time has seconds.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                         WHERE application_name = 'pii-vault' AND pid <> pg_backend_pid()";
        sql.batch_execute(terminate).await.unwrap();
    }
    run.signal("TERM");
    run.finish().done();

    let tokens = gate.passwords();
    let times: BTreeSet<_> = tokens[1..].iter().map(|token| time_of(token)).collect();
    assert!(times.len() >= 2, "{times:?}");
    for token in &tokens {
        assert_eq!(*token, by_botocore(gate.port, time_of(token)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_goes_to_no_server_that_is_not_held_to_tls() {
    let world = World::empty().await;
    let args = ["init", "--database-auth", "iam"];
    let run = |url: &str| world.pii_vault_with(Who::Nobody, &args, &[("DATABASE_URL", url)]).finish();
    for mode in ["disable", "prefer"] {
        let refused = run(&format!("postgres://u@localhost:1/d?sslmode={mode}")).exits(2);
        assert!(refused.stderr.contains("this login needs TLS"), "{}", refused.stderr);
    }
    let refused = run("postgres://u:geheim@localhost:1/d?sslmode=require").exits(2);
    assert!(refused.stderr.contains("take it out of the URL"), "{}", refused.stderr);
    let refused = run("postgres://localhost:1/d?sslmode=require").exits(1);
    assert!(refused.stderr.contains("needs a host and a user"), "{}", refused.stderr);

    let plain = world.database_url(Who::Administrator).replace(":a%20test%20password", "");
    for words in ["", "?sslmode=require"] {
        let refused = run(&format!("{plain}{words}")).exits(1);
        assert!(refused.stderr.contains("does not speak TLS"), "{}", refused.stderr);
    }
}

fn time_of(token: &str) -> &str {
    let (_, after) = token.split_once("X-Amz-Date=").expect("a time");
    &after[..16]
}

fn by_botocore(port: u16, time: &str) -> String {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/python");
    let script = "import datetime, sys\n\
                  from unittest import mock\n\
                  import botocore.session\n\
                  rds = botocore.session.Session().create_client('rds', region_name='us-east-1',\n    \
                      aws_access_key_id='test', aws_secret_access_key='test')\n\
                  now = datetime.datetime.strptime(sys.argv[2], '%Y%m%dT%H%M%SZ')\n\
                  with mock.patch('botocore.auth.get_current_datetime', lambda: now):\n    \
                      print(rds.generate_db_auth_token('localhost', int(sys.argv[1]), 'postgres'), end='')";
    let output = Command::new(python).args(["-c", script, &port.to_string(), time]).output().expect("python");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}
