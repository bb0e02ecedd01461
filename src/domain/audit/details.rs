use serde::Deserialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::{Action, Entry, Rotation};
use crate::domain::Field;

/// What an entry says beyond what every entry says, by its action. Members that this version does not know are passed
/// over: later ones may add some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Details {
    /// Of [`Action::Init`].
    Init(Init),
    /// Of [`Action::Policy`].
    Policy(PolicySet),
    /// Of [`Action::AccessRequest`].
    Request(Requested),
    /// Of [`Action::AccessApproval`].
    Approval(Decided),
    /// Of [`Action::AccessDenial`].
    Denial(Decided),
    /// Of [`Action::AccessRevocation`].
    Revocation(Revoked),
    /// Of [`Action::Unmask`] and [`Action::UnmaskDryRun`].
    Unmask(Unmask),
    /// Of [`Action::UnmaskPage`].
    Page(Page),
    /// Of [`Action::Lookup`].
    Lookup(Lookup),
    /// Of [`Action::LookupTokens`].
    Tokens(Tokens),
    /// Of [`Action::Redrive`].
    Redrive(Redrive),
    /// Of [`Action::RedrivePage`].
    RedrivePage(RedrivePage),
    /// Of [`Action::KeyRotation`].
    Rotation(Rotation),
    /// Of [`Action::Restored`].
    Restored(Restored),
    /// Of an action that this version does not know.
    Unread,
}

/// The details of an entry have not the members that its action has. Does not quote them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its details have not the members that its action has")]
pub struct DetailsError;

/// The schema was made or brought up to date.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Init {
    /// How many migrations were applied.
    pub migrations: i64,
    /// Whether the first token key was made.
    pub made_token_key: bool,
}

/// What may be opened from here on.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct PolicySet {
    /// Values that an officer may open in 24 hours without a grant.
    pub alone_limit: i64,
    /// Of how many others a grant needs approval.
    pub approvals: i64,
    /// How long a grant may last, in seconds.
    pub longest_grant_seconds: i64,
    /// What the whole of a case id must match.
    pub case_pattern: String,
    /// `required` or `scheduled`.
    pub checkpoints: String,
}

/// A grant that was asked for. What is out of bounds or missing was refused.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Requested {
    /// Distinct, in column order.
    pub fields: Vec<Field>,
    /// The most values that it opens.
    pub max_values: Option<i64>,
    /// How long it lasts from its last approval.
    pub duration_seconds: Option<i64>,
    /// By the policy of that time; `None` where there was none.
    pub approvals_needed: Option<i64>,
}

/// What an approver said.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Decided {
    /// Who asked; `None` where there is no such request.
    pub requester: Option<String>,
}

/// A grant that was taken back.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Revoked {
    /// Since when it is in force, in microseconds since the Unix epoch; `None` where it was refused.
    #[serde(default)]
    pub revoked_at: Option<i64>,
}

/// Rows that somebody wants to open.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Unmask {
    /// Distinct, in column order.
    pub fields: Vec<Field>,
    /// Which rows were asked for; `None` where that was too long to keep.
    pub selector: Option<Selector>,
    /// The grant that was named.
    pub named_grant: Option<Uuid>,
    /// The request whose grant is charged; `None`: what the officer may open alone.
    pub grant: Option<Uuid>,
    /// What the officer had opened alone in the 24 hours before; `None` where it was refused before that counted.
    pub alone_used: Option<i64>,
    /// How many rows.
    pub rows: i64,
    /// How many values.
    pub values: i64,
    /// The hash of the list of rows, in hex.
    pub list_sha256: String,
}

/// Any of the values of a kind, and that of every kind that has some.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct Selector {
    /// Events.
    pub event_ids: Vec<Option<Uuid>>,
    /// Users.
    pub user_ids: Vec<Option<String>>,
    /// Tokens of addresses.
    pub masked_ips: Vec<Option<String>>,
    /// Tokens of devices.
    pub masked_device_ids: Vec<Option<String>>,
    /// The first day.
    pub since: Option<String>,
    /// The last day.
    pub until: Option<String>,
}

