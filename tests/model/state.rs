//! What the model remembers: the database, the disk, the world outside, and where each actor stands.
//!
//! A place in the log is a small number. Only its order against the marks ([`State::flushed`], [`State::signed_row`], …)
//! can ever be asked for, so [`State::normalised`] renumbers the places to the marks that there are. That makes the log
//! endless and the states finite: reads that were refused, and outcomes, leave nothing to count.

pub(crate) const SEATS: usize = 4;
pub(crate) const READS: usize = 2;
pub(crate) const NOTARIES: usize = 2;

/// What a crash of the server leaves of something that was committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Saved {
    #[default]
    No,
    /// Committed with `synchronous_commit` off, seen by all, and lost by a crash.
    Visible,
    OnDisk,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Payer {
    #[default]
    Refused,
    Grant,
    Alone,
}

/// Of a receipt: `armed_at_lsn`, and whether the disk has got there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Arm {
    #[default]
    No,
    Noted,
    /// The position is on disk; the note of it is not.
    Reached,
    OnDisk,
}

/// An allowed receipt. A refused one hands out nothing, so its row of the log is all there is to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Read {
    /// Its place in the log; 0: there is none.
    pub(crate) seq: u8,
    pub(crate) payer: Payer,
    pub(crate) arm: Arm,
    pub(crate) outcome: Saved,
    pub(crate) handed_out: bool,
    pub(crate) released: bool,
}

/// Where a session of an officer stands. The number is that of the read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Phase {
    #[default]
    Idle,
    /// Has read the quota, without the lock: a flaw.
    Judged(Payer),
    /// `audit_lock` returned. `chains`: this transaction has added the revocation to the log.
    Locked {
        chains: bool,
        judged: Option<Payer>,
    },
    /// `record_unmask` returned.
    Appended {
        chains: bool,
        payer: Payer,
        arm: Arm,
    },
    Recorded(usize),
    Arming(usize, Arm),
    Armed(usize),
    /// Rows and keys are in the hands of the program.
    Fetched(usize),
    /// `settle_unmask` returned.
    Settling {
        read: usize,
        chains: bool,
    },
    Settled(usize),
    /// In a transaction whose snapshot is older than a revocation: a flaw.
    Snapshot(usize),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Session {
    pub(crate) phase: Phase,
    pub(crate) reads: [Read; READS],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Approver {
    #[default]
    Idle,
    /// `decide_access` returned.
    Approving { chains: bool },
    /// `chain_revocations` returned.
    Chaining,
}

/// `at`: the head that is to be signed; `after`: that of the checkpoint before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Notary {
    #[default]
    Idle,
    Locked,
    /// Has recomputed the chain, and waits for the disk to get to where the log stood.
    Read {
        at: u8,
        after: u8,
    },
    Signed {
        at: u8,
        after: u8,
    },
    Copied {
        at: u8,
    },
    /// Has stored the row before the copies: a flaw.
    Stored {
        at: u8,
        after: u8,
    },
    /// Found a copy of which the log holds the head and no row.
    Adopting {
        at: u8,
    },
    /// Found a copy that the log does not bear out: exit 4.
    Stopped,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) sessions: [Session; SEATS],
    pub(crate) approver: Approver,
    pub(crate) notaries: [Notary; NOTARIES],
    /// Whether each has compared the copies with the log since it started. Kept where that makes a difference: a flaw.
    pub(crate) compared: [bool; NOTARIES],

    pub(crate) approval: Saved,
    pub(crate) revocation: Saved,
    /// The revocation's entry in the log.
    pub(crate) chained: Saved,

    /// Marks, from here on. The last entry of the log.
    pub(crate) head: u8,
    /// The last entry of the log that is on disk.
    pub(crate) flushed: u8,
    /// The last row of `checkpoints`.
    pub(crate) signed_row: u8,
    /// The newest copy outside.
    pub(crate) copied: u8,
    /// The newest head that was signed, while a crash could still take it back.
    pub(crate) signed: u8,
    /// A head that was signed and then lost.
    pub(crate) lost: u8,

    /// What can no longer be told from the rest.
    pub(crate) seen: Seen,
}

