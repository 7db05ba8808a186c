//! The queue between the engine and a target, and what is known of the target.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lsie_schemas::{Change, LogTime};

use crate::Error;
use crate::size::size;

/// Rows that are handed out at once.
const MOST_ROWS: usize = 50_000;
/// Epochs that are counted one by one; beyond, several together, so that an absence costs no memory.
const MOST_MARKS: usize = 4_096;

/// A complete epoch.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) epoch: LogTime,
    pub(super) changes: Vec<Change>,
    bytes: usize,
}

/// What the target is to get next.
pub(super) enum Next {
    /// These epochs.
    Epochs(Vec<Arc<Entry>>),
    /// For now nothing more: what it has been handed is to be made durable.
    Flush,
    /// What the changelog holds beyond it.
    CatchUp,
    /// Nothing more: all is there.
    End,
    /// Nothing more, whatever is missing.
    Stop,
}

/// How far a target is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The newest epoch that it holds, as far as known.
    pub reached: Option<LogTime>,
    /// The newest epoch of the run.
    pub newest: Option<LogTime>,
    /// Why it is away; none if it is there.
    pub away: Option<String>,
    /// Epochs of this run that it lacks, and rows that came or went in them.
    pub behind: Behind,
    /// About how many bytes wait for it in memory.
    pub waiting_bytes: usize,
    /// Whether it refuses for good.
    pub has_failed: bool,
}

/// How much a target lacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Behind {
    /// Epochs.
    pub epochs: u64,
    /// Rows that came or went.
    pub rows: u64,
}

impl Behind {
    fn and(self, other: Behind) -> Behind {
        Behind { epochs: self.epochs + other.epochs, rows: self.rows + other.rows }
    }
}

impl Status {
    /// How far it is behind the run, ms of log time.
    pub fn lag_ms(&self) -> u64 {
        self.newest.unwrap_or_default().0.saturating_sub(self.reached.unwrap_or_default().0)
    }
}

#[derive(Debug)]
pub(super) struct Queue {
    bound: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    entries: VecDeque<Arc<Entry>>,
    /// What came with each epoch, or with several up to it, that the target lacks.
    marks: VecDeque<(LogTime, Behind)>,
    /// Every epoch after this one is in the queue.
    floor: Option<LogTime>,
    status: Status,
    /// Whether it was away since it was last there.
    was_away: bool,
    is_ending: bool,
    is_stopped: bool,
    /// Somebody has waited for the target.
    is_awaited: bool,
    failure: Option<Error>,
}

impl State {
    /// Counts an epoch as lacking.
    fn mark(&mut self, epoch: LogTime, rows: u64) {
        self.marks.push_back((epoch, Behind { epochs: 1, rows }));
        if self.marks.len() > MOST_MARKS {
            let marks: Vec<_> = self.marks.drain(..).collect();
            let pairs = marks.chunks(2).filter_map(|pair| {
                let (last, _) = pair.last()?;
                Some((*last, pair.iter().fold(Behind::default(), |sum, (_, mark)| sum.and(*mark))))
            });
            self.marks = pairs.collect();
        }
    }
}

