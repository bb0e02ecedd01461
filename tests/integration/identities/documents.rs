//! The policies as files: what they say is what the table says, under the conditions that the page promises.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use super::table::{self, Actions, Resource};

const CREATE_KMS_KEYS: &str = "init-create-kms-keys";
const ROOT: &str = "arn:aws:iam::${ACCOUNT_ID}:root";
const ROLE: &str = "arn:aws:iam::${ACCOUNT_ID}:role/pii-vault-";

/// Everything that a statement here may have: with anything more, NotAction for one, it would not be read at all.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Statement {
    sid: String,
    effect: Effect,
    principal: Option<BTreeMap<String, String>>,
    action: Vec<String>,
    resource: Value,
    condition: Option<Value>,
}

/// A Deny would make the reading below wrong.
#[derive(Debug, Deserialize)]
enum Effect {
    Allow,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Document {
    version: String,
    statement: Vec<Statement>,
}

#[test]
fn iam_policies_are_the_rows_of_the_table() {
    let table = table::read();
    for (identity, row) in &table {
        let mut said: BTreeMap<Resource, Actions> = Resource::ALL.map(|resource| (resource, Actions::new())).into();
        for statement in read(&format!("iam/{identity}.json")) {
            assert!(statement.principal.is_none());
            let arns: Vec<String> = serde_json::from_value(statement.resource.clone()).expect("a list of ARNs");
            for arn in arns {
                let resource = Resource::ALL.into_iter().find(|it| arn == format!("${{{}}}", it.placeholder()));
                let resource = resource.unwrap_or_else(|| panic!("{identity}: {arn} is no placeholder"));
                check_condition(identity, resource, &statement);
                said.entry(resource).or_default().extend(actions(&statement, resource));
            }
        }
        assert_eq!(&said, row, "{identity}");
    }
    let expected: BTreeSet<String> = table.into_keys().chain([CREATE_KMS_KEYS.to_owned()]).collect();
    assert_eq!(files("iam"), expected, "a policy for each identity, and no other");
}

#[test]
fn key_policies_are_the_columns_of_the_table() {
    let table = table::read();
    for key in Resource::KMS_KEYS {
        let mut said: BTreeMap<String, Actions> =
            table.keys().map(|identity| (identity.clone(), Actions::new())).collect();
        for statement in read(&format!("kms/{}.json", key.name())) {
            assert_eq!(statement.resource, "*", "a key policy is about its key");
            let principal = statement.principal.as_ref().and_then(|principal| principal.get("AWS")).expect("one");
            if principal == ROOT {
                assert_eq!(statement.condition, None);
                continue;
            }
            let identity = principal.strip_prefix(ROLE).unwrap_or_else(|| panic!("{principal}"));
            check_condition(identity, key, &statement);
            said.get_mut(identity).expect("an identity of the table").extend(actions(&statement, key));
        }
        let expected = table.iter().map(|(identity, row)| (identity.clone(), row[&key].clone())).collect();
        assert_eq!(said, expected, "{}", key.name());
    }
    assert_eq!(files("kms"), Resource::KMS_KEYS.map(|key| key.name().to_owned()).into());
}

/// Administration is the account's, in all four keys the same; use, and grants, which hand use on, are nobody's.
#[test]
fn administration_is_not_use() {
    let administration = Resource::KMS_KEYS.map(|key| {
        let statements = read(&format!("kms/{}.json", key.name()));
        let is_root = |statement: &Statement| statement.principal.as_ref().is_some_and(|it| it["AWS"] == ROOT);
        let mut administration = statements.into_iter().filter(is_root);
        let actions = administration.next().expect("one statement").action;
        assert!(administration.next().is_none());
        actions
    });
    assert!(administration.iter().all(|actions| *actions == administration[0]));
    for action in &administration[0] {
        let manages = ["Describe", "Get", "List", "Put", "Enable", "Disable", "Schedule", "Cancel", "Update", "Delete"];
        let named =
            ["kms:CreateAlias", "kms:RevokeGrant", "kms:RotateKeyOnDemand", "kms:TagResource", "kms:UntagResource"];
        let verb = action.strip_prefix("kms:").expect("of KMS");
        let known = named.contains(&action.as_str()) || manages.iter().any(|it| verb.starts_with(it));
        assert!(known && !action.contains('*') && verb != "GetPublicKey", "{action}");
    }
}

#[test]
fn making_the_keys_opens_nothing() {
    let said: Vec<_> = read(&format!("iam/{CREATE_KMS_KEYS}.json")).into_iter().map(|it| it.action.join(" ")).collect();
    let expected =
        ["kms:CreateKey", "kms:DescribeKey kms:CreateAlias", "kms:GenerateDataKey", "kms:ScheduleKeyDeletion"];
    assert_eq!(said, expected);
}

fn read(path: &str) -> Vec<Statement> {
    let text = std::fs::read_to_string(folder().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    let document: Document = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
    assert_eq!(document.version, "2012-10-17");
    let sids: BTreeSet<_> = document.statement.iter().map(|statement| &statement.sid).collect();
    assert_eq!(sids.len(), document.statement.len(), "{path}: a Sid stands twice");
    assert!(sids.iter().all(|sid| sid.chars().all(|letter| letter.is_ascii_alphanumeric())), "{path}: {sids:?}");
    assert!(document.statement.iter().all(|statement| matches!(statement.effect, Effect::Allow)));
    document.statement
}

/// The names of a statement's actions. A trailing `*` stands where AWS has two actions for one call (ReEncryptFrom and
/// ReEncryptTo) or none of its own for a batch, and nowhere else.
fn actions(statement: &Statement, resource: Resource) -> Actions {
    let service = if resource == Resource::Queue { "sqs:" } else { "kms:" };
    let name = |action: &String| {
        let name = action.strip_prefix(service).unwrap_or_else(|| panic!("{action} on {}", resource.name()));
        let stem = name.trim_end_matches('*');
        let several = ["ReEncrypt", "DeleteMessage", "ChangeMessageVisibility"].contains(&stem);
        assert_eq!(name, if several { format!("{stem}*") } else { stem.to_owned() });
        stem.to_owned()
    };
    statement.action.iter().map(name).collect()
}

fn check_condition(identity: &str, resource: Resource, statement: &Statement) {
    for action in &statement.action {
        let expected = condition(identity, resource, action).map(|keys| json!({ "StringEqualsIfExists": keys }));
        assert_eq!(statement.condition, expected, "{identity}: {}: {action}", statement.sid);
    }
}

fn condition(identity: &str, resource: Resource, action: &str) -> Option<Value> {
    match action {
        "kms:DescribeKey" | "kms:GetPublicKey" => None,
        _ if resource == Resource::Queue => None,
        "kms:Sign" => Some(json!({ "kms:SigningAlgorithm": "ECDSA_SHA_256", "kms:MessageType": "RAW" })),
        // It founds the vault, so it does not know it yet.
        _ if identity == "init" => Some(json!({
            "kms:EncryptionContext:app": "pii-vault",
            "kms:EncryptionContext:purpose": resource.name(),
        })),
        _ => Some(json!({
            "kms:EncryptionContext:app": "pii-vault",
            "kms:EncryptionContext:purpose": resource.name(),
            "kms:EncryptionContext:vault": "${VAULT_ID}",
        })),
    }
}

fn files(kind: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder().join(kind)).expect("a folder");
    let name = |entry: std::fs::DirEntry| entry.file_name().into_string().expect("UTF-8");
    entries.map(|entry| name(entry.expect("an entry")).trim_end_matches(".json").to_owned()).collect()
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("keys")
}
