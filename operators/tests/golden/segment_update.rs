//! Which encounters change a posterior and write a row, and what they write.

use std::collections::BTreeMap;

use lsie_operators::posterior::{Posterior, RewardSum};
use lsie_operators::reward::{EncounterInput, encounter_reward};
use serde_json::Value;

use crate::posterior::{ArmRow, assert_close};
use crate::read::{assert_relative, cases};

#[derive(serde::Deserialize)]
struct Input {
    arms: Vec<ArmRow>,
    semantic: Option<Semantic>,
    active_arm: Option<String>,
    experiment_code: Option<String>,
    au12_series: Option<Vec<(f64, f64)>>,
    stimulus_time_s: Option<f64>,
}

#[derive(serde::Deserialize)]
struct Semantic {
    /// A result without the flag (an evaluation that failed) is a closed gate, not a missing result.
    #[serde(default)]
    is_match: bool,
}

#[derive(serde::Deserialize)]
struct Expected {
    posterior_updated: bool,
    encounter_logged: bool,
    encounter: Option<Value>,
    posteriors_after: Vec<ArmRow>,
}

#[test]
fn golden_updates_and_rows() {
    for case in cases("segment_update", 68) {
        let (input, expected): (Input, Expected) = (case.input(), case.expected());
        let name = &case.name;
        let arm = input.active_arm.as_deref().unwrap_or_default();
        let mut posteriors: BTreeMap<&str, Posterior> =
            input.arms.iter().map(|row| (row.arm.as_str(), row.posterior())).collect();
        let encounter = EncounterInput {
            is_match: input.semantic.as_ref().map(|semantic| semantic.is_match),
            series: input.au12_series.as_deref(),
            stimulus_s: input.stimulus_time_s,
            arm,
            experiment: input.experiment_code.as_deref().unwrap_or_default(),
        };
        // An arm nobody registered gets neither update nor row (its experiment does not know it).
        let reward = encounter_reward(&encounter).filter(|_| posteriors.contains_key(arm));

        assert_eq!(reward.is_some(), expected.posterior_updated, "{name}");
        assert_eq!(reward.is_some(), expected.encounter_logged, "{name}");
        assert_eq!(reward.is_some(), expected.encounter.is_some(), "{name}");
        if let (Some(reward), Some(row)) = (reward, expected.encounter) {
            assert_eq!(row["arm"], arm, "{name}");
            assert_eq!(row["gated_reward"], reward.gated_reward, "{name}");
            assert_eq!(row["p90_intensity"], reward.p90_intensity, "{name}");
            assert_eq!(row["semantic_gate"], reward.semantic_gate, "{name}");
            assert_eq!(row["is_valid"], reward.is_valid, "{name}");
            assert_eq!(row["n_frames"], reward.n_frames_in_window, "{name}");
            assert_eq!(row["stimulus_time"].as_f64(), input.stimulus_time_s, "{name}");
            match (row["baseline_neutral"].as_f64(), reward.au12_baseline_pre) {
                // 1e-12: order of the sum.
                (Some(theirs), Some(ours)) => assert_relative(ours, theirs, 1e-12, name),
                (theirs, ours) => assert_eq!(theirs, ours, "{name}"),
            }
            let sum = RewardSum::of(reward.gated_reward).expect("a reward in [0, 1]");
            posteriors.entry(arm).and_modify(|posterior| *posterior = posterior.after(sum));
        }
        for row in expected.posteriors_after {
            assert_close(posteriors[row.arm.as_str()], row.posterior(), 1, name);
        }
    }
}
