use std::borrow::Cow;

use serde::Serialize;

/// What is wrong, the first of its kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What kind, for scripts.
    pub word: String,
    /// The entry, where it is about one.
    pub seq: Option<i64>,
    /// The row of another table, where it is about one: `table id`.
    pub row: Option<String>,
    /// What is wrong, in a sentence.
    pub what: String,
}

/// What is no fault, and could not be checked or should be known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// What kind, for scripts.
    pub word: &'static str,
    /// The first entry that it is about.
    pub seq: Option<i64>,
    /// How often.
    pub count: u64,
    /// In a sentence.
    pub what: Cow<'static, str>,
}

/// What an entry does to be a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) word: &'static str,
    pub(super) what: String,
}

impl Broken {
    pub(super) fn new(word: &'static str, what: impl Into<String>) -> Self {
        Self { word, what: what.into() }
    }
}
