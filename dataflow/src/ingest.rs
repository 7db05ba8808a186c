//! Source to stream: one inbox per worker, filled by a fetcher thread, emptied epoch by epoch.
//!
//! The fetcher reads what its worker owns as fast as the byte budget allows. An epoch is released into the
//! dataflow when it is in the epoch table and all its records have been fetched; nothing else decides.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use lsie_schemas::log::{Fetch, Log, LogError, LogRecord, TopicPartition};
use lsie_schemas::record::EpochRecord;
use lsie_schemas::{LogTime, Topic};
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::operator::source;
use timely::dataflow::{Scope, StreamVec};
use timely::scheduling::SyncActivator;

use crate::adapter::Time;

/// The topics the engine has operators for.
pub const INPUTS: [Topic; 4] = [Topic::Control, Topic::Experiments, Topic::AvAudio, Topic::AvVideo];

/// Epochs that may be released and not yet committed; empty ones count no bytes.
const MAX_EPOCHS_IN_FLIGHT: usize = 1_024;

/// What enters the dataflow at an epoch: its records in canonical order, then one tick, on every worker.
#[derive(Clone, Debug)]
pub enum Ingested {
    /// A record.
    Record(LogRecord),
    /// The epoch is complete on this worker.
    Tick,
}

/// Whether a worker owns a partition: sessions stay on the worker of their partition number.
pub fn owns(worker: usize, workers: usize, at: TopicPartition) -> bool {
    usize::try_from(at.partition).unwrap_or(0) % workers == worker
}

/// What all threads of a run share.
#[derive(Debug, Default)]
pub struct Shared {
    /// Set to end the run before its last epoch.
    pub stop: AtomicBool,
    /// Log time of the newest epoch that every sink has committed.
    pub committed: AtomicU64,
    /// Bytes of released epochs that are not committed yet, over all workers.
    pub in_flight: AtomicU64,
    /// Log times of the first and the last epoch known so far; 0 while unknown. For showing progress.
    pub span: (AtomicU64, AtomicU64),
    failure: Mutex<Option<String>>,
}

impl Shared {
    /// Ends the run with a failure; the first one is kept.
    pub fn fail(&self, message: String) {
        lock(&self.failure).get_or_insert(message);
        self.stop.store(true, Ordering::SeqCst);
    }

    /// The failure that ended the run, if any.
    pub fn failure(&self) -> Option<String> {
        lock(&self.failure).clone()
    }

    /// Whether the run shall end.
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }
}

/// A lock whose holder cannot leave it broken: the data behind it are plain values.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[derive(Default)]
struct State {
    queues: BTreeMap<TopicPartition, VecDeque<LogRecord>>,
    /// One past the last offset fetched.
    fetched: BTreeMap<TopicPartition, i64>,
    /// Log time of the last record fetched.
    reached: BTreeMap<TopicPartition, LogTime>,
    paused: BTreeSet<TopicPartition>,
    bytes: usize,
    epochs: VecDeque<EpochRecord>,
    finished: bool,
    activator: Option<SyncActivator>,
}

/// Where a worker's records wait for their epoch.
pub struct Inbox {
    owned: Vec<(TopicPartition, i64)>,
    budget: usize,
    /// Where the owned partitions ended when the run began; what is before it is backlog.
    ends: BTreeMap<TopicPartition, i64>,
    state: Mutex<State>,
}

impl Inbox {
    /// An inbox for these partitions, read from these offsets, holding at most `budget` bytes ahead of the
    /// dataflow and as many inside it. What lies before `ends` is backlog.
    pub fn new(
        owned: Vec<(TopicPartition, i64)>,
        budget: usize,
        ends: &BTreeMap<TopicPartition, i64>,
    ) -> Inbox {
        let state = State { fetched: owned.iter().copied().collect(), ..State::default() };
        let ends = owned.iter().filter_map(|(at, _)| Some((*at, *ends.get(at)?))).collect();
        Inbox { owned, budget, ends, state: Mutex::new(state) }
    }

    /// Whether every epoch handed over so far has entered the dataflow.
    pub fn has_released_all(&self) -> bool {
        lock(&self.state).epochs.is_empty()
    }

    /// How far in log time the partition furthest behind has come, if any is behind.
    pub fn behind(&self) -> Option<LogTime> {
        let state = lock(&self.state);
        let backlog = |at: &TopicPartition| {
            self.ends.get(at).is_some_and(|end| state.fetched.get(at).is_none_or(|got| got < end))
        };
        let behind =
            self.owned.iter().map(|(at, _)| at).filter(|at| backlog(at) || state.paused.contains(at));
        behind.map(|at| state.reached.get(at).copied().unwrap_or_default()).min()
    }

    /// Hands over the next epoch of the table.
    pub fn release(&self, epoch: EpochRecord) {
        let mut state = lock(&self.state);
        state.epochs.push_back(epoch);
        wake(&state);
    }

    /// Says that no epoch follows.
    pub fn finish(&self) {
        let mut state = lock(&self.state);
        state.finished = true;
        wake(&state);
    }

    /// Wakes the worker, for it may have something to do.
    pub fn wake(&self) {
        wake(&lock(&self.state));
    }

    /// How far each owned partition has been fetched.
    pub fn fetched(&self) -> BTreeMap<TopicPartition, i64> {
        lock(&self.state).fetched.clone()
    }

