use super::*;

const JOB: Uuid = Uuid::from_u128(9);

impl Log {
    /// A step of a job; what is wrong with it.
    fn rotate(&mut self, job: Uuid, kind: &str, purpose: &str, step: &str) -> &'static str {
        let details = json!({"kind": kind, "purpose": purpose, "step": step, "total": 7});
        self.add(Action::KeyRotation, "svc", job, details, |_| {})
    }
}

#[test]
fn a_step_follows_from_the_one_before() {
    for (kind, purpose, story, wrong) in [
        ("kek", "dead-letter", "start pause resume done", "cut_over filled finish roll_back retry start resume"),
        ("data-key", "data", "start done set_aside sample", "filled roll_back start"),
        (
            "token-key",
            "token",
            "start filled retry filled pause cut_over finish pause resume done",
            "done finish start",
        ),
        ("token-key", "token", "start roll_back done", "cut_over"),
        ("token-key", "token", "start filled cut_over roll_back done", "cut_over resume"),
    ] {
        let begun = |steps: &[&str]| {
            let mut log = Log::new();
            for step in steps {
                assert_eq!(log.rotate(JOB, kind, purpose, step), "", "{kind}: {step} in {story}");
            }
            log
        };
        let story: Vec<_> = story.split(' ').collect();
        begun(&story);
        assert_eq!(begun(&[]).rotate(JOB, kind, purpose, "done"), "rotation", "{kind} that did not begin");
        for wrong in wrong.split(' ') {
            assert_eq!(begun(&story[..1]).rotate(JOB, kind, purpose, wrong), "rotation", "{kind}: {wrong}");
        }
        // Nothing comes after the end.
        for wrong in ["pause", "filled", "cut_over", "finish", "done"] {
            assert_eq!(begun(&story).rotate(JOB, kind, purpose, wrong), "rotation", "{kind}: {wrong} after the end");
        }
        // What this version does not know, of a job that it knows.
        assert_eq!(begun(&story[..1]).rotate(JOB, kind, purpose, "token_map"), "");
    }
}

#[test]
fn there_is_one_of_a_kind_and_purpose_at_a_time() {
    let mut log = Log::new();
    let other = Uuid::from_u128(10);
    assert_eq!(log.rotate(JOB, "kek", "data", "start"), "");
    assert_eq!(log.rotate(other, "kek", "token", "start"), "");
    assert_eq!(log.rotate(Uuid::from_u128(11), "kek", "data", "start"), "rotation");
    assert_eq!(log.rotate(JOB, "kek", "token", "done"), "rotation");
    assert_eq!(log.rotate(other, "kek", "token", "done"), "");
    assert_eq!(log.rotate(Uuid::from_u128(12), "kek", "token", "start"), "");
    assert_eq!(log.rotate(Uuid::from_u128(13), "data-key", "token", "start"), "rotation");
    assert_eq!(log.rotate(Uuid::from_u128(14), "token-key", "data", "start"), "rotation");
    assert_eq!(log.rotate(Uuid::from_u128(15), "all", "data", "start"), "rotation");
}

#[test]
fn a_rotation_has_a_reason_and_counts_forward() {
    let mut log = Log::new();
    let start = json!({"kind": "kek", "purpose": "data", "step": "start", "total": 7});
    let no_reason = |entry: &mut Entry| entry.reason = Some(" ".to_owned());
    assert_eq!(log.add(Action::KeyRotation, "svc", JOB, start.clone(), no_reason), "rotation");
    let mut log = Log::new();
    assert_eq!(log.add(Action::KeyRotation, "svc", JOB, start, |_| {}), "");
    let mut step = |step: &str, changed: i64, failed: i64| {
        let details = json!({"kind": "kek", "purpose": "data", "step": step, "changed": changed, "failed": failed});
        log.add(Action::KeyRotation, "svc", JOB, details, |_| {})
    };
    assert_eq!(step("pause", 5, 1), "");
    assert_eq!(step("resume", 4, 1), "rotation");
    assert_eq!(step("pause", 5, 0), "rotation");
    assert_eq!(step("resume", 5, 1), "");
    assert_eq!(step("done", 6, 1), "");
    let nobody = |entry: &mut Entry| entry.subject = None;
    let details = json!({"kind": "kek", "purpose": "data", "step": "start"});
    assert_eq!(log.add(Action::KeyRotation, "svc", JOB, details, nobody), "rotation");
}

#[test]
fn what_is_given_up_is_over_and_no_token_rotation_is() {
    let mut log = Log::new();
    let mut step = |job: u128, kind: &str, step: &str| {
        let purpose = if kind == "kek" { "data" } else { "token" };
        let details = json!({"kind": kind, "purpose": purpose, "step": step, "total": 7, "changed": 0, "failed": 0});
        log.add(Action::KeyRotation, "svc", Uuid::from_u128(job), details, |_| {})
    };
    assert_eq!(step(40, "kek", "start"), "");
    assert_eq!(step(40, "kek", "abandoned"), "");
    for word in ["pause", "resume", "done", "abandoned"] {
        assert_eq!(step(40, "kek", word), "rotation", "{word}");
    }
    assert_eq!(step(41, "kek", "start"), "", "another can begin");
    assert_eq!(step(42, "token-key", "start"), "");
    assert_eq!(step(42, "token-key", "abandoned"), "rotation");
}

