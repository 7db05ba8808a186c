//! The gate through which epochs enter the dataflow: which are checkpoints, and which is the last.
//!
//! Every worker asks before it takes an epoch; the first to ask decides for all, so an operator that sees the
//! frontier pass an epoch knows whether it was chosen. The choice reaches no result.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use lsie_schemas::log::TopicPartition;
use lsie_schemas::record::EpochRecord;

use super::manifest::{Position, Witness};
use crate::adapter::Time;
use crate::epochs::Positions;

/// When an epoch is a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// After this much log time, ms.
    pub interval_ms: u64,
    /// After this many bytes of records.
    pub bytes: u64,
}

/// What happens at a gate, for the processes that are not where it decides.
#[derive(Clone, Debug)]
pub enum Passing {
    /// An epoch enters, and may be a checkpoint.
    Entered(EpochRecord, bool),
    /// No further epoch enters.
    Ended,
    /// A worker of this process took its records of an epoch: how many bytes, and the last of each partition.
    Took(Time, u64, Vec<(TopicPartition, Witness)>),
}

/// One for all workers of a process. That of the first process decides, the others [follow](Gate::following).
#[derive(Default)]
pub struct Gate {
    state: Mutex<State>,
    /// The newest chosen epoch, so that operators need not lock to see that there is none.
    newest: AtomicU64,
    /// Is told what happens.
    told: Option<Box<dyn Fn(Passing) + Send + Sync>>,
    /// Another process decides: what comes here has entered there.
    follows: bool,
}

#[derive(Debug, Default)]
struct State {
    /// Without one there are no checkpoints.
    rule: Option<Rule>,
    /// The checkpoint that the run resumed from, if any. What enters up to it is seen again, not new.
    resumed: Time,
    /// The newest epoch that has entered.
    entered: Time,
    /// The first new epoch, or the newest chosen one: what the interval counts from.
    since: Option<Time>,
    /// Bytes taken since then.
    bytes: u64,
    chosen: BTreeSet<Time>,
    /// A chosen checkpoint is not written yet: the next one waits for it.
    outstanding: bool,
    /// Once the last epoch is known, no later one enters.
    last: Option<Time>,
    closing: bool,
    /// Epochs that checkpoints may have to rewind to, and the positions before them.
    history: VecDeque<EpochRecord>,
    before: Positions,
    /// The last record of each partition that was taken; at chosen epochs as of then.
    seen: BTreeMap<TopicPartition, Witness>,
    witnesses: BTreeMap<Time, BTreeMap<TopicPartition, Witness>>,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate")
            .field("state", &self.state)
            .field("follows", &self.follows)
            .finish_non_exhaustive()
    }
}

impl Gate {
    /// A gate for a run that begins at these positions. With a rule there are checkpoints.
    pub fn new(rule: Option<Rule>, from: Positions) -> Gate {
        let state = State { rule, before: from, ..State::default() };
        Gate { state: Mutex::new(state), ..Gate::default() }
    }

    /// A gate of a process that is told by another which epochs enter.
    pub fn following() -> Gate {
        Gate { follows: true, ..Gate::default() }
    }

    /// The same, telling what happens.
    pub fn telling(mut self, told: impl Fn(Passing) + Send + Sync + 'static) -> Gate {
        self.told = Some(Box::new(told));
        self
    }

    /// An epoch has entered where that is decided, and may be a checkpoint.
    pub fn follow(&self, epoch: Time, chosen: bool) {
        if chosen {
            self.lock().chosen.insert(epoch);
            self.newest.store(epoch, Ordering::SeqCst);
        }
    }

    /// The workers of this process have taken their last epoch.
    pub fn ended(&self) {
        self.tell(|| Passing::Ended);
    }

    fn tell(&self, passing: impl FnOnce() -> Passing) {
        if let Some(told) = &self.told {
            told(passing());
        }
    }

    /// The run resumes from a checkpoint: epochs up to it are seen again, beginning at its rewind offsets.
    pub fn resume(&self, epoch: Time, positions: &[Position]) {
        let mut state = self.lock();
        state.resumed = epoch;
        state.before = positions.iter().map(|position| (position.at, position.rewind)).collect();
        state.seen = positions.iter().filter_map(|position| Some((position.at, position.witness?))).collect();
    }

