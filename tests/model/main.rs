//! The receipt, quota, revocation and notary protocol as a model of which every interleaving is tried, up to three
//! officers, an approver and two notaries, with a crash between any two steps.
//!
//! Modelled, as the migrations from `create_audit_log` on have it:
//!
//! - `record_unmask` under the lock on the head (chain the revocation, judge, append, commit), `arm_receipt`,
//!   `fetch_unmask` with what it asks for, `settle_unmask`, and the release of plaintext by the program.
//! - Officers who use the program, and officers at `psql` with its role, who take any step at any time, roll back, and
//!   commit with `synchronous_commit` off. The quota of a grant and of an officer alone are one value each, a read is
//!   one value: two sessions of one officer compete for them. Reads follow each other without end.
//! - The approval; the revocation, an insert without any lock that the next who appends chains.
//! - The notary: lock, compare the copies with the log, read the head, wait until that is on disk, sign, copy, store.
//! - Crashes: of a client and of a notary anywhere, a connection that is lost at a commit with either outcome, and of
//!   the server, which loses what was committed and not flushed. What was copied outside stays.
//!
//! Not modelled: time (expiry, stale receipts, the rolling 24 hours, timeouts of locks), which rows and fields a receipt
//! lists, several pages (each is fetched, settled and released like the one here), several grants and approvers,
//! denials and withdrawals, changes of policy, several sinks or a sink that cannot be read, look-ups and redrive, and
//! anybody who is the owner of the schema or a superuser. Nor does it read the SQL: tests of the real thing do.
//!
//! Restoring an older dump and resuming has a model of its own, `restore`.
//!
//! Two rules of the notary came of this model; without either it fails. It signs no head that is not on disk: anybody
//! with the role may commit an entry that a crash takes back, and then two heads stand for one entry, or a copy that
//! nothing bears out stops the notary. And it looks at the copies whenever it has the lock, not when it starts alone: a
//! copy may be left by another notary, or by this one before it lost its connection. (The program waits for the disk
//! before it takes the lock, and signs no entry that it had not seen before it waited: what others do meanwhile is
//! either before that entry or not signed in this turn.)
//!
//! The rotations of keys are a model of their own: `rotation`.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod action;
mod database;
mod flaw;
mod notary;
mod properties;
mod protocol;
mod restore;
mod rotation;
mod state;

use std::collections::BTreeSet;
use std::time::Instant;

use stateright::{Checker, Expectation, HasDiscoveries, Model};

use self::flaw::Flaw;
use self::properties::{APPROVED, GOES_ON, ONE_CHAIN, ONE_HEAD, OUTCOME, OUTSIDE, QUOTA, RECORDED, REPLAY, REVOKED};
use self::protocol::Client::{Program, Psql};
use self::protocol::Officer::{Ada, Bea, Cem};
use self::protocol::Vault;

const SMALL: Vault =
    Vault { seats: &[(Ada, Psql)], notaries: 1, alike: &[], grant: 1, alone: 1, required: true, flaw: None };

