//! The lines of an export. `keys/FORMAT.md`, section "Export of the audit log", is their page.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::crypto::checkpoint::SignedCheckpoint;
use crate::crypto::hex::{hex, of_hex};
use crate::db::audit_log::Head;
use crate::domain::VaultId;
use crate::domain::audit::{Action, Decision, Entry, Origin, UnixMicros};

const HEADER: &str = "pii-vault/v1/audit-export";
const ENTRY: &str = "pii-vault/v1/audit-entry";
const CHECKPOINT: &str = "pii-vault/v1/checkpoint";

/// The first line: what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::audit) struct Header {
    pub(in crate::audit) vault: VaultId,
    /// When it was exported, by the clock of who did.
    pub(in crate::audit) at: UnixMicros,
    /// What was asked for.
    pub(in crate::audit) since: Option<UnixMicros>,
    pub(in crate::audit) until: Option<UnixMicros>,
    /// The entries that follow; where there are none, the last is the one before the first.
    pub(in crate::audit) first_seq: i64,
    pub(in crate::audit) last_seq: i64,
    /// Of the entry before the first.
    pub(in crate::audit) hash_before: [u8; 32],
    /// Where the log ended.
    pub(in crate::audit) head: Head,
}

/// Any other line.
pub(in crate::audit) enum Line {
    Entry { vault: VaultId, entry: Box<Entry> },
    Checkpoint(Box<SignedCheckpoint>),
}

impl Header {
    pub(super) fn to_line(self) -> HeaderLine<'static> {
        HeaderLine {
            format: HEADER.into(),
            vault: self.vault.0,
            at: self.at.0,
            since: self.since.map(|at| at.0),
            until: self.until.map(|at| at.0),
            first_seq: self.first_seq,
            last_seq: self.last_seq,
            hash_before: hex(&self.hash_before).into(),
            head_seq: self.head.seq,
            head_hash: hex(&self.head.hash).into(),
        }
    }

    /// `None`: it is no header.
    pub(in crate::audit) fn parse(line: &[u8]) -> Option<Self> {
        let line: HeaderLine<'_> = serde_json::from_slice(line).ok()?;
        let in_order = line.first_seq > 0 && line.last_seq >= line.first_seq - 1;
        (line.format == HEADER && in_order).then_some(())?;
        Some(Self {
            vault: VaultId(line.vault),
            at: UnixMicros(line.at),
            since: line.since.map(UnixMicros),
            until: line.until.map(UnixMicros),
            first_seq: line.first_seq,
            last_seq: line.last_seq,
            hash_before: of_hex(&line.hash_before)?,
            head: Head { seq: line.head_seq, hash: of_hex(&line.head_hash)? },
        })
    }

    /// Whether the log begins here, and with it what its policies and grants are.
    pub(in crate::audit) fn begins_the_log(self) -> bool {
        self.first_seq == 1
    }

    /// Whether the log ended here when it was exported.
    pub(in crate::audit) fn ends_the_log(self) -> bool {
        self.last_seq == self.head.seq
    }
}

impl Line {
    /// `None`: it is of no form that this version knows.
    pub(in crate::audit) fn parse(line: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Form<'a> {
            #[serde(borrow)]
            format: Cow<'a, str>,
        }
        let form: Form<'_> = serde_json::from_slice(line).ok()?;
        match &*form.format {
            ENTRY => serde_json::from_slice::<EntryLine<'_>>(line).ok()?.entry(),
            CHECKPOINT => SignedCheckpoint::from_copy(line).ok().map(Box::new).map(Self::Checkpoint),
            _ => None,
        }
    }
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HeaderLine<'a> {
    format: Cow<'a, str>,
    vault: Uuid,
    at: i64,
    since: Option<i64>,
    until: Option<i64>,
    first_seq: i64,
    last_seq: i64,
    hash_before: Cow<'a, str>,
    head_seq: i64,
    head_hash: Cow<'a, str>,
}

/// Members are what is hashed, under the names of the columns; others have no place here.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EntryLine<'a> {
    format: Cow<'a, str>,
    vault_id: Uuid,
    seq: i64,
    at: i64,
    action: Cow<'a, str>,
    actor: Cow<'a, str>,
    role: Cow<'a, str>,
    client_address: Option<Cow<'a, str>>,
    claimed_host: Option<Cow<'a, str>>,
    claimed_version: Option<Cow<'a, str>>,
    decision: Option<Cow<'a, str>>,
    refusal: Option<Cow<'a, str>>,
    reason: Option<Cow<'a, str>>,
    case_id: Option<Cow<'a, str>>,
    subject: Option<Uuid>,
    details: Cow<'a, str>,
    hash: Cow<'a, str>,
}

impl<'a> EntryLine<'a> {
    pub(super) fn of(vault: VaultId, entry: &'a Entry) -> Self {
        let text = |text: &'a Option<String>| text.as_deref().map(Cow::from);
        let origin = &entry.origin;
        Self {
            format: ENTRY.into(),
            vault_id: vault.0,
            seq: entry.seq,
            at: entry.at.0,
            action: entry.action.name().into(),
            actor: origin.actor.as_str().into(),
            role: origin.role.as_str().into(),
            client_address: text(&origin.client_address),
            claimed_host: text(&origin.claimed_host),
            claimed_version: text(&origin.claimed_version),
            decision: entry.decision.map(|decision| decision.name().into()),
            refusal: text(&entry.refusal),
            reason: text(&entry.reason),
            case_id: text(&entry.case_id),
            subject: entry.subject,
            details: entry.details.as_str().into(),
            hash: hex(&entry.hash).into(),
        }
    }

    fn entry(self) -> Option<Line> {
        let decision = match self.decision {
            None => None,
            Some(word) => Some(Decision::ALL.into_iter().find(|decision| decision.name() == word)?),
        };
        let text = |text: Option<Cow<'_, str>>| text.map(Cow::into_owned);
        let entry = Entry {
            seq: self.seq,
            at: UnixMicros(self.at),
            action: Action::of_name(self.action.into_owned()),
            origin: Origin {
                actor: self.actor.into_owned(),
                role: self.role.into_owned(),
                client_address: text(self.client_address),
                claimed_host: text(self.claimed_host),
                claimed_version: text(self.claimed_version),
            },
            decision,
            refusal: text(self.refusal),
            reason: text(self.reason),
            case_id: text(self.case_id),
            subject: self.subject,
            details: self.details.into_owned(),
            hash: of_hex(&self.hash)?,
        };
        Some(Line::Entry { vault: VaultId(self.vault_id), entry: Box::new(entry) })
    }
}
