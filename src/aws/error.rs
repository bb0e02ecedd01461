use std::fmt;

use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};

/// A call to AWS failed.
#[derive(Debug)]
pub struct AwsError {
    call: &'static str,
    fault: AwsFault,
    code: Option<String>,
    message: Option<String>,
}

/// What sort of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AwsFault {
    /// No answer, or none in time.
    Unreachable,
    /// AWS is busy or broken for now.
    Unavailable,
    /// The request could not be made: no credentials, no region.
    NotConfigured,
    /// What was asked for does not exist.
    NotFound,
    /// The identity lacks the right to do it.
    Denied,
    /// AWS refused for good: a disabled key, a wrong request.
    Refused,
    /// It answered with something that makes no sense.
    Malformed,
}

impl AwsError {
    /// What sort of fault it is.
    #[must_use]
    pub fn fault(&self) -> AwsFault {
        self.fault
    }

    /// Whether the same call may succeed later without anybody changing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self.fault, AwsFault::Unreachable | AwsFault::Unavailable)
    }

    /// Whether the same call may succeed later in a process that has called AWS before: credentials that were there
    /// are then being renewed, not missing.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        self.is_transient() || self.fault == AwsFault::NotConfigured
    }

    /// Whether it is for the KMS key being out of use, which somebody can take back: enable it, or cancel its deletion.
    #[must_use]
    pub fn is_key_off(&self) -> bool {
        matches!(self.code(), Some("DisabledException" | "KMSInvalidStateException"))
    }

    /// AWS's error code, where there was an answer.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// Whether AWS's sentence names something, like the KMS key that it is about.
    #[must_use]
    pub fn names(&self, word: &str) -> bool {
        self.message.as_ref().is_some_and(|message| message.contains(word))
    }

    /// A call that went wrong in the way of `fault`, with nothing from AWS to say about it.
    #[must_use]
    pub fn new(call: &'static str, fault: AwsFault) -> Self {
        Self { call, fault, code: None, message: None }
    }

    pub(super) fn during<E: ProvideErrorMetadata>(call: &'static str) -> impl Fn(SdkError<E>) -> Self {
        move |error| match &error {
            SdkError::ServiceError(service) => {
                let (code, message) = (service.err().code(), service.err().message());
                Self {
                    call,
                    fault: if service.raw().status().is_server_error() {
                        AwsFault::Unavailable
                    } else {
                        service_fault(code.unwrap_or_default())
                    },
                    code: code.map(ToOwned::to_owned),
                    message: message.map(ToOwned::to_owned),
                }
            }
            SdkError::TimeoutError(_) | SdkError::ResponseError(_) => Self::new(call, AwsFault::Unreachable),
            // The last: the connection ended without an answer, or amid one. What has no such kind came of no
            // connection: no credentials, no region.
            SdkError::DispatchFailure(failure)
                if failure.is_io() || failure.is_timeout() || failure.as_other().is_some() =>
            {
                Self::new(call, AwsFault::Unreachable)
            }
            _ => Self::new(call, AwsFault::NotConfigured),
        }
    }
}

impl fmt::Display for AwsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.fault {
            AwsFault::Unreachable => "no answer; is the endpoint reachable from here?",
            AwsFault::Unavailable => "AWS is busy or out of order",
            AwsFault::NotConfigured => "the request could not be made; are AWS credentials and a region set?",
            AwsFault::NotFound => "what was asked for does not exist",
            AwsFault::Denied => "this AWS identity may not; keys/README.md has the policies that each command needs",
            AwsFault::Refused => "AWS refused",
            AwsFault::Malformed => "the answer makes no sense",
        };
        write!(f, "{}: {what}", self.call)?;
        if let Some(code) = &self.code {
            write!(f, " [{code}]")?;
        }
        if let Some(message) = &self.message {
            write!(f, ": {message}")?;
        }
        Ok(())
    }
}

impl std::error::Error for AwsError {}

/// By the error tables of the SQS, KMS, S3 and Secrets Manager API references and their "Common Errors". SQS passes on
/// what KMS said of an encrypted queue, as `KMS.ThrottlingException` and the like.
fn service_fault(code: &str) -> AwsFault {
    match code.strip_prefix("KMS.").unwrap_or(code) {
        "NotFoundException"
        | "ResourceNotFoundException"
        | "QueueDoesNotExist"
        | "AWS.SimpleQueueService.NonExistentQueue"
        | "NoSuchBucket" => AwsFault::NotFound,
        "AccessDenied" | "AccessDeniedException" => AwsFault::Denied,
        "ThrottlingException"
        | "Throttling"
        | "RequestThrottled"
        | "RequestLimitExceeded"
        | "OverLimit"
        | "LimitExceededException"
        | "RequestTimeout"
        // Of S3; the second where another request for the same object is under way.
        | "SlowDown"
        | "ConditionalRequestConflict"
        | "RequestTimeoutException"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "DependencyTimeoutException"
        | "KeyUnavailableException"
        | "KMSInternalException"
        | "InternalError"
        | "InternalFailure"
        | "InternalServerError"
        | "InternalServiceError"
        | "ServiceUnavailable"
        | "ServiceUnavailableException"
        // An answer that is not the service's: a proxy or load balancer spoke.
        | "" => AwsFault::Unavailable,
        _ => AwsFault::Refused,
    }
}