/// What became of rows of a receipt; of a refusal, only where it would have gone on.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Page {
    /// The first row's ordinal.
    pub first: i64,
    /// The last row's.
    #[serde(default)]
    pub last: Option<i64>,
    /// How many rows were opened.
    #[serde(default)]
    pub opened: Option<i64>,
    /// Those that were not.
    #[serde(default)]
    pub failed: Vec<Failure>,
}

/// A row that did not open.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Failure {
    /// The event.
    pub event_id: Uuid,
    /// The word of an `open_failure`.
    pub why: String,
}

/// Values that are to be turned into tokens.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Lookup {
    /// Of which field.
    pub field: Option<Field>,
    /// How many.
    pub values: Option<i64>,
}

/// The tokens of a look-up; of a refusal none.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Tokens {
    /// In the order of the values.
    #[serde(default)]
    pub tokens: Vec<String>,
}

/// Dead letters that are to be opened.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Redrive {
    /// How many.
    pub rows: i64,
    /// The hash of their list, in hex.
    pub list_sha256: String,
}

/// What became of dead letters of a job. Not all between the first and the last need be among them.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct RedrivePage {
    /// The first one's ordinal.
    pub first: i64,
    /// The last one's.
    pub last: i64,
    /// How many became events.
    pub stored: i64,
    /// How many were opened and are no events.
    pub refused: i64,
    /// How many did not open.
    pub did_not_open: i64,
    /// The ordinals of these.
    pub unopened: Vec<i64>,
}

/// An older state of the database was brought back into service.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Restored {
    /// The entry before.
    pub last: i64,
    /// What was signed of later entries is lost; `None` where nothing that was signed is.
    pub lost_after: Option<i64>,
    /// The newest checkpoint of the entries that are lost.
    pub checkpoint: Option<LostCheckpoint>,
    /// How many receipts could still have handed out something.
    pub closed_receipts: i64,
    /// How many jobs of redriving.
    pub closed_redrive_jobs: i64,
}

/// A checkpoint as a copy of it says it, but for what every one of this vault says.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct LostCheckpoint {
    /// The entry.
    pub seq: i64,
    /// In hex.
    pub head_hash: String,
    /// In hex.
    pub previous_hash: String,
    /// In microseconds since the Unix epoch.
    pub at: i64,
    /// As KMS names it.
    pub signing_key: String,
    /// In base64.
    pub signature: String,
}

impl Selector {
    /// How many values it names; days are none.
    #[must_use]
    pub fn values(&self) -> usize {
        self.event_ids.len() + self.user_ids.len() + self.masked_ips.len() + self.masked_device_ids.len()
    }
}

impl Details {
    /// Reads the details of an entry.
    ///
    /// # Errors
    /// [`DetailsError`].
    pub fn of(entry: &Entry) -> Result<Self, DetailsError> {
        let text = &entry.details;
        Ok(match entry.action {
            Action::Init => Self::Init(read(text)?),
            Action::Policy => Self::Policy(read(text)?),
            Action::AccessRequest => Self::Request(read(text)?),
            Action::AccessApproval => Self::Approval(read(text)?),
            Action::AccessDenial => Self::Denial(read(text)?),
            Action::AccessRevocation => Self::Revocation(read(text)?),
            Action::Unmask | Action::UnmaskDryRun => Self::Unmask(read(text)?),
            Action::UnmaskPage => Self::Page(read(text)?),
            Action::Lookup => Self::Lookup(read(text)?),
            Action::LookupTokens => Self::Tokens(read(text)?),
            Action::Redrive => Self::Redrive(read(text)?),
            Action::RedrivePage => Self::RedrivePage(read(text)?),
            Action::KeyRotation => Self::Rotation(read(text)?),
            Action::Restored => Self::Restored(read(text)?),
            Action::Other(_) => Self::Unread,
        })
    }
}

/// serde's own words quote what they do not understand.
fn read<T: DeserializeOwned>(text: &str) -> Result<T, DetailsError> {
    serde_json::from_str(text).map_err(|_| DetailsError)
}
