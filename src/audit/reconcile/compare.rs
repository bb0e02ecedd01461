use std::collections::BTreeMap;
use std::time::Duration;

use uuid::Uuid;

use super::cloudtrail::{Trail, Unwrap};
use super::receipts::{Permits, Receipt, Receipts};
use super::rotations::Rotations;
use super::{LISTED, Mismatch, Principal, Question, Reconciled, Service};
use crate::domain::audit::UnixMicros;
use crate::domain::{Purpose, VaultId};

/// CloudTrail tells time to the second.
const SECOND: i64 = 1_000_000;

pub(super) fn compare(
    vault: VaultId,
    trail: &Trail,
    receipts: &mut Receipts,
    mut rotations: Rotations,
    question: &Question,
) -> Reconciled {
    let since = question.since.or(trail.span.map(|(first, _)| first));
    let until = question.until.or(trail.span.map(|(_, last)| UnixMicros(last.0.saturating_add(SECOND))));
    let span = since.zip(until);
    let mut compared = Reconciled {
        vault: vault.to_string(),
        span: span.map(|(since, until)| [since.to_string(), until.to_string()]),
        entries: trail.entries,
        data_unwraps: 0,
        lookup_unwraps: 0,
        rotation_unwraps: 0,
        rotations: Vec::new(),
        services: Vec::new(),
        failed: 0,
        receipts: 0,
        receipts_outside: 0,
        findings_count: 0,
        findings: Vec::new(),
    };
    let mut services = BTreeMap::new();
    let mut unwraps: Vec<_> = trail.unwraps.iter().filter(|unwrap| is_ours(vault, unwrap)).collect();
    unwraps.sort_by_key(|unwrap| unwrap.at);
    for unwrap in unwraps {
        compared.unwrap(unwrap, receipts, &mut rotations, question, &mut services);
    }
    compared.rotations = rotations.in_order();
    compared.services =
        services.into_iter().map(|((principal, purpose), unwraps)| Service { principal, purpose, unwraps }).collect();
    for (id, receipt) in receipts.in_order() {
        if !span.is_some_and(|(since, until)| (since..until).contains(&receipt.at)) {
            compared.receipts_outside += 1;
            continue;
        }
        compared.receipts += 1;
        if !receipt.is_unwrapped {
            compared.push(no_unwrap(id, receipt));
        }
    }
    compared
}

fn is_ours(vault: VaultId, unwrap: &Unwrap) -> bool {
    let says = |name: &str, value: &str| unwrap.context.get(name).is_some_and(|said| said == value);
    says("app", "pii-vault") && says("vault", &vault.to_string())
}

impl Reconciled {
    fn unwrap(
        &mut self,
        unwrap: &Unwrap,
        receipts: &mut Receipts,
        rotations: &mut Rotations,
        question: &Question,
        services: &mut BTreeMap<(String, String), u64>,
    ) {
        if unwrap.error.is_some() {
            self.failed += 1;
            return;
        }
        if let Some(job) = unwrap.job {
            self.rotation_unwraps += 1;
            rotations.explain(job, unwrap, question).into_iter().for_each(|found| self.push(found));
            return;
        }
        let purpose = unwrap.context.get("purpose").map_or("", String::as_str);
        let (permits, expected) = if purpose == Purpose::Data.name() {
            self.data_unwraps += 1;
            (Permits::Reading, question.unmask.as_ref())
        } else if purpose == Purpose::Token.name() && unwrap.receipt.is_some() {
            self.lookup_unwraps += 1;
            (Permits::LookingUp, question.lookup.as_ref())
        } else {
            *services.entry(principal_of(unwrap)).or_default() += 1;
            // Who unmasks could turn every guess into a token, and find it in the view.
            if question.unmask.as_ref().is_some_and(|unmask| is(unmask, unwrap)) {
                let what = format!("who unmasks unwrapped a {purpose} key, which is for services alone");
                self.push(mismatch("unmask_principal", what, unwrap, None));
            }
            return;
        };
        if let Some(expected) = expected
            && !is(expected, unwrap)
        {
            self.push(mismatch("wrong_principal", "another principal than the one who may".to_owned(), unwrap, None));
        }
        let Some(claimed) = unwrap.receipt else {
            let what = "a data key was unwrapped, and the client named no receipt".to_owned();
            return self.push(mismatch("no_receipt", what, unwrap, None));
        };
        match receipts.get(claimed) {
            None => {
                let what = "the receipt that the client named is not in the log".to_owned();
                self.push(mismatch("unknown_receipt", what, unwrap, None));
            }
            Some(receipt) if receipt.permits != permits => {
                let what = match receipt.permits {
                    Permits::Nothing => "the receipt that the client named permits nothing: refused, or a dry run",
                    Permits::Reading => "a token key, and the receipt that the client named is for reading",
                    Permits::LookingUp => "a data key, and the receipt that the client named is for a look-up",
                };
                self.push(mismatch("not_permitted", what.to_owned(), unwrap, Some(receipt.seq)));
            }
            Some(receipt) => {
                receipt.is_unwrapped = true;
                let apart = apart(unwrap.at, receipt.at);
                if apart > question.tolerance {
                    let what = format!("it is {} s from the record of its receipt", apart.as_secs());
                    self.push(mismatch("apart", what, unwrap, Some(receipt.seq)));
                }
            }
        }
    }

    fn push(&mut self, mismatch: Mismatch) {
        self.findings_count += 1;
        if self.findings.len() < LISTED {
            self.findings.push(mismatch);
        }
    }
}

pub(super) fn is(principal: &Principal, unwrap: &Unwrap) -> bool {
    [&unwrap.principal, &unwrap.issuer].into_iter().flatten().any(|arn| principal.is(arn))
}

/// Who unwrapped, and what the key is for.
pub(super) fn principal_of(unwrap: &Unwrap) -> (String, String) {
    let principal = unwrap.principal.clone().unwrap_or("(none)".to_owned());
    (principal, unwrap.context.get("purpose").cloned().unwrap_or_default())
}

fn apart(unwrapped: UnixMicros, recorded: UnixMicros) -> Duration {
    Duration::from_micros(unwrapped.0.abs_diff(recorded.0 / SECOND * SECOND))
}

pub(super) fn mismatch(word: &'static str, what: String, unwrap: &Unwrap, seq: Option<i64>) -> Mismatch {
    Mismatch {
        word,
        what,
        receipt: unwrap.receipt.map(|receipt| receipt.to_string()),
        job: unwrap.job.map(|job| job.to_string()),
        seq,
        event_id: unwrap.event_id.clone(),
        at: unwrap.at.to_string(),
        principal: unwrap.principal.clone(),
        key: unwrap.context.get("key-id").cloned(),
    }
}

fn no_unwrap(id: Uuid, receipt: &Receipt) -> Mismatch {
    let what = match receipt.permits {
        Permits::LookingUp => format!("{} tokens were told, and no token key was unwrapped for it", receipt.yielded),
        _ => format!("{} rows were opened, and no data key was unwrapped for it", receipt.yielded),
    };
    Mismatch {
        word: "no_unwrap",
        what,
        receipt: Some(id.to_string()),
        job: None,
        seq: Some(receipt.seq),
        event_id: None,
        at: receipt.at.to_string(),
        principal: None,
        key: None,
    }
}
