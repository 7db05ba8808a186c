//! The committing writer: all rows of an epoch from all workers, one epoch after the other, into every sink.
//!
//! One operator on worker 0 gathers changes until the frontier passes their epoch, and hands the epoch whole
//! to one thread that drives the sinks. The worker never waits for a disk.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::{Receiver, Sender};
use lsie_schemas::{Change, LogTime};
use lsie_sinks::Sink;
use serde::{Deserialize, Serialize};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::Operator;

use crate::adapter::Time;
use crate::ingest::{Inbox, Shared};

/// What reaches the committing writer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Written {
    /// A row came or went.
    Change(Change),
    /// An epoch exists, even if nothing changed in it.
    Tick(Time),
}

/// A complete epoch: its consolidated changes, in order of table and row.
#[derive(Clone, Debug)]
pub struct Epoch {
    /// Its log time.
    pub log_time: LogTime,
    /// Its changes.
    pub changes: Vec<Change>,
}

/// Gathers complete epochs on worker 0 and sends them on.
pub fn gather(written: StreamVec<'_, Time, Written>, epochs: Sender<Epoch>) {
    let mut open: BTreeMap<Time, Vec<Change>> = BTreeMap::new();
    let pact = Exchange::new(|_: &Written| 0);
    written.sink(pact, "commit", move |(input, frontier)| {
        input.for_each_stamp(|_, batches| {
            for item in batches.flat_map(|batch| batch.drain(..)) {
                match item {
                    Written::Change(change) => open.entry(change.epoch.0).or_default().push(change),
                    Written::Tick(time) => {
                        open.entry(time).or_default();
                    }
                }
            }
        });
        while let Some(entry) = open.first_entry().filter(|entry| !frontier.less_equal(entry.key())) {
            let (time, changes) = entry.remove_entry();
            // The writer is gone only when it failed, and then it has stopped the run.
            let _ = epochs.send(Epoch { log_time: LogTime(time), changes: consolidate(changes) });
        }
    });
}

/// Adds up the differences of equal rows and leaves out what cancels.
fn consolidate(mut changes: Vec<Change>) -> Vec<Change> {
    changes.sort_unstable();
    let mut kept: Vec<Change> = Vec::with_capacity(changes.len());
    for change in changes {
        match kept.last_mut().filter(|last| last.table == change.table && last.row == change.row) {
            Some(last) => last.diff += change.diff,
            None => kept.push(change),
        }
    }
    kept.retain(|change| change.diff != 0);
    kept
}

/// Drives the sinks until the epochs end. Runs on a thread of its own.
pub fn write(
    epochs: &Receiver<Epoch>,
    sinks: &mut [Box<dyn Sink>],
    inboxes: &[Arc<Inbox>],
    shared: &Shared,
) -> Result<(), lsie_sinks::Error> {
    for epoch in epochs {
        for sink in sinks.iter_mut() {
            // After a restart the log is read again from its beginning; what a sink holds it does not get
            // twice.
            if sink.committed().is_none_or(|committed| committed < epoch.log_time) {
                sink.write(epoch.log_time, &epoch.changes)?;
                sink.commit(epoch.log_time)?;
            }
        }
        shared.committed.store(epoch.log_time.0, Ordering::SeqCst);
        for inbox in inboxes {
            inbox.wake();
        }
    }
    for sink in sinks {
        sink.finish()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use lsie_schemas::Cell;

    #[test]
    fn what_cancels_is_left_out() {
        let change = |value: i64, diff| Change {
            table: "t".into(),
            row: vec![Cell::Int(value)],
            epoch: LogTime(1),
            diff,
        };
        let kept = consolidate(vec![change(2, 1), change(1, 1), change(2, -1), change(3, 1), change(3, 1)]);
        assert_eq!(kept, [change(1, 1), change(3, 2)]);
    }
}
