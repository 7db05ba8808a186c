//! The steps of posteriors.

use std::collections::BTreeMap;

use lsie_operators::logic::Logic;
use lsie_schemas::row::{EncounterRow, PosteriorUpdateRow};
use lsie_schemas::table::Json;
use lsie_schemas::{EventTime, LogTime, Real};
use proptest::prelude::*;

use super::places::{ANCHOR, reward_of, session};
use crate::view::PosteriorHistory;

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// After any steps, with a restart between any two: the newest row of each arm is what its encounters make
    /// of the prior, and the rows that moved it are exactly the differences.
    #[test]
    fn posterior_history_equals_recomputation(
        epochs in prop::collection::vec(prop::collection::vec((0..5u8, 0..2u8, 0..8u8), 0..6), 1..12),
        restarts in any::<u16>(),
    ) {
        let mut history = PosteriorHistory::default();
        let mut world: BTreeMap<u8, EncounterRow> = BTreeMap::new();
        for (number, edits) in epochs.into_iter().enumerate() {
            if restarts >> number & 1 == 1 {
                let snapshot = history.snapshot();
                history = PosteriorHistory::default();
                history.restore(snapshot);
            }
            let before = world.clone();
            let mut changes = Vec::new();
            for (at, arm, value) in edits {
                let row = one_encounter(at, arm, value);
                changes.extend(world.insert(at, row.clone()).map(|old| (old, -1)));
                changes.push((row, 1));
            }
            let epoch = LogTime(1_000 + number as u64);
            let mut out = Vec::new();
            let changes = changes.into_iter().map(|(row, diff)| (row.into(), diff)).collect();
            history.on_epoch(epoch, changes, &mut out);
            prop_assert_eq!(out, steps(epoch, &before, &world));
        }
    }
}

fn one_encounter(at: u8, arm: u8, value: u8) -> EncounterRow {
    EncounterRow {
        session_id: session(at),
        segment_id: "0".into(),
        experiment_id: "line".into(),
        arm: super::places::arm(arm),
        timestamp_utc: EventTime(ANCHOR),
        gated_reward: Real(reward_of(value)),
        p90_intensity: Real(reward_of(value)),
        semantic_gate: 1,
        is_valid: true,
        n_frames: 1,
        baseline_neutral: None,
        stimulus_time: Some(Real(f64::from(at))),
    }
}

fn steps(
    epoch: LogTime,
    before: &BTreeMap<u8, EncounterRow>,
    after: &BTreeMap<u8, EncounterRow>,
) -> Vec<PosteriorUpdateRow> {
    let mut rows = Vec::new();
    for arm in ["hello", "praise"] {
        let of = |world: &BTreeMap<u8, EncounterRow>| -> Vec<EncounterRow> {
            world.values().filter(|row| row.arm == arm).cloned().collect()
        };
        let (old, new) = (of(before), of(after));
        let went = old.iter().filter(|row| !new.contains(row)).map(|row| (row, -1));
        let came = new.iter().filter(|row| !old.contains(row)).map(|row| (row, 1));
        let mut moved: Vec<(&EncounterRow, i64)> = went.chain(came).collect();
        moved.sort();
        if moved.is_empty() {
            continue;
        }
        let rewards: Vec<f64> = new.iter().map(|row| row.gated_reward.0).collect();
        let (alpha, beta) = posterior(&rewards);
        let moved: Vec<serde_json::Value> = moved
            .iter()
            .map(|(row, diff)| {
                serde_json::json!({
                    "session_id": row.session_id.to_string(),
                    "segment_id": row.segment_id,
                    "stimulus_time": row.stimulus_time.map(|seconds| seconds.0),
                    "gated_reward": row.gated_reward.0,
                    "diff": diff,
                })
            })
            .collect();
        rows.push(PosteriorUpdateRow {
            experiment_id: "line".into(),
            arm: arm.into(),
            at: epoch.as_event(),
            alpha_param: Real(alpha),
            beta_param: Real(beta),
            moved_by: Json::new(&serde_json::Value::Array(moved)),
        });
    }
    rows
}

/// Alpha and beta after these rewards, from (1, 1), in whole units of 1e-12.
pub(super) fn posterior(rewards: &[f64]) -> (f64, f64) {
    let one = 1_000_000_000_000;
    let sum: i128 = rewards.iter().map(|reward| units(*reward)).sum();
    let missing = rewards.len() as i128 * one - sum;
    let add = |units: i128| (1.0 + (units / one) as f64) + (units % one) as f64 / 1e12;
    (add(sum), add(missing))
}

pub(super) fn units(reward: f64) -> i128 {
    (reward * 1e12).round_ties_even() as i128
}
