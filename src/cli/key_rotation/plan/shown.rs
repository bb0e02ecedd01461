use std::fmt;

use serde::Serialize;

use super::estimate::{Pace, Sample};
use crate::cli::key_rotation::status::within;

/// What a rotation would take.
#[derive(Serialize)]
pub(in crate::cli::key_rotation) struct Plan {
    pub(in crate::cli::key_rotation) kind: &'static str,
    pub(in crate::cli::key_rotation) purpose: &'static str,
    /// Keys that would be left, or wrapped anew.
    pub(in crate::cli::key_rotation) keys: i64,
    /// Rows that would be changed; of a kek rotation none.
    pub(in crate::cli::key_rotation) rows: i64,
    pub(in crate::cli::key_rotation) kms_calls: Requests,
    /// `None`: nothing was measured.
    pub(in crate::cli::key_rotation) seconds: Option<f64>,
    /// Of a token-key rotation: what `finish` takes afterwards.
    pub(in crate::cli::key_rotation) finish_seconds: Option<f64>,
    pub(in crate::cli::key_rotation) sample: Option<Sample>,
    pub(in crate::cli::key_rotation) pace: Option<Pace>,
    /// Of a kek rotation: what was measured.
    pub(in crate::cli::key_rotation) kms_seconds_per_call: Option<f64>,
    /// Of a kek rotation: the ARN to wrap under.
    pub(in crate::cli::key_rotation) target: Option<String>,
    /// In sentences.
    pub(in crate::cli::key_rotation) assumed: Vec<String>,
}

/// By API action.
#[derive(Serialize)]
pub(in crate::cli::key_rotation) struct Requests {
    pub(in crate::cli::key_rotation) decrypt: i64,
    pub(in crate::cli::key_rotation) generate_data_key: i64,
    pub(in crate::cli::key_rotation) re_encrypt: i64,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Requests { decrypt, generate_data_key, re_encrypt } = self.kms_calls;
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
