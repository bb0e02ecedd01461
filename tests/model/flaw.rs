//! Ways to break the protocol, each of which some property has to find.

/// One step done wrongly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Flaw {
    /// `arm_receipt` takes a receipt of its own transaction.
    ArmedBeforeCommit,
    /// `fetch_unmask` does not ask where the disk stands.
    FetchIgnoresFlush,
    /// `fetch_unmask` does not ask for a checkpoint.
    FetchIgnoresCheckpoint,
    /// `record_unmask` counts the quota, then takes the lock.
    QuotaJudgedBeforeLock,
    /// `record_unmask` lets a grant pay that nobody has approved yet.
    GrantedWhilePending,
    /// `fetch_unmask` relies on what `record_unmask` found.
    RevocationCheckedAtRecordOnly,
    /// `fetch_unmask` reads by the snapshot of a transaction: REPEATABLE READ.
    SnapshotOfTransaction,
    /// The approver is told that her revocation is committed before it is on disk.
    RevocationNotFlushed,
    /// The program shows what it opened, then commits the outcome.
    ReleasedBeforeSettled,
    /// The program shows what it opened once the outcome is recorded, and does not wait for the commit.
    ReleasedBeforeCommit,
    /// Two notaries read, sign and store at the same time.
    NotaryTakesNoLock,
    /// The notary signs a head that a crash can still take back.
    SignedBeforeFlushed,
    /// The notary commits its row, then writes the copies.
    RowBeforeCopy,
    /// The notary looks at the copies when it starts, and not when it takes the lock.
    CopiesComparedAtStartOnly,
}
