use std::time::Duration;

use uuid::Uuid;

use crate::cli::config::duration;
use crate::db::rotation::kek::Which;

/// Some keys of a purpose and not all.
#[derive(clap::Args, Debug)]
pub(super) struct ChoiceArgs {
    /// Keys alone that were wrapped longer ago than this, e.g. 90d; 0 are all
    #[arg(long, value_name = "DURATION", conflicts_with = "newest_material", value_parser = duration)]
    max_age: Option<Duration>,
    /// This key alone; can be repeated, and go with --max-age
    #[arg(long, value_name = "UUID", conflicts_with = "newest_material")]
    key: Vec<Uuid>,
}

impl ChoiceArgs {
    pub(super) fn which(self, newest: bool) -> Which {
        match (self.max_age, self.key) {
            (None, keys) if keys.is_empty() && newest => Which::All,
            (None, keys) if keys.is_empty() => Which::OfOthers,
            (max_age, keys) => Which::Chosen { keys, max_age },
        }
    }
}
