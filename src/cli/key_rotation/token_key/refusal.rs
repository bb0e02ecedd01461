//! Why nothing is done about the token key, and what would help.

use time::Date;
use uuid::Uuid;

use crate::cli::config::usage;
use crate::cli::exit::ExitStatus;
use crate::cli::output::OutputFormat;
use crate::cli::refusal::{Refused, RefusedRow};
use crate::db::rotation::Job;
use crate::db::rotation::token_key::TokenRefusal;
use crate::db::rotation::token_key::cut_over::Unfilled;
use crate::domain::{RotationFailure, RotationStep};
use crate::key_rotation::token_key::{CutOverError, Refusal};

/// Tells a refusal and returns its exit status; other errors go on.
pub(super) fn not_done(error: CutOverError, format: OutputFormat) -> anyhow::Result<ExitStatus> {
    let refusal = match error {
        CutOverError::Refused(refusal) => refusal,
        CutOverError::NoReason => return usage("to roll back, say why: --reason TEXT"),
        other => return Err(anyhow::Error::new(other).context("what is done stays done, run it again to go on")),
    };
    let status = match refusal {
        Refusal::Mismatched(_) | Refusal::Groups | Refusal::Keys(_) => ExitStatus::IntegrityBroken,
        _ => ExitStatus::Refused,
    };
    Refused::from(refusal).tell(format)?;
    Ok(status)
}

/// Of a rotation whose rows are filled, and that is not done.
pub(super) fn to_be_ended(job: &Job) -> Refused {
    let next = match job.step {
        RotationStep::Emptying if job.rolled_back => {
            "pii-vault key-rotation token-key rollback empties what is left of it"
        }
        RotationStep::Emptying => "pii-vault key-rotation token-key finish empties what is left of its slot",
        _ => "pii-vault key-rotation token-key finish gives the old key up; rollback gives the new one up",
    };
    Refused::new("unfinished_rotation", "another rotation of the token key is not done", next)
}

impl From<TokenRefusal> for Refused {
    fn from(refusal: TokenRefusal) -> Self {
        const STATUS: &str = "pii-vault key-rotation status shows how far it is";
        let (refused, because, next) = match refusal {
            TokenRefusal::Unfinished => {
                ("unfinished_rotation", "another rotation of the token key is not done", STATUS)
            }
            TokenRefusal::SlotInUse => (
                "slot_in_use",
                "rows have tokens in the slot of the next key, and no rotation that is under way put them there",
                "pii-vault key-rotation token-key verify counts them; find out who wrote them. Then, as pii_vault_owner, \
                 set ip_token_x, device_id_token_x and token_key_x of that slot, a or b, to NULL in those rows",
            ),
            TokenRefusal::KeysHeld => (
                "keys_are_held",
                "a transaction has held the token keys for some seconds",
                "try again; pii-vault doctor names who holds them",
            ),
            TokenRefusal::OtherKey => (
                "not_the_active_key",
                "the key that is named is not the one in use",
                "pii-vault key-rotation token-key run without --key leaves the one in use; retire ends others",
            ),
            TokenRefusal::Over => {
                ("rotation_over", "somebody has finished the rotation meanwhile, or rolled it back", STATUS)
            }
            TokenRefusal::NotFilled => (
                "not_filled",
                "no rotation of the token key has filled its rows",
                "pii-vault key-rotation token-key run fills them; key-rotation status shows how far it is",
            ),
        };
        Self::new(refused, because, next)
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        const RUN: &str = "pii-vault key-rotation token-key run fills them";
        let (refused, because, next) = match &refusal {
            Refusal::NoJob => (
                "no_rotation",
                "no rotation of the token key is under way".to_owned(),
                "pii-vault key-rotation token-key run begins one; key-rotation status shows those that are over",
            ),
            Refusal::Step { step, rolled_back } => elsewhere(*step, *rolled_back),
            Refusal::View => (
                "view",
                "this login may not replace the view public.user_logins".to_owned(),
                "GRANT CREATE ON SCHEMA public and pii_vault_owner to it, or use the login that ran pii-vault init",
            ),
            Refusal::Unfilled(lacking) => {
                ("not_filled", format!("{} rows lack tokens of the new key, and were not tried", lacking.rows), RUN)
            }
            Refusal::SetAside(lacking) => (
                "set_aside",
                format!("{} rows do not open, and have no tokens of the new key", lacking.rows),
                "mend them and run with --retry; or give them tokens that keep them in their groups of duplicates, by \
                 --accept-unopened; or roll the rotation back",
            ),
            Refusal::Unopened(rows) => (
                "unopened",
                format!("{rows} rows do not open, and have tokens that stand in"),
                "--accept-unopened, as before; or roll the rotation back",
            ),
            Refusal::Mismatched(rows) => (
                "token_mismatch",
                format!(
                    "{rows} rows have old tokens that are not those of their values, or none: they were tampered with"
                ),
                "find out who changed them: key-rotation status lists them, or token-key verify; what they show from here on is right, so \
                 --accept-mismatches goes on",
            ),
            Refusal::Keys(rows) => (
                "keys_differ",
                format!(
                    "{rows} rows name a token key that is neither of the two, or lack new tokens, and no run listed them"
                ),
                "pii-vault key-rotation token-key verify lists them; find out who changed them. Then roll the rotation \
                 back, and begin another, which lists them",
            ),
            Refusal::Groups => (
                "groups_differ",
                "equal values have unequal tokens under one of the keys, or unequal ones equal".to_owned(),
                "pii-vault key-rotation token-key verify lists the rows; roll the rotation back, and begin another",
            ),
            Refusal::Changed(change) => (
                change.name(),
                "somebody changed by hand what the rotation relies on: the job, the keys, the view or an index"
                    .to_owned(),
                "pii-vault key-rotation status; pii-vault doctor",
            ),
        };
        let rows = match &refusal {
            Refusal::Unfilled(lacking) | Refusal::SetAside(lacking) => named(lacking),
            _ => Vec::new(),
        };
        Self::new(refused, because, next).naming(rows)
    }
}

fn named(lacking: &Unfilled) -> Vec<RefusedRow> {
    let row = |((day, id), why): &((Date, Uuid), Option<RotationFailure>)| RefusedRow {
        create_date: day.to_string(),
        event_id: id.to_string(),
        why: why.map_or("not_tried", RotationFailure::name),
    };
    lacking.first.iter().map(row).collect()
}

fn elsewhere(step: RotationStep, rolled_back: bool) -> (&'static str, String, &'static str) {
    match step {
        RotationStep::Work => (
            "not_filled",
            "rows lack tokens of the new key still".to_owned(),
            "pii-vault key-rotation token-key run fills them; rollback gives the new key up",
        ),
        RotationStep::Filled => (
            "not_cut_over",
            "analysts see the old tokens still".to_owned(),
            "pii-vault key-rotation token-key cut-over shows the new ones; rollback gives the new key up",
        ),
        RotationStep::Emptying if rolled_back => (
            "rolled_back",
            "the rotation was rolled back".to_owned(),
            "pii-vault key-rotation token-key rollback empties what is left of it",
        ),
        RotationStep::CutOver | RotationStep::Emptying | RotationStep::Done | RotationStep::Abandoned => (
            "finished",
            "the old key was given up already".to_owned(),
            "pii-vault key-rotation token-key finish empties what is left of its slot",
        ),
    }
}
