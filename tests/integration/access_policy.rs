//! `access policy`: what may be opened, who says so, and patterns that everybody reads alike.

use pii_vault::domain::CasePattern;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::support::{Who, World, record};

#[tokio::test(flavor = "multi_thread")]
async fn without_a_policy_nothing_opens() {
    let world = World::vault().await;
    let officer = world.connect(Who::Officer).await;
    assert_eq!(record(&officer, "ip", "C1", "2026-01-01", None).await, "no_policy");
    let refused = world.request(Who::Officer, "C1", "5").exits(3).json();
    assert_eq!(refused["refused"], "no_policy");
    assert!(refused["next"].as_str().unwrap().contains("access policy set"), "{refused}");
    assert_eq!(world.access(Who::Officer, &["policy"]).done().json(), Value::Null);
    let human = world.pii_vault(Who::Administrator, &["access", "policy"]).finish().done();
    assert!(human.stdout.starts_with("no policy is set, so nothing opens\n"), "{}", human.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_administrator_sets_it_and_what_is_not_named_stays() {
    let world = World::vault().await;
    let first = world.policy_set(&[]);
    let expected = json!({"seq": 2, "alone_limit": 10, "approvals": 1, "longest_grant_seconds": 28800,
                          "case_pattern": ".+", "checkpoints": "scheduled"});
    assert_eq!(first, expected);
    let changed = world.policy_set(&["--approvals", "3", "--checkpoints", "required", "--case-pattern", "CASE-[0-9]+"]);
    assert_eq!((&changed["approvals"], &changed["alone_limit"], &changed["seq"]), (&3.into(), &10.into(), &3.into()));
    let changed = world.policy_set(&["--alone-limit", "0", "--longest-grant", "1h"]);
    assert_eq!((&changed["approvals"], &changed["alone_limit"]), (&3.into(), &0.into()));
    for who in [Who::Officer, Who::Approver, Who::Auditor, Who::Administrator] {
        assert_eq!(world.access(who, &["policy"]).done().json(), changed, "{who:?}");
    }
    for who in [Who::Officer, Who::Approver, Who::Auditor, Who::Analyst] {
        world.access(who, &["policy", "set", "--reason", "mine"]).exits(1);
    }
    world.access(Who::Analyst, &["policy"]).exits(1);
    let zero = world.access(Who::Administrator, &["policy", "set", "--approvals", "0", "--reason", "x"]).exits(2);
    assert!(zero.stderr.contains("never means open"), "{}", zero.stderr);

    let refused = world.request(Who::Officer, "case-1", "5").exits(3).json();
    assert_eq!(refused["refused"], "case_form");
    world.requested(Who::Officer, "CASE-1", "5");
    assert_eq!(
        world.actions_from(1).await,
        ["init", "policy", "policy", "policy", "access_request case_form", "access_request"]
    );
    let sql = "SELECT actor, reason, details ->> 'alone_limit' FROM pii_vault.audit_log WHERE seq = 4";
    let row = world.sql.query_one(sql, &[]).await.unwrap();
    let told: (&str, &str, &str) = (row.get(0), row.get(1), row.get(2));
    assert_eq!(told, ("administrator", "a test", "0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_that_postgresql_does_not_take_is_a_usage_error() {
    let world = World::vault().await;
    for (pattern, because) in [
        ("(", "it is no regular expression"),
        ("a)|(?:b", "it is no regular expression"),
        ("\\bCASE", "read differently"),
        ("a{300}", "PostgreSQL does not take --case-pattern"),
    ] {
        let set = ["policy", "set", "--reason", "x", "--case-pattern", pattern];
        let refused = world.access(Who::Administrator, &set).exits(2);
        assert!(refused.stderr.contains(because), "{pattern}: {}", refused.stderr);
    }
    assert_eq!(world.access(Who::Auditor, &["policy"]).done().json(), Value::Null);
    assert_eq!(world.actions_from(1).await, ["init"]);
}

/// What is made of the pieces of a pattern, and case ids of the letters in it: PostgreSQL refuses the pattern, or
/// both say the same of each.
#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_means_the_same_to_postgresql() {
    let world = World::empty().await;
    let pieces = prop::sample::select(vec![
        "a",
        "B",
        "7",
        "-",
        "_",
        ".",
        "\\.",
        "\\d",
        "\\w",
        "\\-",
        "\\b",
        "\\<",
        "\\x41",
        "[",
        "]",
        "[a-c]",
        "[^7]",
        "[\\d_]",
        "[[:alpha:]]",
        "[[.a.]]",
        "&&",
        "--",
        "~~",
        "[]a]",
        "[a-]",
        "[^]-]",
        "^",
        "$",
        "(",
        ")",
        "(?:",
        "|",
        "*",
        "+",
        "?",
        "{2}",
        "{1,3}",
        "{2,}",
        "{,2}",
        "{",
        "}",
        "(?i)",
        " ",
        "\\\\",
        "/",
        "#",
        "~",
        "&",
        "<",
        "!",
        "=",
        ":",
        "***=",
        "\\s",
        "\\/",
        "\\ ",
        "\\#",
        "\\&",
        "\\~",
        "\\<",
        "\\=",
        "\\\"",
        "\\@",
        "[&]",
        "[~a]",
        "[!--]",
        "[\\]a]",
    ]);
    let patterns = prop::collection::vec(pieces, 1..6).prop_map(|pieces| pieces.concat());
    let letters = prop::sample::select("aaABc7--_.[]&~\\/#".chars().collect::<Vec<_>>());
    let ids = prop::collection::vec(prop::collection::vec(letters, 1..4), 60);
    let mut runner = TestRunner::deterministic();
    let (mut compared, mut beyond, mut matched) = (0, 0, 0);
    while compared < if crate::support::soak() { 20_000 } else { 1500 } {
        let text = patterns.new_tree(&mut runner).unwrap().current();
        let Ok(pattern) = CasePattern::parse(&text) else { continue };
        let ids: Vec<String> =
            ids.new_tree(&mut runner).unwrap().current().into_iter().map(|id| id.into_iter().collect()).collect();
        let sql = "SELECT x ~ ('^(?:' || $1 || ')$') AND (x ~ $1) IS NOT NULL
                   FROM unnest($2::text[]) WITH ORDINALITY AS u (x, o) ORDER BY o";
        let Ok(rows) = world.sql.query(sql, &[&text, &ids]).await else {
            beyond += 1;
            continue;
        };
        for (row, id) in rows.iter().zip(&ids) {
            assert_eq!(row.get::<_, bool>(0), pattern.matches(id), "{text} {id}");
            matched += i32::from(pattern.matches(id));
        }
        compared += 1;
    }
    assert!(matched > compared / 2, "{matched} ids matched {compared} patterns");
    assert!(beyond < compared / 10, "{beyond} of {compared} are beyond PostgreSQL");
}
