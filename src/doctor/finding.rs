use serde::{Serialize, Serializer};

use crate::db::DbError;

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The check's name, for scripts.
    pub check: &'static str,
    /// How it is.
    pub status: Status,
    /// What is the case.
    pub detail: String,
    /// What to do next; `None` where there is nothing to do.
    pub advice: Option<String>,
}

/// How it is, in the order of how bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// As it should be.
    Ok,
    /// Nothing is broken; somebody should look.
    Warn,
    /// Something does not work, or does not protect.
    Fail,
    /// What is stored is not what was stored.
    Broken,
}

impl Status {
    /// The word for people and scripts: `ok`, `warn` or `fail`. The exit status tells broken integrity apart.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail | Self::Broken => "fail",
        }
    }
}

impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl Finding {
    pub(super) fn ok(check: &'static str, detail: impl Into<String>) -> Self {
        Self { check, status: Status::Ok, detail: detail.into(), advice: None }
    }

    pub(super) fn bad(
        check: &'static str,
        status: Status,
        detail: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self { check, status, detail: detail.into(), advice: Some(advice.into()) }
    }

    /// What could not be found out is no failure, and not silent either.
    pub(super) fn unchecked(check: &'static str, error: &DbError) -> Self {
        let advice = "a right is missing (see `connection`), or a lock is in the way (see `blockers`)";
        Self::bad(check, Status::Warn, format!("not checked: {error}"), advice)
    }

    /// Of a list of what should not be: `ok` where there is none of it.
    pub(super) fn none_of(
        check: &'static str,
        found: Result<Vec<String>, DbError>,
        ok: &str,
        status: Status,
        advice: &str,
    ) -> Self {
        match found {
            Err(error) => Self::unchecked(check, &error),
            Ok(found) if found.is_empty() => Self::ok(check, ok),
            Ok(found) => Self::bad(check, status, shortened(&found), advice),
        }
    }
}

/// The first few, and how many more.
pub(super) fn shortened(found: &[String]) -> String {
    const SHOWN: usize = 5;
    let mut text = found.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    if found.len() > SHOWN {
        text += &format!(" and {} more", found.len() - SHOWN);
    }
    text
}
