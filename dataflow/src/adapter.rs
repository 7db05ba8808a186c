//! Any per-epoch logic as a timely operator: it is called once for each completed epoch that has input, in
//! order, with everything of that epoch.

use std::collections::BTreeMap;

use lsie_schemas::LogTime;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::ParallelizationContract;
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
            input.for_each_stamp(|capability, batches| {
                let Some(kept) = capability.retain_least(output.output_index()) else { return };
                let (_, stash) = open.entry(*kept.time()).or_insert_with(|| (kept, Vec::new()));
                for batch in batches {
                    stash.append(batch);
                }
            });
            while let Some(entry) = open.first_entry().filter(|entry| !frontier.less_equal(entry.key())) {
                let (capability, inputs) = entry.remove();
                logic(LogTime(*capability.time()), inputs, &mut produced);
                output.session(&capability).give_iterator(produced.drain(..));
            }
        }
    })
}
