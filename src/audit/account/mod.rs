//! `audit report`: what the log says of a case or a month, told to who has to judge it.
//!
//! The log is verified first, and then told as it was at that same moment. Guaranteed: what was opened is counted from
//! what was committed before it was shown. Not guaranteed: that somebody looked at it.

mod counts;
mod rotations;
mod signed;
mod story;
mod timeline;

use time::Date;

use super::error::VerifyError;
use super::evidence::Trusted;
use super::report::Report;
use crate::crypto::checkpoint::CheckpointKey;
use crate::db::audit_log::{self, Filter};
use crate::db::{Connection, DbError};
use crate::domain::audit::{Action, UnixMicros};
use crate::domain::{Month, VaultId};

pub use counts::{Counts, Tally};
pub use rotations::Rotated;
pub use signed::{Signatures, Signed};
pub use timeline::{Event, Outcome, so_many, what};

use story::Story;

/// What is told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of a case, whenever.
    Case(String),
    /// What was recorded in a month of UTC days.
    Month(Month),
}

/// What the log says of it.
#[derive(Clone, Debug)]
pub struct Account {
    /// The vault.
    pub vault: VaultId,
    /// Of what.
    pub scope: Scope,
    /// Whether the log can be believed: of all of it, not of the scope alone.
    pub verified: Report,
    /// How far it is signed.
    pub signed: Signed,
    /// All of the scope.
    pub total: Counts,
    /// By who did it.
    pub by_actor: Tally<String>,
    /// By case; `None`: what was for none.
    pub by_case: Tally<Option<String>>,
    /// By UTC day.
    pub by_day: Tally<Date>,
    /// Rotations of keys, as they were begun or gone on with.
    pub rotations: Vec<Rotated>,
    /// What was done, in the order of the log; [`TOLD`] at most.
    pub timeline: Vec<Event>,
    /// How many more there are.
    pub untold: u64,
}

/// Events of a timeline. What comes after is counted, and `audit list` has it.
pub const TOLD: usize = 5000;

/// Entries in memory at a time.
const PAGE: u16 = 2000;

/// What was allowed before the month began may have been opened in it.
const BEFORE: i64 = 86_400;

/// Verifies the log and tells of `scope`. `key` verifies the signatures of checkpoints. `tell` hears how many entries
/// are verified, of how many.
///
/// # Errors
/// [`VerifyError`]. What is wrong with the log is no error, but in the account.
pub async fn account(
    conn: &mut Connection,
    scope: Scope,
    key: Option<&CheckpointKey>,
    tell: impl Fn(i64, i64),
) -> Result<Account, VerifyError> {
    let trusted = Trusted { public_key: key.cloned(), ..Trusted::default() };
    let verified = super::verify(conn, trusted, tell).await?;
    let (filter, since) = match &scope {
        Scope::Case(case) => (Filter { cases: vec![case.clone()], ..Filter::default() }, None),
        Scope::Month(month) => {
            let since = begin(month.first_day());
            let until = month.next().map(|next| begin(next.first_day()));
            (Filter { since: Some(since.plus_seconds(-BEFORE)), until, ..Filter::default() }, Some(since))
        }
    };
    let mut story = Story::since(since);
    read(conn, &filter, &mut story).await?;
    if let Scope::Case(_) = scope {
        // Policy is for all cases: what was set while this one was open, and what held when it began.
        let mut policies = Story::since(None);
        read(conn, &Filter { actions: vec![Action::Policy], ..Filter::default() }, &mut policies).await?;
        story.lay_under(policies);
    }
    let signed = signed::signed(conn, verified.vault, verified.head.seq, key).await?;
    Ok(story.end(scope, verified, signed))
}

async fn read(conn: &mut Connection, filter: &Filter, story: &mut Story) -> Result<(), DbError> {
    let mut after = 0;
    loop {
        let entries = audit_log::page(conn, filter, after, PAGE).await?;
        let Some(last) = entries.last() else { return Ok(()) };
        after = last.seq;
        entries.into_iter().for_each(|entry| story.entry(entry));
    }
}

fn begin(day: Date) -> UnixMicros {
    UnixMicros::from(day.midnight().assume_utc())
}
