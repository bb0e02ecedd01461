//! What the model remembers: the tables, the view, and where each actor stands.

use super::protocol::Kind;

pub(crate) const TOKEN_KEYS: usize = 3;
pub(crate) const DATA_KEYS: usize = 3;
pub(crate) const EVENTS: usize = 2;
pub(crate) const PROCESSES: usize = 2;
pub(crate) const RUNNERS: usize = 2;

/// Of token keys, by their number.
pub(crate) type TokenKeys = [bool; TOKEN_KEYS];

/// `key_state`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum KeyState {
    /// There is no such row yet.
    #[default]
    Missing,
    Pending,
    Active,
    DecryptOnly,
    Retired,
}

/// A version of a row of `login_events`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Row {
    pub(crate) data_key: usize,
    /// The token key that each slot is filled under.
    pub(crate) slots: [Option<usize>; 2],
}

/// Of a place for an event: another takes it once one has been deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Event {
    /// What is committed.
    pub(crate) row: Option<Row>,
    /// Deleted from the queue.
    pub(crate) acknowledged: bool,
}

/// Where the transaction of an ingestion process stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Batch {
    #[default]
    Idle,
    /// The first statement of `hold_keys` has its snapshot, and with it these pending and active keys.
    Reading(TokenKeys),
    /// That statement returned: these are locked, FOR KEY SHARE.
    Locked(TokenKeys),
    /// `hold_keys` returned 'held'. The data key is locked as well.
    Held(TokenKeys),
    /// The event is inserted, its row locked, and not committed.
    Inserted(TokenKeys, usize),
    /// Committed, and not yet acknowledged.
    Committed(usize),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Process {
    /// The token keys that it has unwrapped.
    pub(crate) tokens: TokenKeys,
    pub(crate) data_key: usize,
    pub(crate) batch: Batch,
}

/// What a runner does to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Work {
    /// The token of this key into its slot.
    Fill(usize),
    /// The slot of this key, which is out of use, is set to NULL.
    Empty(usize),
    Reseal {
        from: usize,
        to: usize,
    },
}

/// What `fetch` gave a runner: a row, and what is to be done to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Page {
    pub(crate) event: usize,
    pub(crate) work: Work,
    /// The row as it was read. Kept where that makes a difference: a flaw.
    pub(crate) read: Option<Row>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Runner {
    #[default]
    Idle,
    Fetched(Page),
    /// In the transaction of `store`, behind what keeps its keys: a new data key, or the token keys.
    Held(Page),
    /// The row is updated, locked, and not committed.
    Updated(Page),
}

/// A transaction of the administrator that waits for others to let go of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Change {
    /// `token-key run`.
    Announce,
    CutOver,
    Rollback,
    /// Takes the token key out of use that the view does not show: once cut over, `token-key finish`; before that, or
    /// once the view is back, the end of `token-key rollback`. Behind DROP of the CHECK.
    TakeOut,
    RetireToken(usize),
    /// `data-key run`, for one key.
    TakeOutData(usize),
    RetireData(usize),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Administrator {
    #[default]
    Idle,
    /// Has counted rows, without the lock: a flaw.
    Counted(Change),
    /// Has the rows of the keys FOR UPDATE.
    Locked(Change),
}

/// `CHECK (both slots filled)` on `login_events`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Check {
    #[default]
    No,
    /// Binds every new version of a row.
    NotValid,
    /// All rows were found to pass.
    Valid,
}

/// The durable row of the rotation of the token key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Job {
    #[default]
    No,
    Filling,
    Filled,
    Emptying,
    Emptied,
}

/// A transaction that has taken its snapshot, and has not read the view yet: no lock of it is in anybody's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Snapshot {
    pub(crate) slots: [Option<[Option<usize>; 2]>; EVENTS],
    /// Taken before VALIDATE was through.
    pub(crate) older: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) token_keys: [KeyState; TOKEN_KEYS],
    /// That each token key fills.
    pub(crate) slots: [usize; TOKEN_KEYS],
    pub(crate) data_keys: [KeyState; DATA_KEYS],
    pub(crate) events: [Event; EVENTS],
    pub(crate) check: Check,
    /// The slot that the view shows.
    pub(crate) view: usize,
    pub(crate) job: Job,
    /// Of that job: the old token key, and the new one.
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// Of the new token key, while it is pending: a batch may go without it.
    pub(crate) optional: bool,
    /// Which data keys a job said to be done with.
    pub(crate) resealed: [bool; DATA_KEYS],

    pub(crate) processes: [Process; PROCESSES],
    pub(crate) runners: [Runner; RUNNERS],
    pub(crate) administrator: Administrator,
    pub(crate) reader: Option<Snapshot>,

    /// The CHECK refused an insert or an update.
    pub(crate) stopped: bool,
    /// A runner has counted a row that another had done.
    pub(crate) counted_twice: bool,
}

impl State {
    /// Those that are pending or active: a batch may have these.
    pub(crate) fn tokens_in_use(&self) -> TokenKeys {
        self.token_keys.map(|state| matches!(state, KeyState::Pending | KeyState::Active))
    }

    /// Without which `hold_keys` lets no batch through.
    pub(crate) fn tokens_required(&self) -> TokenKeys {
        let mut required = self.tokens_in_use();
        required[self.to] &= !(self.optional && self.token_keys[self.to] == KeyState::Pending);
        required
    }

    /// The token key that is in use and not shown, or was until it was taken out.
    pub(crate) fn hidden_token(&self) -> usize {
        if self.token_keys[self.to] == KeyState::Active { self.from } else { self.to }
    }

    pub(crate) fn is_filled(&self, row: &Row, token_key: usize) -> bool {
        row.slots[self.slots[token_key]].is_some()
    }

    pub(crate) fn is_under(&self, row: &Row, token_key: usize) -> bool {
        row.slots[self.slots[token_key]] == Some(token_key)
    }

    /// What an ingestion process makes when it needs a data key. One is enough for all.
    pub(crate) fn fresh_data(&self) -> usize {
        self.data_keys.iter().position(|state| *state == KeyState::Active).unwrap_or_default()
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.events.iter().filter_map(|event| event.row.as_ref())
    }

    /// Whether somebody has inserted or updated a row, and not committed: such a transaction holds ROW EXCLUSIVE.
    pub(crate) fn table_is_written(&self) -> bool {
        (0..EVENTS).any(|event| self.row_is_locked(event))
    }

    pub(crate) fn row_is_locked(&self, event: usize) -> bool {
        self.processes.iter().any(|process| matches!(process.batch, Batch::Inserted(_, of) if of == event))
            || self.runners.iter().any(|runner| matches!(runner, Runner::Updated(page) if page.event == event))
    }

    /// Of what nothing tells apart, the lesser first.
    pub(crate) fn sorted(mut self, processes: usize, runners: &[Kind]) -> Self {
        self.processes[..processes].sort_unstable();
        if runners.windows(2).all(|pair| pair[0] == pair[1]) {
            self.runners[..runners.len()].sort_unstable();
        }
        self
    }
}
