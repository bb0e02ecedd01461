//! Logs: to standard error, structured, ids and counts only.

use std::io::{self, IsTerminal as _};

use clap::ValueEnum;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::{EnvFilter, filter_fn};
use tracing_subscriber::prelude::*;

use super::progress::AboveLine;

/// How logs are written: lines for people, or a JSON object a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    #[default]
    Text,
    Json,
}

/// Starts logging. `RUST_LOG` chooses what; the default is `warn,pii_vault=info`.
pub(super) fn start(format: LogFormat) {
    let chosen = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,pii_vault=info"));
    let lines = tracing_subscriber::fmt::layer().with_writer(|| AboveLine).with_ansi(io::stderr().is_terminal());
    let layer = match format {
        LogFormat::Text => lines.with_target(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry().with(layer.with_filter(chosen).with_filter(filter_fn(may_be_logged))).init();
}

/// Whatever `RUST_LOG` asks for: below warnings, other crates log what goes over the wire, which is plaintext.
fn may_be_logged(metadata: &Metadata<'_>) -> bool {
    let ours = metadata.target() == "pii_vault" || metadata.target().starts_with("pii_vault::");
    ours || *metadata.level() <= Level::WARN
}
