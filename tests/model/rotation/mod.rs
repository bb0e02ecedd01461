//! The rotations of token key and data keys as a model of which every interleaving is tried: up to two ingestion
//! processes, two runners, an administrator and an old snapshot, with a crash between any two steps.
//!
//! Modelled, statement by statement at READ COMMITTED, where a statement sees what was committed when it began, and what
//! it waited for in its newest version:
//!
//! - `hold_keys` in its two statements: the first locks FOR KEY SHARE what its snapshot shows, and misses a key that is
//!   inserted while it waits; the second reads again, and refuses. Ingestion learns of a key by being refused, or by
//!   starting anew. Its insert, commit and acknowledgement; redeliveries; batches without end, for events are deleted.
//! - A pending key is optional until a runner requires it, which waits for all batches that hold keys: a batch that was
//!   made without it goes through before, at any moment, and is refused behind that. No scan says that rows are filled
//!   while the key is optional.
//! - Runners: fetch, `hold_keys`, a compared UPDATE, commit. A page may be stored ages after it was fetched, by a runner
//!   that outlived its job; two may have the same row; which row comes next is anybody's guess.
//! - The administrator, who takes any step that the states of the keys permit: `run`, CHECK, VALIDATE, cut-over and back,
//!   and again; `finish`, or the new key given up; `retire`, the next rotation, and data keys beside them. One change at a
//!   time: the lock on the keys sees to that.
//! - The CHECK binds every new version of a row once it is there, and gets there when nobody writes. The view is read as
//!   it is now, of rows as they were when the snapshot was taken.
//! - Readers, everywhere: what a statement at this moment would show is asked of every state.
//!
//! Not modelled: time, such as the seconds before a key is required, and how long a lock is waited for;
//! deadlocks, which the order of locks avoids; a crash of the server, which is one of everybody at once; rows that do not
//! open; snapshots of a standby, which the primary does not see; whoever inserts without `hold_keys`. A reader that has
//! read the view holds up the CHECK and the cut-over until it commits; the one here has read something else, so that
//! nothing waits for it but the cut-over. Nor does the model read the SQL: tests of the real thing do.
//!
//! It shows what is not needed, too: re-sealing need not pause for the CHECK, which is made when no row is left that it
//! would stop; emptying needs no key held, because it compares; and were a new key announced without a wait for batches,
//! all would hold as well: it is to require it that batches are waited for.

mod action;
mod administrator;
mod database;
mod flaw;
mod properties;
mod protocol;
mod state;

use std::collections::BTreeSet;
use std::time::Instant;

use stateright::{Checker, Expectation, HasDiscoveries, Model, Path};

use self::action::Action;
use self::flaw::Flaw;
use self::properties::{DONE, GOES_ON, NOT_STOPPED, OLD_SNAPSHOT, ONCE, RETIRED, STORED, VIEW};
use self::protocol::Kind::{Data, Tokens};
use self::protocol::Rotation;
use self::state::State;

const SMALL: Rotation =
    Rotation { processes: 1, runners: &[Tokens], events: 2, snapshots: false, token_keys: 2, data_keys: 1, flaws: &[] };
/// One event is enough for what no two do to each other, and leaves room for more of everything else.
const BOTH_KINDS: Rotation = Rotation { runners: &[Tokens, Data], data_keys: 2, events: 1, ..SMALL };
const TWICE: Rotation = Rotation { runners: &[Tokens, Tokens], token_keys: 3, events: 1, ..SMALL };
const DATA_KEYS: Rotation = Rotation { runners: &[Data, Data], token_keys: 1, data_keys: 2, ..SMALL };

