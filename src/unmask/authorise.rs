use uuid::Uuid;

use super::error::{UnmaskError, may_pass};
use super::report::Report;
use crate::db::Pool;
use crate::db::receipts::{self, UnmaskRequest};
use crate::domain::{AccessRefusal, Field, VaultId};
use crate::patience::Patience;

/// A receipt that is recorded, committed, allowed and armed.
pub(super) struct Receipt {
    id: Uuid,
    vault: VaultId,
    seq: i64,
    rows: i32,
    fields: Vec<Field>,
}

/// What was decided.
pub(super) enum Authorised {
    Receipt(Receipt),
    DryRun,
    Refused(AccessRefusal),
}

impl Receipt {
    pub(super) fn id(&self) -> Uuid {
        self.id
    }

    pub(super) fn vault(&self) -> VaultId {
        self.vault
    }

    /// Its entry of the audit log.
    pub(super) fn seq(&self) -> i64 {
        self.seq
    }

    /// Rows of its list: their ordinals are 1 to this.
    pub(super) fn rows(&self) -> i32 {
        self.rows
    }

    /// The fields that were asked for, each once, in column order.
    pub(super) fn fields(&self) -> &[Field] {
        &self.fields
    }
}

/// Records what is to be opened, and arms what was allowed.
pub(super) async fn authorise(
    pool: &Pool,
    patience: Patience,
    request: &UnmaskRequest,
    report: &mut Report,
) -> Result<Authorised, UnmaskError> {
    // Once and no more: a record whose answer was lost may stand, and another would be charged as well.
    let id = receipts::record_unmask(&mut *pool.get().await?, request).await?;
    report.recorded(id);
    let arm = || async { receipts::arm_receipt(&mut *pool.get().await?, id).await };
    let decision = patience.wait_out(may_pass, || (), arm).await?;
    report.decided(&decision);
    Ok(match decision.refusal {
        Some(refusal) => Authorised::Refused(refusal),
        None if request.dry_run => Authorised::DryRun,
        None => {
            let fields = Field::ALL.into_iter().filter(|field| request.fields.contains(field)).collect();
            Authorised::Receipt(Receipt { id, vault: decision.vault, seq: decision.seq, rows: decision.rows, fields })
        }
    })
}
