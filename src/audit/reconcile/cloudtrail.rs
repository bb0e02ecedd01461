//! Entries of AWS CloudTrail, as it delivers them to S3 (`{"Records": […]}`), as JSON lines of one each, and as
//! `aws cloudtrail lookup-events` prints them; plain or gzip.
//!
//! Read by what the CloudTrail User Guide, *CloudTrail record contents*, and the KMS Developer Guide, *Decrypt*, say of
//! them: <https://docs.aws.amazon.com/kms/latest/developerguide/ct-decrypt.html>.

use std::collections::{BTreeMap, HashSet};
use std::io::{BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use serde::Deserialize;
use serde_json::Deserializer;
use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use crate::domain::audit::UnixMicros;

/// What was read of one or more files.
#[derive(Clone, Debug, Default)]
pub struct Trail {
    /// Entries of any service, each once.
    pub entries: u64,
    /// When the first of them was, and the last.
    pub span: Option<(UnixMicros, UnixMicros)>,
    /// Keys that were unwrapped, or should have been.
    pub unwraps: Vec<Unwrap>,
    seen: HashSet<String>,
}

/// A call of `kms:Decrypt`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unwrap {
    /// CloudTrail's id of it.
    pub event_id: Option<String>,
    /// When, to the second.
    pub at: UnixMicros,
    /// Who: the ARN of the session.
    pub principal: Option<String>,
    /// The role that the session is of.
    pub issuer: Option<String>,
    /// The receipt that the client names.
    pub receipt: Option<Uuid>,
    /// The rotation of keys that the client names.
    pub job: Option<Uuid>,
    /// The encryption context.
    pub context: BTreeMap<String, String>,
    /// Why nothing came of it.
    pub error: Option<String>,
}

/// A file is not what CloudTrail writes. Quotes nothing of it.
#[derive(Debug, thiserror::Error)]
pub enum TrailError {
    /// It could not be read, or inflated.
    #[error("reading it")]
    Read(#[source] std::io::Error),
    /// It is no JSON.
    #[error("it is no JSON beyond entry {0}")]
    NotJson(u64),
    /// Something in it is no entry.
    #[error("entry {0} is none of CloudTrail: it needs eventName, eventSource and eventTime, as text")]
    NotAnEntry(u64),
}

impl Trail {
    /// Adds what a file has. Entries that are there already, by their id, are passed over.
    ///
    /// # Errors
    /// [`TrailError`]. What was read up to there is added.
    pub fn add(&mut self, input: impl Read) -> Result<(), TrailError> {
        let mut input = BufReader::new(input);
        let is_gzip = input.fill_buf().map_err(TrailError::Read)?.starts_with(&[0x1f, 0x8b]);
        let reader: Box<dyn Read + '_> = if is_gzip { Box::new(MultiGzDecoder::new(input)) } else { Box::new(input) };
        let mut count = 0;
        for document in Deserializer::from_reader(BufReader::new(reader)).into_iter::<Box<RawValue>>() {
            let document = document.map_err(|error| match error.io_error_kind() {
                Some(kind) => TrailError::Read(kind.into()),
                None => TrailError::NotJson(count),
            })?;
            self.document(&document, &mut count)?;
        }
        Ok(())
    }

    fn document(&mut self, document: &RawValue, count: &mut u64) -> Result<(), TrailError> {
        match serde_json::from_str(document.get()) {
            Ok(Document { records: Some(records), .. }) => {
                records.iter().try_for_each(|record| self.record(record.get(), count))
            }
            Ok(Document { events: Some(events), .. }) => {
                events.iter().try_for_each(|event| self.record(&event.entry, count))
            }
            _ => self.record(document.get(), count),
        }
    }

    fn record(&mut self, text: &str, count: &mut u64) -> Result<(), TrailError> {
        *count += 1;
        let none = || TrailError::NotAnEntry(*count);
        let head: Head = serde_json::from_str(text).map_err(|_| none())?;
        let at = OffsetDateTime::parse(&head.event_time, &Rfc3339).map(UnixMicros::from).map_err(|_| none())?;
        if head.event_id.as_ref().is_some_and(|id| !self.seen.insert(id.clone())) {
            return Ok(());
        }
        self.entries += 1;
        let (first, last) = self.span.unwrap_or((at, at));
        self.span = Some((first.min(at), last.max(at)));
        if head.event_source == "kms.amazonaws.com" && head.event_name == "Decrypt" {
            let call: Call = serde_json::from_str(text).map_err(|_| none())?;
            self.unwraps.push(call.unwrap_at(at, head.event_id));
        }
        Ok(())
    }
}

/// What a user agent names: `app/pv-receipt-<uuid>` or `app/pv-job-<uuid>`, as the SDKs write the name of an
/// application.
fn named(user_agent: &str, kind: &str) -> Option<Uuid> {
    user_agent.split_whitespace().find_map(|part| {
        let part = part.trim_matches(|c| matches!(c, '[' | ']' | ','));
        Uuid::try_parse(part.strip_prefix("app/pv-")?.strip_prefix(kind)?.strip_prefix('-')?).ok()
    })
}

#[derive(Deserialize)]
struct Document {
    #[serde(rename = "Records")]
    records: Option<Vec<Box<RawValue>>>,
    #[serde(rename = "Events")]
    events: Option<Vec<LookedUp>>,
}

#[derive(Deserialize)]
struct LookedUp {
    #[serde(rename = "CloudTrailEvent")]
    entry: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    event_source: String,
    event_name: String,
    event_time: String,
    #[serde(rename = "eventID")]
    event_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Call {
    user_agent: Option<String>,
    user_identity: Option<Identity>,
    request_parameters: Option<Parameters>,
    error_code: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Identity {
    arn: Option<String>,
    session_context: Option<Session>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Session {
    session_issuer: Option<Issuer>,
}

#[derive(Deserialize)]
struct Issuer {
    arn: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parameters {
    encryption_context: Option<BTreeMap<String, String>>,
}

impl Call {
    fn unwrap_at(self, at: UnixMicros, event_id: Option<String>) -> Unwrap {
        let identity = self.user_identity;
        let (principal, session) = identity.map_or((None, None), |identity| (identity.arn, identity.session_context));
        Unwrap {
            event_id,
            at,
            principal,
            issuer: session.and_then(|session| session.session_issuer).and_then(|issuer| issuer.arn),
            receipt: self.user_agent.as_deref().and_then(|agent| named(agent, "receipt")),
            job: self.user_agent.as_deref().and_then(|agent| named(agent, "job")),
            context: self.request_parameters.and_then(|parameters| parameters.encryption_context).unwrap_or_default(),
            error: self.error_code,
        }
    }
}

#[cfg(test)]
mod tests;
