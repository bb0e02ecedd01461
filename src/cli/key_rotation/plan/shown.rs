use std::fmt;

use serde::Serialize;

use super::estimate::{Pace, Sample};
use crate::cli::key_rotation::status::within;

/// What a rotation would take.
#[derive(Serialize)]
pub(super) struct Plan {
    pub(super) kind: &'static str,
    pub(super) purpose: &'static str,
    /// Keys that would be left, or wrapped anew.
    pub(super) keys: i64,
    /// Rows that would be changed; of a kek rotation none.
    pub(super) rows: i64,
    pub(super) kms_calls: Calls,
    /// `None`: nothing was measured.
    pub(super) seconds: Option<f64>,
    /// Of a token-key rotation: what `finish` takes afterwards.
    pub(super) finish_seconds: Option<f64>,
    pub(super) sample: Option<Sample>,
    pub(super) pace: Option<Pace>,
    /// In sentences.
    pub(super) assumed: Vec<String>,
}

/// By API action.
#[derive(Serialize)]
pub(super) struct Calls {
    pub(super) decrypt: i64,
    pub(super) generate_data_key: i64,
    pub(super) re_encrypt: i64,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Calls { decrypt, generate_data_key, re_encrypt } = self.kms_calls;
        writeln!(f, "{} rotation of {} keys", self.kind, self.purpose)?;
        writeln!(f, "keys          {}", self.keys)?;
        writeln!(f, "rows          {}", self.rows)?;
        writeln!(f, "KMS calls     {decrypt} Decrypt, {generate_data_key} GenerateDataKey, {re_encrypt} ReEncrypt")?;
        match self.seconds {
            Some(seconds) => writeln!(f, "time          about {}", within(seconds))?,
            None => writeln!(f, "time          not measured")?,
        }
        if let Some(finish) = self.finish_seconds {
            writeln!(f, "finish        about {} more, later", within(finish))?;
        }
        for (sentence, title) in self.assumed.iter().zip(std::iter::once("assumed").chain(std::iter::repeat(""))) {
            writeln!(f, "{title:<14}{sentence}")?;
        }
        writeln!(f, "nothing was changed")
    }
}
