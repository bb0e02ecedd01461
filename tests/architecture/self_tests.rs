//! The rules of this test, tested: each edge that they forbid is found however it is written.

use crate::layers::broken_rules;
use crate::source::Source;

const TOP_LEVEL: [&str; 9] = ["aws", "cli", "crypto", "db", "domain", "etl", "keyring", "main", "unmask"];
const CRATES: [&str; 7] = ["aws_sdk_kms", "clap", "diesel", "diesel_async", "serde", "time", "tokio"];

fn broken(module: &str, text: &str) -> Vec<String> {
    let module: Vec<_> = module.split("::").filter(|name| !name.is_empty()).collect();
    broken_rules(&module, &Source::read(text, &module, &TOP_LEVEL).unwrap(), &TOP_LEVEL, &CRATES)
}

#[test]
fn a_forbidden_edge_is_found_however_it_is_written() {
    for text in [
        "use crate::etl;",
        "use crate::etl::store::Writer as W;",
        "pub use crate::etl::Counters;",
        "pub(crate) use crate::etl::*;",
        "use crate::{domain::KeyId, etl::{self, Summary}};",
        "use {crate::domain, crate::{etl as e}};",
        "use ::pii_vault::etl;",
        "use super::super::etl;",
        "use super::{super::etl::Counters};",
        "use self::super::super::etl;",
        "fn f() { crate::etl::run() }",
        "fn f() { use crate::etl as e; }",
        "fn f(x: &crate::etl::Counters) {}",
        "fn f() { super::super::etl::run() }",
        "fn f() -> Vec<crate::etl::Counters> { Vec::<crate::etl::Counters>::new() }",
        "impl From<crate::etl::EtlError> for E {}",
        "impl<T: crate::etl::T> X for T where T: crate::etl::U {}",
        "struct S(pub (crate::etl::Counters, u8));",
        "type X = <crate::etl::A as B>::C;",
        "fn f() { let x = vec![1, crate::etl::BATCH]; }",
        "fn f() { println!(\"{}\", crate::etl::BATCH) }",
        "macro_rules! m { () => { $crate::etl::run() } }",
        "macro_rules! m { () => { use crate::{etl::Summary}; } }",
        "#[diesel(sql_type = crate::etl::T)] struct S;",
        "#[serde(with = \"crate::etl::codec\")] struct S;",
        "mod inner { use super::super::super::etl; }",
        "#[cfg(not(test))] use crate::etl;",
        "#[cfg(any(test, unix))] use crate::etl;",
        "#[cfg(test)] use crate::db::{self, X}; use crate::etl;",
        "#[cfg(test)] const fn f() {} use crate::etl;",
        "#[cfg(test)] mod tests { use crate::etl; } use crate::etl;",
    ] {
        let found = broken("unmask::open", text);
        let right = |rule: &String| rule.starts_with("unmask imports etl (crate::etl");
        assert!(!found.is_empty() && found.iter().all(right), "{text}: {found:?}");
    }
}

#[test]
fn an_import_of_the_root_is_no_way_round() {
    for text in [
        "use crate as root;",
        "use crate::{self as root};",
        "use crate::*;",
        "use super::super as root;",
        "use super::super::*;",
        "use crate::Counters;",
        "macro_rules! m { () => { $crate::helper!() } }",
    ] {
        let found = broken("unmask::open", text);
        assert!(found.len() == 1 && found[0].ends_with("names no module"), "{text}: {found:?}");
    }
    for text in ["pub use aws::Kms;", "pub use crate::aws::Kms;", "pub use self::etl::run;", "pub use uuid::Uuid;"] {
        assert_eq!(broken("", text).len(), 1, "{text}");
    }
    assert!(broken("", "//! The map.\npub mod aws; pub mod cli;").is_empty());
}

