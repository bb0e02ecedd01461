//! What PostgreSQL does: the functions of the migrations, commits, the disk, and a crash.

use super::flaw::Flaw;
use super::protocol::{Client, Officer, Vault};
use super::state::{Approver, Arm, Notary, Payer, Phase, Read, Saved, State};

impl Vault {
    /// `judge_unmask`, by what is committed at this moment.
    pub(crate) fn judge(&self, state: &State, seat: usize) -> Payer {
        let officer = self.officer(seat);
        let fits = |payer, most| self.charged(state, officer, payer) < most;
        if officer == Officer::Ada {
            let approved = state.approval != Saved::No || self.has(Flaw::GrantedWhilePending);
            let granted = approved && state.revocation == Saved::No;
            if granted && fits(Payer::Grant, self.grant) {
                return Payer::Grant;
            }
            // `closed_case`: what an approver took back is not opened alone either.
            if state.revocation != Saved::No {
                return Payer::Refused;
            }
        }
        if fits(Payer::Alone, self.alone) { Payer::Alone } else { Payer::Refused }
    }

    /// `record_unmask` behind its lock.
    pub(crate) fn append(&self, state: &mut State, seat: usize) {
        if let Phase::Locked { chains, judged } = state.sessions[seat].phase {
            let payer = judged.unwrap_or_else(|| self.judge(state, seat));
            state.sessions[seat].phase = Phase::Appended { chains, payer, arm: Arm::No };
        }
    }

    /// Makes visible what the transaction of the session did.
    pub(crate) fn commit(&self, state: &mut State, seat: usize) {
        let program = self.client(seat) == Client::Program;
        let phase = state.sessions[seat].phase;
        let mut next = Phase::Idle;
        match phase {
            Phase::Appended { chains, payer, arm } => {
                let behind_revocation = chains || state.chained != Saved::No;
                state.add_entries(chains);
                let free = state.sessions[seat].reads.iter().position(|read| read.seq == 0);
                if let (Payer::Grant | Payer::Alone, Some(free)) = (payer, free) {
                    let seq = state.head;
                    state.sessions[seat].reads[free] = Read { seq, payer, arm, ..Read::default() };
                    state.seen.read_after_revocation |= behind_revocation && self.officer(seat) == Officer::Ada;
                    if program {
                        next = Phase::Recorded(free);
                    }
                }
            }
            Phase::Arming(read, arm) => {
                state.sessions[seat].reads[read].arm = arm;
                if program {
                    next = Phase::Armed(read);
                }
            }
            Phase::Settling { read, chains } => {
                state.add_entries(chains);
                state.sessions[seat].reads[read].outcome = Saved::Visible;
                next = Phase::Settled(read);
            }
            _ => next = phase,
        }
        state.sessions[seat].phase = next;
    }

    /// `own_receipt` and `fetch_refusal`: why nothing is handed out at this moment.
    pub(crate) fn refusal(&self, state: &State, seat: usize, read: usize) -> Option<&'static str> {
        let Read { seq, arm, .. } = state.sessions[seat].reads[read];
        let revoked = self.officer(seat) == Officer::Ada && state.revocation != Saved::No;
        if seq == 0 {
            Some("not committed")
        } else if arm == Arm::No {
            Some("not_armed")
        } else if arm < Arm::Reached && !self.has(Flaw::FetchIgnoresFlush) {
            Some("not_durable")
        } else if revoked && !self.has(Flaw::RevocationCheckedAtRecordOnly) {
            Some("revoked")
        } else if self.required && seq > state.signed_row && !self.has(Flaw::FetchIgnoresCheckpoint) {
            Some("no_checkpoint")
        } else {
            None
        }
    }

    /// `fetch_unmask`, which begins and judges in one: nothing that commits in between can matter to what is promised.
    pub(crate) fn fetch(&self, state: &mut State, seat: usize, read: usize) {
        state.seen.fetch_after_revocation |= self.officer(seat) == Officer::Ada && state.seen.revocation_confirmed;
        let session = &mut state.sessions[seat];
        session.reads[read].handed_out = true;
        session.phase = if self.client(seat) == Client::Program { Phase::Fetched(read) } else { Phase::Idle };
    }

    /// `revoke_access`, and its commit: in force whoever holds up the log.
    pub(crate) fn revoke(&self, state: &mut State) {
        state.revocation = Saved::Visible;
        state.seen.revocation_confirmed = true;
        if !self.has(Flaw::RevocationNotFlushed) {
            state.flush();
        }
    }
}

