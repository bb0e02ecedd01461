//! `audit reconcile`: what AWS has of unwrapped keys against the log. There is no CloudTrail here: its entries are made from
//! the calls that the program really makes, in the form of the AWS documentation.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::support::{Finished, Relay, Who, World, login};

const OFFICER: &str = "arn:aws:sts::111122223333:assumed-role/pii-vault-unmask/jane";

/// A vault of two logins with a relay before KMS, and what of its calls CloudTrail would have.
struct Scene {
    world: World,
    relay: Relay,
}

impl Scene {
    async fn new() -> Self {
        let world = World::vault().await;
        world.set_policy(100).await;
        world.send([login(1).to_string(), login(2).to_string()]).await;
        world.drain(&[]);
        let relay = Relay::before(world.kms_port()).await;
        Self { world, relay }
    }

    /// Opens everything of a user; the receipt.
    fn unmask(&self, user: &str, args: &[&str]) -> Finished {
        let url = format!("http://127.0.0.1:{}", self.relay.port);
        let unmask = ["unmask", "--reason", "a test", "--case", "C-1", "--output", "json", "--user-id", user];
        self.world.pii_vault_with(Who::Officer, &[&unmask, args].concat(), &[("AWS_ENDPOINT_URL_KMS", &url)]).finish()
    }

    fn lookup(&self) {
        let url = format!("http://127.0.0.1:{}", self.relay.port);
        let args = ["lookup", "ip", "--reason", "a test", "--case", "C-1"];
        let env = [("AWS_ENDPOINT_URL_KMS", url.as_str())];
        self.world.pii_vault_given(Who::Lookup, &args, &env, b"10.0.0.1\n").finish().done();
    }

    /// An entry for each call of Decrypt so far.
    fn entries(&self) -> Vec<Value> {
        let sent = self.relay.sent();
        let calls = sent.split("POST / HTTP/1.1").filter(|call| call.contains("TrentService.Decrypt"));
        calls
            .zip(0..)
            .map(|(call, number)| {
                let (head, body) = call.split_once("\r\n\r\n").unwrap();
                let agent = head.lines().find_map(|line| line.strip_prefix("user-agent: ")).unwrap();
                let asked: Value = serde_json::from_str(body).unwrap();
                entry(number, agent, &asked["EncryptionContext"], OFFICER)
            })
            .collect()
    }

