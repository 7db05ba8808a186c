//! Appends a timeline to a log, in real time or as fast as the log takes it.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use lsie_schemas::log::{AppendRecord, NewRecord};

use super::FeedError;
use super::timeline::TimedRecord;
use crate::clock::now;

/// Most records and bytes of one append.
const BATCH_RECORDS: usize = 1_000;
const BATCH_BYTES: usize = 1 << 20;
/// In real time, what becomes due within this is appended together.
const TICK: Duration = Duration::from_millis(5);

/// How fast to feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Each record when it is due. Meant for topics that assign append times.
    RealTime,
    /// As fast as the log takes them. Only topics that keep creation times then tell when it happened.
    Max,
}

/// How far a feed has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Records appended.
    pub records: u64,
    /// Bytes of their values.
    pub bytes: u64,
    /// Time in the feed, in milliseconds.
    pub at_ms: u64,
}

/// Appends a timeline in batches and reports after each; the report may break the feed off.
pub fn feed(
    log: &dyn AppendRecord,
    timeline: impl Iterator<Item = TimedRecord>,
    pace: Pace,
    mut report: impl FnMut(Progress) -> ControlFlow<()>,
) -> Result<Progress, FeedError> {
    let mut timeline = timeline.peekable();
    let start = now();
    let mut progress = Progress::default();
    while let Some(next) = timeline.peek() {
        let until = match pace {
            Pace::Max => u64::MAX,
            Pace::RealTime => {
                wait_until(start + Duration::from_millis(next.at_ms));
                u64::try_from((start.elapsed() + TICK).as_millis()).unwrap_or(u64::MAX).max(next.at_ms)
            }
        };
        let mut batch: Vec<NewRecord> = Vec::new();
        let mut bytes = 0;
        while batch.len() < BATCH_RECORDS && bytes < BATCH_BYTES {
            let Some(due) = timeline.next_if(|record| record.at_ms <= until) else { break };
            progress.at_ms = due.at_ms;
            bytes += due.record.value.len();
            batch.push(due.record);
        }
        progress.records += batch.len() as u64;
        progress.bytes += bytes as u64;
        log.append(batch)?;
        if report(progress).is_break() {
            break;
        }
    }
    Ok(progress)
}

fn wait_until(instant: Instant) {
    let left = instant.saturating_duration_since(now());
    if !left.is_zero() {
        std::thread::sleep(left);
    }
}
