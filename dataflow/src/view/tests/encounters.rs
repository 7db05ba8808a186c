//! Encounters, and the rewards that they add up to.

use std::collections::BTreeMap;

use lsie_schemas::row::EncounterRow;
use lsie_schemas::{Cell, Change, LogTime, Real};
use proptest::prelude::*;
use timely::dataflow::StreamVec;
use timely::dataflow::operators::Concat;
use timely::dataflow::operators::vec::{Filter, Map};

use super::places::{Kind, World, at, fact, judged_arm, place, places, reward_of, session, span};
use super::posterior_history::units;
use super::{Table, check, config, epochs, put, run};
use crate::adapter::Time;
use crate::checkpoint::Keep;
use crate::commit::Written;
use crate::graph::changes;
use crate::view::feed::{self, Fact};
use crate::view::{Rows, encounters, met, rewards};

const SUM: &str = "sum of rewards";
const NUMBER: &str = "number of rewards";

fn view<'scope>(facts: Rows<'scope, Fact>, keep: &Keep) -> StreamVec<'scope, Time, Written> {
    let rows = encounters(met(feed::measured(facts.clone()), feed::evaluated(facts), keep));
    // Sum and number are differences: as copies of one row each they add up the same way. What they were is said again.
    let resumed = keep.resumed;
    let rewards = rewards(rows.clone(), keep).inner.filter(move |(_, epoch, _)| *epoch > resumed);
    let rewards = rewards.flat_map(|(arm, epoch, (sum, n))| {
        let copies = |what: &'static str, diff: i64| {
            Written::Change(Change { table: what.into(), row: cells(&arm), epoch: LogTime(epoch), diff })
        };
        [copies(SUM, i64::try_from(sum).expect("a few rewards")), copies(NUMBER, n)]
    });
    changes(rows, 0).concat(rewards)
}

fn cells((experiment, arm): &(String, String)) -> Vec<Cell> {
    vec![Cell::Text(experiment.clone()), Cell::Text(arm.clone())]
}

fn from_scratch(world: &World) -> Table {
    let mut table = Table::new();
    let mut rewarded: BTreeMap<(String, String), Vec<f64>> = BTreeMap::new();
    for row in all_encounters(world) {
        put(&mut table, &row);
        // What is no reward changes nothing.
        if row.gated_reward.0 <= 1.0 {
            rewarded.entry((row.experiment_id, row.arm)).or_default().push(row.gated_reward.0);
        }
    }
    for (arm, rewards) in rewarded {
        let sum: i128 = rewards.iter().map(|reward| units(*reward)).sum();
        table.insert((SUM.into(), cells(&arm)), sum as i64);
        table.insert((NUMBER.into(), cells(&arm)), rewards.len() as i64);
    }
    table.retain(|_, copies| *copies != 0);
    table
}

proptest! {
    #![proptest_config(config())]

    /// A value of 8 is measured as more than 1, which is no reward.
    #[test]
    fn encounters_and_rewards_equal_recomputation(
        epochs in epochs(places(&[Kind::Measured, Kind::Judged]), 0..9u8),
        run in run(),
    ) {
        check(view, run, epochs, fact, from_scratch)?;
    }
}

/// Every stimulus that was measured and judged.
pub(super) fn all_encounters(world: &World) -> Vec<EncounterRow> {
    let measured = world.iter().filter(|((kind, ..), _)| *kind == Kind::Measured);
    let rows = measured.filter_map(|(here, value)| {
        let gate = !world.get(&place(Kind::Judged, here.1, here.2, here.3))?.is_multiple_of(3);
        Some(EncounterRow {
            session_id: session(here.1),
            segment_id: span(*here).0,
            experiment_id: "line".into(),
            arm: judged_arm(here.1),
            timestamp_utc: span(*here).1,
            gated_reward: Real(if gate { reward_of(*value) } else { 0.0 }),
            p90_intensity: Real(reward_of(*value)),
            semantic_gate: i64::from(gate),
            is_valid: true,
            n_frames: i64::from(*value),
            baseline_neutral: (*value > 3).then_some(Real(0.25)),
            stimulus_time: Some(Real(at(*here).seconds())),
        })
    });
    rows.collect()
}
