//! The protocol as a model: who can do what next. What each step does is in `database` and `notary`.

use stateright::{Model, Property};

use super::action::Action;
use super::flaw::Flaw;
use super::properties;
use super::state::{Approver, Arm, NOTARIES, Notary, Payer, Phase, READS, Read, SEATS, Saved, State};

/// Whose login. Ada alone has asked for a grant; the reads of all three are for its case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Officer {
    Ada,
    Bea,
    Cem,
}

/// What an officer works with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    /// `pii-vault unmask`: the steps in their order, each commit on disk before it goes on.
    Program,
    /// `psql` with the same role: any step at any time, `synchronous_commit` off when it likes, ROLLBACK when it likes.
    Psql,
}

#[derive(Clone, Debug)]
pub(crate) struct Vault {
    pub(crate) seats: &'static [(Officer, Client)],
    pub(crate) notaries: usize,
    /// Seats that nothing tells apart.
    pub(crate) alike: &'static [usize],
    /// Values that Ada's grant is for. Each read has one value.
    pub(crate) grant: usize,
    pub(crate) alone: usize,
    /// Whether policy asks for a checkpoint before anything is handed out.
    pub(crate) required: bool,
    pub(crate) flaw: Option<Flaw>,
}

impl Vault {
    pub(crate) fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    pub(crate) fn officer(&self, seat: usize) -> Officer {
        self.seats[seat].0
    }

    pub(crate) fn client(&self, seat: usize) -> Client {
        self.seats[seat].1
    }

    /// Values of allowed reads in the log that `payer` has paid for `officer`.
    pub(crate) fn charged(&self, state: &State, officer: Officer, payer: Payer) -> usize {
        let own = (0..self.seats.len()).filter(|&seat| self.officer(seat) == officer);
        own.flat_map(|seat| &state.sessions[seat].reads).filter(|read| read.seq > 0 && read.payer == payer).count()
    }

    /// What is on disk and outside stays there: nobody has to remember that it was handed out. And a program that
    /// ended takes up no read again; what it was charged stays.
    fn forget_what_is_settled(&self, state: &mut State) {
        let safe = if self.required { state.flushed.min(state.copied) } else { state.flushed };
        for read in state.sessions.iter_mut().flat_map(|session| &mut session.reads) {
            read.handed_out &= !(1..=safe).contains(&read.seq);
            read.released &= read.outcome != Saved::OnDisk;
        }
        for (session, (_, client)) in state.sessions.iter_mut().zip(self.seats) {
            if *client == Client::Program && session.phase == Phase::Idle {
                for read in &mut session.reads {
                    if (1..=state.flushed).contains(&read.seq) && !read.handed_out && !read.released {
                        *read = Read { seq: 1, payer: read.payer, ..Read::default() };
                    }
                }
            }
        }
    }

    fn session_actions(&self, state: &State, seat: usize, actions: &mut Vec<Action>) {
        let session = &state.sessions[seat];
        let psql = self.client(seat) == Client::Psql;
        match session.phase {
            Phase::Idle => {
                if session.reads.iter().any(|read| read.seq == 0) {
                    if self.has(Flaw::QuotaJudgedBeforeLock) {
                        actions.push(Action::JudgeWithoutLock(seat));
                    } else if !state.head_is_locked() {
                        actions.push(Action::Lock(seat));
                    }
                }
                if psql {
                    for read in 0..READS {
                        if session.reads[read].seq > 0 {
                            if session.reads[read].arm == Arm::No {
                                actions.push(Action::Arm(seat, read));
                            }
                            self.push_fetch(state, seat, read, actions);
                            if self.has(Flaw::SnapshotOfTransaction) && self.refusal(state, seat, read).is_none() {
                                actions.push(Action::TakeSnapshot(seat, read));
                            }
                        }
                    }
                }
            }
            Phase::Judged(_) => {
                if !state.head_is_locked() {
                    actions.push(Action::Lock(seat));
                }
                actions.push(Action::Abandon(seat));
            }
            Phase::Locked { .. } => actions.extend([Action::Append(seat), Action::Abandon(seat)]),
            Phase::Appended { payer, arm, .. } => {
                actions.extend([Action::Commit(seat), Action::Abandon(seat)]);
                if psql {
                    actions.push(Action::CommitToMemory(seat));
                    if self.has(Flaw::ArmedBeforeCommit) && arm == Arm::No && payer != Payer::Refused {
                        actions.push(Action::Arm(seat, 0));
                    }
                } else {
                    actions.push(Action::CommitUnheard(seat));
                }
            }
            Phase::Recorded(read) => actions.extend([Action::Arm(seat, read), Action::Abandon(seat)]),
            Phase::Arming(..) => {
                actions.extend([Action::Commit(seat), Action::Abandon(seat)]);
                if psql {
                    actions.push(Action::CommitToMemory(seat));
                }
            }
            Phase::Armed(read) => {
                self.push_fetch(state, seat, read, actions);
                actions.push(Action::Abandon(seat));
            }
            Phase::Fetched(_) => {
                actions.push(Action::Abandon(seat));
                if self.has(Flaw::ReleasedBeforeSettled) {
                    actions.push(Action::Release(seat));
                }
                if !state.head_is_locked() {
                    actions.push(Action::Settle(seat));
                }
            }
            Phase::Settling { .. } => {
                actions.extend([Action::Commit(seat), Action::CommitUnheard(seat), Action::Abandon(seat)]);
                if self.has(Flaw::ReleasedBeforeCommit) {
                    actions.push(Action::Release(seat));
                }
            }
            Phase::Settled(_) => actions.extend([Action::Release(seat), Action::Abandon(seat)]),
            Phase::Snapshot(read) => actions.extend([Action::Fetch(seat, read), Action::Abandon(seat)]),
        }
    }

