//! The steps. The first number is that of the process or runner, a second one that of the event.

use super::state::{Change, Page};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    /// The first statement of `hold_keys` takes its snapshot.
    ReadKeys(usize),
    /// It has waited for whoever changes the keys, and locks those that are still in use.
    LockKeys(usize),
    /// The second statement, and the lock on the data key. Refused, the process rolls back and reads the keys anew.
    JudgeKeys(usize),
    /// ON CONFLICT DO NOTHING.
    Insert(usize, usize),
    Commit(usize),
    Acknowledge(usize),
    /// A process ends, or loses its connection, the answer to a commit included; it starts again.
    ProcessCrash(usize),

    Fetch(usize, Page),
    /// `hold_keys`, in one step: what can come between its two is tried by ingestion.
    Hold(usize),
    Update(usize),
    CommitPage(usize),
    RunnerCrash(usize),
    /// `require_token_key`, at the end of a pass: in one step, for the lock on the table of the keys keeps out whoever
    /// could come between.
    RequireKey,
    /// A count finds nothing left: the job is done.
    TellDone,
    TellResealed(usize),

    Count(Change),
    Lock(Change),
    CommitChange,
    AdministratorCrash,
    /// Statements of their own. The first and the last wait until nobody writes to the table.
    AddCheck,
    Validate,
    DropCheck,

    TakeSnapshot,
    DropSnapshot,
    /// `erase` or retention.
    Delete(usize),
}