#[test]
fn a_kek_rotation_of_chosen_keys_wraps_no_others() {
    let mut log = Log::new();
    let mut add = |step: &str, job: u128, more: Value| {
        let mut details = json!({"kind": "kek", "purpose": "data", "step": step});
        details.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        log.add(Action::KeyRotation, "svc", Uuid::from_u128(job), details, |_| {})
    };
    let keys = [Uuid::from_u128(1), Uuid::from_u128(2)];
    assert_eq!(add("start", 40, json!({"keys": 2, "old_keys": keys, "total": 3})), "rotation", "more than it chose");
    assert_eq!(add("done", 40, json!({"changed": 2, "failed": 0})), "");
    assert_eq!(add("start", 41, json!({"keys": 2, "old_keys": keys, "total": 2})), "");
    assert_eq!(add("pause", 41, json!({"changed": 2, "failed": 0})), "");
    assert_eq!(add("done", 41, json!({"changed": 3, "failed": 0})), "rotation");
    // Without a choice it may find more than there were.
    assert_eq!(add("start", 42, json!({"keys": 0, "old_keys": [], "total": 2})), "");
    assert_eq!(add("done", 42, json!({"changed": 3, "failed": 0})), "");
}

#[test]
fn a_retired_kms_key_wraps_no_more() {
    let mut log = Log::new();
    let mut add = |job: u128, step: &str, more: (&str, &str)| {
        let mut details = json!({"kind": "kek", "purpose": "data", "step": step, "total": 7});
        details[more.0] = more.1.into();
        log.add(Action::KeyRotation, "svc", Uuid::from_u128(job), details, |_| {})
    };
    assert_eq!(add(30, "start", ("target_kms_key", "new")), "");
    assert_eq!(add(30, "retire", ("kms_key", "new")), "rotation");
    assert_eq!(add(30, "retire", ("x", "y")), "rotation");
    assert_eq!(add(30, "done", ("x", "y")), "");
    assert_eq!(add(30, "retire", ("kms_key", "old")), "");
    assert_eq!(add(31, "retire", ("kms_key", "old")), "rotation");
    assert_eq!(add(32, "start", ("target_kms_key", "old")), "rotation");
}

#[test]
fn a_key_is_retired_once_and_after_a_rotation_left_it() {
    let mut log = Log::new();
    let key = Uuid::from_u128;
    let mut add = |job: Uuid, kind: &str, purpose: &str, step: &str, more: Value| {
        let mut details = json!({"kind": kind, "purpose": purpose, "step": step, "total": 7});
        details.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        log.add(Action::KeyRotation, "svc", job, details, |_| {})
    };
    let mut data = |step: &str, more: Value| add(key(20), "data-key", "data", step, more);
    assert_eq!(data("retire", json!({"keys": [key(1)]})), "rotation");
    assert_eq!(data("start", json!({"keys": 2, "old_keys": [key(1), key(2)]})), "");
    assert_eq!(data("retire", json!({"keys": [key(1), key(3)]})), "rotation");
    assert_eq!(data("retire", json!({"keys": [key(2)]})), "");
    assert_eq!(data("retire", json!({"keys": [key(2)]})), "rotation");
    assert_eq!(data("retire", json!({"keys": []})), "rotation");
    let (job, other) = (key(21), key(22));
    assert_eq!(add(job, "token-key", "token", "start", json!({"old_keys": [key(4)], "new_key": key(5)})), "");
    assert_eq!(add(key(5), "token-key", "token", "retire", json!({"keys": [key(5)]})), "rotation");
    assert_eq!(add(job, "token-key", "token", "roll_back", json!({})), "");
    assert_eq!(add(key(4), "token-key", "token", "retire", json!({"keys": [key(4)]})), "rotation");
    assert_eq!(add(key(5), "token-key", "token", "retire", json!({"keys": [key(5)]})), "");
    assert_eq!(add(job, "token-key", "token", "done", json!({})), "");
    assert_eq!(add(other, "token-key", "token", "start", json!({"old_keys": [key(4)], "new_key": key(6)})), "");
    for step in ["filled", "cut_over", "finish", "done"] {
        assert_eq!(add(other, "token-key", "token", step, json!({})), "");
    }
    assert_eq!(add(key(4), "token-key", "token", "retire", json!({"keys": [key(4)]})), "");
    // Where a rotation left more than the log lists, any key may be one of them.
    assert_eq!(add(key(20), "data-key", "data", "done", json!({})), "");
    assert_eq!(add(key(23), "data-key", "data", "start", json!({"keys": 2000, "old_keys": null})), "");
    assert_eq!(add(key(23), "data-key", "data", "retire", json!({"keys": [key(99)]})), "");
}
