use std::io::{self, Read};
use std::sync::{Arc, OnceLock};

use time::Date;
use tokio::sync::{Mutex, mpsc};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use tracing::{debug, instrument};

use super::byte_budget::ByteBudget;
use super::error::EtlError;
use super::line_progress::{LineProgress, Lines};
use super::line_reader::{Chunk, End, Line, LineReader};
use super::outage::Outages;
use super::pipeline::Pipeline;
use super::protect::{Incoming, Protected, Protector};
use super::store::Settled;
use super::summary::Counters;
use crate::aws::KeyWrapper;
use crate::domain::EventId;

/// JSON lines to back-fill, plain or in gzip.
pub struct LineFile {
    input: Box<dyn Read + Send>,
    source: String,
    create_date: Date,
    progress: Arc<LineProgress>,
}

impl LineFile {
    /// The lines of `input`, from line `from` on, as logins of the day `create_date`. A line's identity is that day,
    /// the `source` and its number.
    #[must_use]
    pub fn new(input: Box<dyn Read + Send>, source: String, create_date: Date, from: u64) -> Self {
        Self { input, source, create_date, progress: Arc::new(LineProgress::new(from)) }
    }

    /// How far it is read; up to date while it is, and afterwards.
    #[must_use]
    pub fn progress(&self) -> Arc<LineProgress> {
        self.progress.clone()
    }
}

pub(super) async fn run<W: KeyWrapper>(file: LineFile, mut pipeline: Pipeline<W>) -> Result<(), EtlError> {
    let LineFile { input, source, create_date, progress } = file;
    let from = progress.from();
    let failed = |source| EtlError::Input { line: from, source };
    let opening = off_the_runtime(move || LineReader::new(input, from));
    let reader = tokio::select! {
        biased;
        () = pipeline.stop.cancelled() => return Err(EtlError::Stopped),
        reader = opening => reader?.map_err(failed)?,
    };
    let shared = Arc::new(Shared {
        reader: Mutex::new(Some(reader)),
        failure: OnceLock::new(),
        source,
        create_date,
        progress: progress.clone(),
    });
    let (to_store, settled) = pipeline.spawn_writers();
    for _ in 0..pipeline.options.receivers.get() {
        let reader = Reader {
            shared: shared.clone(),
            protector: pipeline.protector.clone(),
            byte_budget: pipeline.byte_budget.clone(),
            counters: pipeline.counters.clone(),
            stop: pipeline.stop.clone(),
            outages: pipeline.outages.clone(),
        };
        pipeline.spawn(reader.run(to_store.clone()));
    }
    drop(to_store);
    pipeline.spawn(settle(settled, progress.clone()));
    let stop = pipeline.stop.clone();
    pipeline.finish().await?;
    match Arc::into_inner(shared).and_then(|shared| shared.failure.into_inner()) {
        Some((line, source)) => Err(EtlError::Input { line, source }),
        None if progress.is_complete() => Ok(()),
        None if stop.is_cancelled() => Err(EtlError::Stopped),
        None => Err(EtlError::GivenUp),
    }
}

struct Shared {
    /// Whoever holds it reads the next chunk. `None` at the end.
    reader: Mutex<Option<LineReader>>,
    failure: OnceLock<(u64, io::Error)>,
    source: String,
    create_date: Date,
    progress: Arc<LineProgress>,
}

/// Reads, parses and protects: the plaintext of a line lives in this task alone.
struct Reader<W> {
    shared: Arc<Shared>,
    protector: Arc<Protector<W>>,
    byte_budget: ByteBudget,
    counters: Arc<Counters>,
    stop: CancellationToken,
    outages: Arc<Outages>,
}

impl<W: KeyWrapper> Reader<W> {
    /// Runs until the end of the file, a fault, or until it is told to stop. A fault ends reading, not what is in
    /// flight.
    #[instrument(name = "read", skip_all)]
    async fn run(self, to_store: mpsc::Sender<Protected<Lines>>) -> Result<(), EtlError> {
        loop {
            let next = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ok(()),
                next = self.next() => next?,
            };
            let Some((lines, room)) = next else { return Ok(()) };
            if lines.is_empty() {
                continue;
            }
            debug!(count = lines.len(), "read");
            self.counters.received(lines.len());
            let incoming = lines.into_iter().map(|line| self.take_in(line)).unzip();
            let protected = self.protector.protect_all(incoming, room, &self.outages).await?;
            // Waits while the writers are behind. An error means that they have failed, and they say why.
            if to_store.send(protected).await.is_err() {
                return Ok(());
            }
        }
    }

    async fn next(&self) -> Result<Option<(Vec<Line>, super::byte_budget::Room)>, EtlError> {
        self.outages.over().await;
        let mut turn = self.shared.reader.lock().await;
        let Some(mut room) = self.byte_budget.reserve().await else { return Ok(None) };
        // Where this is cancelled now, nobody reads on: the run was told to stop.
        let Some(mut reader) = turn.take() else { return Ok(None) };
        let (reader, Chunk { lines, end }) = off_the_runtime(move || {
            let chunk = reader.chunk();
            (reader, chunk)
        })
        .await?;
        match end {
            End::Open => *turn = Some(reader),
            End::Reached { since, next } => self.shared.progress.end(since, next),
            End::Failed(line, error) => {
                let _ = self.shared.failure.set((line, error));
            }
        }
        room.shrink_to(lines.iter().map(|line| line.body.len()).sum());
        Ok(Some((lines, room)))
    }

    fn take_in(&self, line: Line) -> (Incoming, Lines) {
        let Line { number, since, body, refusal } = line;
        let id = EventId::of_line(self.protector.vault, &self.shared.source, number);
        let incoming = Incoming { id, create_date: self.shared.create_date, body, refusal };
        (incoming, Lines { since, next: number + 1 })
    }
}

/// Takes note of what is committed. What was given up is not: it must be read again.
async fn settle(mut settled: mpsc::Receiver<Settled<Lines>>, progress: Arc<LineProgress>) -> Result<(), EtlError> {
    while let Some(settled) = settled.recv().await {
        if let Settled::Committed(committed) = settled {
            progress.settle(committed.into_receipts());
        }
    }
    Ok(())
}

/// Reading a file blocks, and of a terminal or a pipe for as long as somebody likes.
async fn off_the_runtime<T: Send + 'static>(read: impl FnOnce() -> T + Send + 'static) -> Result<T, EtlError> {
    spawn_blocking(read).await.map_err(|_| EtlError::Task)
}
