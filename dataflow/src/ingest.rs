//! Source to stream: one inbox per worker, filled by a fetcher thread, emptied epoch by epoch.
//!
//! The fetcher reads what its worker owns as fast as the byte budget allows. An epoch is released into the
//! dataflow when it is in the epoch table and all its records have been fetched; nothing else decides.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use lsie_schemas::log::{Fetch, Log, LogError, LogReader, LogRecord, TopicPartition};
use lsie_schemas::record::EpochRecord;
use lsie_schemas::{LogTime, Topic, codec};
use serde::{Deserialize, Serialize};
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Scope, StreamVec};
use timely::scheduling::SyncActivator;
use uuid::Uuid;

use crate::adapter::Time;
use crate::board::{Board, Load};
use crate::checkpoint::gate::Gate;
use crate::checkpoint::manifest::Witness;
use crate::coordinator::Intake;
use crate::elsewhere::Elsewhere;
use crate::ends::ends;
use crate::epochs::Positions;
use crate::metrics::Metrics;
use crate::sources::Sources;

/// The topics the engine has operators for.
pub const INPUTS: [Topic; 9] = [
    Topic::Control,
    Topic::Experiments,
    Topic::Physio,
    Topic::Events,
    Topic::Outcomes,
    Topic::AvAudio,
    Topic::AvVideo,
    Topic::Inference,
    Topic::Answers,
];

/// Epochs that may be released and not yet committed; empty ones count no bytes.
const MAX_EPOCHS_IN_FLIGHT: usize = 1_024;
/// Once there is no room inside, so many are let in at once when there is, or a quarter of the bytes: what the dataflow does
/// to see an epoch through it does once for all of them.
const EPOCHS_AT_ONCE: usize = 64;
/// How often a live run without room asks how much has gathered meanwhile.
const LOOK_FOR_ENDS: Duration = Duration::from_millis(250);
/// How long a fetcher waits at most before it looks whether the run has stopped.
const LOOK: Duration = Duration::from_millis(20);
/// While a live run catches up, a partition further ahead of the one furthest behind than this is held back,
/// and goes on at half of it: what a session's streams are apart, its alignment has to remember. Milliseconds
/// of log time.
const MAX_SKEW_MS: u64 = 10_000;

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
    /// Requests to models that no epoch has answered yet.
    pub unanswered: AtomicI64,
    /// Log times of the first and the last epoch known so far; 0 while unknown. For showing progress.
    pub span: (AtomicU64, AtomicU64),
    /// Where every operator stands.
    pub board: Arc<Board>,
    /// Where the other processes of the run stand.
    pub elsewhere: Elsewhere,
    /// Where every source stands.
    pub sources: Sources,
    /// What the engine measures of itself.
    pub metrics: Metrics,
    /// Where the records of each worker wait, once the run has begun.
    pub inboxes: OnceLock<Vec<Arc<Inbox>>>,
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

    /// What every operator of the run has to do, in whichever process.
    pub fn loads(&self) -> Vec<Load> {
        [self.board.loads(), self.elsewhere.loads()].concat()
    }

    /// Counts requests that were made or answered.
    pub fn count_unanswered(&self, by: i64) {
        self.unanswered.fetch_add(by, Ordering::SeqCst);
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
    /// Where the owned partitions of a live run ended when they were last looked at; what is before it is
    /// backlog.
    ends: BTreeMap<TopicPartition, i64>,
    /// The budget was passed, and half of it is not free yet.
    full: bool,
    /// How often that was.
    pauses: u64,
    paused: BTreeSet<TopicPartition>,
    /// Nothing is fetched yet.
    shut: bool,
    bytes: usize,
    epochs: VecDeque<EpochRecord>,
    finished: bool,
    activator: Option<SyncActivator>,
}

impl State {
    /// How far in log time the partition furthest behind has come, if any is behind.
    fn behind(&self) -> Option<LogTime> {
        self.furthest_behind().map(|(reached, _)| reached)
    }