impl Queue {
    /// An empty queue of a run whose changelog holds all up to `floor`.
    pub(super) fn new(bound: usize, floor: Option<LogTime>) -> Queue {
        let status = Status { newest: floor, away: Some("not reached yet".into()), ..Status::default() };
        let state = State { floor, status, ..State::default() };
        Queue { bound, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Adds an epoch; past the bound, lets all of them go.
    pub(super) fn push(&self, epoch: LogTime, changes: Vec<Change>) {
        let bytes = size_of::<Entry>() + changes.iter().map(size).sum::<usize>();
        let mut state = self.lock();
        state.mark(epoch, changes.len() as u64);
        state.status.newest = state.status.newest.max(Some(epoch));
        state.status.waiting_bytes += bytes;
        state.entries.push_back(Arc::new(Entry { epoch, changes, bytes }));
        if state.status.waiting_bytes > self.bound {
            state.floor = Some(epoch);
            state.entries.clear();
            state.status.waiting_bytes = 0;
        }
        drop(state);
        self.changed.notify_all();
    }

    /// What a target gets next that holds everything up to `reached` and has been handed everything up to `handed`;
    /// waits for it.
    pub(super) fn next(&self, reached: Option<LogTime>, handed: Option<LogTime>) -> Next {
        self.reached(reached);
        let mut state = self.lock();
        loop {
            if state.is_stopped {
                return Next::Stop;
            }
            if handed < state.floor {
                return Next::CatchUp;
            }
            let new = state.entries.partition_point(|entry| Some(entry.epoch) <= handed);
            if new < state.entries.len() {
                let mut rows = 0;
                let few = state.entries.range(new..).take_while(|entry| {
                    let fits = rows < MOST_ROWS;
                    rows += entry.changes.len();
                    fits
                });
                return Next::Epochs(few.cloned().collect());
            }
            if handed > reached {
                return Next::Flush;
            }
            if state.is_ending {
                return Next::End;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The target holds everything up to here; true if it shall get nothing more.
    pub(super) fn reached(&self, reached: Option<LogTime>) -> bool {
        let mut state = self.lock();
        state.status.reached = reached;
        while state.marks.front().is_some_and(|(epoch, _)| Some(*epoch) <= reached) {
            state.marks.pop_front();
        }
        // A target may come back with less, from a backup: what has gone through the queue is not in it.
        state.floor = state.floor.max(reached);
        while state.entries.front().is_some_and(|entry| Some(entry.epoch) <= reached) {
            let bytes = state.entries.pop_front().map_or(0, |entry| entry.bytes);
            state.status.waiting_bytes = state.status.waiting_bytes.saturating_sub(bytes);
        }
        let is_stopped = state.is_stopped;
        drop(state);
        self.changed.notify_all();
        is_stopped
    }

    /// The target is there; true if it had been away.
    pub(super) fn arrived(&self, reached: Option<LogTime>) -> bool {
        let mut state = self.lock();
        state.status.away = None;
        let was_away = std::mem::take(&mut state.was_away);
        drop(state);
        self.reached(reached);
        was_away
    }

    /// The target is away.
    pub(super) fn away(&self, why: String) {
        let mut state = self.lock();
        state.status.away = Some(why);
        state.was_away = true;
    }

    /// The target refuses for good.
    pub(super) fn fail(&self, error: Error) {
        let mut state = self.lock();
        state.status.away = Some(error.to_string());
        state.status.has_failed = true;
        state.failure = Some(error);
        state.is_stopped = true;
        drop(state);
        self.changed.notify_all();
    }

    /// The failure, once.
    pub(super) fn failure(&self) -> Result<(), Error> {
        self.lock().failure.take().map_or(Ok(()), Err)
    }

    /// No epoch will be added.
    pub(super) fn end(&self) {
        self.lock().is_ending = true;
        self.changed.notify_all();
    }

    /// Nothing more is to be done.
    pub(super) fn stop(&self) {
        self.lock().is_stopped = true;
        self.changed.notify_all();
    }

    /// Waits, unless stopped; whether it is.
    pub(super) fn wait_stopped(&self, wait: Duration) -> bool {
        let waited = self.changed.wait_timeout_while(self.lock(), wait, |state| !state.is_stopped);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_stopped
    }

    /// Waits until an epoch has come, or none will, or somebody waits for the target, but no longer than this.
    pub(super) fn wait_begun(&self, within: Duration) {
        let is_quiet = |state: &mut State| {
            !state.is_stopped && !state.is_ending && !state.is_awaited && state.marks.is_empty()
        };
        drop(self.changed.wait_timeout_while(self.lock(), within, is_quiet));
    }

    /// Waits until the target is there and holds all; whether it does.
    pub(super) fn wait_caught_up(&self, within: Duration) -> bool {
        let is_behind = |state: &mut State| {
            let status = &state.status;
            !state.is_stopped && (status.away.is_some() || status.reached < status.newest)
        };
        let mut state = self.lock();
        state.is_awaited = true;
        self.changed.notify_all();
        let waited = self.changed.wait_timeout_while(state, within, is_behind);
        let state = waited.unwrap_or_else(PoisonError::into_inner).0;
        !state.is_stopped && state.status.away.is_none() && state.status.reached >= state.status.newest
    }

    pub(super) fn status(&self) -> Status {
        let state = self.lock();
        let behind = state.marks.iter().fold(Behind::default(), |sum, (_, mark)| sum.and(*mark));
        Status { behind, ..state.status.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lacking_is_counted_in_bounded_memory() {
        let queue = Queue::new(0, None);
        for epoch in 1..=20_000 {
            queue.push(LogTime(epoch), Vec::new());
        }
        assert_eq!(queue.status().behind, Behind { epochs: 20_000, rows: 0 });
        assert!(queue.lock().marks.len() <= MOST_MARKS);
        queue.reached(Some(LogTime(19_990)));
        let left = queue.status().behind.epochs;
        assert!((10..=40).contains(&left), "{left}: counted by the few");
        queue.reached(Some(LogTime(20_000)));
        assert_eq!(queue.status().behind, Behind::default());
    }
}