#[test]
fn every_interleaving_keeps_what_is_promised() {
    let mut vaults = vec![
        ("one officer at two terminals", Vault { seats: &[(Ada, Psql), (Ada, Psql)], alike: &[0, 1], ..SMALL }),
        ("two notaries", Vault { notaries: 2, ..SMALL }),
        (
            "two officers, checkpoints when they come",
            Vault { seats: &[(Ada, Psql), (Bea, Psql)], notaries: 0, required: false, ..SMALL },
        ),
        ("three officers", Vault { seats: &[(Ada, Program), (Bea, Program), (Cem, Program)], alike: &[1, 2], ..SMALL }),
    ];
    if std::env::var_os("PII_VAULT_SOAK").is_some() {
        vaults.extend([
            ("a grant of two values", Vault { seats: &[(Ada, Psql), (Ada, Program)], grant: 2, ..SMALL }),
            ("two officers, one of them at psql", Vault { seats: &[(Ada, Program), (Bea, Psql)], ..SMALL }),
            ("two officers, both at psql", Vault { seats: &[(Ada, Psql), (Bea, Psql)], ..SMALL }),
            ("two officers, two notaries", Vault { seats: &[(Ada, Program), (Bea, Program)], notaries: 2, ..SMALL }),
        ]);
    }
    let mut unreached: BTreeSet<_> = names(Expectation::Sometimes);
    for (title, vault) in vaults {
        let begun = Instant::now();
        let checker = vault.checker().threads(2).spawn_bfs().join();
        let (states, steps) = (checker.unique_state_count(), checker.state_count());
        let (depth, took) = (checker.max_depth(), begun.elapsed().as_secs_f32());
        println!("{title}: {states} states, {steps} steps, {depth} deep, {took:.1} s");
        for property in names(Expectation::Always) {
            checker.assert_no_discovery(property);
        }
        unreached.retain(|property| checker.discovery(property).is_none());
    }
    assert!(unreached.is_empty(), "never seen: {unreached:?}");
}

/// Each property is broken by some flaw, so none holds for want of something to break it.
#[test]
fn each_flaw_is_found() {
    let scheduled = Vault { notaries: 0, required: false, ..SMALL };
    let terminals = Vault { seats: &[(Ada, Psql), (Ada, Psql)], ..scheduled.clone() };
    let program = Vault { seats: &[(Ada, Program)], ..scheduled.clone() };
    let two_notaries = Vault { notaries: 2, ..SMALL };
    let flaws: [(Flaw, &Vault, &[&str]); 14] = [
        (Flaw::ArmedBeforeCommit, &scheduled, &[RECORDED]),
        (Flaw::FetchIgnoresFlush, &scheduled, &[RECORDED]),
        (Flaw::FetchIgnoresCheckpoint, &SMALL, &[OUTSIDE]),
        (Flaw::QuotaJudgedBeforeLock, &terminals, &[QUOTA, REPLAY]),
        (Flaw::GrantedWhilePending, &scheduled, &[APPROVED]),
        (Flaw::RevocationCheckedAtRecordOnly, &scheduled, &[REVOKED]),
        (Flaw::SnapshotOfTransaction, &scheduled, &[REVOKED]),
        (Flaw::RevocationNotFlushed, &scheduled, &[REVOKED]),
        (Flaw::ReleasedBeforeSettled, &program, &[OUTCOME]),
        (Flaw::ReleasedBeforeCommit, &program, &[OUTCOME]),
        (Flaw::NotaryTakesNoLock, &two_notaries, &[ONE_CHAIN]),
        (Flaw::SignedBeforeFlushed, &SMALL, &[ONE_HEAD, GOES_ON]),
        (Flaw::RowBeforeCopy, &SMALL, &[OUTSIDE]),
        (Flaw::CopiesComparedAtStartOnly, &SMALL, &[ONE_CHAIN]),
    ];
    let mut unbroken = names(Expectation::Always);
    for (flaw, vault, broken) in flaws {
        let vault = Vault { flaw: Some(flaw), ..vault.clone() };
        let until = HasDiscoveries::AllOf(broken.iter().copied().collect());
        let checker = vault.checker().finish_when(until).spawn_bfs().join();
        for property in broken {
            let path = checker.discovery(property);
            let actions = path.unwrap_or_else(|| panic!("{flaw:?} does not break: {property}")).into_actions();
            println!("{flaw:?} breaks: {property}, by {actions:?}");
            unbroken.remove(property);
        }
    }
    assert!(unbroken.is_empty(), "no flaw breaks {unbroken:?}");
}

fn names(expectation: Expectation) -> BTreeSet<&'static str> {
    properties::all().into_iter().filter(|rule| rule.expectation == expectation).map(|rule| rule.name).collect()
}
