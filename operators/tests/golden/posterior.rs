//! Sequences of rewards: fixed-point sums against the original's running sums of doubles.

use std::collections::BTreeMap;

use lsie_operators::posterior::{Posterior, RewardSum};

use crate::read::{assert_absolute, of_kind};

/// One arm of an input.
#[derive(serde::Deserialize)]
pub(crate) struct ArmRow {
    pub(crate) arm: String,
    alpha: f64,
    beta: f64,
    #[serde(default = "yes")]
    pub(crate) enabled: bool,
}

impl ArmRow {
    pub(crate) fn posterior(&self) -> Posterior {
        Posterior { alpha: self.alpha, beta: self.beta }
    }
}

fn yes() -> bool {
    true
}

#[derive(serde::Deserialize)]
struct Input {
    arms: Vec<ArmRow>,
    updates: Vec<Update>,
}

#[derive(serde::Deserialize)]
struct Update {
    arm: String,
    reward: f64,
}

#[derive(serde::Deserialize)]
struct Expected {
    trajectory: Vec<ExpectedStep>,
    r#final: BTreeMap<String, Posterior>,
}

#[derive(serde::Deserialize)]
struct ExpectedStep {
    ok: bool,
    error: Option<String>,
    alpha: Option<f64>,
    beta: Option<f64>,
}

#[test]
fn golden_sequences_of_rewards() {
    for case in of_kind("thompson", 343, "posterior_sequence", 101) {
        let (input, expected): (Input, Expected) = (case.input(), case.expected());
        assert_eq!(input.updates.len(), expected.trajectory.len(), "{}", case.name);
        let priors: BTreeMap<&str, Posterior> =
            input.arms.iter().map(|row| (row.arm.as_str(), row.posterior())).collect();
        let mut sums: BTreeMap<&str, RewardSum> = BTreeMap::new();
        for (update, expected) in input.updates.iter().zip(expected.trajectory) {
            // The reward is checked before the arm is looked up. Disabled arms still take late rewards.
            let outcome = match (RewardSum::of(update.reward), priors.contains_key(update.arm.as_str())) {
                (Err(_), _) => Err("reward_out_of_range"),
                (Ok(_), false) => Err("unknown_arm"),
                (Ok(reward), true) => Ok(reward),
            };
            assert_eq!(outcome.is_ok(), expected.ok, "{}", case.name);
            assert_eq!(outcome.err(), expected.error.as_deref(), "{}", case.name);
            let Some(prior) = priors.get(update.arm.as_str()) else { continue };
            let sum = sums.entry(&update.arm).or_default();
            *sum += outcome.unwrap_or_default();
            if let (Some(alpha), Some(beta)) = (expected.alpha, expected.beta) {
                assert_close(prior.after(*sum), Posterior { alpha, beta }, sum.n, &case.name);
            }
        }
        for (arm, theirs) in expected.r#final {
            let sum = sums.get(arm.as_str()).copied().unwrap_or_default();
            assert_close(priors[arm.as_str()].after(sum), theirs, sum.n, &case.name);
        }
    }
}

/// Compares a posterior after `n` rewards.
///
/// The rule: rewards are fixed-point sums in units of 1e-12 (design §4), the original adds doubles one by
/// one. Per reward ours is at most half a unit off, and one reward of at most 12 decimals not at all; the
/// original rounds to half a place of the running value at each step, and once more in `1 - r`; we round
/// twice in all.
#[track_caller]
pub(crate) fn assert_close(ours: Posterior, theirs: Posterior, n: i64, case: &str) {
    for (ours, theirs) in [(ours.alpha, theirs.alpha), (ours.beta, theirs.beta)] {
        let place = theirs.max(1.0) * f64::EPSILON;
        let bound = n as f64 * (0.5e-12 + place) + if n == 0 { 0.0 } else { 2.0 * place };
        assert_absolute(ours, theirs, bound, case);
    }
}
