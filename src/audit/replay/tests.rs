//! A log that follows the rule, and each rule broken once.

use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::domain::audit::{Origin, UnixMicros};

const VAULT: VaultId = VaultId(Uuid::nil());
const GRANT: Uuid = Uuid::from_u128(1);
const HOUR: i64 = 3600;

mod bounds;
mod redrive;
mod rotations;

type Close = fn(&mut Log, &str) -> &'static str;

/// A log on its way: `at` is the time of its next entry, in seconds.
struct Log {
    replay: Replay,
    seq: i64,
    at: i64,
}

impl Log {
    /// With a policy: 10 alone, one approval, 8 hours.
    fn new() -> Self {
        let mut log = Self { replay: Replay::of(VAULT), seq: 0, at: 1_000_000 };
        log.set(10, 1, 8 * HOUR);
        log
    }

    /// And a request of jane's: ip, 20 values, 1 hour, CASE-1.
    fn with_request() -> Self {
        let mut log = Self::new();
        assert_eq!(log.ask(|_, _| {}), "");
        log
    }

    fn with_grant() -> Self {
        let mut log = Self::with_request();
        assert_eq!(log.approve("bob"), "");
        log
    }

    /// Adds an entry, and returns the word of what is wrong with it.
    fn add(
        &mut self,
        action: Action,
        actor: &str,
        subject: Uuid,
        details: Value,
        change: impl FnOnce(&mut Entry),
    ) -> &'static str {
        self.seq += 1;
        let mut entry = Entry {
            seq: self.seq,
            at: UnixMicros(self.at * 1_000_000),
            decision: asks(&action).then_some(Decision::Allowed),
            action,
            origin: Origin { actor: actor.to_owned(), ..Origin::default() },
            refusal: None,
            reason: Some("why".to_owned()),
            case_id: Some("CASE-1".to_owned()),
            subject: Some(subject),
            details: details.to_string(),
            hash: [0; 32],
        };
        change(&mut entry);
        let details = Details::of(&entry).unwrap();
        self.replay.follow(&entry, &details).err().map_or("", |broken| broken.word)
    }

    fn set(&mut self, alone: i64, approvals: i64, longest: i64) {
        let details = json!({"alone_limit": alone, "approvals": approvals, "longest_grant_seconds": longest,
            "case_pattern": r"CASE-\d", "checkpoints": "scheduled"});
        assert_eq!(self.add(Action::Policy, "admin", GRANT, details, |_| {}), "");
    }

    fn ask(&mut self, change: impl FnOnce(&mut Entry, &mut Value)) -> &'static str {
        let mut details = json!({"fields": ["ip"], "max_values": 20, "duration_seconds": HOUR, "approvals_needed": 1});
        self.add(Action::AccessRequest, "jane", GRANT, details.clone(), |entry| {
            change(entry, &mut details);
            entry.details = details.to_string();
        })
    }

    fn approve(&mut self, actor: &str) -> &'static str {
        self.add(Action::AccessApproval, actor, GRANT, json!({"requester": "jane"}), |_| {})
    }

    fn deny(&mut self, actor: &str) -> &'static str {
        self.add(Action::AccessDenial, actor, GRANT, json!({"requester": "jane"}), |_| {})
    }

    fn revoke(&mut self, actor: &str) -> &'static str {
        self.add(Action::AccessRevocation, actor, GRANT, json!({"revoked_at": 1}), |_| {})
    }

    fn read(&mut self, grant: Option<Uuid>, rows: i64, change: impl FnOnce(&mut Entry, &mut Value)) -> &'static str {
        let mut details = json!({"fields": ["ip"], "selector": {"event_ids": [], "user_ids": ["u"], "masked_ips": [],
            "masked_device_ids": [], "since": null, "until": null}, "named_grant": null, "grant": grant,
            "alone_used": 0, "rows": rows, "values": rows, "list_sha256": ""});
        let receipt = Uuid::from_u128(100 + u128::from(self.seq.unsigned_abs()));
        self.add(Action::Unmask, "jane", receipt, details.clone(), |entry| {
            change(entry, &mut details);
            entry.details = details.to_string();
        })
    }

    fn page(&mut self, receipt: Uuid, actor: &str, first: i64, last: i64) -> &'static str {
        let details = json!({"first": first, "last": last, "opened": last - first + 1, "failed": []});
        self.add(Action::UnmaskPage, actor, receipt, details, |_| {})
    }
}

fn same(_: &mut Entry, _: &mut Value) {}

#[test]
fn what_follows_the_rule_is_no_fault() {
    let mut log = Log::with_grant();
    assert_eq!(log.read(Some(GRANT), 20, same), "");
    assert_eq!(log.read(None, 10, same), "");
    log.at += 24 * HOUR;
    assert_eq!(log.read(None, 10, same), "");
    assert_eq!(log.read(Some(GRANT), 5, |entry, _| entry.decision = Some(Decision::Refused)), "");
    // Its own request taken back closes no case.
    assert_eq!(
        (log.revoke("jane"), {
            log.at += 24 * HOUR;
            log.read(None, 10, same)
        }),
        ("", "")
    );
}

