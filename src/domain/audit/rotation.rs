use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

/// A rotation of keys, or what became of it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Rotation {
    /// `kek`, `data-key` or `token-key`.
    pub kind: String,
    /// `data`, `token` or `dead-letter`.
    pub purpose: String,
    /// `start`, or what was done: `pause`, `resume`, `filled`, `cut_over`, `roll_back`, `finish`, `retire`, `done`,
    /// `abandoned`, …
    pub step: String,
    /// Of its start: rows or keys that are to be changed.
    #[serde(default)]
    pub total: Option<i64>,
    /// Of later steps: those that were, up to then.
    #[serde(default)]
    pub changed: Option<i64>,
    /// Those that were passed over.
    #[serde(default)]
    pub failed: Option<i64>,
    /// Of its start: how many keys it leaves; of a retirement: which.
    #[serde(default)]
    keys: Value,
    /// Of its start: the keys that it leaves; `None` where they are too many to list.
    #[serde(default)]
    pub old_keys: Option<Vec<Uuid>>,
    /// Of its start: the token key that it makes.
    #[serde(default)]
    pub new_key: Option<Uuid>,
    /// Of a retirement: the KMS key that may not wrap any more.
    #[serde(default)]
    pub kms_key: Option<String>,
    /// Of its start: the KMS key to wrap under.
    #[serde(default)]
    pub target_kms_key: Option<String>,
}

impl Rotation {
    /// How many keys it is about, where it says so.
    #[must_use]
    pub fn key_count(&self) -> Option<i64> {
        match &self.keys {
            Value::Array(keys) => i64::try_from(keys.len()).ok(),
            keys => keys.as_i64(),
        }
    }

    /// The keys that are retired.
    #[must_use]
    pub fn retired(&self) -> Vec<Uuid> {
        let keys = self.keys.as_array().map(Vec::as_slice).unwrap_or_default();
        keys.iter().filter_map(Value::as_str).filter_map(|key| key.parse().ok()).collect()
    }
}
