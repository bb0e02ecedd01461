//! What the sinks hold, and what goes into them.

use std::collections::BTreeMap;

use tracing::{error, warn};

use super::error::{Broken, NotaryError, SinkFault};
use super::sink::Sink;
use super::{Failing, Options};
use crate::crypto::checkpoint::SignedCheckpoint;
use crate::domain::VaultId;

/// A copy that a sink holds.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) signed: SignedCheckpoint,
    pub(super) place: String,
}

impl Options {
    /// The copies for entries from `seq` on, in all sinks that can be read. `aloud`: a log says which cannot.
    pub(super) async fn copies_from(
        &self,
        vault: VaultId,
        seq: i64,
        aloud: bool,
    ) -> Result<BTreeMap<i64, Vec<Found>>, NotaryError> {
        let mut found: BTreeMap<i64, Vec<Found>> = BTreeMap::new();
        for sink in &self.sinks {
            let names = match sink.names_after(&SignedCheckpoint::file_name(seq - 1)).await {
                Ok(names) => names,
                Err(fault) if fault.is_denial() => {
                    if aloud {
                        warn!(%sink, %fault, "what this sink holds cannot be compared with the log");
                    }
                    continue;
                }
                Err(fault) => {
                    self.failed(sink, seq, fault)?;
                    continue;
                }
            };
            for seq in names.iter().filter_map(|name| SignedCheckpoint::seq_of(name)) {
                match self.copy(sink, vault, seq).await {
                    Ok(copy) => found.entry(seq).or_default().extend(copy),
                    Err(fault) => self.failed(sink, seq, fault)?,
                }
            }
        }
        Ok(found)
    }

    /// A copy that some sink has for the entry.
    pub(super) async fn copy_for(&self, vault: VaultId, seq: i64) -> Result<Option<Found>, NotaryError> {
        for sink in &self.sinks {
            match self.copy(sink, vault, seq).await {
                Ok(None) => {}
                Ok(found) => return Ok(found),
                // Writing will tell whether there is one.
                Err(fault) if fault.is_denial() => {}
                Err(fault) => self.failed(sink, seq, fault)?,
            }
        }
        Ok(None)
    }

    /// Puts a copy into each sink. What is there already must say the same.
    pub(super) async fn write(&self, signed: &SignedCheckpoint) -> Result<(), NotaryError> {
        let (seq, copy) = (signed.checkpoint.seq, signed.to_copy());
        let name = SignedCheckpoint::file_name(seq);
        for sink in &self.sinks {
            let there = match sink.add(&name, &copy).await {
                Ok(true) => continue,
                Ok(false) => self.copy(sink, signed.checkpoint.vault, seq).await,
                Err(fault) => Err(fault),
            };
            match there {
                Ok(Some(found)) => found.agrees_with(signed)?,
                // It was there, and went.
                Ok(None) => self.failed(sink, seq, SinkFault::Foreign(name.clone()))?,
                Err(fault) if fault.is_denial() => self.failed(sink, seq, SinkFault::Unreadable(name.clone()))?,
                Err(fault) => self.failed(sink, seq, fault)?,
            }
        }
        Ok(())
    }

    pub(super) async fn copy(&self, sink: &Sink, vault: VaultId, seq: i64) -> Result<Option<Found>, SinkFault> {
        let name = SignedCheckpoint::file_name(seq);
        let Some(content) = sink.read(&name).await? else { return Ok(None) };
        let signed = SignedCheckpoint::from_copy(&content)
            .ok()
            .filter(|signed| signed.checkpoint.vault == vault && signed.checkpoint.seq == seq)
            .filter(|signed| self.public_key.as_ref().is_none_or(|key| signed.verify(key).is_ok()))
            .ok_or(SinkFault::Foreign(name))?;
        Ok(Some(Found { signed, place: sink.to_string() }))
    }

    /// A sink failed: an error, or an alarm.
    fn failed(&self, sink: &Sink, seq: i64, fault: SinkFault) -> Result<(), NotaryError> {
        match self.on_sink_failure {
            Failing::Stops => Err(NotaryError::Sink { sink: sink.to_string(), seq, fault }),
            Failing::Alarms => {
                error!(%sink, seq, %fault, "a checkpoint has no copy in this sink");
                Ok(())
            }
        }
    }
}

impl Found {
    /// Whether it is for the same head, after the same checkpoint.
    pub(super) fn agrees_with(&self, signed: &SignedCheckpoint) -> Result<(), Broken> {
        let (found, ours) = (&self.signed.checkpoint, &signed.checkpoint);
        if found.head_hash != ours.head_hash {
            return Err(Broken::OtherHead { place: self.place.clone(), seq: ours.seq });
        }
        if !found.says_the_same(ours) {
            return Err(Broken::OtherPrevious { place: self.place.clone(), seq: ours.seq });
        }
        Ok(())
    }
}
