//! `--database-secret`: user, password and address from Secrets Manager, also when they change.

use aws_sdk_secretsmanager::Client;
use serde_json::json;

use crate::support::{PASSWORD, Who, World};

struct Secret<'a> {
    world: &'a World,
    client: Client,
}

impl<'a> Secret<'a> {
    /// In the form that RDS keeps, for this login.
    async fn of(world: &'a World, who: Who, password: &str) -> Self {
        let secret = Self { world, client: Client::new(&world.kms_config().await) };
        let content = secret.content(who, password);
        secret.client.create_secret().name(secret.name()).secret_string(content).send().await.expect("a secret");
        secret
    }

    fn name(&self) -> String {
        format!("login-{}", self.world.id)
    }

    fn content(&self, who: Who, password: &str) -> String {
        let url: tokio_postgres::Config = self.world.database_url(who).parse().expect("a URL");
        let content = json!({
            "username": url.get_user(), "password": password, "engine": "postgres", "host": "127.0.0.1",
            "port": url.get_ports()[0], "dbname": url.get_dbname(), "dbInstanceIdentifier": "logins",
        });
        content.to_string()
    }

    async fn put(&self, content: &str) {
        let put = self.client.put_secret_value().secret_id(self.name()).secret_string(content);
        put.send().await.expect("a new version");
    }

    /// No URL: the secret says it all.
    fn env<'b>(&'b self, endpoint: &'b str) -> [(&'b str, &'b str); 2] {
        [("DATABASE_URL", ""), ("AWS_ENDPOINT_URL_SECRETS_MANAGER", endpoint)]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_secret_is_login_and_address() {
    let world = World::empty().await;
    let secret = Secret::of(&world, Who::Administrator, PASSWORD).await;
    let (name, endpoint) = (secret.name(), world.secrets_url());
    let init = |env: &[(&str, &str)]| {
        let args = ["init", "--create-kms-keys", "--database-secret", &name];
        world.pii_vault_with(Who::Administrator, &args, env).finish()
    };
    let traced = init(&[&secret.env(&endpoint)[..], &[("RUST_LOG", "trace")]].concat()).done();
    assert!(!traced.stderr.contains(PASSWORD), "{}", traced.stderr);
    assert_eq!(world.count("pii_vault.vault").await, 1);

    let refused = init(&secret.env(&endpoint)[1..]).exits(2);
    assert!(refused.stderr.contains("take it out of the URL"), "{}", refused.stderr);
    let elsewhere = [("DATABASE_URL", "postgres://nobody@127.0.0.1:1/logins"), secret.env(&endpoint)[1]];
    let refused = init(&elsewhere).exits(1);
    assert!(refused.stderr.contains("127.0.0.1:1 is out of reach"), "the URL's address counts: {}", refused.stderr);

    // What RDS manages by itself holds no address.
    secret.put(&json!({"username": "administrator", "password": PASSWORD}).to_string()).await;
    let refused = init(&secret.env(&endpoint)).exits(1);
    assert!(refused.stderr.contains("nothing says where PostgreSQL is"), "{}", refused.stderr);
    let url: tokio_postgres::Config = world.database_url(Who::Administrator).parse().unwrap();
    let address = format!("postgres://127.0.0.1:{}/{}", url.get_ports()[0], url.get_dbname().unwrap());
    init(&[("DATABASE_URL", &address), secret.env(&endpoint)[1]]).done();

    secret.put(r#"{"username": "geheim", "pass": "geheim"}"#).await;
    let refused = init(&secret.env(&endpoint)).exits(1);
    assert!(refused.stderr.contains("the secret holds no database login"), "{}", refused.stderr);
    assert!(!refused.stderr.contains("geheim"), "{}", refused.stderr);
    let unreachable = init(&secret.env("http://127.0.0.1:1")).exits(1);
    assert!(unreachable.stderr.contains("secretsmanager:GetSecretValue: no answer"), "{}", unreachable.stderr);
    let missing = ["init", "--database-secret", "missing"];
    let missing = world.pii_vault_with(Who::Administrator, &missing, &secret.env(&endpoint)).finish().exits(1);
    assert!(missing.stderr.contains("what was asked for does not exist"), "{}", missing.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_password_is_read_again_while_running() {
    let world = World::vault().await;
    let secret = Secret::of(&world, Who::Ingest, PASSWORD).await;
    let (name, endpoint) = (secret.name(), world.secrets_url());
    let args = ["etl", "run", "--wait", "1s", "--output", "json", "--database-secret", &name];
    let run = world.pii_vault_with(Who::Ingest, &args, &secret.env(&endpoint));
    world.send_logins(10).await;
    world.wait_for_rows("true", 10).await;

    let login = format!("ingest_{}", world.id);
    world.sql.batch_execute(&format!("ALTER ROLE {login} PASSWORD 'another'")).await.unwrap();
    secret.put(&secret.content(Who::Ingest, "another")).await;
    let terminate = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{login}'");
    world.sql.batch_execute(&terminate).await.unwrap();
    world.send_logins(10).await;
    world.wait_for_rows("true", 20).await;
    run.signal("TERM");
    let finished = run.finish().done();
    assert!(!finished.stderr.contains("refused the login"), "one try more was enough: {}", finished.stderr);
}