impl State {
    /// Whether who takes the lock now has a revocation to add to the log first.
    pub(crate) fn chains(&self) -> bool {
        self.revocation != Saved::No && self.chained == Saved::No
    }

    /// `audit_lock`.
    pub(crate) fn lock(&mut self, seat: usize) {
        let judged = match self.sessions[seat].phase {
            Phase::Judged(payer) => Some(payer),
            _ => None,
        };
        self.sessions[seat].phase = Phase::Locked { chains: self.chains(), judged };
    }

    /// `arm_receipt`. In the transaction that records, where a flaw lets it.
    pub(crate) fn arm(&mut self, seat: usize, read: usize) {
        self.sessions[seat].phase = match self.sessions[seat].phase {
            Phase::Appended { chains, payer, .. } => Phase::Appended { chains, payer, arm: Arm::Noted },
            _ => Phase::Arming(read, Arm::Noted),
        };
    }

    /// `settle_unmask`, lock and all.
    pub(crate) fn settle(&mut self, seat: usize) {
        if let Phase::Fetched(read) = self.sessions[seat].phase {
            self.sessions[seat].phase = Phase::Settling { read, chains: self.chains() };
        }
    }

    /// Plaintext leaves.
    pub(crate) fn release(&mut self, seat: usize) {
        let session = &mut self.sessions[seat];
        if let Phase::Fetched(read) | Phase::Settling { read, .. } | Phase::Settled(read) = session.phase {
            session.reads[read].released = true;
            session.phase = Phase::Idle;
        }
    }

    pub(crate) fn commit_approval(&mut self) {
        match self.approver {
            Approver::Approving { chains } => {
                self.add_entries(chains);
                self.approval = Saved::Visible;
            }
            Approver::Chaining => {
                self.head += 1;
                self.chained = Saved::Visible;
            }
            Approver::Idle => {}
        }
        self.approver = Approver::Idle;
        self.flush();
    }

    /// The revocation where it is due, and one entry more.
    fn add_entries(&mut self, chains: bool) {
        if chains {
            self.chained = Saved::Visible;
            self.head += 1;
        }
        self.head += 1;
    }

    /// All that is committed reaches the disk, and with it every position that was noted.
    pub(crate) fn flush(&mut self) {
        self.flushed = self.head;
        for saved in [&mut self.approval, &mut self.revocation, &mut self.chained] {
            saved.write();
        }
        for session in &mut self.sessions {
            for read in &mut session.reads {
                read.outcome.write();
                if read.arm != Arm::No {
                    read.arm = Arm::OnDisk;
                }
            }
            if let Phase::Appended { arm, .. } | Phase::Arming(_, arm) = &mut session.phase
                && *arm == Arm::Noted
            {
                *arm = Arm::Reached;
            }
        }
    }

    /// The server loses what is not on disk, and everybody their connection. Who needs no server any more goes on.
    pub(crate) fn crash(&mut self) {
        for saved in [&mut self.approval, &mut self.revocation, &mut self.chained] {
            saved.crash();
        }
        for session in &mut self.sessions {
            for read in &mut session.reads {
                if read.seq > self.flushed {
                    *read = Read::default();
                }
                read.outcome.crash();
                if read.arm != Arm::OnDisk {
                    read.arm = Arm::No;
                }
            }
            if !matches!(session.phase, Phase::Settled(_)) {
                session.phase = Phase::Idle;
            }
        }
        self.approver = Approver::Idle;
        if self.signed > self.flushed {
            self.lost = if self.lost == 0 { self.signed } else { self.lost.min(self.signed) };
            self.signed = 0;
        }
        self.head = self.flushed;
        for notary in &mut self.notaries {
            if *notary != Notary::Stopped {
                *notary = Notary::Idle;
            }
        }
    }
}

impl Saved {
    fn write(&mut self) {
        if *self == Saved::Visible {
            *self = Saved::OnDisk;
        }
    }

    fn crash(&mut self) {
        if *self == Saved::Visible {
            *self = Saved::No;
        }
    }
}
