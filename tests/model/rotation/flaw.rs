//! Ways to break the protocol, each of which some property has to find.

/// One step done wrongly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Flaw {
    /// `hold_keys` compares what its first statement locked: that waited, and does not see a key inserted meanwhile,
    /// whether it is required by now or not. So would two statements at REPEATABLE READ.
    HoldInOneStatement,
    /// `hold_keys` looks, and locks nothing.
    HoldTakesNoLock,
    /// The pending key is required, and batches that were let through without it are not waited for.
    RequiredWithoutLock,
    /// A scan tells the back-fill done while a batch may still go without the pending key.
    DoneWithoutRequire,
    /// The back-fill is told done when the last page is taken, not when no row is found unfilled.
    DoneWithoutCount,
    /// The CHECK is made while rows are unfilled.
    CheckedBeforeFilled,
    /// The view is replaced while rows are unfilled.
    CutOverBeforeFilled,
    /// The view is replaced once a count has found no row unfilled: there is no CHECK.
    CountedNotChecked,
    /// The view is replaced while a snapshot is left that is older than the last filled row.
    SnapshotsNotAwaited,
    /// The cut-over takes the old key out of use, so that new rows have the new one alone, and may be rolled back.
    OldKeyOutAtCutOver,
    /// The CHECK asks for the slot of the new key alone.
    CheckOfNewSlot,
    /// `finish` takes the old key out of use, then drops the CHECK.
    FinishKeepsCheck,
    /// `finish` empties the old slot, of tokens of keys in use as well, then takes the old key out of use.
    EmptiedBeforeTakenOut,
    /// The next rotation begins while the slot that it fills is not empty.
    AnnouncedBeforeEmptied,
    /// `retire` takes a key that is active, and counts its rows before it waits for who uses it.
    RetiredByCountBeforeLock,
    /// A runner stores without `hold_keys`.
    StoredWithoutHold,
    /// A runner updates its rows whatever became of them since it read them.
    StoredWithoutCompare,
    /// Re-sealing writes every column of the row that it read.
    WholeRowStored,
    /// A batch is acknowledged before its commit.
    AcknowledgedBeforeCommit,
}
