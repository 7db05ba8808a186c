//! Splits a stream by kind: one operator looks at its items, with an output for each of those who listen.
//!
//! A `flat_map` for each does the same, but each is an operator that gets a copy of all items, and timely follows that
//! message through the epoch even if nothing in it is for this listener. An output of a split carries only what there is.

use lsie_schemas::LogTime;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::InputCapability;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::generic::{InputHandleCore, OutputBuilder};
use timely::progress::operate::FrontierInterest;

use crate::adapter::Time;

type Pulled<D> =
    <Pipeline as timely::dataflow::channels::pact::ParallelizationContract<Time, Vec<D>>>::Puller;

/// Sends what a message holds for one listener.
type Way<D> = Box<dyn FnMut(&InputCapability<Time>, &[D])>;

/// A stream that is being split. Items reach every listener in the order in which they came.
#[must_use = "it splits nothing before it is built"]
pub(crate) struct Split<'scope, D: 'static> {
    builder: OperatorBuilder<'scope, Time>,
    input: InputHandleCore<Time, Vec<D>, Pulled<D>>,
    ways: Vec<Way<D>>,
}

impl<'scope, D: Clone + 'static> Split<'scope, D> {
    /// Begins to split a stream.
    pub(crate) fn of(stream: StreamVec<'scope, Time, D>, name: &str) -> Split<'scope, D> {
        let mut builder = OperatorBuilder::new(name.into(), stream.scope());
        let input = builder.new_input(stream, Pipeline);
        // It never waits for an epoch.
        builder.set_notify_for(0, FrontierInterest::Never);
        Split { builder, input, ways: Vec::new() }
    }

    /// A listener: what this says of the items.
    pub(crate) fn pick<I>(&mut self, pick: impl Fn(&D) -> I + 'static) -> StreamVec<'scope, Time, I::Item>
    where
        I: IntoIterator<Item: Clone + 'static>,
    {
        self.pick_at(move |_, item| pick(item))
    }

    /// The same, said of the items and their epoch.
    pub(crate) fn pick_at<I>(
        &mut self,
        pick: impl Fn(LogTime, &D) -> I + 'static,
    ) -> StreamVec<'scope, Time, I::Item>
    where
        I: IntoIterator<Item: Clone + 'static>,
    {
        let (output, stream) = self.builder.new_output();
        let mut output = OutputBuilder::from(output);
        self.ways.push(Box::new(move |capability, items| {
            let Some(epoch) = capability.least().copied().map(LogTime) else { return };
            let mut picked = items.iter().flat_map(|item| pick(epoch, item)).peekable();
            if picked.peek().is_some() {
                output.activate().session(capability).give_iterator(picked);
            }
        }));
        stream
    }

    /// From now on all are known who listen.
    pub(crate) fn build(self) {
        let Split { builder, mut input, mut ways } = self;
        builder.build(move |_capabilities| {
            move |_frontiers| {
                // Not `for_each_stamp`: it may swap the messages of one time, and their order counts.
                input.for_each(|capability, items| {
                    ways.iter_mut().for_each(|way| way(&capability, items));
                    items.clear();
                });
            }
        });
    }
}
