//! The demo: login events from a queue to masked rows, by the commands that one would type, on servers of its own.
//!
//! ```text
//! demo         run it; KEEP=1 leaves the servers up for a look around
//! demo down    end what KEEP=1 left up
//! ```
//!
//! Each step checks what came of it, so the demo is a test as well: exit status 1 and a sentence if anything is not as
//! it should be. It needs `demo/bootstrap` to have run once, and the binary `pii-vault` from the same build.

mod acts;
mod cast;
mod queue;
mod sample;
mod servers;
#[path = "../tests/stack/mod.rs"]
mod stack;
mod stage;

use std::io::{self, ErrorKind, Write as _};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::spawn_blocking;

use cast::Cast;
use sample::Sample;
use servers::{Files, Servers};
use stage::Stage;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let done = match arguments.as_slice() {
        [] => perform_until_interrupted().await,
        [word] if word == "down" => down(),
        _ => {
            complain("usage: demo [down]");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(Ended::Whole) => ExitCode::SUCCESS,
        Ok(Ended::Interrupted) => {
            complain("demo: interrupted");
            ExitCode::from(130)
        }
        // Who reads our output has gone away: not worth a word.
        Err(error) if error.chain().any(is_broken_pipe) => ExitCode::FAILURE,
        Err(error) => {
            complain(&format!("demo: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

enum Ended {
    Whole,
    Interrupted,
}

/// To be interrupted is to drop the story, and with it the servers and the command that is running. The runtime waits
/// for servers that are only just starting, and drops them then.
async fn perform_until_interrupted() -> Result<Ended> {
    let (mut interrupt, mut terminate, mut hang_up) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    tokio::select! {
        done = perform() => done.map(|()| Ended::Whole),
        _ = interrupt.recv() => Ok(Ended::Interrupted),
        _ = terminate.recv() => Ok(Ended::Interrupted),
        _ = hang_up.recv() => Ok(Ended::Interrupted),
    }
}

async fn perform() -> Result<()> {
    let began = Instant::now();
    let keep = std::env::var("KEEP").is_ok_and(|keep| !matches!(keep.as_str(), "" | "0"));
    let files = Files::find()?;
    let (sample, mut stage) = (Sample::read()?, Stage::new()?);
    stage.say(
        "pii-vault: login events that are safe to analyse and possible to recover. Everything here is invented.",
    )?;

    stage.heading("Three servers, on ports of this machine that were free")?;
    let servers = spawn_blocking({
        let files = files.clone();
        move || Servers::start(keep, &files)
    })
    .await??;
    let cast = Cast::new(&servers)?;
    acts::set_up::servers(&mut stage, &servers)?;
    acts::set_up::database(&mut stage, &cast).await?;
    acts::set_up::vault(&mut stage, &cast).await?;
    let queue = acts::ingest::send(&mut stage, &cast, &sample).await?;
    acts::ingest::run(&mut stage, &cast, &sample, &queue).await?;
    acts::analyse::rows(&mut stage, &cast).await?;
    acts::analyse::duplicates(&mut stage, &cast, &sample).await?;
    acts::analyse::refusals(&mut stage, &cast).await?;
    acts::ingest::write_only(&mut stage, &cast).await?;
    acts::identities::ingestion_cannot_open(&mut stage, &cast).await?;
    acts::ingest::dead_letters(&mut stage, &cast, &sample).await?;
    acts::proof::nothing_in_clear(&mut stage, &cast, &sample, &servers, &queue).await?;
    let token = acts::unmask::most_frequent_token(&mut stage, &cast).await?;
    acts::unmask::policy(&mut stage, &cast).await?;
    acts::unmask::refused_alone(&mut stage, &cast, &token).await?;
    acts::unmask::granted_by_another(&mut stage, &cast, &token, &sample).await?;
    acts::unmask::recorded(&mut stage, &cast).await?;
    acts::rotate::key_encryption_key(&mut stage, &cast).await?;
    acts::rotate::data_key(&mut stage, &cast).await?;
    acts::rotate::token_key(&mut stage, &cast, &sample, &token).await?;
    acts::unmask::altered(&mut stage, &cast).await?;

    // If they are not kept, this is where they end.
    let kept = keep.then_some(servers);
    let ended = if keep { "stay up" } else { "are stopped, and what they stored is deleted" };
    let seconds = began.elapsed().as_secs_f64();
    stage
        .title(&format!("All was as it should be: {} steps in {seconds:.1} s. The servers {ended}.", stage.steps()))?;
    acts::set_up::your_own(&stage)?;
    kept.map_or(Ok(()), |servers| servers.leave_running(&files, &cast, queue.url(), &stage))
}

fn down() -> Result<Ended> {
    let word = if Servers::stop_kept(&Files::find()?)? { "stopped and deleted" } else { "nothing was left running" };
    writeln!(io::stdout(), "{word}")?;
    Ok(Ended::Whole)
}

fn is_broken_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

/// There is nobody to tell where that fails.
fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
