//! The committing writer: all rows of an epoch from all workers, one epoch after the other, into every sink.
//!
//! One operator on worker 0 gathers changes until the frontier passes their epoch, and hands the epoch whole
//! to one thread that drives the sinks. The worker never waits for a disk.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::{Receiver, Sender};
use lsie_schemas::row;
use lsie_schemas::{Change, LogTime, TableRow};
use lsie_sinks::Sink;
use lsie_sinks::erase::Erased;
use serde::{Deserialize, Serialize};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::Operator;

use crate::adapter::Time;
use crate::board;
use crate::checkpoint::Part;
use crate::checkpoint::gate::Gate;
use crate::checkpoint::keeper::Handed;
use crate::cluster::hub::Hub;
use crate::crash_book::CrashBook;
use crate::fault;
use crate::ingest::{Inbox, Shared};

/// What reaches the committing writer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Written {
    /// A row came or went.
    Change(Change),
    /// An epoch exists, even if nothing changed in it.
    Tick(Time),
}

/// A complete epoch.
#[derive(Clone, Debug)]
pub struct Epoch {
    /// Its log time.
    pub log_time: LogTime,
    /// Its changes, as they came.
    pub changes: Vec<Change>,
}

/// What reaches the commit thread.
pub enum Message {
    /// A complete epoch.
    Epoch(Epoch),
    /// State for a checkpoint.
    Part(Part),
}

/// Gathers complete epochs on worker 0 and sends them on.
pub fn gather(written: StreamVec<'_, Time, Written>, epochs: Sender<Message>) {
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
            let epoch = Epoch { log_time: LogTime(time), changes };
            let _ = epochs.send(Message::Epoch(epoch));
        }
    });
}

/// Adds up the differences of equal rows and leaves out what cancels; in order of table and row.
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

/// Drives the sinks, and tells the keeper of checkpoints what they hold, until the epochs end. Runs on a thread of
/// its own.
pub struct Committer {
    /// Where epochs go.
    pub sinks: Vec<Box<dyn Sink>>,
    /// Which epochs are checkpoints.
    pub gate: Arc<Gate>,
    /// To the thread that writes them, if there are any.
    pub checkpoints: Option<Sender<Handed>>,
    /// The sessions of which no row goes on that says anything of a person.
    pub erased: Erased,
    /// The checkpoint that the run resumed from: epochs up to it are seen again and known to every sink.
    pub resumed: LogTime,
    /// Once this epoch is committed, nothing that was there at the start is under suspicion any longer.
    pub calm: (LogTime, Arc<CrashBook>),
    /// What the other processes of the run are told by.
    pub(crate) speaking: Option<Arc<Hub>>,
}

impl Committer {
    /// Takes messages until their senders are gone.
    pub fn run(
        mut self,
        messages: &Receiver<Message>,
        inboxes: &[Arc<Inbox>],
        shared: &Shared,
    ) -> anyhow::Result<()> {
        let mut shown = None;
        let mut held = None;
        for message in messages {
            match message {
                Message::Epoch(epoch) if epoch.log_time <= self.resumed => {}
                Message::Epoch(epoch) => {
                    let (log_time, changes) = (epoch.log_time, self.erased.apply(consolidate(epoch.changes)));
                    let epoch = Epoch { log_time, changes };
                    shared.metrics.count(&epoch.changes);
                    let timer = shared.metrics.committing();
                    self.commit(epoch, standing(log_time, &mut shown, shared, inboxes))?;
                    timer.observe_duration();
                    shared.metrics.committed(log_time);
                    shared.committed.store(log_time.0, Ordering::SeqCst);
                    self.speaking.iter().for_each(|hub| hub.committed(log_time));
                    if log_time >= self.calm.0 {
                        self.calm.1.calm();
                    }
                    for inbox in inboxes {
                        inbox.wake();
                    }
                }
                Message::Part(part) => self.hand(Handed::Part(part)),
            }
            let now = self.sinks.iter().map(|sink| sink.resumable_after()).min().flatten();
            if let Some(epoch) = now.filter(|_| now > held) {
                held = now;
                self.hand(Handed::Held(epoch));
            }
        }
        for sink in &mut self.sinks {
            sink.finish()?;
        }
        Ok(())
    }

    fn commit(&mut self, epoch: Epoch, shown: Vec<Change>) -> Result<(), lsie_sinks::Error> {
        let is_kept = |change: &Change| !row::transient().iter().any(|table| table.name == change.table);
        let (kept, mut transient): (Vec<Change>, Vec<Change>) = epoch.changes.into_iter().partition(is_kept);
        transient.extend(shown);
        for sink in &mut self.sinks {
            // What a sink holds it does not get twice.
            if sink.committed().is_none_or(|committed| committed < epoch.log_time) {
                sink.write(epoch.log_time, &kept)?;
                if sink.takes_transient() {
                    sink.write(epoch.log_time, &transient)?;
                }
                fault::point("commit.written");
                sink.commit(epoch.log_time)?;
            }
        }
        if self.gate.is_chosen(epoch.log_time.0) {
            for sink in &mut self.sinks {
                sink.flush()?;
                fault::point("commit.flushed");
            }
        }
        Ok(())
    }

    fn hand(&self, handed: Handed) {
        // The keeper is gone only when it failed, and then it has stopped the run.
        if let Some(keeper) = &self.checkpoints {
            let _ = keeper.send(handed);
        }
    }
}

/// The rows of tables `operators` and `sources`, once a second of log time.
fn standing(epoch: LogTime, shown: &mut Option<u64>, shared: &Shared, inboxes: &[Arc<Inbox>]) -> Vec<Change> {
    fn changes<R: TableRow>(rows: Vec<R>, epoch: LogTime) -> impl Iterator<Item = Change> {
        let change = move |row: R| Change { table: R::TABLE.name.into(), row: row.cells(), epoch, diff: 1 };
        rows.into_iter().map(change)
    }
    let second = epoch.0 / 1_000;
    if shown.replace(second) == Some(second) {
        return Vec::new();
    }
    let others = shared.elsewhere.inboxes().into_iter().map(|(_, standing)| standing);
    let standings = inboxes.iter().map(|inbox| inbox.standing()).chain(others);
    let mut sources = shared.sources.rows(epoch, standings.flat_map(|standing| standing.partitions));
    sources.extend(shared.elsewhere.sessions());
    changes(board::rows(shared.loads()), epoch).chain(changes(sources, epoch)).collect()
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