    /// The partition that is furthest behind in log time, and how far it has come.
    fn furthest_behind(&self) -> Option<(LogTime, TopicPartition)> {
        let behind = self.ends.iter().filter(|(at, end)| self.fetched.get(at).is_none_or(|got| got < *end));
        behind.map(|(at, _)| (self.reached.get(at).copied().unwrap_or_default(), *at)).min()
    }
}

/// Where a worker's records wait for their epoch.
pub struct Inbox {
    owned: Vec<(TopicPartition, i64)>,
    budget: usize,
    left_out: BTreeSet<Uuid>,
    gate: Arc<Gate>,
    state: Mutex<State>,
    /// Told when records leave, and when an epoch comes.
    moved: Condvar,
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbox").field("owned", &self.owned).finish_non_exhaustive()
    }
}

impl Inbox {
    /// An inbox for these partitions, read from these offsets, holding about `budget` bytes ahead of the
    /// dataflow and as many inside it. What lies before `ends` is backlog; a bounded run has none.
    pub fn new(
        owned: Vec<(TopicPartition, i64)>,
        budget: usize,
        ends: &BTreeMap<TopicPartition, i64>,
    ) -> Inbox {
        let ends = owned.iter().filter_map(|(at, _)| Some((*at, *ends.get(at)?))).collect();
        let state = State { fetched: owned.iter().copied().collect(), ends, ..State::default() };
        let (left_out, gate) = (BTreeSet::new(), Arc::default());
        Inbox { owned, budget, left_out, gate, state: Mutex::new(state), moved: Condvar::new() }
    }

    /// The same behind a gate, which is that of all workers.
    pub fn behind_gate(mut self, gate: Arc<Gate>) -> Inbox {
        self.gate = gate;
        self
    }

    /// The same, without the records of these sessions.
    pub fn without(mut self, sessions: BTreeSet<Uuid>) -> Inbox {
        self.left_out = sessions;
        self
    }

    /// The same, fetching nothing before it is [opened](Inbox::open).
    pub fn shut(self) -> Inbox {
        lock(&self.state).shut = true;
        self
    }

    /// Begins to fetch. What lies before `ends` is backlog; a bounded run has none.
    pub fn open(&self, ends: &Positions) {
        let mut state = lock(&self.state);
        let owned = self.owned.iter().filter_map(|(at, _)| Some((*at, *ends.get(at)?)));
        state.ends = owned.collect();
        state.shut = false;
    }

    /// Where it stands.
    pub fn standing(&self) -> Standing {
        let state = lock(&self.state);
        let stands = |(at, from): &(TopicPartition, i64)| PartitionStanding {
            at: *at,
            fetched: state.fetched.get(at).copied().unwrap_or(*from),
            reached: state.reached.get(at).copied(),
            is_held: state.full || state.paused.contains(at),
        };
        let partitions = self.owned.iter().map(stands).collect();
        Standing { partitions, bytes: state.bytes, budget: self.budget, pauses: state.pauses }
    }

    /// Wakes the worker, for it may have something to do.
    pub fn wake(&self) {
        wake(&lock(&self.state));
    }

    /// What was fetched since it was last asked, `told` being how far that was; for another process.
    pub fn news(&self, told: &mut Positions) -> News {
        let state = lock(&self.state);
        let mut records = Vec::new();
        for (at, queue) in &state.queues {
            let told = told.get(at).copied().unwrap_or(0);
            let new = queue.partition_point(|record| record.offset < told);
            records.extend(queue.range(new..).map(|record| (*at, record.offset, record.log_time)));
        }
        told.extend(state.fetched.iter().map(|(at, to)| (*at, *to)));
        News { fetched: state.fetched.clone(), records, behind: state.behind() }
    }

    /// Fetches until the run stops. Runs on a thread of its own.
    pub fn fetch(&self, log: &dyn Log, fetch: Fetch, shared: &Shared) -> Result<(), LogError> {
        if self.owned.is_empty() {
            return Ok(());
        }
        while lock(&self.state).shut {
            if shared.stopped() {
                return Ok(());
            }
            std::thread::sleep(LOOK);
        }
        let mut reader = log.reader(&self.owned, fetch)?;
        let mut looked = now();
        while !shared.stopped() && !self.all_fetched() {
            if self.drained() || (self.is_full() && looked.elapsed() > LOOK_FOR_ENDS) {
                self.look_for_ends(log)?;
                looked = now();
            }
            let Some(toggles) = self.hold_back() else { continue };
            for (at, paused) in toggles {
                reader.pause(at, paused)?;
            }
            let records = reader.poll(LOOK)?;
            self.keep(records, &*reader);
        }
        Ok(())
    }

