//! What must always hold, and what must be reached so that this means something.

use stateright::Property;

use super::protocol::{Officer, Vault};
use super::state::{Arm, Notary, Payer, Phase, READS, Read, Saved, State};

pub(crate) const RECORDED: &str = "what is handed out is on record, on disk";
pub(crate) const OUTCOME: &str = "what is released has an outcome, on disk";
pub(crate) const OUTSIDE: &str = "what is handed out is covered by a copy outside";
pub(crate) const QUOTA: &str = "no quota is overspent";
pub(crate) const APPROVED: &str = "a read that a grant pays for has its approval before it";
pub(crate) const REVOKED: &str = "no fetch after a confirmed revocation hands out a row";
pub(crate) const REPLAY: &str = "the log allows no read behind a revocation";
pub(crate) const ONE_HEAD: &str = "no second head is signed for an entry";
pub(crate) const ONE_CHAIN: &str = "the copies outside are one chain";
pub(crate) const GOES_ON: &str = "crashes alone stop no notary";

type Rule = Property<Vault>;

pub(crate) fn all() -> Vec<Rule> {
    vec![
        Rule::always(RECORDED, |_, state| handed_out(state).all(|read| (1..=state.flushed).contains(&read.seq))),
        Rule::always(OUTCOME, |_, state| reads(state).all(|read| !read.released || read.outcome == Saved::OnDisk)),
        Rule::always(OUTSIDE, |vault, state| !vault.required || handed_out(state).all(|read| read.seq <= state.copied)),
        Rule::always(QUOTA, no_quota_is_overspent),
        Rule::always(APPROVED, |_, state| {
            state.approval != Saved::No || reads(state).all(|read| read.payer != Payer::Grant)
        }),
        Rule::always(REVOKED, |_, state| !state.seen.fetch_after_revocation),
        Rule::always(REPLAY, |_, state| !state.seen.read_after_revocation),
        Rule::always(ONE_HEAD, |_, state| !state.seen.two_heads),
        Rule::always(ONE_CHAIN, |_, state| !state.seen.forked),
        Rule::always(GOES_ON, |_, state| state.notaries.iter().all(|notary| *notary != Notary::Stopped)),
        Rule::sometimes("rows are handed out for a grant", |vault, state| hands_out(vault, state, Payer::Grant)),
        Rule::sometimes("rows are handed out alone", |vault, state| hands_out(vault, state, Payer::Alone)),
        Rule::sometimes("a read is refused", |_, state| phases(state).any(is_refused)),
        Rule::sometimes("a read is refused for what the log does not show yet", |_, state| {
            let unchained = |phase| matches!(phase, Phase::Appended { payer: Payer::Refused, chains: false, .. });
            state.chained == Saved::No && state.revocation != Saved::No && phases(state).any(unchained)
        }),
        Rule::sometimes("a revocation comes between record and fetch", |_, state| {
            state.revocation != Saved::No && reads(state).any(|read| read.payer == Payer::Grant && !read.handed_out)
        }),
        Rule::sometimes("a record is committed that a crash would lose", |_, state| {
            reads(state).any(|read| read.seq > state.flushed)
        }),
        Rule::sometimes("a receipt is armed, and a crash would lose that and not its record", |_, state| {
            reads(state).any(|read| read.seq <= state.flushed && matches!(read.arm, Arm::Noted | Arm::Reached))
        }),
        Rule::sometimes("two officers are amid their reads", |vault, state| {
            let amid = |officer| {
                let own = (0..vault.seats.len()).filter(move |&seat| vault.officer(seat) == officer);
                own.map(|seat| state.sessions[seat]).any(|session| session.phase != Phase::Idle)
            };
            amid(Officer::Ada) && amid(Officer::Bea)
        }),
        Rule::sometimes("a notary adopts a copy", |_, state| {
            state.notaries.iter().any(|notary| matches!(notary, Notary::Adopting { .. }))
        }),
        Rule::sometimes("a notary waits for the disk", |_, state| {
            state.notaries.iter().any(|&notary| matches!(notary, Notary::Read { at, .. } if at > state.flushed))
        }),
    ]
}

/// In the log, and among what was handed out: a crash must not give back what is in somebody's hands.
fn no_quota_is_overspent(vault: &Vault, state: &State) -> bool {
    [Officer::Ada, Officer::Bea, Officer::Cem].into_iter().all(|officer| {
        vault.charged(state, officer, Payer::Grant) <= vault.grant
            && vault.charged(state, officer, Payer::Alone) <= vault.alone
    })
}

/// Everything that is in the log, or was handed out without.
fn reads(state: &State) -> impl Iterator<Item = &Read> {
    state.sessions.iter().flat_map(|session| &session.reads).filter(|read| read.seq > 0 || read.handed_out)
}

fn handed_out(state: &State) -> impl Iterator<Item = &Read> {
    reads(state).filter(|read| read.handed_out)
}

fn hands_out(vault: &Vault, state: &State, payer: Payer) -> bool {
    let paid = |seat: usize, read: usize| state.sessions[seat].reads[read].payer == payer;
    (0..vault.seats.len())
        .any(|seat| (0..READS).any(|read| paid(seat, read) && vault.refusal(state, seat, read).is_none()))
}

fn phases(state: &State) -> impl Iterator<Item = Phase> {
    state.sessions.iter().map(|session| session.phase)
}

fn is_refused(phase: Phase) -> bool {
    matches!(phase, Phase::Appended { payer: Payer::Refused, .. })
}
