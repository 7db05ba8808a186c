//! The coordinator of a live run: closes an epoch every `epoch_ms`, writes it to the table, and releases it
//! only when the table has acknowledged it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lsie_schemas::LogTime;
use lsie_schemas::log::{AppendRecord, LogError, TopicPartition};
use lsie_schemas::record::{EpochRange, EpochRecord};

use crate::checkpoint::gate::Gate;
use crate::epochs::Positions;
use crate::ingest::Shared;

/// Where records wait for their epoch, as the coordinator sees it: a worker's inbox, or what another process tells
/// of its own.
pub trait Intake: Send + Sync {
    /// Whether every epoch handed over so far has entered the dataflow.
    fn has_released_all(&self) -> bool;
    /// How far in log time the partition furthest behind has come, if any is behind: 0 if nothing of it is here
    /// yet.
    fn behind(&self) -> Option<LogTime>;
    /// How far each partition has been fetched; `until` a log time, up to the first record after it.
    fn fetched(&self, until: Option<LogTime>) -> Positions;
    /// Hands over the next epoch of the table.
    fn release(&self, epoch: EpochRecord);
    /// Says that no epoch follows.
    fn finish(&self);
    /// Whether elsewhere requests of committed epochs wait for an answer; those of this process are in
    /// [`Shared::unanswered`].
    fn waits(&self, _committed: LogTime) -> bool {
        false
    }
}

/// First and longest pause between attempts to write an epoch while the log is away.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// The log's clock: anchored to the wall clock once, then monotonic, and never before what the table says.
#[derive(Debug)]
struct LogClock {
    anchor: LogTime,
    started: Instant,
    last: LogTime,
}

impl LogClock {
    #[allow(
        clippy::disallowed_methods,
        reason = "the one place where log time is anchored to the wall clock"
    )]
    fn anchored(last: LogTime) -> LogClock {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let anchor = LogTime(wall.as_millis() as u64).max(last.plus_ms(1));
        LogClock { anchor, started: Instant::now(), last }
    }

    #[allow(clippy::disallowed_methods, reason = "monotonic time since the anchor")]
    fn next(&mut self, limit: Option<LogTime>) -> LogTime {
        let now = self.anchor.plus_ms(self.started.elapsed().as_millis() as u64);
        self.last = limit.map_or(now, |limit| limit.min(now)).max(self.last.plus_ms(1));
        self.last
    }
}

/// What a run that is to end waits for: the answers to what it has asked.
///
/// A replay answers a request itself whose answer is in no epoch, `answer_delay_ms` after it. So that it finds
/// nothing to answer, the last epoch comes when every request is answered that is old enough for that.
#[derive(Clone, Copy, Debug)]
pub struct Drain {
    /// Log time after which a replay answers a request itself, ms.
    pub answer_delay_ms: u64,
    /// How long to wait at most, ms.
    pub limit_ms: u64,
}

impl Drain {
    /// Whether an epoch of this log time may be the last.
    fn is_done(self, shared: &Shared, intakes: &[Arc<dyn Intake>], log_time: LogTime) -> bool {
        let committed = LogTime(shared.committed.load(Ordering::SeqCst));
        let waits = shared.unanswered.load(Ordering::SeqCst) > 0;
        committed.plus_ms(self.answer_delay_ms) >= log_time
            && !waits
            && !intakes.iter().any(|intake| intake.waits(committed))
    }
}

/// Even steps of time: writing an epoch takes from the pause after it, not from the pace.
struct Pace {
    step: Duration,
    due: Instant,
}

#[allow(clippy::disallowed_methods, reason = "when an epoch is cut is the coordinator's to decide")]
impl Pace {
    fn new(step: Duration) -> Pace {
        Pace { step, due: Instant::now() + step }
    }

    /// Waits for the next step. One that is missed is left out, not made up for.
    fn wait(&mut self) {
        let now = Instant::now();
        std::thread::sleep(self.due.saturating_duration_since(now));
        self.due = (self.due + self.step).max(now);
    }
}

/// Runs until `ending` is set and nothing asked is unanswered, then writes one last epoch and finishes the
/// inboxes.
///
/// While a partition is behind (its records of before the start are not all fetched, or the byte budget holds
/// it back), log time goes no further than that partition has come, and no epoch has a record that the log took
/// later than that: overload and recovery show as lag, never as timers that fire too early, nor as records that
/// seem to come from the future.
pub fn run(
    table: &dyn AppendRecord,
    intakes: &[Arc<dyn Intake>],
    mut at: Positions,
    last: LogTime,
    (epoch_ms, drain): (u64, Drain),
    gate: &Gate,
    (ending, shared): (&AtomicBool, &Shared),
) -> Result<(), LogError> {
    while intakes.iter().any(|intake| !intake.has_released_all()) && !shared.stopped() {
        if ending.load(Ordering::SeqCst) {
            // What is left of the table is for the next run.
            gate.close();
            intakes.iter().for_each(|intake| intake.finish());
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut clock = LogClock::anchored(last);
    let mut pace = Pace::new(Duration::from_millis(epoch_ms));
    let mut patience = drain.limit_ms / epoch_ms.max(1);
    loop {
        let limit = intakes.iter().filter_map(|intake| intake.behind()).min();
        let ends = ending.load(Ordering::SeqCst);
        if limit == Some(LogTime(0)) && !ends && !shared.stopped() {
            // Of a partition with a backlog nothing is here yet: how far time may go is not known.
            pace.wait();
            continue;
        }
        let log_time = clock.next(limit);
        let until = limit.map(|_| log_time);
        let fetched = intakes.iter().flat_map(|intake| intake.fetched(until)).collect();
        patience = patience.saturating_sub(u64::from(ends));
        let end = ends && (patience == 0 || drain.is_done(shared, intakes, log_time));
        let epoch = close(&mut at, fetched, log_time);
        append(table, &epoch, ending, shared)?;
        if end {
            gate.end_at(epoch.log_time.0);
        }
        shared.metrics.cut(epoch.log_time);
        intakes.iter().for_each(|intake| intake.release(epoch.clone()));
        if end || shared.stopped() {
            break;
        }
        pace.wait();
    }
    intakes.iter().for_each(|intake| intake.finish());
    Ok(())
}

/// The epoch of everything fetched since the last one.
fn close(at: &mut Positions, fetched: BTreeMap<TopicPartition, i64>, log_time: LogTime) -> EpochRecord {
    let mut ranges = Vec::new();
    for (partition, to) in fetched {
        let from = at.get(&partition).copied().unwrap_or(0);
        if from < to {
            ranges.push(EpochRange { at: partition, from, to });
            at.insert(partition, to);
        }
    }
    EpochRecord { log_time, ranges }
}

/// Appends an epoch, waiting while the log is away. Nothing is released meanwhile, and nothing lost.
fn append(
    table: &dyn AppendRecord,
    epoch: &EpochRecord,
    ending: &AtomicBool,
    shared: &Shared,
) -> Result<(), LogError> {
    let mut pause = RETRY.0;
    loop {
        let leave = shared.stopped() || ending.load(Ordering::SeqCst);
        match table.append(vec![epoch.encode()]) {
            Ok(_) => return Ok(()),
            Err(LogError::Unavailable(why)) if !leave => {
                tracing::warn!(%why, "the epoch table cannot be written; trying again");
                std::thread::sleep(pause);
                pause = (pause * 2).min(RETRY.1);
            }
            Err(error) => return Err(error),
        }
    }
}
