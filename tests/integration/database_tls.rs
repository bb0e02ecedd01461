//! `sslmode` in all its forms, against servers with and without TLS and certificates of each kind.

use std::path::PathBuf;
use std::sync::LazyLock;

use pii_vault::db::encryption::{self, Encryption};
use pii_vault::db::{Beside, ConnectError, Role, Roots, Server, TlsMode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::stack::Postgres;
use crate::support::{Authority, Who, World};

/// With a certificate for `localhost`, which is not for 127.0.0.1.
struct Guarded {
    ca: String,
    postgres: Postgres,
}

static GUARDED: LazyLock<Guarded> = LazyLock::new(|| {
    let authority = Authority::new();
    let postgres = Postgres::start_with_tls(authority.identity("localhost")).expect("PostgreSQL starts");
    Guarded { ca: authority.file(&postgres), postgres }
});

impl Guarded {
    fn url(&self, host: &str, words: &str) -> String {
        url(&self.postgres, host, words)
    }
}

fn url(postgres: &Postgres, host: &str, words: &str) -> String {
    format!("{}?{words}", postgres.admin_url("postgres").replace("127.0.0.1", host))
}

async fn connect(url: &str, ca: Option<&str>) -> Result<Encryption, ConnectError> {
    let beside = Beside { roots: ca.map(|path| Roots::from(PathBuf::from(path))), ..Beside::default() };
    let mut conn = Server::new(&url.into(), beside)?.connect(Role::Administrator).await?;
    Ok(encryption::of(&mut conn).await.expect("pg_stat_ssl"))
}

#[track_caller]
fn encrypted(result: Result<Encryption, ConnectError>) {
    let encryption = result.expect("a connection");
    assert!(encryption.encrypted && encryption.local, "{encryption:?}");
    assert_eq!(encryption.version.as_deref(), Some("TLSv1.3"));
}

#[track_caller]
fn refused(result: Result<Encryption, ConnectError>, word: &str) {
    let error = result.expect_err("no connection");
    assert!(error.to_string().contains(word), "{error:?}: {error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_mode_asks_of_a_server_with_tls_what_libpq_asks() {
    let ca = GUARDED.ca.as_str();
    let other = Authority::new().file(&GUARDED.postgres);
    refused(connect(&GUARDED.url("localhost", "sslmode=disable"), None).await, "SQLSTATE 28000");
    for words in ["", "sslmode=prefer", "sslmode=require"] {
        encrypted(connect(&GUARDED.url("127.0.0.1", words), None).await);
    }
    // With a CA, `require` is `verify-ca`: anybody whom it signed for, and nobody else.
    for mode in ["require", "verify-ca"] {
        encrypted(connect(&GUARDED.url("127.0.0.1", &format!("sslmode={mode}")), Some(ca)).await);
        let result = connect(&GUARDED.url("localhost", &format!("sslmode={mode}")), Some(&other)).await;
        refused(result, "no CA that is trusted here");
    }
    for words in ["", "sslmode=verify-full"] {
        encrypted(connect(&GUARDED.url("localhost", words), Some(ca)).await);
        refused(connect(&GUARDED.url("127.0.0.1", words), Some(ca)).await, "another host name");
        refused(connect(&GUARDED.url("localhost", words), Some(&other)).await, "no CA that is trusted here");
    }
    // Without a CA's file the system's CAs count, and ours is none of them.
    for mode in ["verify-ca", "verify-full"] {
        let result = connect(&GUARDED.url("localhost", &format!("sslmode={mode}")), None).await;
        assert!(matches!(result, Err(ConnectError::Certificate { .. } | ConnectError::NoSystemRoots)), "{result:?}");
    }
    refused(connect(&GUARDED.url("localhost", "sslmode=prefer"), Some(ca)).await, "say sslmode=verify-full");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ca_may_stand_in_the_url_and_both_forms_are_read() {
    let ca = GUARDED.ca.as_str();
    encrypted(connect(&GUARDED.url("localhost", &format!("sslmode=verify-full&sslrootcert={ca}")), None).await);
    let result = connect(&GUARDED.url("127.0.0.1", &format!("sslrootcert={ca}")), None).await;
    refused(result, "another host name");

    let parsed: tokio_postgres::Config = GUARDED.postgres.admin_url("postgres").parse().expect("a URL");
    let password = String::from_utf8_lossy(parsed.get_password().expect("a password")).into_owned();
    let port = GUARDED.postgres.port();
    let pairs = |host: &str| {
        format!(
            "host={host} port={port} user=postgres password='{password}' sslmode = 'verify-full' sslrootcert='{ca}'"
        )
    };
    encrypted(connect(&pairs("localhost"), None).await);
    refused(connect(&pairs("127.0.0.1"), None).await, "another host name");
}

#[tokio::test(flavor = "multi_thread")]
async fn scram_is_bound_to_the_certificate() {
    encrypted(connect(&GUARDED.url("localhost", "channel_binding=require&sslmode=require"), None).await);
    let plain = World::empty().await.database_url(Who::Administrator);
    assert!(connect(&format!("{plain}?channel_binding=require"), None).await.is_err(), "there is nothing to bind to");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_is_one_where_certificates_count() {
    let authority = Authority::new();
    let postgres = Postgres::start_with_tls(authority.expired_identity("localhost")).expect("PostgreSQL starts");
    encrypted(connect(&url(&postgres, "localhost", "sslmode=require"), None).await);
    for mode in ["verify-ca", "verify-full"] {
        let result =
            connect(&url(&postgres, "localhost", &format!("sslmode={mode}")), Some(&authority.file(&postgres))).await;
        refused(result, "it has expired");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_tls_gets_nothing_from_who_insists() {
    let world = World::empty().await;
    let plain = world.database_url(Who::Administrator);
    for words in ["", "sslmode=disable", "sslmode=prefer"] {
        let encryption = connect(&format!("{plain}?{words}"), None).await.expect("a connection");
        assert_eq!((encryption.encrypted, encryption.version), (false, None));
    }
    let ca = GUARDED.ca.as_str();
    for mode in ["require", "verify-ca", "verify-full"] {
        refused(connect(&format!("{plain}?sslmode={mode}"), Some(ca)).await, "does not speak TLS");
    }
    refused(connect(&plain, Some(ca)).await, "does not speak TLS");
    let beside = Beside { mode: Some(TlsMode::Require), ..Beside::default() };
    let server = Server::new(&plain.as_str().into(), beside).expect("a server");
    assert_eq!(server.tls_mode(), TlsMode::Require);
    let result = server.connect(Role::Administrator).await;
    assert!(matches!(result.map(drop), Err(ConnectError::NoTls { .. })));
}

/// The flag and the variables reach the connection.
#[tokio::test(flavor = "multi_thread")]
async fn the_program_runs_over_verified_tls() {
    let world = World::empty().await;
    let ca = GUARDED.ca.as_str();
    let (right, wrong) = (GUARDED.url("localhost", ""), GUARDED.url("127.0.0.1", ""));
    let init = |args: &[&str], env: &[(&str, &str)]| {
        world.pii_vault_with(Who::Administrator, &[&["init", "--create-kms-keys"], args].concat(), env).finish()
    };
    init(&["--database-ca", ca], &[("DATABASE_URL", &right)]).done();
    init(&[], &[("DATABASE_URL", &right), ("PII_VAULT_DATABASE_CA", ca)]).done();
    for variable in ["PII_VAULT_DATABASE_CA", "PGSSLROOTCERT"] {
        let refused = init(&[], &[("DATABASE_URL", &wrong), (variable, ca)]).exits(1);
        assert!(refused.stderr.contains("another host name"), "{}", refused.stderr);
    }
    let refused = init(&[], &[("DATABASE_URL", &right), ("PGSSLMODE", "disable")]).exits(1);
    assert!(refused.stderr.contains("wants TLS"), "{}", refused.stderr);
    let refused = init(&["--database-ca", "/nonexistent.pem"], &[("DATABASE_URL", &right)]).exits(2);
    assert!(refused.stderr.contains("/nonexistent.pem cannot be used: entity not found"), "{}", refused.stderr);
    let refused = init(&["--database-ca", "/dev/null"], &[("DATABASE_URL", &right)]).exits(2);
    assert!(refused.stderr.contains("it holds no certificate"), "{}", refused.stderr);
    let refused = init(&[], &[("DATABASE_URL", &right), ("PGSSLMODE", "perhaps")]).exits(2);
    assert!(refused.stderr.contains("one of disable, prefer"), "{}", refused.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_silent_or_speaks_no_tls_is_given_up() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://u@{}/d?connect_timeout=1", silent.local_addr().unwrap());
    refused(connect(&url, None).await, "out of reach (timed out)");

    let confused = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://u@{}/d", confused.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut client, _) = confused.accept().await.unwrap();
        client.write_all(b"SHTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        client.read_to_end(&mut Vec::new()).await.ok()
    });
    refused(connect(&url, None).await, "the TLS handshake failed");
}