#[test]
fn a_read_needs_a_policy_a_reason_a_case_and_rows() {
    let mut none = Log { replay: Replay::of(VAULT), seq: 0, at: 0 };
    assert_eq!(none.read(None, 1, same), "no_policy");
    let mut log = Log::new();
    assert_eq!(log.read(None, 1, |entry, _| entry.reason = None), "malformed");
    assert_eq!(log.read(None, 1, |entry, _| entry.reason = Some("  ".to_owned())), "malformed");
    assert_eq!(log.read(None, 1, |entry, _| entry.case_id = Some("CASE-12".to_owned())), "case_form");
    assert_eq!(log.read(None, 1, |entry, _| entry.case_id = None), "case_form");
    assert_eq!(log.read(None, 0, |_, details| details["fields"] = json!([])), "malformed");
    assert_eq!(log.read(None, 1, |_, details| details["values"] = json!(0)), "details");
    assert_eq!(log.read(None, 100_001, same), "too_many_rows");
    assert_eq!(log.read(None, 1, |_, details| details["selector"] = Value::Null), "malformed");
    assert_eq!(log.read(None, 1, |_, details| details["selector"]["user_ids"] = json!([])), "no_selector");
    assert_eq!(log.read(None, 1, |entry, _| entry.decision = None), "decision");
}

#[test]
fn a_read_under_a_grant_follows_from_that_grant() {
    let mut log = Log::with_grant();
    assert_eq!(log.read(Some(Uuid::from_u128(9)), 1, same), "unknown_grant");
    assert_eq!(log.read(Some(GRANT), 1, |entry, _| entry.origin.actor = "joe".to_owned()), "unknown_grant");
    assert_eq!(log.read(None, 1, |_, details| details["named_grant"] = json!(GRANT)), "unknown_grant");
    assert_eq!(log.read(Some(GRANT), 1, |entry, _| entry.case_id = Some("CASE-2".to_owned())), "other_case");
    let both = |_: &mut Entry, details: &mut Value| {
        (details["fields"], details["values"]) = (json!(["ip", "device_id"]), json!(2));
    };
    assert_eq!(log.read(Some(GRANT), 1, both), "other_fields");
    // Five values were charged above, whatever was wrong with them.
    assert_eq!(log.read(Some(GRANT), 15, same), "");
    assert_eq!(log.read(Some(GRANT), 2, same), "used_up");
    assert_eq!(Log::with_request().read(Some(GRANT), 1, same), "not_approved");
    let mut dry = Log::with_grant();
    assert_eq!(dry.read(Some(GRANT), 20, |entry, _| entry.action = Action::UnmaskDryRun), "");
    assert_eq!(dry.read(Some(GRANT), 20, same), "");
}

#[test]
fn a_grant_runs_from_its_last_needed_approval_by_the_policy_of_the_moment() {
    let mut log = Log::with_grant();
    log.at += HOUR - 1;
    assert_eq!(log.read(Some(GRANT), 1, same), "");
    log.at += 1;
    assert_eq!(log.read(Some(GRANT), 1, same), "expired");
    let mut shorter = Log::with_grant();
    shorter.set(10, 1, 60);
    shorter.at += 60;
    assert_eq!(shorter.read(Some(GRANT), 1, same), "expired");
    let mut two = Log::with_grant();
    two.set(10, 2, 8 * HOUR);
    assert_eq!(two.read(Some(GRANT), 1, same), "not_approved");
    two.at += 2 * HOUR;
    assert_eq!((two.approve("eve"), two.read(Some(GRANT), 1, same)), ("", ""));
}

#[test]
fn nobody_opens_more_alone_than_policy_has_in_any_24_hours() {
    let mut log = Log::new();
    assert_eq!(log.read(None, 6, same), "");
    log.at += 24 * HOUR - 1;
    assert_eq!(log.read(None, 5, same), "alone_limit");
    assert_eq!(log.read(None, 5, |entry, _| entry.origin.actor = "joe".to_owned()), "");
    log.at += 1;
    assert_eq!(log.read(None, 5, same), "");
}

#[test]
fn what_was_denied_or_revoked_opens_nothing() {
    let (deny, revoke): (Close, Close) = (Log::deny, Log::revoke);
    for (close, word) in [(deny, "denied"), (revoke, "revoked")] {
        let mut log = Log::with_request();
        assert_eq!((close(&mut log, "bob"), log.read(Some(GRANT), 1, same), log.read(None, 1, same)), ("", word, word));
        assert_eq!(log.approve("eve"), "already_decided");
        assert_eq!(log.read(None, 1, |entry, _| entry.case_id = Some("CASE-2".to_owned())), "");
    }
    let mut log = Log::with_grant();
    assert_eq!(
        (log.revoke("bob"), log.revoke("bob"), log.read(Some(GRANT), 1, same)),
        ("", "already_decided", "revoked")
    );
}

