use super::{Finding, Status};
use crate::aws::{AwsError, QueueSettings};

const CHECK: &str = "queue";

/// The queue's settings, where a queue is named and its attributes may be read.
pub(super) fn check(settings: Option<Result<QueueSettings, AwsError>>) -> Vec<Finding> {
    let settings = match settings {
        None => return vec![Finding::ok(CHECK, "not checked: no queue is named (PII_VAULT_QUEUE_URL)")],
        Some(Ok(settings)) => settings,
        Some(Err(error)) => {
            let advice = "check PII_VAULT_QUEUE_URL, and run it with credentials that may call sqs:GetQueueAttributes";
            return vec![Finding::bad(CHECK, Status::Warn, format!("not checked: {error}"), advice)];
        }
    };
    let findings = settings.findings();
    if findings.is_empty() {
        return vec![Finding::ok(CHECK, "nothing that is set on it loses messages")];
    }
    findings.into_iter().map(|found| Finding::bad(CHECK, Status::Warn, found.problem, found.advice)).collect()
}