    /// The newest epoch that has entered.
    pub fn entered(&self) -> Time {
        self.lock().entered
    }

    /// Whether the next epoch of a worker may enter; not if it is past the last one.
    pub fn enter(&self, epoch: &EpochRecord) -> bool {
        if self.follows {
            return true;
        }
        let time = epoch.log_time.0;
        let mut state = self.lock();
        if state.last.is_some_and(|last| last < time) {
            return false;
        }
        if time <= state.entered {
            return true;
        }
        state.entered = time;
        if state.closing && state.last.is_none() {
            state.last = Some(time);
        }
        if state.rule.is_some() {
            state.history.push_back(epoch.clone());
        }
        let chosen = time > state.resumed && state.is_due(time);
        if chosen {
            state.choose(time);
            self.newest.store(time, Ordering::SeqCst);
        }
        // Under the lock, so that epochs are told in their order.
        self.tell(|| Passing::Entered(epoch.clone(), chosen));
        true
    }

    /// A worker took its records of an epoch; `owned` are its partitions, `witnesses` the last records.
    pub fn took(
        &self,
        epoch: Time,
        bytes: u64,
        owned: impl Iterator<Item = TopicPartition>,
        witnesses: impl Iterator<Item = (TopicPartition, Witness)>,
    ) {
        if self.follows {
            self.tell(|| Passing::Took(epoch, bytes, witnesses.collect()));
            return;
        }
        let mut state = self.lock();
        if state.rule.is_none() {
            return;
        }
        state.bytes += bytes;
        state.seen.extend(witnesses);
        if state.chosen.contains(&epoch) {
            let known: Vec<_> = owned.filter_map(|at| Some((at, *state.seen.get(&at)?))).collect();
            state.witnesses.entry(epoch).or_default().extend(known);
        }
    }

    /// This epoch, which has not entered yet, is the last one, and a checkpoint.
    pub fn end_at(&self, epoch: Time) {
        self.lock().last = Some(epoch);
    }

    /// The next epoch that enters, if any does, is the last one, and a checkpoint.
    pub fn close(&self) {
        self.lock().closing = true;
    }

    /// Whether an epoch that has entered is a checkpoint.
    pub fn is_chosen(&self, epoch: Time) -> bool {
        self.newest.load(Ordering::SeqCst) >= epoch && self.lock().chosen.contains(&epoch)
    }

    /// The next checkpoint after an epoch.
    pub fn chosen_after(&self, epoch: Time) -> Option<Time> {
        if self.newest.load(Ordering::SeqCst) <= epoch {
            return None;
        }
        self.lock().chosen.range(epoch + 1..).next().copied()
    }

    /// Where every partition stands at a chosen epoch whose state needs records from `rewind` on.
    pub fn positions(&self, epoch: Time, rewind: Option<Time>) -> Vec<Position> {
        let state = self.lock();
        let mut next = state.before.clone();
        let mut first = Positions::new();
        for entry in state.history.iter().filter(|entry| entry.log_time.0 <= epoch) {
            for range in &entry.ranges {
                if rewind.is_some_and(|rewind| rewind <= entry.log_time.0) {
                    first.entry(range.at).or_insert(range.from);
                }
                next.insert(range.at, range.to);
            }
        }
        let witnesses = state.witnesses.get(&epoch);
        let position = |(at, next): (TopicPartition, i64)| Position {
            at,
            next,
            rewind: first.get(&at).copied().unwrap_or(next),
            witness: witnesses.and_then(|known| known.get(&at)).copied(),
        };
        next.into_iter().map(position).collect()
    }

