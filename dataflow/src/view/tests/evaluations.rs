//! Evaluations: of each segment the judgement of its first stimulus that has one.

use lsie_schemas::Real;
use lsie_schemas::row::EvaluationRow;
use proptest::prelude::*;
use timely::dataflow::StreamVec;

use super::places::{Kind, World, fact, places, reward_of, session, span};
use super::{Table, check, config, epochs, put, run};
use crate::adapter::Time;
use crate::checkpoint::Keep;
use crate::commit::Written;
use crate::graph::changes;
use crate::view::feed::{self, Fact};
use crate::view::{Rows, evaluations};

fn view<'scope>(facts: Rows<'scope, Fact>, keep: &Keep) -> StreamVec<'scope, Time, Written> {
    changes(evaluations(feed::evaluated(facts), keep), 0)
}

fn from_scratch(world: &World) -> Table {
    let mut table = Table::new();
    for s in 0..3 {
        for k in 0..3 {
            // The stimuli of a segment are numbered in order of time.
            let judged = (0..2).map(|j| (Kind::Judged, s, k, j)).find(|here| world.contains_key(here));
            let Some(here) = judged else { continue };
            let value = world[&here];
            let (segment_id, window_end) = span(here);
            let row = EvaluationRow {
                session_id: session(s),
                segment_id,
                timestamp_utc: window_end,
                reasoning: Some("cross_encoder_high_match".into()),
                is_match: Some(!value.is_multiple_of(3)),
                confidence: Some(Real(reward_of(value))),
                semantic_method: Some("cross_encoder".into()),
                semantic_method_version: Some("v1".into()),
            };
            put(&mut table, &row);
        }
    }
    table
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn evaluations_equal_recomputation(epochs in epochs(places(&[Kind::Judged]), 0..8u8), run in run()) {
        check(view, run, epochs, fact, from_scratch)?;
    }
}
