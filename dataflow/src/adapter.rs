//! Steps and logics as timely operators: called once for each completed epoch that has input, in order, with
//! everything of that epoch.

use std::collections::BTreeMap;

use differential_dataflow::consolidation::consolidate;
use differential_dataflow::{AsCollection, VecCollection};
use lsie_operators::logic::{Keyed, Logic};
use lsie_schemas::LogTime;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use timely::ExchangeData;
use timely::communication::Pull;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::Message;
use timely::dataflow::channels::pact::{Exchange, ParallelizationContract, Pipeline};
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::InputHandleCore;
use timely::dataflow::operators::generic::Operator;
use timely::progress::frontier::MutableAntichain;

use crate::board::Place;
use crate::checkpoint::state_file::{Added, Rows, StateError, encode};
use crate::checkpoint::{Content, Station};
use crate::metrics::instant;

/// The timestamp of the dataflow: an epoch's log time in ms.
pub type Time = u64;

/// Runs `step` for each completed epoch. Inputs of one epoch come in the order in which each upstream worker
/// sent them; between upstream workers or concatenated streams there is no order. A step has no state: what
/// has is a [`stateful`] logic, which checkpoints hold.
pub fn per_epoch<'scope, I, O, P, L>(
    stream: StreamVec<'scope, Time, I>,
    pact: P,
    name: &str,
    step: L,
) -> StreamVec<'scope, Time, O>
where
    I: Clone + 'static,
    O: Clone + 'static,
    P: ParallelizationContract<Time, Vec<I>>,
    L: Fn(LogTime, Vec<I>, &mut Vec<O>) + 'static,
{
    let place = Place::of(name);
    stream.unary_frontier(pact, name, move |_capability, _info| {
        let mut open = Open::default();
        let mut produced = Vec::new();
        move |(input, frontier), output| {
            let began = instant();
            open.take(input, output.output_index());
            while let Some((capability, inputs)) = open.next(frontier) {
                step(LogTime(*capability.time()), inputs, &mut produced);
                output.session(&capability).give_iterator(produced.drain(..));
            }
            place.stands(frontier.frontier().first().copied(), open.epochs.len());
            place.worked(began);
        }
    })
}

/// Runs a logic for each completed epoch that has input, and keeps its state in checkpoints under the name of
/// its station. `owner` says to which worker, modulo their number, the state of a key belongs: the one that
/// gets the key's inputs.
pub fn stateful<'scope, L, P>(
    stream: StreamVec<'scope, Time, L::Record>,
    pact: P,
    mut station: Station,
    mut logic: L,
    owner: impl Fn(&<L::Snapshot as Keyed>::Key) -> u64,
) -> StreamVec<'scope, Time, L::Output>
where
    L: Logic + 'static,
    L::Record: Clone + 'static,
    L::Output: Clone + 'static,
    L::Snapshot: Keyed + Send + 'static,
    P: ParallelizationContract<Time, Vec<L::Record>>,
{
    if let Some(snapshot) = station.restored(owner) {
        logic.restore(snapshot);
    }
    let resumed = station.keep().resumed;
    let hand_over = |station: &mut Station, logic: &L, passed: &dyn Fn(Time) -> bool| {
        while let Some(epoch) = station.due(passed) {
            let rewind = logic.rewind().map(|rewind| rewind.0);
            station.hand_over(epoch, rewind, Some(0), station.pieces(logic.snapshot()));
        }
    };
    let place = Place::of(station.name());
    stream.unary_frontier(pact, station.name(), move |_capability, _info| {
        let mut open = Open::default();
        let mut produced = Vec::new();
        move |(input, frontier), output| {
            let began = instant();
            open.take(input, output.output_index());
            while let Some((capability, inputs)) = open.next(frontier) {
                let epoch = *capability.time();
                hand_over(&mut station, &logic, &|chosen| chosen < epoch);
                if epoch <= resumed {
                    logic.rebuild(LogTime(epoch), inputs, &mut produced);
                } else {
                    logic.on_epoch(LogTime(epoch), inputs, &mut produced);
                }
                output.session(&capability).give_iterator(produced.drain(..));
            }
            hand_over(&mut station, &logic, &|chosen| !frontier.less_equal(&chosen));
            place.stands(frontier.frontier().first().copied(), open.epochs.len());
            place.worked(began);
        }
    })
}

/// Rows of before a checkpoint's epoch, and those of it, with their copies.
pub type Restored<D> = Option<[Vec<(D, i64)>; 2]>;

