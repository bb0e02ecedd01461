//! The rules: which layer may import which, and which crates each may use.

use crate::source::Source;

/// The modules whose place is fixed. Every other module of the crate's root is a use case.
const LAYERS: [&str; 8] = ["domain", "crypto", "patience", "aws", "db", "keyring", "cli", "main"];

/// All that the two pure layers may use: neither async, nor a clock, nor the world outside. New crates are weighed
/// before they are added here.
const PURE: [(&str, &[&str]); 2] = [
    (
        "domain",
        &["regex", "regex_syntax", "secrecy", "serde", "serde_json", "std", "thiserror", "time", "uuid", "zeroize"],
    ),
    (
        "crypto",
        &[
            "aes_gcm_siv",
            "base64",
            "getrandom",
            "hkdf",
            "hmac",
            "p256",
            "secrecy",
            "serde",
            "serde_json",
            "sha2",
            "std",
            "subtle",
            "thiserror",
            "time",
            "uuid",
            "zeroize",
        ],
    ),
];

/// Words and modules of `std` that read a clock, wait, or reach outside.
const IMPURE: [&str; 6] = ["async", "await", "Instant", "SystemTime", "now_utc", "now_local"];
const IMPURE_STD: [&str; 7] = ["env", "fs", "io", "process", "task", "thread", "time"];

/// Crates that belong to one layer, by how their names begin.
const OWNED: [(&str, &str); 7] = [
    ("aws_", "aws"),
    ("diesel", "db"),
    ("tokio_postgres", "db"),
    ("rustls", "db"),
    ("clap", "cli"),
    ("indicatif", "cli"),
    ("tracing_subscriber", "cli"),
];

/// What others may take of them. A transaction spans what its use case says belongs together, so the use case opens
/// it; the queries in it are the layer's own.
const LENT: [&str; 1] = ["diesel_async::AsyncConnection"];

/// What the file of `module` does that its layer may not.
pub(crate) fn broken_rules(module: &[&str], source: &Source, top_level: &[&str], crates: &[&str]) -> Vec<String> {
    let Some(&layer) = module.first() else { return broken_in_the_root(source) };
    let mut broken = Vec::new();
    for path in &source.ours {
        let shown = path.join("::");
        match path.first().map(String::as_str) {
            Some(to) if top_level.contains(&to) && may_import(layer, to) => {}
            Some(to) if top_level.contains(&to) => broken.push(format!("{layer} imports {to} (crate::{shown})")),
            _ => broken.push(format!("{layer} imports crate::{shown}, which names no module")),
        }
    }
    for path in &source.theirs {
        let shown = path.join("::");
        let [name, inner @ ..] = path.as_slice() else { continue };
        let foreign = crates.contains(&name.as_str()) || ["std", "core", "alloc"].contains(&name.as_str());
        if !foreign || LENT.contains(&shown.as_str()) {
            continue;
        }
        if let Some((_, owner)) = OWNED.iter().find(|(start, owner)| name.starts_with(start) && layer != *owner) {
            broken.push(format!("{layer} uses {shown}, which belongs to {owner}"));
        }
        if let Some((_, allowed)) = PURE.iter().find(|(pure, _)| *pure == layer) {
            let of_std = ["std", "core", "alloc"].contains(&name.as_str());
            let outside = of_std && inner.first().is_some_and(|module| IMPURE_STD.contains(&module.as_str()));
            if outside || !(of_std || allowed.contains(&name.as_str())) {
                broken.push(format!("{layer} is pure and uses {shown}"));
            }
        }
    }
    if PURE.iter().any(|(pure, _)| *pure == layer) {
        broken.extend(
            IMPURE.iter().filter(|word| source.words.contains(**word)).map(|word| format!("{layer} says {word}")),
        );
    }
    broken
}

/// Each step of data flows one way: down this table.
fn may_import(from: &str, to: &str) -> bool {
    let is_use_case = |name| !LAYERS.contains(&name);
    from == to
        || match from {
            "domain" | "patience" => false,
            "crypto" => to == "domain",
            "aws" | "db" => matches!(to, "domain" | "crypto"),
            "keyring" => matches!(to, "domain" | "crypto" | "aws" | "db"),
            "cli" => to != "main",
            "main" => to == "cli",
            _ => !is_use_case(to) && !matches!(to, "cli" | "main"),
        }
}

/// The root declares modules. A name that it handed on would be an edge that no rule sees.
fn broken_in_the_root(source: &Source) -> Vec<String> {
    source.ours.iter().chain(&source.theirs).map(|path| format!("lib.rs names {}", path.join("::"))).collect()
}
