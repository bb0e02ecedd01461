use std::net::TcpListener;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::{Finished, Who, World, login};

const WHY: [&str; 4] = ["--reason", "account takeover", "--case", "FRAUD-4711"];

async fn vault_with_policy() -> World {
    let world = World::vault().await;
    let policy = "SELECT pii_vault.set_policy(NULL, NULL, NULL, 'FRAUD-[0-9]+', NULL, 'for tests')";
    world.sql.batch_execute(policy).await.unwrap();
    world
}

fn lookup(world: &World, field: &str, input: impl AsRef<[u8]>) -> Finished {
    lookup_with(world, &[field, "--output", "json"], &[], input)
}

fn lookup_with(world: &World, args: &[&str], env: &[(&str, &str)], input: impl AsRef<[u8]>) -> Finished {
    let args = [&["lookup"], args, &WHY].concat();
    world.pii_vault_given(Who::Lookup, &args, env, input.as_ref()).finish()
}

fn tokens(finished: &Finished) -> Vec<String> {
    let lines = finished.json();
    let lines = lines.as_array().unwrap();
    assert!(lines.iter().zip(1..).all(|(line, number)| line["line"] == number), "{lines:?}");
    lines.iter().map(|line| line["token"].as_str().unwrap().to_owned()).collect()
}