#[test]
fn what_is_allowed_is_not_found() {
    for text in [
        "use crate::{aws::Kms, crypto::Opener, db::Pool, domain::KeyId, keyring::TokenKeys, unmask::Receipt};",
        "use super::record; use super::super::db;",
        "pub(crate) fn f() {} pub(in crate::unmask) fn g() {} pub(super) fn h() {}",
        "#[cfg(test)] mod tests { use crate::etl; use super::*; }",
        "#[cfg(test)] use crate::{etl::A, cli::B};",
        "#[cfg(test)] #[expect(dead_code)] pub(super) fn f(x: [u8; 2]) -> crate::etl::A { crate::etl::f() }",
        "/// Unlike crate::etl::run. [`crate::etl`]\nfn f() {} // crate::etl::run",
        "fn f() { let etl = 1; self.etl.run(); log(\"see crate::etl::run\") }",
        "use diesel_async::AsyncConnection as _;",
    ] {
        assert_eq!(broken("unmask::open", text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn each_layer_has_its_rule() {
    let allowed = [
        ("domain", &["domain"][..]),
        ("crypto", &["crypto", "domain"]),
        ("aws", &["aws", "crypto", "domain"]),
        ("db", &["crypto", "db", "domain"]),
        ("keyring", &["aws", "crypto", "db", "domain", "keyring"]),
        ("etl", &["aws", "crypto", "db", "domain", "etl", "keyring"]),
        ("unmask", &["aws", "crypto", "db", "domain", "keyring", "unmask"]),
        ("cli", &["aws", "cli", "crypto", "db", "domain", "etl", "keyring", "unmask"]),
        ("main", &["cli", "main"]),
    ];
    for (layer, expected) in allowed {
        let imports = |to: &&str| broken(layer, &format!("use pii_vault::{to}::X;")).is_empty();
        assert_eq!(TOP_LEVEL.into_iter().filter(imports).collect::<Vec<_>>(), expected, "{layer}");
    }
}

#[test]
fn foreign_crates_stay_in_their_layer() {
    for (module, text) in [
        ("aws::kms", "use diesel::prelude::*;"),
        ("db::hold", "use aws_sdk_kms::Client;"),
        ("etl::store", "fn f() { diesel::sql_query(\"\") }"),
        ("etl::store", "use diesel_async::{AsyncConnection, RunQueryDsl};"),
        ("keyring", "extern crate diesel;"),
        ("keyring", "use {diesel as d};"),
        ("etl", "#[derive(clap::Args)] struct A;"),
        ("crypto::aad", "use tokio::sync::Mutex;"),
        ("crypto::aad", "use std::{fmt, time::Duration};"),
        ("crypto::aad", "use tokio::fs::File;"),
        ("crypto::aad", "fn f() { time::OffsetDateTime::now_utc(); }"),
        ("crypto::aad", "use std::*; fn f() { Instant::now() }"),
        ("crypto::aad", "async fn f() {}"),
        ("domain::id", "fn f() { std::env::var(\"X\") }"),
        ("domain::id", "fn f() -> SystemTime { g() }"),
    ] {
        assert_eq!(broken(module, text).len(), 1, "{module}: {text}: {:?}", broken(module, text));
    }
    assert!(broken("db::hold", "use diesel::prelude::*;").is_empty());
    assert!(broken("crypto::aad", "use std::fmt; use time::Date; use getrandom::fill;").is_empty());
}

#[test]
fn words_and_test_modules_are_seen() {
    let text = "#[cfg(test)] pub(super) mod vectors; mod a { #[cfg(test)] mod tests; } \
                fn f() { println!(\"x\"); if print != 1 {} io::stdout(); } #[cfg(test)] fn g() { dbg!(1) }";
    let source = Source::read(text, &["crypto"], &TOP_LEVEL).unwrap();
    let modules: Vec<_> = source.test_modules.iter().map(|module| module.join("::")).collect();
    assert_eq!(modules, ["crypto::a::tests", "crypto::vectors"]);
    let has = |word: &str| source.words.contains(word);
    assert!(has("println!") && has("stdout") && !has("print!") && !has("dbg!"));
}