    /// Fetches until the run stops. Runs on a thread of its own.
    pub fn fetch(&self, log: &dyn Log, fetch: Fetch, shared: &Shared) -> Result<(), LogError> {
        if self.owned.is_empty() {
            return Ok(());
        }
        let mut reader = log.reader(&self.owned, fetch)?;
        let mut paused: BTreeMap<TopicPartition, bool> = BTreeMap::new();
        while !shared.stopped() && !self.all_fetched() {
            let records = reader.poll(Duration::from_millis(20))?;
            let mut state = lock(&self.state);
            let mut moved = !records.is_empty();
            for record in records {
                state.bytes += record.size();
                state.fetched.insert(record.at, record.offset + 1);
                state.reached.insert(record.at, record.log_time);
                state.queues.entry(record.at).or_default().push_back(record);
            }
            for (at, _) in &self.owned {
                let position = reader.position(*at).unwrap_or(0);
                let fetched = state.fetched.entry(*at).or_insert(position);
                moved |= *fetched < position;
                *fetched = position.max(*fetched);
            }
            if moved {
                wake(&state);
            }
            let wanted = self.pauses(&state);
            state.paused = wanted.iter().filter(|(_, pause)| *pause).map(|(at, _)| *at).collect();
            drop(state);
            for (at, pause) in wanted {
                if paused.insert(at, pause).unwrap_or(false) != pause {
                    reader.pause(at, pause)?;
                }
            }
        }
        Ok(())
    }

    /// Which partitions to hold back: past the budget, those ahead of what the next epoch needs, unless the
    /// partition is the furthest behind in log time.
    fn pauses(&self, state: &State) -> Vec<(TopicPartition, bool)> {
        let over = state.bytes > self.budget;
        let next = state.epochs.front();
        let head = |at: &TopicPartition| state.queues.get(at).and_then(VecDeque::back).map(|r| r.log_time);
        let lowest = self.owned.iter().map(|(at, _)| head(at)).min().flatten();
        let pause = |at: &TopicPartition| {
            let needed = next.and_then(|epoch| epoch.ranges.iter().find(|range| range.at == *at));
            let behind = needed.is_some_and(|range| state.fetched.get(at).is_some_and(|got| *got < range.to));
            over && !behind && head(at).is_some_and(|time| Some(time) > lowest)
        };
        self.owned.iter().map(|(at, _)| (*at, pause(at))).collect()
    }

    fn all_fetched(&self) -> bool {
        let state = lock(&self.state);
        state.finished && state.epochs.iter().all(|epoch| self.holds(&state, epoch))
    }

    fn holds(&self, state: &State, epoch: &EpochRecord) -> bool {
        let mut ranges = epoch.ranges.iter().filter(|range| self.owned.iter().any(|(at, _)| *at == range.at));
        ranges.all(|range| state.fetched.get(&range.at).is_some_and(|got| *got >= range.to))
    }

    /// The next epoch with its records in canonical order, if it is complete here.
    fn take(&self) -> Taken {
        let mut state = lock(&self.state);
        let Some(next) = state.epochs.front() else {
            return if state.finished { Taken::End } else { Taken::Nothing };
        };
        if !self.holds(&state, next) {
            return Taken::Nothing;
        }
        let Some(epoch) = state.epochs.pop_front() else { return Taken::Nothing };
        let mut records = Vec::new();
        // Ranges are in order of topic rank and partition: the canonical order.
        for range in &epoch.ranges {
            let Some(queue) = state.queues.get_mut(&range.at) else { continue };
            let upto = queue.partition_point(|record| record.offset < range.to);
            records.extend(queue.drain(..upto));
        }
        let bytes: usize = records.iter().map(LogRecord::size).sum();
        state.bytes -= bytes;
        Taken::Epoch { log_time: epoch.log_time.0, records, bytes: bytes as u64 }
    }
}

enum Taken {
    Epoch { log_time: Time, records: Vec<LogRecord>, bytes: u64 },
    Nothing,
    End,
}

fn wake(state: &State) {
    if let Some(activator) = &state.activator {
        // The worker is gone only when the run is over; then nobody needs waking.
        let _ = activator.activate();
    }
}

/// The stream of a worker's records, epoch by epoch.
pub fn stream<'scope>(
    scope: Scope<'scope, Time>,
    inbox: Arc<Inbox>,
    shared: Arc<Shared>,
) -> StreamVec<'scope, Time, Ingested> {
    source(scope, "ingest", |capability, info| {
        let activator = scope.worker().sync_activator_for(info.address.to_vec());
        lock(&inbox.state).activator = Some(activator);
        wake(&lock(&inbox.state));
        let mut capability: Option<Capability<Time>> = Some(capability);
        let mut in_flight: VecDeque<(Time, u64)> = VecDeque::new();
        move |output| {
            let committed = shared.committed.load(Ordering::SeqCst);
            while let Some((_, bytes)) = in_flight.front().filter(|(epoch, _)| *epoch <= committed) {
                shared.in_flight.fetch_sub(*bytes, Ordering::SeqCst);
                in_flight.pop_front();
            }
            while let Some(held) = &mut capability {
                let inside: u64 = in_flight.iter().map(|(_, bytes)| bytes).sum();
                // A stopped run keeps its capabilities: an epoch that is incomplete elsewhere must not pass.
                if shared.stopped() || inside > inbox.budget as u64 || in_flight.len() >= MAX_EPOCHS_IN_FLIGHT
                {
                    break;
                }
                match inbox.take() {
                    Taken::Nothing => break,
                    Taken::End => capability = None,
                    Taken::Epoch { log_time, records, bytes } => {
                        held.downgrade(&log_time);
                        let mut session = output.session(&*held);
                        session.give_iterator(records.into_iter().map(Ingested::Record));
                        session.give(Ingested::Tick);
                        drop(session);
                        held.downgrade(&(log_time + 1));
                        shared.in_flight.fetch_add(bytes, Ordering::SeqCst);
                        in_flight.push_back((log_time, bytes));
                    }
                }
            }
        }
    })
}
