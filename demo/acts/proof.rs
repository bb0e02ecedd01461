//! A search for the originals in all that is left.

use std::fs;

use anyhow::{Context, Result, ensure};

use crate::cast::Cast;
use crate::queue::Queue;
use crate::sample::Sample;
use crate::servers::Servers;
use crate::stage::Stage;

/// Addresses and device ids are searched as they were written and, as pg_dump shows binary columns, in hexadecimal.
pub(crate) async fn nothing_in_clear(
    stage: &mut Stage,
    cast: &Cast,
    sample: &Sample,
    servers: &Servers,
    queue: &Queue,
) -> Result<()> {
    stage.heading("Nothing is left in clear")?;
    let dump = stage.pg_dump(cast, &cast.superuser).await?;
    let log = fs::read_to_string(servers.stack().postgres.log()).context("reading PostgreSQL's log")?;
    let (users, secrets) = (sample.users(), sample.secrets());

    let known = users.iter().filter(|user| dump.contains(**user)).count();
    ensure!(known == users.len(), "pg_dump has {known} of {} users, so what it lacks proves nothing", users.len());
    stage.say(&format!("the dump: {} bytes, with all {known} user ids, which stay in clear", dump.len()))?;
    stage.say(&format!("addresses, device ids and whole dead letters to search for: {}\n", secrets.len()))?;
    for (place, text) in [
        ("in the dump", dump.as_str()),
        ("in PostgreSQL's log", &log),
        ("in what the commands above printed", stage.transcript()),
    ] {
        let found = secrets.iter().filter(|secret| text.contains(**secret) || text.contains(&hex(secret))).count();
        stage.say(&format!("found {place:<36} {found}"))?;
        ensure!(found == 0, "found in clear {place}: {found} of {} originals", secrets.len());
    }
    let depth = queue.depth().await?;
    stage.say(&format!("messages left in the queue                 {depth}"))?;
    ensure!(depth == 0, "the queue still holds {depth} messages");
    Ok(())
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}
