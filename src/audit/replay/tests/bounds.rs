//! Where each rule begins and ends.

use super::*;

#[test]
fn a_selection_has_rows_that_it_names() {
    let mut log = Log::new();
    assert_eq!(log.read(None, 1, |entry, _| entry.reason = Some("x".repeat(1001))), "malformed");
    assert_eq!(log.read(None, -1, same), "details");
    let too_long = json!(vec!["u"; 1001]);
    assert_eq!(log.read(None, 1, |_, details| details["selector"]["user_ids"] = too_long), "malformed");
    for (since, until, word) in [
        (None, None, "no_selector"),
        (Some("2026-01-01"), None, "no_selector"),
        (None, Some("2026-01-01"), "no_selector"),
        (Some("2026-01-01"), Some("2026-01-01"), ""),
    ] {
        let days = |_: &mut Entry, details: &mut Value| {
            details["selector"]["user_ids"] = json!([]);
            (details["selector"]["since"], details["selector"]["until"]) = (json!(since), json!(until));
        };
        assert_eq!(Log::new().read(None, 1, days), word, "{since:?} {until:?}");
    }
}

#[test]
fn what_a_request_needed_when_it_was_made_it_needs_under_a_looser_policy_too() {
    let mut log = Log::new();
    log.set(10, 2, 8 * HOUR);
    assert_eq!(log.ask(|_, details| details["approvals_needed"] = json!(2)), "");
    log.set(10, 1, 8 * HOUR);
    assert_eq!((log.approve("bob"), log.read(Some(GRANT), 1, same)), ("", "not_approved"));
    assert_eq!((log.approve("eve"), log.read(Some(GRANT), 1, same)), ("", ""));
}

#[test]
fn a_decision_names_the_case_of_its_request() {
    let mut log = Log::with_request();
    let elsewhere = |entry: &mut Entry| entry.case_id = Some("CASE-2".to_owned());
    let approval = log.add(Action::AccessApproval, "bob", GRANT, json!({"requester": "jane"}), elsewhere);
    assert_eq!(approval, "unknown_request");
}

/// What was opened by the later time leaves the window later, whichever is first in the log.
#[test]
fn a_clock_that_was_set_back_opens_no_more_and_no_less() {
    let mut log = Log::new();
    log.at += 10 * HOUR;
    assert_eq!(log.read(None, 4, same), "");
    log.at -= 10 * HOUR;
    assert_eq!(log.read(None, 6, same), "");
    log.at += 24 * HOUR;
    assert_eq!((log.read(None, 6, same), log.read(None, 1, same)), ("", "alone_limit"));
}

#[test]
fn a_page_opens_no_less_than_nothing() {
    let mut log = Log::new();
    assert_eq!(log.read(None, 1, same), "");
    let receipt = Uuid::from_u128(101);
    let failure = json!({"event_id": GRANT, "why": "deleted"});
    let details = json!({"first": 1, "last": 1, "opened": -1, "failed": [failure, failure]});
    assert_eq!(log.add(Action::UnmaskPage, "jane", receipt, details, |_| {}), "page");
    assert_eq!(log.page(receipt, "jane", 1, 1), "");
}

#[test]
fn tokens_are_of_their_form_and_of_who_looked_up() {
    let mut log = Log::new();
    let receipt = Uuid::from_u128(7);
    for (actor, length, word) in [("ann", 42, "tokens"), ("joe", 43, "tokens"), ("ann", 43, "")] {
        assert_eq!(log.add(Action::Lookup, "ann", receipt, json!({"field": "ip", "values": 1}), |_| {}), "");
        let tokens = json!({"tokens": ["t".repeat(length)]});
        assert_eq!(log.add(Action::LookupTokens, actor, receipt, tokens, |_| {}), word, "{actor} {length}");
    }
}
