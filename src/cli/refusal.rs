//! What is refused, why, and what would help: one form, whichever command it is.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;

use super::exit::ExitStatus;
use super::output::{self, OutputFormat};
use crate::domain::AccessRefusal;

/// A refusal, for people and as JSON.
#[derive(Debug, Serialize)]
pub(super) struct Refused {
    refused: &'static str,
    because: Cow<'static, str>,
    next: Cow<'static, str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rows: Vec<RefusedRow>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    keys: Vec<RefusedKey>,
}

/// A key that was asked for, as it stands.
#[derive(Debug, Serialize)]
pub(super) struct RefusedKey {
    pub(super) id: String,
    pub(super) state: &'static str,
    pub(super) rows: i64,
    pub(super) set_aside: i64,
}

/// An event that stands in the way.
#[derive(Debug, Serialize)]
pub(super) struct RefusedRow {
    pub(super) create_date: String,
    pub(super) event_id: String,
    pub(super) why: &'static str,
}

impl Refused {
    /// By a word that scripts go by; why, and what to do.
    pub(super) fn new(
        word: &'static str,
        because: impl Into<Cow<'static, str>>,
        next: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { refused: word, because: because.into(), next: next.into(), rows: Vec::new(), keys: Vec::new() }
    }

    /// Names the rows that are the reason, or the first of them.
    pub(super) fn naming(self, rows: Vec<RefusedRow>) -> Self {
        Self { rows, ..self }
    }

    /// Names the keys that were asked for.
    pub(super) fn with_keys(self, keys: Vec<RefusedKey>) -> Self {
        Self { keys, ..self }
    }

    /// Tells it, and returns the exit status of a refusal.
    pub(super) fn tell(&self, format: OutputFormat) -> anyhow::Result<ExitStatus> {
        match format {
            OutputFormat::Human => output::complain(&self.to_string()),
            OutputFormat::Json => output::result(format, &"", self)?,
        }
        Ok(ExitStatus::Refused)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused: {} ({})", self.because, self.refused)?;
        for RefusedRow { create_date, event_id, why } in &self.rows {
            write!(f, "\n  {create_date}  {event_id}  {why}")?;
        }
        for RefusedKey { id, state, rows, set_aside } in &self.keys {
            write!(f, "\n  {id}  {state}, {rows} rows, {set_aside} set aside")?;
        }
        write!(f, "\nnext: {}", self.next)
    }
}

impl From<AccessRefusal> for Refused {
    fn from(refusal: AccessRefusal) -> Self {
        let (because, next) = sentences(refusal);
        Self::new(refusal.code(), because, next)
    }
}

/// Why, and what to do.
fn sentences(refusal: AccessRefusal) -> (&'static str, &'static str) {
    const ASK: &str = "pii-vault access request --fields … --reason … --case … --max-values … --for …";
    const LIST: &str = "pii-vault access list shows grants and requests with their ids";
    const SHOW_POLICY: &str = "pii-vault access policy shows what is allowed";
    match refusal {
        AccessRefusal::Malformed => (
            "an argument is empty, too long or of no use: a reason has 1 to 1,000 characters, a selection 1,000 values",
            "correct it and try again",
        ),
        AccessRefusal::NoPolicy => (
            "no policy is set, so nothing opens",
            "an administrator sets one: pii-vault access policy set --alone-limit 10 --approvals 1 --reason …",
        ),
        AccessRefusal::CaseForm => ("the case id has not the form that policy asks for", SHOW_POLICY),
        AccessRefusal::NoSelector => {
            ("nothing says which rows", "name events, users or tokens, or both ends of a range of days")
        }
        AccessRefusal::TooManyRows => {
            ("the selection has more than 100,000 rows", "narrow it by --since and --until, and unmask part by part")
        }
        AccessRefusal::TooManyValues => {
            ("more values than can be asked for at once: 10,000 of a lookup, 1,000,000 of a grant", "ask for fewer")
        }
        AccessRefusal::TooLong => ("a grant may not last so long, nor less than a minute", SHOW_POLICY),
        AccessRefusal::UnknownRequest => ("there is no request with this id", LIST),
        AccessRefusal::OwnRequest => {
            ("nobody decides on a request of their own", "another login with the role pii_vault_approver decides")
        }
        AccessRefusal::NotYours => {
            ("another asked for it", "who asked, or an approver, takes it back: pii-vault access revoke ID")
        }
        AccessRefusal::AlreadyDecided => (
            "it was denied or revoked already, or you have approved it",
            "pii-vault access list shows what became of it; who needs it still asks anew",
        ),
        AccessRefusal::AlreadyGranted => {
            ("it has all approvals that it needs", "pii-vault access revoke ID takes the grant back")
        }
        AccessRefusal::UnknownGrant => ("you have no grant with this id", LIST),
        AccessRefusal::NotApproved => {
            ("your request still waits for approval", "another login approves it: pii-vault access approve ID")
        }
        AccessRefusal::Denied => ("your request for this case was denied", ASK),
        AccessRefusal::Revoked => ("your grant for this case was revoked", ASK),
        AccessRefusal::Expired => ("the time of your grant is over", ASK),
        AccessRefusal::OtherCase => ("the grant is for another case", LIST),
        AccessRefusal::OtherFields => {
            ("the grant does not have all of these fields", "narrow by --fields, or ask anew")
        }
        AccessRefusal::UsedUp => ("your grant has fewer values left than this would open", ASK),
        AccessRefusal::AloneLimit => ("it is more than one officer may open alone in 24 hours", ASK),
        AccessRefusal::Stale => ("the receipt is older than 10 minutes", "start again for what is missing"),
        AccessRefusal::NotArmed => ("the receipt was not armed in a committed transaction", "start again"),
        AccessRefusal::NotDurable => ("the record is not on disk yet", "try again"),
        AccessRefusal::NoCheckpoint => (
            "no signed checkpoint covers the record yet, and policy asks for one",
            "see that the notary runs: pii-vault audit notary",
        ),
    }
}
