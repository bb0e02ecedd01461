use super::*;

#[test]
fn a_restore_closes_what_was_open() {
    let (mut log, job) = (Log::new(), Uuid::from_u128(9));
    let open = json!({"rows": 9, "list_sha256": ""});
    let page = json!({"first": 1, "last": 2, "stored": 2, "refused": 0, "did_not_open": 0, "unopened": []});
    let restored =
        json!({"last": 3, "lost_after": null, "checkpoint": null, "closed_receipts": 0, "closed_redrive_jobs": 1});
    assert_eq!(log.add(Action::Redrive, "svc", job, open, |_| {}), "");
    assert_eq!(log.add(Action::RedrivePage, "svc", job, page.clone(), |_| {}), "");
    assert_eq!(log.add(Action::Restored, "admin", job, restored.clone(), |_| {}), "");
    assert_eq!(log.add(Action::RedrivePage, "svc", job, page, |_| {}), "redrive_page");
    let decided = |entry: &mut Entry| entry.decision = Some(Decision::Allowed);
    assert_eq!(log.add(Action::Restored, "admin", job, restored, decided), "decision");
}

#[test]
fn dead_letters_of_a_job_are_settled_once() {
    let mut log = Log::new();
    let job = Uuid::from_u128(9);
    let open = |rows: i64| json!({"rows": rows, "list_sha256": ""});
    let page = |first: i64, last: i64, stored: i64, unopened: Vec<i64>| json!({"first": first, "last": last, "stored": stored, "refused": 0, "did_not_open": unopened.len(), "unopened": unopened});
    let mut add = |action: Action, details: Value, actor: &str| log.add(action, actor, job, details, |_| {});
    assert_eq!(add(Action::RedrivePage, page(1, 2, 2, vec![]), "svc"), "redrive_page");
    assert_eq!((add(Action::Redrive, open(0), "svc"), add(Action::Redrive, open(5001), "svc")), ("redrive", "redrive"));
    assert_eq!(add(Action::Redrive, open(9), "svc"), "");
    assert_eq!(add(Action::RedrivePage, page(1, 2, 2, vec![]), "joe"), "redrive_page");
    for wrong in [
        page(1, 2, 3, vec![]),
        page(1, 2, 0, vec![]),
        page(1, 2, 1, vec![3]),
        page(9, 10, 2, vec![]),
        page(0, 1, 2, vec![]),
    ] {
        assert_eq!(add(Action::RedrivePage, wrong.clone(), "svc"), "redrive_page", "{wrong}");
    }
    // Others may have taken some between, which a later page need not have either.
    assert_eq!(add(Action::RedrivePage, page(1, 5, 2, vec![4]), "svc"), "");
    assert_eq!(add(Action::RedrivePage, page(2, 9, 7, vec![]), "svc"), "redrive_page");
    assert_eq!(add(Action::Redrive, open(2), "svc"), "");
    assert_eq!(add(Action::RedrivePage, page(1, 2, 1, vec![2]), "svc"), "");
    assert_eq!(add(Action::RedrivePage, page(1, 2, 1, vec![2]), "svc"), "redrive_page");
}
