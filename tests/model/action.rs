//! The steps. A number is that of the seat or notary, a second one that of the read.

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    JudgeWithoutLock(usize),
    Lock(usize),
    Append(usize),
    Commit(usize),
    CommitToMemory(usize),
    /// The connection is lost after the server has committed, and before the client hears of it.
    CommitUnheard(usize),
    /// ROLLBACK, a crash of the client, or a connection that is lost before the commit.
    Abandon(usize),
    Arm(usize, usize),
    TakeSnapshot(usize, usize),
    Fetch(usize, usize),
    Settle(usize),
    Release(usize),

    Approve,
    Chain,
    CommitApproval,
    AbandonApproval,
    Revoke,

    LockCheckpoints(usize),
    ReadHead(usize),
    Sign(usize),
    Copy(usize),
    StoreRow(usize),
    /// The process ends, or loses its connection; it starts, or connects, again.
    NotaryCrash(usize),
    NotaryDisconnect(usize),

    /// The server writes its log to disk, as it does at any time.
    Flush,
    ServerCrash,
}