    fn keep(&self, records: Vec<LogRecord>, reader: &dyn LogReader) {
        let mut state = lock(&self.state);
        let mut moved = !records.is_empty();
        for record in records {
            state.fetched.insert(record.at, record.offset + 1);
            state.reached.insert(record.at, record.log_time);
            if self.leaves_out(&record) {
                continue;
            }
            state.bytes += record.size();
            state.queues.entry(record.at).or_default().push_back(record);
        }
        for (at, _) in &self.owned {
            let position = reader.position(*at).unwrap_or(0);
            let fetched = state.fetched.entry(*at).or_insert(position);
            moved |= *fetched < position;
            *fetched = position.max(*fetched);
        }
        if state.bytes > self.budget && !state.full {
            state.full = true;
            state.pauses += 1;
            // What arrives from now on is not seen until there is room: all of it is backlog.
            state.ends.values_mut().for_each(|end| *end = i64::MAX);
        }
        if moved {
            wake(&state);
        }
    }

    fn leaves_out(&self, record: &LogRecord) -> bool {
        !self.left_out.is_empty()
            && codec::session_of_key(record).is_some_and(|session| self.left_out.contains(&session))
    }

    /// Whether there is room again, half the budget, after there was none.
    fn drained(&self) -> bool {
        let mut state = lock(&self.state);
        let drained = state.full && state.bytes <= self.budget / 2;
        state.full &= !drained;
        drained || (!state.full && state.ends.values().any(|end| *end == i64::MAX))
    }

    fn is_full(&self) -> bool {
        lock(&self.state).full
    }

    /// Asks a live run's log how much has gathered while nothing was fetched.
    fn look_for_ends(&self, log: &dyn Log) -> Result<(), LogError> {
        let watched: Vec<TopicPartition> = lock(&self.state).ends.keys().copied().collect();
        match ends(log, &watched) {
            Ok(known) => lock(&self.state).ends.extend(known),
            // It stays backlog until the log can say.
            Err(LogError::Unavailable(why)) => tracing::warn!(%why, "how far partitions go is not known"),
            Err(why) => return Err(why),
        }
        Ok(())
    }

    /// Which partitions to pause or go on with before the next fetch. `None`: no fetch now, for there is
    /// neither room nor need; returned after a while, or when something changed.
    ///
    /// A client forgets what it has prefetched of a partition that is paused, so partitions are paused only
    /// where not fetching at all would not do: without room, beside those that the next epoch still needs;
    /// with room, while a live run catches up, those too far ahead.
    fn hold_back(&self) -> Option<Vec<(TopicPartition, bool)>> {
        let mut state = lock(&self.state);
        let mut needed = match state.epochs.front() {
            Some(epoch) => self.missing(&state, epoch),
            None => BTreeSet::new(),
        };
        // No epoch goes further than the partition furthest behind: what fills the budget may wait for its next
        // record.
        let furthest = state.furthest_behind().map(|(_, at)| at);
        needed.extend(furthest.filter(|at| state.queues.get(at).is_none_or(VecDeque::is_empty)));
        if state.full && needed.is_empty() {
            drop(self.moved.wait_timeout(state, LOOK));
            return None;
        }
        let lowest = state.behind();
        let held = |at: &TopicPartition| {
            if state.full {
                return !needed.contains(at);
            }
            let skew = if state.paused.contains(at) { MAX_SKEW_MS / 2 } else { MAX_SKEW_MS };
            let reached = state.reached.get(at);
            !needed.contains(at)
                && lowest.zip(reached).is_some_and(|(lowest, reached)| *reached > lowest.plus_ms(skew))
        };
        let paused: BTreeSet<TopicPartition> =
            self.owned.iter().map(|(at, _)| *at).filter(|at| held(at)).collect();
        let toggles = paused.symmetric_difference(&state.paused).map(|at| (*at, paused.contains(at)));
        let toggles = toggles.collect();
        state.paused = paused;
        Some(toggles)
    }

