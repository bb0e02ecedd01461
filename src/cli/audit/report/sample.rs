//! An account in which every text that people write says the same.

use std::collections::BTreeMap;

use time::macros::date;
use uuid::Uuid;

use crate::audit::{Account, Counts, Event, Finding, Outcome, Report, Rotated, Scope, Signatures, Signed};
use crate::db::audit_log::Head;
use crate::domain::VaultId;
use crate::domain::audit::{Decision, UnixMicros};

pub(super) fn account(text: &str) -> Account {
    let counts = Counts { reads: 1, rows_opened: 2, values_opened: 4, refusals: 1, ..Counts::default() };
    let event = Event {
        seq: 7,
        at: UnixMicros(1_767_225_600_000_001),
        action: text.to_owned(),
        actor: text.to_owned(),
        case_id: Some(text.to_owned()),
        decision: Some(Decision::Allowed),
        refusal: Some(text.to_owned()),
        reason: Some(text.to_owned()),
        subject: Some(Uuid::nil()),
        what: format!("x{text}"),
        outcome: Outcome { rows_opened: 2, cut_off: Some(text.to_owned()), ..Outcome::default() },
    };
    let head = Head { seq: 7, hash: [7; 32] };
    let mut verified = Report::empty(VaultId(Uuid::nil()), head);
    verified.findings = vec![Finding { word: "w".to_owned(), seq: Some(1), row: None, what: text.to_owned() }];
    Account {
        vault: VaultId(Uuid::nil()),
        scope: Scope::Case(text.to_owned()),
        verified,
        signed: Signed { count: 0, last: None, unsigned: 7, signatures: Signatures::NotChecked, broken: vec![] },
        total: counts,
        by_actor: BTreeMap::from([(text.to_owned(), counts)]),
        by_case: BTreeMap::from([(Some(text.to_owned()), counts)]),
        by_day: BTreeMap::from([(date!(2026 - 01 - 01), counts)]),
        rotations: vec![Rotated {
            job: Uuid::nil(),
            kind: text.to_owned(),
            purpose: text.to_owned(),
            begun: Some((text.to_owned(), Some(text.to_owned()))),
            steps: vec![(UnixMicros(1_767_225_600_000_001), text.to_owned())],
            total: Some(3),
            changed: 2,
            failed: 1,
        }],
        timeline: vec![event],
        untold: 1,
    }
}
