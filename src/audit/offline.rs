//! An export, verified without a database and without KMS.

use std::io::{self, BufRead, Read as _};

use super::chain::Chain;
use super::error::VerifyError;
use super::evidence::{Evidence, Trusted};
use super::export::line::{Header, Line};
use super::finding::Broken;
use super::replay::Replay;
use super::report::Report;
use super::walk::Walk;
use crate::db::audit_log::Head;

/// The longest line that is read. What an entry holds is bounded far below.
const LONGEST: u64 = 64 * 1024 * 1024;

/// Verifies an export; what tables say is not in one. `tell` hears how many entries are done, of how many. The memory
/// grows as that of [`verify`](super::verify) does.
///
/// A part begins with the hash that it says the entry before it has; a checkpoint for any entry of it shows whether
/// that is true. Whether what it allowed was right is not looked at, unless it begins with the log.
///
/// # Errors
/// [`VerifyError`]. What is wrong with the log is no error, but in the report.
pub fn verify_export(
    mut export: impl BufRead,
    trusted: Trusted,
    tell: impl Fn(i64, i64),
) -> Result<Report, VerifyError> {
    let evidence = Evidence::of(trusted)?;
    let mut line = Vec::new();
    let header =
        read(&mut export, &mut line)?.then(|| Header::parse(&line)).flatten().ok_or(VerifyError::NotAnExport)?;
    let before = header.first_seq - 1;
    let mut walk = Walk {
        report: Report::of(header.vault, header.head),
        chain: Chain::after(header.vault, before, header.hash_before),
        replay: header.begins_the_log().then(|| Replay::of(header.vault)),
        evidence,
    };
    if !(header.begins_the_log() && header.ends_the_log()) {
        walk.report.part = Some((header.first_seq, header.last_seq));
    }
    if !header.begins_the_log() {
        walk.report.note("part", Some(header.first_seq), PART);
        walk.evidence.begin_after(before, header.hash_before, &mut walk.report)?;
    }
    while read(&mut export, &mut line)? {
        match Line::parse(&line) {
            Some(Line::Entry { vault, .. }) if vault != header.vault => {
                let what = "after it comes an entry of another vault";
                walk.report.add(walk.chain.seq(), Err(Broken::new("line", what)));
            }
            Some(Line::Entry { entry, .. }) => {
                walk.entry(&entry)?;
                tell(walk.report.entries, header.last_seq - before);
            }
            Some(Line::Checkpoint(signed)) => walk.row(&signed),
            None => {
                let what = "after it comes a line that is neither an entry nor a checkpoint";
                walk.report.add(walk.chain.seq(), Err(Broken::new("line", what)));
            }
        }
    }
    let is_whole = header.ends_the_log();
    let last = if is_whole { header.head } else { Head { seq: header.last_seq, hash: walk.chain.hash() } };
    walk.end(last, is_whole, 0)
}

/// The next line, without its line feed; `false`: there is none.
fn read(export: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    export.by_ref().take(LONGEST).read_until(b'\n', line)?;
    let is_line = !line.is_empty();
    line.pop_if(|last| *last == b'\n');
    Ok(is_line)
}

const PART: &str =
    "a part of the log: whether what it allowed was right depends on what is before it, and was not looked at";