/// What an operator sends at its start: rows as of the epoch that a run resumed from.
fn again<D, R>(
    restored: Option<[Vec<(D, R)>; 2]>,
    resumed: Time,
    first: Option<Capability<Time>>,
) -> impl Iterator<Item = (Capability<Time>, impl Iterator<Item = (D, Time, R)>)> {
    first.zip(restored).into_iter().flat_map(move |(capability, [before, last])| {
        // What is there before the checkpoint's epoch counts from the millisecond before it.
        [(before, resumed.saturating_sub(1)), (last, resumed)].map(|(rows, time)| {
            (capability.delayed(&time), rows.into_iter().map(move |(row, copies)| (row, time, copies)))
        })
    })
}

/// A stream of facts as a collection: each is there from its epoch on. `formerly` has what a checkpoint of an earlier
/// version kept of it.
pub fn collected<'scope, D>(
    stream: StreamVec<'scope, Time, D>,
    formerly: Restored<D>,
    resumed: Time,
) -> VecCollection<'scope, Time, D, isize>
where
    D: Clone + 'static,
{
    let mut formerly = formerly.map(|parts| parts.map(copies));
    let updates = stream.unary(Pipeline, "collected", move |capability, _info| {
        let mut first = Some(capability);
        move |input, output| {
            for (capability, rows) in again(formerly.take(), resumed, first.take()) {
                output.session(&capability).give_iterator(rows);
            }
            input.for_each(|capability, facts| {
                let Some(capability) = capability.retain_least(output.output_index()) else { return };
                let epoch = *capability.time();
                output.session(&capability).give_iterator(facts.drain(..).map(|fact| (fact, epoch, 1)));
            });
        }
    });
    updates.as_collection()
}

fn copies<D>(rows: Vec<(D, i64)>) -> Vec<(D, isize)> {
    rows.into_iter().map(|(row, copies)| (row, copies as isize)).collect()
}

/// Each fact once, with how often it is there, in order.
fn counted<D: Ord + Clone>(facts: &[D]) -> Vec<(D, i64)> {
    // Facts that are equal mostly follow on each other: there is less to sort.
    let runs = facts.chunk_by(PartialEq::eq).map(|run| (run[0].clone(), run.len() as i64));
    let mut counted = runs.collect();
    consolidate(&mut counted);
    counted
}

/// The same, kept in checkpoints: each fact is there again at once after a restart.
pub fn kept<'scope, D>(
    stream: StreamVec<'scope, Time, D>,
    mut station: Station,
) -> VecCollection<'scope, Time, D, isize>
where
    D: Clone + Ord + Serialize + DeserializeOwned + Send + 'static,
{
    let mut restored = station.restored_rows::<D>().map(|parts| parts.map(copies));
    let resumed = station.keep().resumed;
    let updates = stream.unary_frontier(Pipeline, station.name(), move |capability, _info| {
        let mut open = Open::default();
        let mut first = Some(capability);
        let mut since = Since::default();
        move |(input, frontier), output| {
            for (capability, rows) in again(restored.take(), resumed, first.take()) {
                output.session(&capability).give_iterator(rows);
            }
            open.take(input, output.output_index());
            while let Some((capability, facts)) = open.next(frontier) {
                let epoch = *capability.time();
                since.hand_over(&mut station, &|chosen| chosen < epoch);
                let facts = counted(&facts);
                if station.keep().is_on() {
                    since.add(&facts, station.keep().gate.is_chosen(epoch));
                }
                let facts = facts.into_iter().map(|(fact, copies)| (fact, epoch, copies as isize));
                output.session(&capability).give_iterator(facts);
            }
            since.hand_over(&mut station, &|chosen| !frontier.less_equal(&chosen));
        }
    });
    updates.as_collection()
}

/// A sum in fixed point, and of how many.
type Sum = (i128, i64);