    fn push_fetch(&self, state: &State, seat: usize, read: usize, actions: &mut Vec<Action>) {
        if self.refusal(state, seat, read).is_none() {
            actions.push(Action::Fetch(seat, read));
        }
    }

    fn approver_actions(state: &State, actions: &mut Vec<Action>) {
        match state.approver {
            Approver::Idle => {
                if !state.head_is_locked() {
                    if state.approval == Saved::No && state.revocation == Saved::No {
                        actions.push(Action::Approve);
                    }
                    if state.revocation != Saved::No && state.chained == Saved::No {
                        actions.push(Action::Chain);
                    }
                }
            }
            Approver::Approving { .. } | Approver::Chaining => {
                actions.extend([Action::CommitApproval, Action::AbandonApproval]);
            }
        }
        // Whoever holds the lock: it takes none.
        if state.approver == Approver::Idle && state.revocation == Saved::No {
            actions.push(Action::Revoke);
        }
    }

    fn notary_actions(&self, state: &State, notary: usize, actions: &mut Vec<Action>) {
        let step = match state.notaries[notary] {
            Notary::Idle if self.has(Flaw::NotaryTakesNoLock) || !state.checkpoints_are_locked() => {
                // With nothing to sign and nothing to adopt it would come back to where it is.
                let idle = state.head <= state.signed_row && state.copied <= state.signed_row;
                if idle {
                    return;
                }
                Action::LockCheckpoints(notary)
            }
            Notary::Idle | Notary::Stopped => return,
            Notary::Locked => Action::ReadHead(notary),
            Notary::Read { at, .. } if at <= state.flushed || self.has(Flaw::SignedBeforeFlushed) => {
                Action::Sign(notary)
            }
            Notary::Read { .. } => {
                actions.push(Action::NotaryCrash(notary));
                return;
            }
            Notary::Signed { .. } if self.has(Flaw::RowBeforeCopy) => Action::StoreRow(notary),
            Notary::Signed { .. } | Notary::Stored { .. } => Action::Copy(notary),
            Notary::Copied { .. } | Notary::Adopting { .. } => Action::StoreRow(notary),
        };
        actions.extend([step, Action::NotaryCrash(notary)]);
        if self.has(Flaw::CopiesComparedAtStartOnly) {
            actions.push(Action::NotaryDisconnect(notary));
        }
    }
}

impl Model for Vault {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        assert!(self.seats.len() <= SEATS && self.notaries <= NOTARIES);
        vec![State::default()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        (0..self.seats.len()).for_each(|seat| self.session_actions(state, seat, actions));
        Self::approver_actions(state, actions);
        (0..self.notaries).for_each(|notary| self.notary_actions(state, notary, actions));
        actions.extend([Action::Flush, Action::ServerCrash]);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = *state;
        match action {
            Action::JudgeWithoutLock(seat) => next.sessions[seat].phase = Phase::Judged(self.judge(state, seat)),
            Action::Lock(seat) => next.lock(seat),
            Action::Append(seat) => self.append(&mut next, seat),
            Action::Commit(seat) => {
                self.commit(&mut next, seat);
                next.flush();
            }
            Action::CommitToMemory(seat) => self.commit(&mut next, seat),
            Action::CommitUnheard(seat) => {
                self.commit(&mut next, seat);
                next.flush();
                next.sessions[seat].phase = Phase::Idle;
            }
            Action::Abandon(seat) => next.sessions[seat].phase = Phase::Idle,
            Action::Arm(seat, read) => next.arm(seat, read),
            Action::TakeSnapshot(seat, read) => next.sessions[seat].phase = Phase::Snapshot(read),
            Action::Fetch(seat, read) => self.fetch(&mut next, seat, read),
            Action::Settle(seat) => next.settle(seat),
            Action::Release(seat) => next.release(seat),
            Action::Approve => next.approver = Approver::Approving { chains: next.chains() },
            Action::Chain => next.approver = Approver::Chaining,
            Action::CommitApproval => next.commit_approval(),
            Action::AbandonApproval => next.approver = Approver::Idle,
            Action::Revoke => self.revoke(&mut next),
            Action::LockCheckpoints(notary) => next.notaries[notary] = Notary::Locked,
            Action::ReadHead(notary) => self.read_head(&mut next, notary),
            Action::Sign(notary) => next.sign(notary),
            Action::Copy(notary) => next.copy(notary),
            Action::StoreRow(notary) => next.store_row(notary),
            Action::NotaryCrash(notary) => {
                next.notaries[notary] = Notary::Idle;
                next.compared[notary] = false;
            }
            Action::NotaryDisconnect(notary) => next.notaries[notary] = Notary::Idle,
            Action::Flush => next.flush(),
            Action::ServerCrash => next.crash(),
        }
        self.forget_what_is_settled(&mut next);
        let next = next.normalised().sorted(self.alike, self.notaries);
        (next != *state).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }
}