    fn all_fetched(&self) -> bool {
        let state = lock(&self.state);
        state.finished && state.epochs.iter().all(|epoch| self.holds(&state, epoch))
    }

    fn holds(&self, state: &State, epoch: &EpochRecord) -> bool {
        self.missing(state, epoch).is_empty()
    }

    /// The owned partitions of which records of the epoch are still to come.
    fn missing(&self, state: &State, epoch: &EpochRecord) -> BTreeSet<TopicPartition> {
        let owned = epoch.ranges.iter().filter(|range| self.owned.iter().any(|(at, _)| *at == range.at));
        let missing = owned.filter(|range| state.fetched.get(&range.at).is_none_or(|got| *got < range.to));
        missing.map(|range| range.at).collect()
    }

    /// The next epoch with its records in canonical order, if it is complete here.
    fn take(&self) -> Taken {
        let mut state = lock(&self.state);
        let Some(next) = state.epochs.front() else {
            if state.finished {
                self.gate.ended();
            }
            return if state.finished { Taken::End } else { Taken::Nothing };
        };
        if !self.holds(&state, next) {
            return Taken::Nothing;
        }
        if !self.gate.enter(next) {
            state.epochs.clear();
            state.finished = true;
            self.gate.ended();
            return Taken::End;
        }
        let Some(epoch) = state.epochs.pop_front() else { return Taken::Nothing };
        let mut records = Vec::new();
        let mut last = Vec::new();
        // Ranges are in order of topic rank and partition: the canonical order.
        for range in &epoch.ranges {
            let Some(queue) = state.queues.get_mut(&range.at) else { continue };
            let upto = queue.partition_point(|record| record.offset < range.to);
            last.extend(upto.checked_sub(1).and_then(|at| queue.get(at)).map(witness));
            records.extend(queue.drain(..upto));
        }
        let bytes: usize = records.iter().map(LogRecord::size).sum();
        state.bytes -= bytes;
        let owned = self.owned.iter().map(|(at, _)| *at);
        self.gate.took(epoch.log_time.0, bytes as u64, owned, last.into_iter());
        self.moved.notify_all();
        Taken::Epoch { log_time: epoch.log_time.0, records, bytes: bytes as u64 }
    }
}

impl Intake for Inbox {
    fn has_released_all(&self) -> bool {
        lock(&self.state).epochs.is_empty()
    }

    fn behind(&self) -> Option<LogTime> {
        lock(&self.state).behind()
    }

    fn fetched(&self, until: Option<LogTime>) -> Positions {
        let state = lock(&self.state);
        let mut fetched = state.fetched.clone();
        for (at, queue) in state.queues.iter().filter(|_| until.is_some()) {
            if let Some(later) = queue.iter().find(|record| Some(record.log_time) > until) {
                fetched.insert(*at, later.offset);
            }
        }
        fetched
    }

    fn release(&self, epoch: EpochRecord) {
        let mut state = lock(&self.state);
        state.epochs.push_back(epoch);
        self.moved.notify_all();
        wake(&state);
    }

    fn finish(&self) {
        let mut state = lock(&self.state);
        state.finished = true;
        wake(&state);
    }
}

/// What an inbox has fetched, for the coordinator of another process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct News {
    /// One past the last offset fetched of each partition.
    pub fetched: Positions,
    /// The records that are new: place, offset and log time.
    pub records: Vec<(TopicPartition, i64, LogTime)>,
    /// How far in log time the partition furthest behind has come, if any is behind.
    pub behind: Option<LogTime>,
}

#[allow(clippy::disallowed_methods, reason = "when the log is asked is no result")]
fn now() -> Instant {
    Instant::now()
}

/// What a checkpoint remembers of a record.
fn witness(record: &LogRecord) -> (TopicPartition, Witness) {
    let bytes = record.value.len() as u64;
    (record.at, Witness { offset: record.offset, log_time: record.log_time, bytes })
}

