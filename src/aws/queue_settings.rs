use std::time::Duration;

/// What is set on a queue, as far as it decides whether messages can be lost. A setting that is absent, or that makes
/// no sense, is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueSettings {
    /// `VisibilityTimeout`: how long a received message stays hidden.
    pub visibility_timeout: Option<Duration>,
    /// `MessageRetentionPeriod`: after how long SQS deletes a message that nobody did.
    pub retention: Option<Duration>,
    /// `RedrivePolicy`: after how many deliveries a message goes to the dead-letter queue.
    pub max_receive_count: Option<u64>,
}

/// A setting that may lose messages, or bring them out of sight.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}; {advice}")]
pub struct QueueFinding {
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub advice: &'static str,
}

/// Below this, a process that cannot renew in time sees its messages delivered to another.
const SHORT_VISIBILITY: Duration = Duration::from_secs(10);

/// Below this, an outage over a weekend night deletes what was not received.
const SHORT_RETENTION: Duration = Duration::from_secs(24 * 60 * 60);

/// Below this, some restarts or redeliveries in a row move good messages away.
const FEW_DELIVERIES: u64 = 5;

impl QueueSettings {
    /// Reads them by the names of SQS's `GetQueueAttributes`.
    pub(super) fn read<'a>(attribute: impl Fn(&str) -> Option<&'a str>) -> Self {
        let seconds = |name| attribute(name)?.parse().ok().map(Duration::from_secs);
        Self {
            visibility_timeout: seconds("VisibilityTimeout"),
            retention: seconds("MessageRetentionPeriod"),
            max_receive_count: attribute("RedrivePolicy").and_then(max_receive_count),
        }
    }

    /// What of it may lose messages, or bring them out of sight.
    #[must_use]
    pub fn findings(&self) -> Vec<QueueFinding> {
        let mut findings = Vec::new();
        let mut found = |problem, advice| findings.push(QueueFinding { problem, advice });
        if let Some(timeout) = self.visibility_timeout.filter(|timeout| *timeout < SHORT_VISIBILITY) {
            found(
                format!("received messages stay hidden for only {} s", timeout.as_secs()),
                "set VisibilityTimeout, or --visibility-timeout, to 30 s or more",
            );
        }
        if let Some(retention) = self.retention.filter(|retention| *retention < SHORT_RETENTION) {
            found(
                format!("SQS deletes messages after {} s, received or not", retention.as_secs()),
                "set MessageRetentionPeriod to 4 days or more",
            );
        }
        match self.max_receive_count {
            None => found(
                "no dead-letter queue: a message that cannot be received whole is tried until its retention ends, and \
                 is lost then"
                    .to_owned(),
                "set a RedrivePolicy",
            ),
            Some(count) if count < FEW_DELIVERIES => found(
                format!(
                    "a message goes to the dead-letter queue after {count} deliveries, as few as restarts can cause"
                ),
                "set maxReceiveCount to 10 or more",
            ),
            Some(_) => {}
        }
        findings
    }
}

/// SQS writes it as a number or, where it was set so, as a string.
fn max_receive_count(policy: &str) -> Option<u64> {
    let policy: serde_json::Value = serde_json::from_str(policy).ok()?;
    let count = policy.get("maxReceiveCount")?;
    count.as_u64().or_else(|| count.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(visibility: &'static str, retention: &'static str, policy: Option<&'static str>) -> QueueSettings {
        QueueSettings::read(|name| match name {
            "VisibilityTimeout" => Some(visibility),
            "MessageRetentionPeriod" => Some(retention),
            "RedrivePolicy" => policy,
            _ => None,
        })
    }

    fn finds(settings: &QueueSettings, words: &[&str]) {
        let findings = settings.findings();
        assert_eq!(findings.len(), words.len(), "{findings:?}");
        for (finding, word) in findings.iter().zip(words) {
            assert!(finding.to_string().contains(word), "{findings:?}");
        }
    }

    const POLICY: Option<&str> = Some(r#"{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:0:dlq","maxReceiveCount":10}"#);

    #[test]
    fn good_settings_have_no_findings() {
        finds(&settings("30", "345600", POLICY), &[]);
        finds(&settings("10", "86400", Some(r#"{"maxReceiveCount":"5"}"#)), &[]);
    }

    #[test]
    fn each_bad_setting_is_found() {
        finds(&settings("9", "345600", POLICY), &["hidden for only 9 s"]);
        finds(&settings("30", "86399", POLICY), &["after 86399 s"]);
        finds(&settings("30", "345600", None), &["no dead-letter queue"]);
        finds(&settings("30", "345600", Some("not json")), &["no dead-letter queue"]);
        finds(&settings("30", "345600", Some(r#"{"maxReceiveCount":"4"}"#)), &["after 4 deliveries"]);
        finds(&settings("0", "60", None), &["hidden for only 0 s", "after 60 s", "no dead-letter queue"]);
    }

    #[test]
    fn what_is_not_readable_is_not_judged() {
        assert_eq!(settings("soon", "", None), QueueSettings::default());
    }
}
