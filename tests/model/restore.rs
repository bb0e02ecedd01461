//! Restoring an older dump and resuming, as a model of its own: a log of a few entries with their true numbers and
//! hashes, two notaries with a sink, and dumps that are restored at any moment, also twice, and also where the database
//! went on before that was noticed.
//!
//! Not modelled: crashes of the server that lose what was not on disk (the other model has them), and several sinks. That
//! no notary from before is still at it when a dump is restored is taken for granted; a flaw shows why it has to be.

mod log;
mod steps;

use std::collections::BTreeMap;

use stateright::{Checker, HasDiscoveries, Model, Property};

use self::log::{Checkpoint, Database, What};

const ONE_HEAD: &str = "no second head is signed for a number";
const VERIFIES: &str = "a log that is not restored, or was resumed, verifies against all copies";
const GOES_ON: &str = "a log that is not restored, or was resumed, stops no notary";

const ENTRIES: u8 = 5;
const RESTORES: u8 = 2;
const NOTARIES: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Flaw {
    /// The entry gets the next number of this log.
    NumbersGivenAgain,
    /// The entry names the database's own last checkpoint, not the newest copy.
    OwnCheckpointNamed,
    /// The next checkpoint follows the last row of the table.
    FollowsOwnRow,
    /// What was signed of entries that the log has is not compared.
    WentOnUnnoticed,
    /// A notary that had signed writes its copy after a dump was restored, and resumed.
    NotaryOutlivesRestore,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Notary {
    #[default]
    Idle,
    Signed(Checkpoint),
    Copied(Checkpoint),
    Stopped,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct State {
    database: Database,
    dump: Option<Database>,
    copies: BTreeMap<u8, Checkpoint>,
    /// Every signed head that ever left a notary. What one that is killed takes with it is nobody's.
    signed: BTreeMap<u8, u64>,
    two_heads: bool,
    notaries: [Notary; NOTARIES],
    appended: u8,
    restores: u8,
    /// What tells of a restore is there, and it is not resumed.
    is_restored: bool,
    went_on: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Action {
    Append,
    Dump,
    Restore,
    Resume,
    Sign(usize),
    Copy(usize),
    Store(usize),
    Kill(usize),
}

struct Restoring(Option<Flaw>);

impl Model for Restoring {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::default()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let is_locked = state.notaries.iter().any(|notary| !matches!(notary, Notary::Idle | Notary::Stopped));
        if state.appended < ENTRIES {
            actions.push(Action::Append);
        }
        if state.restores < RESTORES {
            actions.push(Action::Dump);
            if state.dump.is_some() {
                actions.push(Action::Restore);
            }
        }
        if state.is_restored && (!is_locked || self.has(Flaw::NotaryOutlivesRestore)) {
            actions.push(Action::Resume);
        }
        for (number, notary) in state.notaries.iter().enumerate() {
            match notary {
                Notary::Idle if !is_locked || self.has(Flaw::NotaryOutlivesRestore) => {
                    actions.push(Action::Sign(number))
                }
                Notary::Signed(_) => actions.extend([Action::Copy(number), Action::Kill(number)]),
                Notary::Copied(_) => actions.extend([Action::Store(number), Action::Kill(number)]),
                Notary::Idle | Notary::Stopped => {}
            }
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        match action {
            Action::Append => {
                next.appended += 1;
                next.database.log.push((next.database.head() + 1, What::Anything(next.appended)));
                next.went_on |= next.is_restored;
            }
            Action::Dump => next.dump = Some(next.database.clone()),
            Action::Restore => {
                next.database = next.dump.clone()?;
                next.restores += 1;
                if !self.has(Flaw::NotaryOutlivesRestore) {
                    next.notaries = Default::default();
                }
                next.is_restored = true;
            }
            Action::Resume => {
                match self.resume(&next) {
                    Some(entry) => next.database.log.push(entry),
                    // Nothing tells, and nothing has to.
                    None if next.notaries.contains(&Notary::Stopped) => return None,
                    None => {}
                }
                (next.is_restored, next.went_on) = (false, false);
                next.notaries =
                    next.notaries.map(|notary| if notary == Notary::Stopped { Notary::Idle } else { notary });
            }
            Action::Sign(notary) => self.sign(&mut next, notary),
            Action::Copy(notary) => {
                if let Notary::Signed(checkpoint) = next.notaries[notary] {
                    let Checkpoint { seq, head, .. } = checkpoint;
                    next.two_heads |= next.signed.insert(seq, head).is_some_and(|other| other != head);
                    // Never written over.
                    let there = *next.copies.entry(checkpoint.seq).or_insert(checkpoint);
                    next.notaries[notary] =
                        if there == checkpoint { Notary::Copied(checkpoint) } else { Notary::Stopped };
                }
            }
            Action::Store(notary) => {
                if let Notary::Copied(checkpoint) = next.notaries[notary] {
                    let fits = next.database.hash_at(checkpoint.seq) == Some(checkpoint.head)
                        && next.database.rows.last().is_none_or(|last| last.seq < checkpoint.seq)
                        && checkpoint.previous == self.link(&next.database, checkpoint.seq);
                    if fits {
                        next.database.rows.push(checkpoint);
                    }
                    next.notaries[notary] = Notary::Idle;
                }
            }
            Action::Kill(notary) => next.notaries[notary] = Notary::Idle,
        }
        next.notaries.sort_unstable();
        (next != *state).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ONE_HEAD, |_, state: &State| !state.two_heads),
            Property::always(VERIFIES, |model: &Self, state: &State| state.is_restored || model.verifies(state)),
            Property::always(GOES_ON, |_, state: &State| {
                state.is_restored || !state.notaries.contains(&Notary::Stopped)
            }),
            Property::sometimes("a notary refuses a restored log", |_, state: &State| {
                state.notaries.contains(&Notary::Stopped)
            }),
            Property::sometimes("a log that was resumed is signed", |_, state: &State| {
                let resumed = |(seq, what): &(u8, What)| matches!(what, What::Restored { .. }).then_some(*seq);
                let resumed = state.database.log.iter().find_map(resumed);
                resumed.is_some_and(|seq| state.database.rows.last().is_some_and(|row| row.seq >= seq))
            }),
            Property::sometimes("a log is resumed twice", |_, state: &State| {
                state.database.log.iter().filter(|(_, what)| matches!(what, What::Restored { .. })).count() == 2
            }),
            Property::sometimes("a log went on and was resumed", |_, state: &State| {
                state
                    .database
                    .log
                    .iter()
                    .any(|(_, what)| matches!(what, What::Restored { last, after, .. } if after < last))
            }),
        ]
    }
}

#[test]
fn a_restored_log_that_was_resumed_has_one_head_for_one_number() {
    let checker = Restoring(None).checker().threads(2).spawn_bfs().join();
    println!("{} states, {} deep", checker.unique_state_count(), checker.max_depth());
    checker.assert_properties();
}

#[test]
fn each_flaw_of_restoring_is_found() {
    for (flaw, broken) in [
        (Flaw::NumbersGivenAgain, ONE_HEAD),
        (Flaw::OwnCheckpointNamed, VERIFIES),
        (Flaw::FollowsOwnRow, VERIFIES),
        (Flaw::WentOnUnnoticed, VERIFIES),
        (Flaw::NotaryOutlivesRestore, ONE_HEAD),
    ] {
        let until = HasDiscoveries::AllOf([broken].into_iter().collect());
        let checker = Restoring(Some(flaw)).checker().finish_when(until).spawn_bfs().join();
        let path = checker.discovery(broken).unwrap_or_else(|| panic!("{flaw:?} does not break: {broken}"));
        println!("{flaw:?} breaks: {broken}, by {:?}", path.into_actions());
    }
}