/// Where an inbox stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Standing {
    /// Its partitions.
    pub partitions: Vec<PartitionStanding>,
    /// Bytes that it holds.
    pub bytes: usize,
    /// Bytes that it may hold.
    pub budget: usize,
    /// How often it was full.
    pub pauses: u64,
}

/// Where a partition stands.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct PartitionStanding {
    /// The partition.
    pub at: TopicPartition,
    /// One past the last offset fetched.
    pub fetched: i64,
    /// Log time of the last record fetched, if there was one.
    pub reached: Option<LogTime>,
    /// Whether nothing of it is fetched for now.
    pub is_held: bool,
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

/// The stream of a worker's records, epoch by epoch, and that of the epochs alone. Those up to the checkpoint that the run
/// `resumed` from are seen again; they are committed, so that only one at a time is let in.
pub fn stream<'scope>(
    scope: Scope<'scope, Time>,
    inbox: Arc<Inbox>,
    shared: Arc<Shared>,
    resumed: Time,
) -> (StreamVec<'scope, Time, Ingested>, StreamVec<'scope, Time, Time>) {
    let mut builder = OperatorBuilder::new("ingest".into(), scope);
    let (output, ingested) = builder.new_output();
    let mut output = OutputBuilder::from(output);
    let (ticking, ticks) = builder.new_output();
    let mut ticking = OutputBuilder::from(ticking);
    let activator = scope.worker().sync_activator_for(builder.operator_info().address.to_vec());
    lock(&inbox.state).activator = Some(activator);
    wake(&lock(&inbox.state));
    builder.build(move |capabilities| {
        // One for each output, in their order.
        let mut capabilities: Option<[Capability<Time>; 2]> = capabilities.try_into().ok();
        let mut in_flight: VecDeque<(Time, u64)> = VecDeque::new();
        let mut is_full = false;
        move |_frontiers| {
            let committed = shared.committed.load(Ordering::SeqCst);
            while let Some((_, bytes)) = in_flight.front().filter(|(epoch, _)| *epoch <= committed) {
                shared.in_flight.fetch_sub(*bytes, Ordering::SeqCst);
                in_flight.pop_front();
            }
            let mut inside: u64 = in_flight.iter().map(|(_, bytes)| bytes).sum();
            let budget = inbox.budget as u64;
            // The last that is inside is not waited for, unless it fills the budget alone: large epochs follow on each other.
            let has_no_quarter = inside > budget - budget / 4 && in_flight.len() > 1;
            is_full &=
                in_flight.len() > MAX_EPOCHS_IN_FLIGHT - EPOCHS_AT_ONCE || has_no_quarter || inside > budget;
            let (mut output, mut ticking) = (output.activate(), ticking.activate());
            while let Some(held) = capabilities.as_mut().filter(|_| !is_full) {
                // A stopped run keeps its capabilities: an epoch that is incomplete elsewhere must not pass.
                is_full = in_flight.len() >= MAX_EPOCHS_IN_FLIGHT || inside > budget;
                if shared.stopped() || is_full {
                    break;
                }
                match inbox.take() {
                    Taken::Nothing => break,
                    Taken::End => capabilities = None,
                    Taken::Epoch { log_time, records, bytes } => {
                        if log_time > resumed {
                            shared.metrics.read(&records);
                        }
                        held.iter_mut().for_each(|held| held.downgrade(&log_time));
                        let mut session = output.session(&held[0]);
                        session.give_iterator(records.into_iter().map(Ingested::Record));
                        session.give(Ingested::Tick);
                        drop(session);
                        ticking.session(&held[1]).give(log_time);
                        held.iter_mut().for_each(|held| held.downgrade(&(log_time + 1)));
                        shared.in_flight.fetch_add(bytes, Ordering::SeqCst);
                        in_flight.push_back((log_time, bytes));
                        inside += bytes;
                        if log_time <= resumed {
                            inbox.wake();
                            break;
                        }
                    }
                }
            }
        }
    });
    (ingested, ticks)
}

#[cfg(test)]
mod tests;
