//! Any per-epoch logic as a timely operator: it is called once for each completed epoch that has input, in
//! order, with everything of that epoch.

use std::collections::BTreeMap;

use lsie_schemas::LogTime;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{ParallelizationContract, Pipeline};
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;

/// The timestamp of the dataflow: an epoch's log time in ms.
pub type Time = u64;

/// Runs `logic` for each completed epoch. Inputs of one epoch come in the order in which each upstream
/// worker sent them; between upstream workers or concatenated streams there is no order.
pub fn per_epoch<'scope, I, O, P, L>(
    stream: StreamVec<'scope, Time, I>,
    pact: P,
    name: &str,
    mut logic: L,
) -> StreamVec<'scope, Time, O>
where
    I: Clone + 'static,
    O: Clone + 'static,
    P: ParallelizationContract<Time, Vec<I>>,
    L: FnMut(LogTime, Vec<I>, &mut Vec<O>) + 'static,
{
    stream.unary_frontier(pact, name, move |_capability, _info| {
        let mut open: BTreeMap<Time, (Capability<Time>, Vec<I>)> = BTreeMap::new();
        let mut produced = Vec::new();
        move |(input, frontier), output| {
            // Not `for_each_stamp`: it may swap the messages of one time, and their order counts.
            input.for_each(|capability, batch| {
                let Some(kept) = capability.retain_least(output.output_index()) else { return };
                let (_, stash) = open.entry(*kept.time()).or_insert_with(|| (kept, Vec::new()));
                stash.append(batch);
            });
            while let Some(entry) = open.first_entry().filter(|entry| !frontier.less_equal(entry.key())) {
                let (capability, inputs) = entry.remove();
                logic(LogTime(*capability.time()), inputs, &mut produced);
                output.session(&capability).give_iterator(produced.drain(..));
            }
        }
    })
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
