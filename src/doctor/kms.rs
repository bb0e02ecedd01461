use super::{Finding, Status};
use crate::aws::kms_keys::KmsKey;
use crate::aws::{AwsError, AwsFault, Kms, KmsKeys};

const CHECK: &str = "kms-key";

/// Each KMS key: there, in use, of the right kind.
pub(super) async fn check(kms: &Kms, keys: &KmsKeys) -> Vec<Finding> {
    let mut findings = Vec::new();
    for key in keys.all() {
        findings.push(match kms.describe(&key).await {
            Err(error) => not_described(&key, &error),
            Ok(described) if !described.fits => Finding::bad(
                CHECK,
                Status::Fail,
                format!("{} is of another usage or spec than {} needs", key.name, key.variable),
                "name the right key there; `pii-vault init` shows how to make one",
            ),
            Ok(described) if !described.enabled => Finding::bad(
                CHECK,
                Status::Fail,
                format!("{} is {}", key.name, described.state),
                "find out who did that; `aws kms enable-key`, or `aws kms cancel-key-deletion` and then that",
            ),
            Ok(described) => {
                let rotates = match described.rotates {
                    Some(true) => ", renewed by KMS every year",
                    Some(false) => ", not renewed by KMS (`aws kms enable-key-rotation`, if your rules ask for it)",
                    None => "",
                };
                Finding::ok(CHECK, format!("{} is enabled{rotates}", key.name))
            }
        });
    }
    findings
}

fn not_described(key: &KmsKey, error: &AwsError) -> Finding {
    match error.fault() {
        AwsFault::NotFound => Finding::bad(
            CHECK,
            Status::Fail,
            format!("{} does not exist", key.name),
            format!("`pii-vault init` shows how to make it; or name the right one in {}", key.variable),
        ),
        _ => Finding::bad(
            CHECK,
            Status::Warn,
            format!("{} was not checked: {error}", key.name),
            "run it with credentials that may call kms:DescribeKey on all four keys, and a region",
        ),
    }
}