/// What has happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Seen {
    /// The approver has been told that her revocation is committed.
    pub(crate) revocation_confirmed: bool,
    /// After that a fetch handed out a row.
    pub(crate) fetch_after_revocation: bool,
    /// The log has an allowed read behind a revocation.
    pub(crate) read_after_revocation: bool,
    /// A head was signed behind one that was signed and lost.
    pub(crate) two_heads: bool,
    /// A copy went outside that does not follow from the copy before it.
    pub(crate) forked: bool,
}

impl State {
    /// Who appends holds the lock on the head until she commits.
    pub(crate) fn head_is_locked(&self) -> bool {
        self.approver != Approver::Idle
            || self.sessions.iter().any(|session| {
                matches!(session.phase, Phase::Locked { .. } | Phase::Appended { .. } | Phase::Settling { .. })
            })
    }

    pub(crate) fn checkpoints_are_locked(&self) -> bool {
        !self.notaries.iter().all(|notary| matches!(notary, Notary::Idle | Notary::Stopped))
    }

    /// The same state with places renumbered: each entry goes to the first mark that is not before it.
    pub(crate) fn normalised(mut self) -> Self {
        if self.signed <= self.flushed {
            self.signed = 0;
        }
        let mut marks = [0; 6 + 2 * NOTARIES];
        let mut count = 0;
        self.each_mark(&mut |mark| {
            marks[count] = *mark;
            count += 1;
        });
        marks[..count].sort_unstable();
        // Where each place goes, by a table: there are few.
        let mut rank = [0_u8; 32];
        let (mut place, mut next) = (1, 0);
        for &mark in &marks[..count] {
            if usize::from(mark) >= place {
                next += 1;
                rank[place..=usize::from(mark)].fill(next);
                place = usize::from(mark) + 1;
            }
        }
        self.each_mark(&mut |mark| *mark = rank[usize::from(*mark)]);
        for read in self.sessions.iter_mut().flat_map(|session| &mut session.reads) {
            read.seq = rank[usize::from(read.seq)];
        }
        self
    }

    fn each_mark(&mut self, visit: &mut impl FnMut(&mut u8)) {
        for mark in [
            &mut self.head,
            &mut self.flushed,
            &mut self.signed_row,
            &mut self.copied,
            &mut self.signed,
            &mut self.lost,
        ] {
            visit(mark);
        }
        for notary in &mut self.notaries {
            match notary {
                Notary::Read { at, after } | Notary::Signed { at, after } | Notary::Stored { at, after } => {
                    visit(at);
                    visit(after);
                }
                Notary::Copied { at } | Notary::Adopting { at } => visit(at),
                Notary::Idle | Notary::Locked | Notary::Stopped => {}
            }
        }
    }

    /// Of sessions that nothing tells apart, the lesser first; likewise of the reads of one, and of notaries.
    pub(crate) fn sorted(mut self, alike: &[usize], notaries: usize) -> Self {
        for session in &mut self.sessions {
            if session.reads[1].seq > 0 && (session.reads[0].seq == 0 || session.reads[0] > session.reads[1]) {
                session.reads.swap(0, 1);
                session.phase = session.phase.with_reads_swapped();
            }
        }
        for pair in alike.windows(2) {
            if self.sessions[pair[0]] > self.sessions[pair[1]] {
                self.sessions.swap(pair[0], pair[1]);
            }
        }
        if notaries == 2 && (self.notaries[0], self.compared[0]) > (self.notaries[1], self.compared[1]) {
            self.notaries.swap(0, 1);
            self.compared.swap(0, 1);
        }
        self
    }
}

impl Phase {
    fn with_reads_swapped(self) -> Self {
        let other = |read: usize| READS - 1 - read;
        match self {
            Phase::Recorded(read) => Phase::Recorded(other(read)),
            Phase::Arming(read, arm) => Phase::Arming(other(read), arm),
            Phase::Armed(read) => Phase::Armed(other(read)),
            Phase::Fetched(read) => Phase::Fetched(other(read)),
            Phase::Settling { read, chains } => Phase::Settling { read: other(read), chains },
            Phase::Settled(read) => Phase::Settled(other(read)),
            Phase::Snapshot(read) => Phase::Snapshot(other(read)),
            Phase::Idle | Phase::Judged(_) | Phase::Locked { .. } | Phase::Appended { .. } => self,
        }
    }
}
