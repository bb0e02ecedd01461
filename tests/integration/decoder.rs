//! Nobody is locked in: what the binary stores, a decoder in another language opens, written from `keys/FORMAT.md`
//! alone. Nothing of the library takes part.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use aws_sdk_kms::primitives::Blob;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Story, Who, World, login};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn python(script: &str, args: &[&str]) -> Command {
    let mut command = Command::new(Path::new(ROOT).join(".venv/bin/python"));
    command.current_dir(ROOT).arg(script).args(args);
    command
}

#[test]
fn the_other_implementation_agrees_with_its_vectors() {
    for (script, args) in [
        ("tests/decoder/decode.py", ["--check", "keys/vectors.json"].as_slice()),
        ("tests/decoder/vectors.py", &["--check"]),
    ] {
        let checked = python(script, args).output().expect("Python, from demo/bootstrap");
        assert!(checked.status.success(), "{script}: {}", String::from_utf8_lossy(&checked.stderr));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decoder_written_from_the_page_opens_every_stored_value() {
    let world = World::vault().await;
    let logins: Vec<Value> = (0..20)
        .map(|number| {
            let mut login = login(number);
            login["device_id"] = json!(format!("dévice-{}", "x".repeat(number * 9)));
            login
        })
        .collect();
    let mut bodies: Vec<String> = logins.iter().map(Value::to_string).collect();
    bodies.push("{\"brökén".to_owned());
    let ids = world.send(bodies.clone()).await;
    world.drain(&[]);

    let mut requests = Vec::new();
    let mut originals = Vec::new();
    for (id, login) in ids.iter().zip(&logins) {
        for (column, member) in [("ip_ciphertext", "ip"), ("device_id_ciphertext", "device_id")] {
            requests.push(request(&world, "login_events", "event_id", "data", column, *id).await);
            originals.push(login[member].clone());
        }
    }
    requests.push(request(&world, "dead_letters", "message_id", "dead-letter", "body_ciphertext", ids[20]).await);
    originals.push(json!(bodies[20]));

    let opened = decode(&requests);
    assert_eq!(opened, originals);
}

/// The query of the page, which is how one reads the log without this program.
#[tokio::test(flavor = "multi_thread")]
async fn a_decoder_written_from_the_page_verifies_a_real_log() {
    let page = std::fs::read_to_string(Path::new(ROOT).join("keys/FORMAT.md")).unwrap();
    let query = page.split("```sql\n").find_map(|rest| rest.split_once("ORDER BY l.seq;")).expect("the query").0;
    let story = Story::told().await;
    let auditor = story.world.connect(Who::Auditor).await;
    let rows = auditor.query(&format!("SELECT j::text FROM ({query} ORDER BY l.seq) AS log (j)"), &[]).await.unwrap();
    let lines: Vec<Value> = rows.iter().map(|row| serde_json::from_str(row.get(0)).unwrap()).collect();
    let verify = |lines: &[Value]| {
        let mut decoder = python("tests/decoder/decode.py", &["--log"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        decoder.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        decoder.wait_with_output().unwrap()
    };
    let hash: Vec<u8> = story.world.sql.query_one("SELECT hash FROM pii_vault.audit_head", &[]).await.unwrap().get(0);
    let verified = verify(&lines);
    assert_eq!(String::from_utf8(verified.stdout).unwrap(), format!("19 {}\n", hex(&hash)));
    let export = story.world.pii_vault(Who::Auditor, &["audit", "export"]).finish().done().stdout;
    let exported: Vec<Value> = export.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(String::from_utf8(verify(&exported).stdout).unwrap(), format!("19 {}\n", hex(&hash)));
    let mut edited = lines;
    edited[7]["reason"] = json!("another");
    assert!(String::from_utf8(verify(&edited).stderr).unwrap().contains("entry 8 does not follow"));
}

fn decode(requests: &[Value]) -> Vec<Value> {
    let mut decoder = python("tests/decoder/decode.py", &[])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python, from demo/bootstrap");
    let mut stdin = decoder.stdin.take().expect("piped");
    for request in requests {
        writeln!(stdin, "{request}").expect("written");
    }
    drop(stdin);
    let output = decoder.wait_with_output().expect("it ends");
    String::from_utf8(output.stdout)
        .expect("UTF-8")
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

/// A row and its unwrapped key, as the page says that one gets them.
async fn request(world: &World, table: &str, id_column: &str, purpose: &str, column: &str, id: Uuid) -> Value {
    let (keys, user_id) = match purpose {
        "data" => ("data_keys", "user_id"),
        _ => ("dead_letter_keys", "''"),
    };
    let sql = format!(
        "SELECT create_date::text, {user_id}::text, {column}, k.id, k.wrapped_key, k.kms_key, k.commitment, \
         k.max_step, vault.id FROM pii_vault.{table} JOIN pii_vault.{keys} AS k ON k.id = {}_id, pii_vault.vault \
         WHERE {id_column} = $1",
        keys.trim_end_matches('s')
    );
    let row = world.sql.query_one(&sql, &[&id]).await.expect("a row and its key");
    let (key_id, vault): (Uuid, Uuid) = (row.get(3), row.get(8));
    let context = [
        ("app", "pii-vault".to_owned()),
        ("vault", vault.to_string()),
        ("purpose", purpose.to_owned()),
        ("key-id", key_id.to_string()),
    ];
    let key = aws_sdk_kms::Client::new(&world.kms_config().await)
        .decrypt()
        .key_id(row.get::<_, String>(5))
        .ciphertext_blob(Blob::new(row.get::<_, Vec<u8>>(4)))
        .set_encryption_context(Some(context.map(|(name, value)| (name.to_owned(), value)).into()))
        .send()
        .await
        .expect("KMS unwraps it")
        .plaintext
        .expect("a key");
    json!({
        "vault_id": vault.to_string(), "key": hex(key.as_ref()), "key_id": key_id.to_string(),
        "commitment": hex(row.get(6)), "max_step": row.get::<_, i32>(7), "table": table, "column": column,
        "create_date": row.get::<_, String>(0), id_column: id.to_string(), "user_id": row.get::<_, String>(1),
        "sealed": STANDARD.encode(row.get::<_, &[u8]>(2)),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