/// Sums by key that are kept in checkpoints, and are there again after a restart, one for each key, however many
/// updates they are of.
pub fn kept_sums<'scope, K>(
    updates: VecCollection<'scope, Time, K, Sum>,
    mut station: Station,
    route: impl Fn(&K) -> u64 + Clone + 'static,
) -> VecCollection<'scope, Time, K, Sum>
where
    K: ExchangeData + Ord + Clone,
{
    let mut sums: BTreeMap<K, Sums> = BTreeMap::new();
    if let Some(SumsOf(restored)) = station.restored::<SumsOf<K>>(route.clone()) {
        sums.extend(restored);
    }
    let resumed = station.keep().resumed;
    let of = |part: fn(&Sums) -> Sum| -> Vec<(K, Sum)> {
        let some = sums.iter().map(|(key, sums)| (key.clone(), part(sums)));
        some.filter(|(_, sum)| *sum != Sum::default()).collect()
    };
    let mut restored = Some([of(|sums| sums.before), of(|sums| sums.last)]);
    let by_key = Exchange::new(move |(key, _, _): &(K, Time, Sum)| route(key));
    let place = Place::of(station.name());
    let updates = updates.inner.unary_frontier(by_key, station.name(), move |capability, _info| {
        let mut open = Updates::default();
        let mut first = Some(capability);
        let hand_over = |station: &mut Station, sums: &BTreeMap<K, Sums>, passed: &dyn Fn(Time) -> bool| {
            while let Some(epoch) = station.due(passed) {
                let all = sums.iter().map(|(key, sums)| (key.clone(), sums.as_of(epoch))).collect();
                station.hand_over(epoch, None, Some(0), station.pieces(SumsOf(all)));
            }
        };
        move |(input, frontier), output| {
            let began = instant();
            for (capability, rows) in again(restored.take(), resumed, first.take()) {
                output.session(&capability).give_iterator(rows);
            }
            open.take(input, output.output_index());
            while let Some((capability, changed)) = open.next(frontier) {
                let epoch = *capability.time();
                hand_over(&mut station, &sums, &|chosen| chosen < epoch);
                let mut net: BTreeMap<K, Sum> = BTreeMap::new();
                for (key, (sum, n)) in changed {
                    let net = net.entry(key).or_default();
                    *net = (net.0 + sum, net.1 + n);
                }
                net.retain(|_, sum| *sum != Sum::default());
                for (key, sum) in &net {
                    sums.entry(key.clone()).or_default().add(epoch, *sum);
                }
                output
                    .session(&capability)
                    .give_iterator(net.into_iter().map(|(key, sum)| (key, epoch, sum)));
            }
            hand_over(&mut station, &sums, &|chosen| !frontier.less_equal(&chosen));
            place.stands(frontier.frontier().first().copied(), open.waiting());
            place.worked(began);
        }
    });
    updates.as_collection()
}

/// What has been added up for a key: before the epoch that changed it last, and at that epoch.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Sums {
    before: Sum,
    last: Sum,
    at: Time,
}

impl Sums {
    fn add(&mut self, at: Time, (sum, n): Sum) {
        let Sums { before, last, .. } = self.as_of(at);
        *self = Sums { before, last: (last.0 + sum, last.1 + n), at };
    }

    /// The same, with what was added before this epoch apart from what was added at it; equal at every epoch after the
    /// one that changed it last.
    fn as_of(&self, at: Time) -> Sums {
        if self.at == at {
            return self.clone();
        }
        let before = (self.before.0 + self.last.0, self.before.1 + self.last.1);
        Sums { before, ..Sums::default() }
    }
}

/// The sums of some keys.
#[derive(Debug, Serialize, Deserialize)]
struct SumsOf<K>(Vec<(K, Sums)>);

impl<K> Default for SumsOf<K> {
    fn default() -> SumsOf<K> {
        SumsOf(Vec::new())
    }
}

impl<K: Clone + Ord + Serialize + DeserializeOwned> Keyed for SumsOf<K> {
    type Key = K;

    fn apart(self) -> Vec<(Option<K>, SumsOf<K>)> {
        self.0.into_iter().map(|(key, sums)| (Some(key.clone()), SumsOf(vec![(key, sums)]))).collect()
    }

    fn join(&mut self, piece: SumsOf<K>) {
        self.0.extend(piece.0);
    }
}

/// The facts since the last checkpoint, with the number of each.
struct Since<D> {
    before: BTreeMap<D, i64>,
    last: BTreeMap<D, i64>,
}

impl<D> Default for Since<D> {
    fn default() -> Since<D> {
        Since { before: BTreeMap::new(), last: BTreeMap::new() }
    }
}

impl<D: Clone + Ord + Serialize + Send + 'static> Since<D> {
    fn add(&mut self, facts: &[(D, i64)], is_chosen: bool) {
        let to = if is_chosen { &mut self.last } else { &mut self.before };
        for (fact, copies) in facts {
            match to.get_mut(fact) {
                Some(known) => *known += copies,
                None => drop(to.insert(fact.clone(), *copies)),
            }
        }
    }

    fn hand_over(&mut self, station: &mut Station, passed: &dyn Fn(Time) -> bool) {
        while let Some(epoch) = station.due(passed) {
            let Since { before, last } = std::mem::take(self);
            let content =
                Content::Rows(Box::new(move || Ok(Added { before: rows(before)?, last: rows(last)? })));
            station.hand_over(epoch, None, Some(0), content);
        }
    }
}