#[test]
fn others_decide_each_once_while_there_is_something_to_decide() {
    let mut log = Log::with_request();
    assert_eq!((log.approve("jane"), log.read(Some(GRANT), 1, same)), ("own_request", "not_approved"));
    assert_eq!(log.add(Action::AccessApproval, "bob", GRANT, json!({"requester": "joe"}), |_| {}), "unknown_request");
    assert_eq!(
        log.add(Action::AccessApproval, "bob", VAULT.0, json!({"requester": "jane"}), |_| {}),
        "unknown_request"
    );
    assert_eq!(log.add(Action::AccessRevocation, "bob", VAULT.0, json!({"revoked_at": 1}), |_| {}), "unknown_request");
    assert_eq!((log.approve("bob"), log.approve("eve")), ("", "already_granted"));
    log.set(10, 3, 8 * HOUR);
    assert_eq!((log.approve("bob"), log.deny("bob"), log.approve("eve")), ("already_decided", "already_decided", ""));
}

#[test]
fn a_request_is_within_the_policy_of_its_time() {
    let mut log = Log::with_request();
    assert_eq!(log.ask(same), "malformed", "the same id");
    for (member, value, word) in [
        ("max_values", json!(0), "too_many_values"),
        ("max_values", json!(1_000_001), "too_many_values"),
        ("duration_seconds", json!(59), "too_long"),
        ("duration_seconds", json!(8 * HOUR + 1), "too_long"),
        ("approvals_needed", json!(0), "not_approved"),
        ("approvals_needed", Value::Null, "not_approved"),
        ("fields", json!([]), "malformed"),
    ] {
        assert_eq!(Log::new().ask(|_, details| details[member] = value), word, "{member}");
    }
    assert_eq!(Log::new().ask(|entry, _| entry.case_id = Some("X".to_owned())), "case_form");
}

#[test]
fn pages_follow_from_their_receipt_in_order() {
    let mut log = Log::new();
    let receipt = Uuid::from_u128(101);
    assert_eq!(log.page(receipt, "jane", 1, 3), "page");
    log.seq = 1;
    assert_eq!(log.read(None, 10, same), "");
    assert_eq!(log.page(receipt, "joe", 1, 3), "page");
    assert_eq!(log.page(receipt, "jane", 2, 3), "page");
    assert_eq!(log.page(receipt, "jane", 1, 11), "page");
    let short = json!({"first": 1, "last": 3, "opened": 2, "failed": []});
    assert_eq!(log.add(Action::UnmaskPage, "jane", receipt, short, |_| {}), "page");
    let refused = |entry: &mut Entry| entry.decision = Some(Decision::Refused);
    assert_eq!(log.add(Action::UnmaskPage, "jane", receipt, json!({"first": 1}), refused), "");
    assert_eq!((log.page(receipt, "jane", 1, 3), log.page(receipt, "jane", 1, 3)), ("", "page"));
    assert_eq!((log.page(receipt, "jane", 4, 10), log.page(receipt, "jane", 11, 11)), ("", "page"));
}

#[test]
fn tokens_follow_from_their_look_up_once() {
    let mut log = Log::new();
    let receipt = Uuid::from_u128(7);
    let tokens = |count: usize| json!({"tokens": vec!["t".repeat(43); count]});
    let mut look =
        |values: i64| log.add(Action::Lookup, "ann", receipt, json!({"field": "ip", "values": values}), |_| {});
    assert_eq!((look(0), look(10_001), look(2)), ("too_many_values", "too_many_values", ""));
    assert_eq!(log.add(Action::LookupTokens, "ann", receipt, tokens(2), |_| {}), "");
    assert_eq!(log.add(Action::LookupTokens, "ann", receipt, tokens(2), |_| {}), "tokens");
    log.add(Action::Lookup, "ann", receipt, json!({"field": "ip", "values": 2}), |_| {});
    assert_eq!(log.add(Action::LookupTokens, "ann", receipt, tokens(3), |_| {}), "tokens");
    assert_eq!(log.add(Action::Lookup, "ann", receipt, json!({"field": null, "values": 2}), |_| {}), "malformed");
}

#[test]
fn another_vaults_beginning_is_found_and_later_actions_are_passed_over() {
    let mut log = Log::new();
    let init = json!({"migrations": 1, "made_token_key": true});
    assert_eq!(log.add(Action::Init, "admin", VAULT.0, init.clone(), |_| {}), "");
    assert_eq!(log.add(Action::Init, "admin", GRANT, init, |_| {}), "vault");
    assert_eq!(
        log.add(Action::Other("x".to_owned()), "admin", GRANT, json!(1), |entry| entry.decision =
            Some(Decision::Allowed)),
        ""
    );
}