/// What the analyst sees of this user.
async fn masked(world: &World, user: &Value) -> (String, String) {
    let analyst = world.connect(Who::Analyst).await;
    let sql = "SELECT masked_ip::text, masked_device_id::text FROM user_logins WHERE user_id = $1";
    let row = analyst.query_one(sql, &[&user.as_str().unwrap()]).await.unwrap();
    (row.get(0), row.get(1))
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_those_of_the_view_in_the_order_of_the_lines_and_recorded() {
    let world = vault_with_policy().await;
    let (one, mut two) = (login(1), login(2));
    two["ip"] = "2001:db8::2".into();
    two["device_id"] = " padded ".into();
    world.send([one.to_string(), two.to_string()]).await;
    world.drain(&[]);
    let (first, second) = (masked(&world, &one["user_id"]).await, masked(&world, &two["user_id"]).await);

    let found = lookup(&world, "ip", "2001:0DB8:0::2\r\n10.0.0.1\n::ffff:10.0.0.1\n192.0.2.77").done();
    let ips = tokens(&found);
    assert_eq!(ips[..3], [&second.0, &first.0, &first.0].map(Clone::clone));
    assert_eq!(ips[3].len(), 43, "never seen, yet a token");

    let [intent, told] = [world.log("lookup").await, world.log("lookup_tokens").await].map(|rows| {
        assert_eq!(rows.len(), 1);
        rows.into_iter().next().unwrap()
    });
    assert_eq!((&intent["actor"], &told["actor"]), (&json!(format!("lookup_{}", world.id)), &intent["actor"]));
    assert_eq!(intent["details"], json!({"field": "ip", "values": 4}));
    assert_eq!(
        [&intent["decision"], &intent["reason"], &intent["case_id"]],
        ["allowed", "account takeover", "FRAUD-4711"]
    );
    assert_eq!((&told["details"], &told["subject"]), (&json!({ "tokens": ips }), &intent["subject"]));
    for word in [intent["subject"].as_str().unwrap(), &format!("row {} of the audit log", intent["seq"])] {
        assert!(found.stderr.contains(word), "{word}: {}", found.stderr);
    }

    let found = lookup_with(&world, &["device-id"], &[], " padded \ndevice-1\n").done();
    assert_eq!(found.stdout, format!("{}\n{}\n", second.1, first.1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_value_is_a_usage_error_that_names_lines_and_records_nothing() {
    let world = vault_with_policy().await;
    for (field, input, told) in [
        ("ip", "10.0.0.1\n\ncanary-4711\n10.0.0.1 \n".to_owned(), "no IP address in lines 2, 3, 4."),
        ("device-id", "canary-4711\n\n".to_owned(), "in line 2."),
        ("ip", String::new(), "there is no value"),
        ("ip", "10.0.0.1\n".repeat(10_001), "more than 10000"),
        ("device-id", format!("x\n{}", "canary-4711".repeat(300_000)), "in line 2."),
    ] {
        let refused = lookup(&world, field, input).exits(2);
        assert!(refused.stderr.contains(told) && !refused.stderr.contains("canary"), "{}", refused.stderr);
        assert_eq!(refused.stdout, "");
    }
    // Closed altogether, and no list at all.
    let mut closed = Command::new("/bin/sh");
    closed.args(["-c", r#"exec "$0" "$@" <&-"#, env!("CARGO_BIN_EXE_pii-vault"), "lookup", "ip"]).args(WHY);
    let closed = closed.env_clear().env("DATABASE_URL", world.database_url(Who::Lookup)).output().unwrap();
    assert_eq!(closed.status.code(), Some(2), "{closed:?}");
    let mut folder = world.command(Who::Lookup, &[&["lookup", "ip"], &WHY[..]].concat());
    let folder = folder.stdin(std::fs::File::open("/").unwrap()).stdout(Stdio::piped()).output().unwrap();
    assert_eq!(folder.status.code(), Some(1), "{folder:?}");
    assert_eq!(
        world.count("pii_vault.receipts").await + world.count("pii_vault.audit_log WHERE action <> 'init'").await,
        1
    );

    let most = lookup(&world, "ip", "10.0.0.1\n".repeat(10_000)).done();
    assert_eq!(tokens(&most).len(), 10_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_policy_or_with_another_form_of_case_it_is_refused_and_recorded() {
    let world = World::vault().await;
    let refused = lookup(&world, "ip", "10.0.0.1").exits(3);
    assert_eq!(refused.json()["refused"], "no_policy");
    world.sql.batch_execute("SELECT pii_vault.set_policy(NULL, NULL, NULL, 'TICKET-.*', NULL, 'x')").await.unwrap();
    let refused = lookup_with(&world, &["device-id"], &[], "device-1").exits(3);
    assert!(refused.stderr.contains("case_form") && refused.stderr.contains("recorded as"), "{}", refused.stderr);
    assert_eq!(refused.stdout, "");
    // Policy asks for a checkpoint, and there is nobody yet who signs one.
    let policy = "SELECT pii_vault.set_policy(NULL, NULL, NULL, '.*', 'required', 'x')";
    world.sql.batch_execute(policy).await.unwrap();
    assert_eq!(lookup(&world, "ip", "10.0.0.1").exits(3).json()["refused"], "no_checkpoint");

    let refusals: Vec<_> = world.log("lookup").await.iter().map(|row| row["refusal"].clone()).collect();
    assert_eq!(refusals, [json!("no_policy"), json!("case_form"), Value::Null]);
    let later = world.log("lookup_tokens").await;
    assert_eq!((later.len(), &later[0]["refusal"]), (1, &json!("no_checkpoint")));
    for who in [Who::Officer, Who::Analyst, Who::Ingest] {
        let args = [&["lookup", "ip"], &WHY[..]].concat();
        let refused = world.pii_vault_given(who, &args, &[], b"10.0.0.1").finish().exits(1);
        assert!(refused.stderr.contains("pii_vault_lookup"), "{}", refused.stderr);
    }
}

/// At the append, at the commit, and with KMS refusing.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_shown_unless_its_record_is_known_to_be_committed() {
    let world = vault_with_policy().await;
    world
        .sql
        .batch_execute(
            "CREATE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE disk_full; END';
             CREATE TRIGGER fail BEFORE INSERT ON pii_vault.audit_log FOR EACH ROW
                 WHEN (NEW.action = 'lookup_tokens') EXECUTE FUNCTION public.fail()",
        )
        .await
        .unwrap();
    let failed = lookup(&world, "ip", "10.0.0.1").exits(1);
    assert!(failed.stdout.is_empty() && failed.stderr.contains("nothing is shown"), "{failed:?}");
    world
        .sql
        .batch_execute(
            "DROP TRIGGER fail ON pii_vault.audit_log;
             CREATE CONSTRAINT TRIGGER fail AFTER INSERT ON pii_vault.audit_log DEFERRABLE INITIALLY DEFERRED
                 FOR EACH ROW WHEN (NEW.action = 'lookup_tokens') EXECUTE FUNCTION public.fail()",
        )
        .await
        .unwrap();
    assert_eq!(lookup(&world, "ip", "10.0.0.1").exits(1).stdout, "", "the commit failed");
    world.sql.batch_execute("DROP TRIGGER fail ON pii_vault.audit_log").await.unwrap();

    let altered = "UPDATE pii_vault.token_keys SET commitment = sha256('forged')";
    let whole: String =
        world.sql.query_one("SELECT commitment::text FROM pii_vault.token_keys", &[]).await.unwrap().get(0);
    world.past_triggers(altered).await;
    assert_eq!(lookup(&world, "ip", "10.0.0.1").exits(4).stdout, "", "another key than was stored");
    world.past_triggers(&format!("UPDATE pii_vault.token_keys SET commitment = '{whole}'")).await;
    assert_eq!((world.log("lookup").await.len(), world.log("lookup_tokens").await.len()), (3, 0));
    assert_eq!(tokens(&lookup(&world, "ip", "10.0.0.1").done()).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_call_of_kms_names_the_receipt_in_its_user_agent() {
    let world = vault_with_policy().await;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let request = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut seen = Vec::new();
        let mut part = [0; 4096];
        while !seen.windows(4).any(|part| part == b"\r\n\r\n") {
            let read = std::io::Read::read(&mut client, &mut part).unwrap();
            seen.extend_from_slice(&part[..read]);
        }
        let answer = r#"{"__type":"DisabledException"}"#;
        let head = format!("HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", answer.len());
        std::io::Write::write_all(&mut client, format!("{head}{answer}").as_bytes()).unwrap();
        String::from_utf8_lossy(&seen).into_owned()
    });
    let failed = lookup_with(&world, &["ip"], &[("AWS_ENDPOINT_URL_KMS", &url)], "10.0.0.1").exits(1);
    assert_eq!(failed.stdout, "");
    assert!(
        failed.stderr.contains("which wraps token key") && failed.stderr.contains("is disabled"),
        "{}",
        failed.stderr
    );
    let (request, rows) = (request.join().unwrap(), world.log("lookup").await);
    let app = format!("app/pv-receipt-{}", rows[0]["subject"].as_str().unwrap());
    assert!(request.contains("TrentService.Decrypt") && request.contains(&app), "{request}");
    assert_eq!(world.log("lookup_tokens").await.len(), 0);
}