fn rows<D: Serialize>(facts: BTreeMap<D, i64>) -> Result<Rows, StateError> {
    facts.into_iter().map(|(fact, copies)| Ok((encode(&fact)?, copies))).collect()
}

/// Inputs of epochs that are not complete.
struct Open<I> {
    epochs: BTreeMap<Time, (Capability<Time>, Vec<I>)>,
}

impl<I> Default for Open<I> {
    fn default() -> Open<I> {
        Open { epochs: BTreeMap::new() }
    }
}

impl<I: 'static> Open<I> {
    fn take<P: Pull<Message<Time, Vec<I>>>>(
        &mut self,
        input: &mut InputHandleCore<Time, Vec<I>, P>,
        output: usize,
    ) {
        // Not `for_each_stamp`: it may swap the messages of one time, and their order counts.
        input.for_each(|capability, batch| {
            let Some(kept) = capability.retain_least(output) else { return };
            let (_, stash) = self.epochs.entry(*kept.time()).or_insert_with(|| (kept, Vec::new()));
            stash.append(batch);
        });
    }

    /// The next complete epoch.
    fn next(&mut self, frontier: &MutableAntichain<Time>) -> Option<(Capability<Time>, Vec<I>)> {
        let entry = self.epochs.first_entry().filter(|entry| !frontier.less_equal(entry.key()))?;
        Some(entry.remove())
    }
}

/// The updates of a complete time, with the right to say what follows from them.
type Complete<D, R> = (Capability<Time>, Vec<(D, R)>);

/// Updates of epochs that are not complete, each under its own time.
pub struct Updates<D, R> {
    times: BTreeMap<Time, Vec<(D, R)>>,
    /// Of the earliest open time or before: an update may be later than the message it comes with.
    held: Option<Capability<Time>>,
}

impl<D, R> Default for Updates<D, R> {
    fn default() -> Updates<D, R> {
        Updates { times: BTreeMap::new(), held: None }
    }
}

impl<D: 'static, R: 'static> Updates<D, R> {
    /// Takes what has come.
    pub fn take<P: Pull<Message<Time, Vec<(D, Time, R)>>>>(
        &mut self,
        input: &mut InputHandleCore<Time, Vec<(D, Time, R)>, P>,
        output: usize,
    ) {
        input.for_each(|capability, batch| {
            if let Some(kept) = capability.retain_least(output)
                && self.held.as_ref().is_none_or(|held| kept.time() < held.time())
            {
                self.held = Some(kept);
            }
            for (row, time, diff) in batch.drain(..) {
                self.times.entry(time).or_default().push((row, diff));
            }
        });
    }

    /// The updates of the next complete time.
    pub fn next(&mut self, frontier: &MutableAntichain<Time>) -> Option<Complete<D, R>> {
        let entry = self.times.first_entry().filter(|entry| !frontier.less_equal(entry.key()));
        let next = entry.zip(self.held.as_ref()).map(|(entry, held)| {
            let (time, updates) = entry.remove_entry();
            (held.delayed(&time), updates)
        });
        match (self.times.first_key_value(), &mut self.held) {
            (Some((time, _)), Some(held)) if *held.time() < *time => held.downgrade(time),
            (None, held) => *held = None,
            _ => {}
        }
        next
    }

    /// How many times are open.
    pub fn waiting(&self) -> usize {
        self.times.len()
    }
}

/// The updates of a collection as messages at their own times.
///
/// Differential sends an update under a capability that may be earlier than the update's time, so a plain
/// stream must not take the message's time for the update's.
pub fn at_their_time<'scope, D, R>(
    updates: StreamVec<'scope, Time, (D, Time, R)>,
) -> StreamVec<'scope, Time, (D, R)>
where
    D: Clone + 'static,
    R: Clone + 'static,
{
    updates.unary(Pipeline, "at_their_time", |_capability, _info| {
        move |input, output| {
            input.for_each_stamp(|capability, batches| {
                let mut by_time: BTreeMap<Time, Vec<(D, R)>> = BTreeMap::new();
                for (data, time, diff) in batches.flat_map(|batch| batch.drain(..)) {
                    by_time.entry(time).or_default().push((data, diff));
                }
                for (time, updates) in by_time {
                    let capability = capability.delayed(&time, output.output_index());
                    output.session(&capability).give_iterator(updates.into_iter());
                }
            });
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_counted_wherever_they_stand() {
        assert_eq!(counted(&["b", "b", "a", "c", "b", "a"]), [("a", 2), ("b", 3), ("c", 1)]);
        assert_eq!(counted::<&str>(&[]), []);
    }
}