#[test]
fn every_interleaving_of_a_rotation_keeps_what_is_promised() {
    let mut rotations = vec![
        ("a token key, two processes", Rotation { processes: 2, ..SMALL }),
        ("a token key, an old snapshot", Rotation { snapshots: true, ..SMALL }),
        ("one token key after another, two runners", TWICE),
        ("a data key, two processes", Rotation { processes: 2, ..DATA_KEYS }),
        ("two data keys at once", Rotation { data_keys: 3, events: 1, ..DATA_KEYS }),
        ("both kinds at once", Rotation { snapshots: true, ..BOTH_KINDS }),
    ];
    if std::env::var_os("PII_VAULT_SOAK").is_some() {
        rotations.extend([
            ("a token key, two of all", Rotation { processes: 2, runners: TWICE.runners, snapshots: true, ..SMALL }),
            ("one token key after another, two of all", Rotation { processes: 2, ..TWICE }),
            ("one token key after another, an old snapshot", Rotation { snapshots: true, ..TWICE }),
            ("one token key after another, two events", Rotation { runners: SMALL.runners, events: 2, ..TWICE }),
            ("two data keys at once, two of all", Rotation { processes: 2, data_keys: 3, events: 1, ..DATA_KEYS }),
            ("both kinds at once, two processes", Rotation { processes: 2, snapshots: true, ..BOTH_KINDS }),
            ("both kinds at once, two events", Rotation { events: 2, ..BOTH_KINDS }),
        ]);
    }
    let mut unreached: BTreeSet<_> = names(Expectation::Sometimes);
    for (title, rotation) in rotations {
        let begun = Instant::now();
        let checker = rotation.checker().threads(2).spawn_bfs().join();
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
fn each_flaw_of_a_rotation_is_found() {
    let snapshots = Rotation { snapshots: true, ..SMALL };
    let two_data_keys = Rotation { data_keys: 3, events: 1, ..DATA_KEYS };
    let flaws: [(&[Flaw], &Rotation, &[&str]); 23] = [
        (&[Flaw::HoldInOneStatement], &SMALL, &[DONE, NOT_STOPPED]),
        (&[Flaw::HoldInOneStatement, Flaw::CountedNotChecked], &SMALL, &[VIEW]),
        (&[Flaw::HoldTakesNoLock], &SMALL, &[DONE, NOT_STOPPED]),
        (&[Flaw::HoldTakesNoLock], &DATA_KEYS, &[RETIRED, DONE]),
        (&[Flaw::RequiredWithoutLock], &SMALL, &[DONE, NOT_STOPPED]),
        (&[Flaw::DoneWithoutRequire], &SMALL, &[DONE, NOT_STOPPED]),
        (&[Flaw::DoneWithoutRequire, Flaw::CountedNotChecked], &SMALL, &[VIEW]),
        (&[Flaw::DoneWithoutCount], &SMALL, &[DONE]),
        (&[Flaw::CheckedBeforeFilled], &BOTH_KINDS, &[NOT_STOPPED]),
        (&[Flaw::CutOverBeforeFilled], &SMALL, &[VIEW]),
        (&[Flaw::SnapshotsNotAwaited], &snapshots, &[OLD_SNAPSHOT]),
        (&[Flaw::OldKeyOutAtCutOver], &SMALL, &[GOES_ON, NOT_STOPPED]),
        (&[Flaw::OldKeyOutAtCutOver, Flaw::CheckOfNewSlot], &SMALL, &[VIEW]),
        (&[Flaw::FinishKeepsCheck], &SMALL, &[GOES_ON, NOT_STOPPED]),
        (&[Flaw::EmptiedBeforeTakenOut], &SMALL, &[VIEW, DONE]),
        (&[Flaw::AnnouncedBeforeEmptied], &TWICE, &[VIEW]),
        (&[Flaw::RetiredByCountBeforeLock], &DATA_KEYS, &[RETIRED]),
        (&[Flaw::StoredWithoutHold], &TWICE, &[VIEW, RETIRED]),
        (&[Flaw::StoredWithoutHold], &two_data_keys, &[RETIRED]),
        (&[Flaw::StoredWithoutCompare], &TWICE, &[VIEW]),
        (&[Flaw::StoredWithoutCompare], &DATA_KEYS, &[ONCE]),
        (&[Flaw::WholeRowStored], &BOTH_KINDS, &[VIEW, RETIRED, DONE]),
        (&[Flaw::AcknowledgedBeforeCommit], &SMALL, &[STORED]),
    ];
    let mut unbroken = names(Expectation::Always);
    for (flaws, rotation, broken) in flaws {
        let rotation = Rotation { flaws, ..*rotation };
        let until = HasDiscoveries::AllOf(broken.iter().copied().collect());
        let checker = rotation.checker().finish_when(until).spawn_bfs().join();
        for property in broken {
            let path = checker.discovery(property);
            let path = path.unwrap_or_else(|| panic!("{flaws:?} does not break: {property}"));
            println!("{flaws:?} breaks: {property}, by {:?}", actions_until_broken(&rotation, path, property));
            unbroken.remove(property);
        }
    }
    assert!(unbroken.is_empty(), "no flaw breaks {unbroken:?}");
}

/// The checker goes on for a while behind what it has found.
fn actions_until_broken(rotation: &Rotation, path: Path<State, Action>, property: &str) -> Vec<Action> {
    let rule = properties::all().into_iter().find(|rule| rule.name == property).expect("a property");
    let steps = path.into_vec().into_iter().take_while(|(state, _)| (rule.condition)(rotation, state));
    steps.filter_map(|(_, action)| action).collect()
}

fn names(expectation: Expectation) -> BTreeSet<&'static str> {
    properties::all().into_iter().filter(|rule| rule.expectation == expectation).map(|rule| rule.name).collect()
}