    /// With what else a test gives it.
    fn reconcile(&self, entries: &[Value], args: &[&str]) -> Finished {
        let trail = json!({ "Records": entries }).to_string();
        let reconcile = ["audit", "reconcile", "--output", "json", "--cloudtrail", "-"];
        self.world.pii_vault_given(Who::Auditor, &[&reconcile, args].concat(), &[], trail.as_bytes()).finish()
    }
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

fn at(seconds: i64) -> String {
    OffsetDateTime::from_unix_timestamp(seconds).unwrap().format(&Rfc3339).unwrap()
}

fn entry(number: u32, agent: &str, context: &Value, principal: &str) -> Value {
    json!({
        "eventVersion": "1.11",
        "userIdentity": {"type": "AssumedRole", "arn": principal, "accountId": "111122223333"},
        "eventTime": at(now()), "eventSource": "kms.amazonaws.com", "eventName": "Decrypt", "awsRegion": "us-east-1",
        "userAgent": agent,
        "requestParameters": {"encryptionAlgorithm": "SYMMETRIC_DEFAULT", "encryptionContext": context},
        "eventID": format!("abcde202-ba1a-467c-b4ba-{number:012}"), "eventType": "AwsApiCall"
    })
}

fn words(finished: &Finished) -> Vec<String> {
    let report = finished.json();
    let findings = report["findings"].as_array().unwrap();
    assert_eq!(report["findings_count"], findings.len());
    findings.iter().map(|finding| finding["word"].as_str().unwrap().to_owned()).collect()
}

const ROLES: [&str; 2] = ["--principal", "arn:aws:sts::*:assumed-role/pii-vault-unmask/*"];

#[tokio::test(flavor = "multi_thread")]
async fn what_the_program_does_fits() {
    let scene = Scene::new().await;
    let begin = at(now() - 5);
    scene.unmask("user-1", &[]).done();
    scene.unmask("user-2", &[]).done();
    scene.unmask("user-2", &["--dry-run"]).done();
    scene.unmask("nobody", &[]).done();
    scene.lookup();
    let mut entries = scene.entries();
    assert_eq!(entries.len(), 3);
    // Of another vault, another application, and a service that starts.
    let mut other = entries[0]["requestParameters"]["encryptionContext"].clone();
    other["vault"] = "817ec70e-5d62-468b-8c94-bed9dc2f0f6f".into();
    entries.push(entry(10, "curl", &other, "arn:aws:iam::1:user/x"));
    entries.push(entry(11, "curl", &json!({"Department": "Engineering"}), "arn:aws:iam::1:user/x"));
    let token = entries[2]["requestParameters"]["encryptionContext"].clone();
    assert_eq!(token["purpose"], "token");
    entries.push(entry(12, "aws-sdk-rust/1 app/pii-vault", &token, "arn:aws:iam::1:role/ingestion"));
    let mut refused = entry(13, "curl", &entries[0]["requestParameters"]["encryptionContext"], "arn:aws:iam::1:user/x");
    refused["errorCode"] = "AccessDenied".into();
    entries.push(refused);
    let args = [&ROLES[..], &["--lookup-principal", OFFICER, "--since", &begin]].concat();
    let report = scene.reconcile(&entries, &args).done().json();
    let of = |name: &str| report[name].as_u64().unwrap();
    let counted = ["entries", "data_unwraps", "lookup_unwraps", "failed", "receipts", "receipts_outside"].map(of);
    assert_eq!(counted, [7, 2, 1, 1, 3, 0], "{report:#}");
    assert_eq!(
        report["services"],
        json!([{"principal": "arn:aws:iam::1:role/ingestion", "purpose": "token", "unwraps": 1}])
    );
    // The same as people read it, and of nothing.
    let trail = json!({ "Records": entries }).to_string();
    let args = ["audit", "reconcile", "--cloudtrail", "-", "--since", &begin];
    let human = scene.world.pii_vault_given(Who::Auditor, &args, &[], trail.as_bytes()).finish().done().stdout;
    assert!(human.contains("2 of data keys, 1 for look-ups, 0 for rotations, 1 that KMS refused"), "{human}");
    let empty = scene.reconcile(&[], &[]).done().json();
    assert_eq!((&empty["span"], &empty["receipts_outside"]), (&Value::Null, &3.into()));
    let officer = scene.world.pii_vault_given(Who::Officer, &args, &[], trail.as_bytes()).finish().exits(1);
    assert!(officer.stderr.contains("pii_vault_auditor"), "{}", officer.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_thing_that_does_not_fit_is_named() {
    let scene = Scene::new().await;
    let begin = at(now() - 5);
    let since = ["--since", begin.as_str()];
    let receipt = scene.unmask("user-1", &[]).done().summary()["receipt"].as_str().unwrap().to_owned();
    let dry = scene.unmask("user-1", &["--dry-run"]).done().json()["receipt"].as_str().unwrap().to_owned();
    scene.lookup();
    let entries = scene.entries();
    let [data, token] = entries.as_slice() else { panic!("{entries:?}") };
    let with = |change: &dyn Fn(&mut Value)| {
        let mut extra = data.clone();
        extra["eventID"] = "another".into();
        change(&mut extra);
        vec![data.clone(), token.clone(), extra]
    };
    let agent = |app: &str| Value::from(format!("aws-sdk-rust/1.3 ua/2.1 {app}"));
    assert_eq!(words(&scene.reconcile(&with(&|_| ()), &[&ROLES[..], &since].concat()).done()), [""; 0]);

    for (change, word) in [
        (&(|e: &mut Value| e["userAgent"] = agent("")) as &dyn Fn(&mut Value), "no_receipt"),
        (&|e| e["userAgent"] = Value::Null, "no_receipt"),
        (&|e| e["userAgent"] = agent("app/pv-receipt-0195a1b2-0000-4000-8000-000000000001"), "unknown_receipt"),
        (&|e| e["userAgent"] = agent(&format!("app/pv-receipt-{dry}")), "not_permitted"),
        (&|e| e["userAgent"] = token["userAgent"].clone(), "not_permitted"),
        (&|e| e["userIdentity"]["arn"] = "arn:aws:iam::111122223333:user/Mallory".into(), "wrong_principal"),
        (&|e| e["userIdentity"] = Value::Null, "wrong_principal"),
        (&|e| e["eventTime"] = at(now() + 3600).into(), "apart"),
        (&|e| e["eventTime"] = at(now() - 3600).into(), "apart"),
        (
            &|e| {
                e["requestParameters"] = token["requestParameters"].clone();
                e["userAgent"] = agent("")
            },
            "unmask_principal",
        ),
    ] {
        let found = scene.reconcile(&with(change), &[&ROLES[..], &since].concat()).exits(4);
        assert_eq!(words(&found), [word], "{}", found.stdout);
        assert_eq!(found.json()["findings"][0]["event_id"], "another");
    }
    let strict = scene.reconcile(
        &with(&|e| e["eventTime"] = at(now() + 3600).into()),
        &[&since[..], &["--tolerance", "2h"]].concat(),
    );
    assert_eq!(words(&strict.done()), [""; 0]);

    // Entries are missing, or KMS refused and yet something was opened.
    let mut failed = data.clone();
    failed["errorCode"] = "AccessDenied".into();
    for (rest, id) in [(vec![token.clone()], &receipt), (vec![token.clone(), failed], &receipt)] {
        let found = scene.reconcile(&rest, &since).exits(4);
        assert_eq!(words(&found), ["no_unwrap"], "{}", found.stdout);
        assert_eq!(found.json()["findings"][0]["receipt"], id.as_str());
    }
    assert_eq!(
        words(
            &scene
                .reconcile(std::slice::from_ref(data), &[&since[..], &["--until", &at(now() + 60)]].concat())
                .exits(4)
        ),
        ["no_unwrap"]
    );
    // What no entry reaches to is not looked for.
    let outside = scene.reconcile(&[], &["--since", &begin]).done().json();
    assert_eq!(outside["receipts_outside"], 2);
    let asked = scene.reconcile(&[], &[&since[..], &["--until", &at(now() + 60)]].concat()).exits(4);
    assert_eq!(words(&asked), ["no_unwrap", "no_unwrap"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_none_of_cloudtrail_is_no_clean_result() {
    let world = World::vault().await;
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cloudtrail/delivered.json");
    let run = |args: &[&str]| {
        world.pii_vault(Who::Auditor, &[&["audit", "reconcile", "--cloudtrail"], args].concat()).finish()
    };
    let fine = run(&[sample, sample, "--output", "json"]).done().json();
    assert_eq!((&fine["entries"], &fine["data_unwraps"]), (&5.into(), &0.into()));
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cloudtrail/README.md");
    let wrong = run(&[sample, readme]).exits(1);
    assert!(
        wrong.stderr.contains("README.md is not what CloudTrail writes") && wrong.stderr.contains("no JSON"),
        "{}",
        wrong.stderr
    );
    assert!(run(&["/nowhere"]).exits(1).stderr.contains("opening /nowhere"));
    assert!(run(&[sample, "--principal", "jane"]).exits(2).stderr.contains("is an ARN"));
}