    /// A checkpoint is written: the next may be chosen, and what only earlier ones needed is forgotten.
    pub fn written(&self, epoch: Time, rewind: Option<Time>) {
        let mut state = self.lock();
        state.outstanding = false;
        let keep = rewind.unwrap_or(epoch + 1);
        while state.history.front().is_some_and(|entry| entry.log_time.0 < keep) {
            let Some(entry) = state.history.pop_front() else { break };
            state.before.extend(entry.ranges.iter().map(|range| (range.at, range.to)));
        }
        state.chosen = state.chosen.split_off(&(epoch + 1));
        state.witnesses = state.witnesses.split_off(&(epoch + 1));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Plain values, changed by assignments.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_due(&mut self, time: Time) -> bool {
        let Some(rule) = self.rule else { return false };
        let since = *self.since.get_or_insert(time);
        let passed = time - since >= rule.interval_ms || self.bytes >= rule.bytes;
        self.last == Some(time) || (passed && !self.outstanding)
    }

    fn choose(&mut self, time: Time) {
        self.since = Some(time);
        self.bytes = 0;
        self.outstanding = true;
        self.chosen.insert(time);
    }
}

#[cfg(test)]
mod tests {
    use lsie_schemas::record::EpochRange;
    use lsie_schemas::{LogTime, Topic};

    use super::*;

    const AUDIO: TopicPartition = TopicPartition { topic: Topic::AvAudio, partition: 0 };
    const VIDEO: TopicPartition = TopicPartition { topic: Topic::AvVideo, partition: 0 };
    const RULE: Rule = Rule { interval_ms: 1_000, bytes: 100 };

    fn epoch(log_time: Time, ranges: &[(TopicPartition, i64, i64)]) -> EpochRecord {
        let ranges =
            ranges.iter().map(|(at, from, to)| EpochRange { at: *at, from: *from, to: *to }).collect();
        EpochRecord { log_time: LogTime(log_time), ranges }
    }

    fn enter(gate: &Gate, time: Time) -> bool {
        gate.enter(&epoch(time, &[]))
    }

    #[test]
    fn time_and_bytes_choose_but_one_at_a_time() {
        let gate = Gate::new(Some(RULE), Positions::new());
        let chosen = |times: &[Time]| -> Vec<Time> {
            times.iter().copied().filter(|time| enter(&gate, *time) && gate.is_chosen(*time)).collect()
        };
        assert_eq!(chosen(&[500, 1_000, 1_500, 2_000]), [1_500]);
        assert!(chosen(&[3_000]).is_empty(), "the one of 1 500 is not written");
        gate.written(1_500, None);
        assert_eq!(chosen(&[3_250]), [3_250]);
        gate.written(3_250, None);
        gate.took(3_250, 100, [].into_iter(), [].into_iter());
        assert_eq!(chosen(&[3_500]), [3_500]);
        assert_eq!(gate.chosen_after(3_250), Some(3_500));
        assert_eq!(gate.chosen_after(3_500), None);
    }

    #[test]
    fn without_a_rule_nothing_is_chosen() {
        let gate = Gate::default();
        gate.end_at(9_000);
        assert!(enter(&gate, 500) && enter(&gate, 9_000) && !enter(&gate, 9_001));
        assert_eq!(gate.chosen_after(0), None);
    }

    #[test]
    fn a_closed_gate_lets_every_worker_finish_the_same_epochs() {
        let gate = Gate::new(Some(RULE), Positions::new());
        assert!(enter(&gate, 250) && enter(&gate, 500));
        gate.close();
        // A slower worker still gets what the other one has.
        assert!(enter(&gate, 500));
        assert!(enter(&gate, 750) && !enter(&gate, 1_000));
        assert!(gate.is_chosen(750));
    }

    #[test]
    fn positions_are_those_of_the_epochs() {
        let gate = Gate::new(Some(RULE), Positions::from([(AUDIO, 10), (VIDEO, 20)]));
        let entered = [
            epoch(1, &[(AUDIO, 10, 12)]),
            epoch(2, &[(AUDIO, 12, 15), (VIDEO, 20, 21)]),
            epoch(3, &[(AUDIO, 15, 16)]),
            epoch(2_000, &[(VIDEO, 21, 30)]),
        ];
        entered.iter().for_each(|epoch| assert!(gate.enter(epoch)));
        let at = |epoch, rewind| -> Vec<(i64, i64)> {
            gate.positions(epoch, rewind).iter().map(|p| (p.rewind, p.next)).collect()
        };
        assert_eq!(at(3, Some(2)), [(12, 16), (20, 21)]);
        assert_eq!(at(3, None), [(16, 16), (21, 21)]);
        gate.written(2, Some(2));
        assert_eq!(at(2_000, Some(3)), [(15, 16), (21, 30)]);
    }
}
