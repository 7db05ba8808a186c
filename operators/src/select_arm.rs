//! Thompson sampling: which greeting a session starts with (mathematics §7).
//!
//! One selection per session, from a seed that anyone can compute again. The draws are numpy's: PCG64 and
//! `Generator.beta`, one draw per arm in ascending arm id. A change of generator or sampler changes
//! [`POLICY_VERSION`]; thetas are kept in the decision, so that it can be audited without drawing again.

mod beta;
mod context;
mod edges;
mod pcg64;
mod ziggurat;

use std::collections::BTreeMap;

use lsie_schemas::canonical;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

pub use context::DecisionContext;
pub use pcg64::Generator;

use crate::posterior::Posterior;

/// The policy: this seed recipe, this generator, this sampler.
pub const POLICY_VERSION: &str = "thompson_sampling_v1";
/// The arm used when there is nothing to choose from.
pub const FALLBACK_ARM: &str = "simple_hello";

/// An arm of an experiment, as known in the epoch of the selection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Arm {
    /// Arm id.
    pub id: String,
    /// Its posterior.
    pub posterior: Posterior,
    /// Enabled and not end-dated.
    pub enabled: bool,
}

/// What a selection is made from.
#[derive(Clone, Copy, Debug)]
pub struct Selection<'a> {
    /// The session.
    pub session_id: Uuid,
    /// Session anchor, corrected UTC, µs.
    pub window_start_us: i64,
    /// Epoch seconds; `None` at session start.
    pub stimulus_time_s: Option<f64>,
    /// Text code of the experiment.
    pub experiment_code: &'a str,
    /// Row id of the experiment.
    pub experiment_row_id: i64,
    /// All arms, in any order.
    pub arms: &'a [Arm],
}

/// A selection and everything needed to audit it (contracts §9); constant for the session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// The arm with the largest theta, or the fallback.
    pub selected_arm: String,
    /// Candidates, ascending, unique, at least one.
    pub candidate_arms: Vec<String>,
    /// Posterior of each candidate before the session changes any.
    pub posterior_by_arm: BTreeMap<String, Posterior>,
    /// The draw of each candidate, in [0, 1]; empty when the fallback was taken.
    pub theta_by_arm: BTreeMap<String, f64>,
    /// Seed of the draws; `None` when nothing was drawn.
    pub seed: Option<u64>,
    /// [`POLICY_VERSION`].
    pub policy_version: String,
    /// Row id of the experiment; 0 when the fallback was taken.
    pub experiment_row_id: i64,
    /// Hash of the decision's context, [`DecisionContext::hash`].
    pub context_hash: String,
}

/// Draws one theta per enabled arm and selects the largest; without arms, the fallback with a uniform prior.
///
/// Arms whose posterior cannot be drawn from (a parameter that is not finite, not positive, or absurd) count
/// as disabled; of arms with one id the first counts.
pub fn decide(selection: &Selection<'_>) -> Decision {
    let mut posterior_by_arm: BTreeMap<String, Posterior> = BTreeMap::new();
    for arm in selection.arms.iter().filter(|arm| arm.enabled && can_be_drawn(&arm.posterior)) {
        posterior_by_arm.entry(arm.id.clone()).or_insert(arm.posterior);
    }
    let seed = seed(selection.session_id, selection.window_start_us, selection.stimulus_time_s);
    let theta_by_arm = draw_thetas(seed, &posterior_by_arm);
    let Some(selected_arm) = select(&theta_by_arm).map(str::to_owned) else {
        return fallback(selection.experiment_code);
    };
    let mut decision = Decision {
        selected_arm,
        candidate_arms: posterior_by_arm.keys().cloned().collect(),
        posterior_by_arm,
        theta_by_arm,
        seed: Some(seed),
        policy_version: POLICY_VERSION.to_owned(),
        experiment_row_id: selection.experiment_row_id,
        context_hash: String::new(),
    };
    decision.context_hash = decision.context(selection.experiment_code).hash();
    decision
}

/// The decision when there is nothing to choose from: one candidate, uniform prior, no draw, row id 0.
pub fn fallback(experiment_code: &str) -> Decision {
    let mut decision = Decision {
        selected_arm: FALLBACK_ARM.to_owned(),
        candidate_arms: vec![FALLBACK_ARM.to_owned()],
        posterior_by_arm: BTreeMap::from([(FALLBACK_ARM.to_owned(), Posterior::UNIFORM)]),
        theta_by_arm: BTreeMap::new(),
        seed: None,
        policy_version: POLICY_VERSION.to_owned(),
        experiment_row_id: 0,
        context_hash: String::new(),
    };
    decision.context_hash = decision.context(experiment_code).hash();
    decision
}

impl Decision {
    /// What [`Self::context_hash`] is the hash of.
    pub fn context<'a>(&'a self, experiment_code: &'a str) -> DecisionContext<'a> {
        DecisionContext {
            experiment_code,
            experiment_row_id: self.experiment_row_id,
            candidate_arms: &self.candidate_arms,
            posterior_by_arm: &self.posterior_by_arm,
            selected_arm: &self.selected_arm,
            policy_version: &self.policy_version,
        }
    }
}

/// Seed of a selection: the first 8 bytes, big-endian unsigned, of SHA-256 over session id, C(window start),
/// stimulus time (`None` when there is none) and policy version, joined without separators.
pub fn seed(session_id: Uuid, window_start_us: i64, stimulus_time_s: Option<f64>) -> u64 {
    let stimulus = stimulus_time_s.map_or_else(|| "None".to_owned(), canonical::float_text);
    let start = canonical::to_text(window_start_us);
    let digest = Sha256::digest(format!("{}{start}{stimulus}{POLICY_VERSION}", session_id.hyphenated()));
    u64::from_be_bytes(std::array::from_fn(|i| digest[i]))
}

/// One draw per arm, in ascending arm id.
pub fn draw_thetas(seed: u64, posterior_by_arm: &BTreeMap<String, Posterior>) -> BTreeMap<String, f64> {
    let mut generator = Generator::from_seed(seed);
    let draws = posterior_by_arm.iter().map(|(arm, p)| (arm.clone(), beta::draw_beta(&mut generator, p)));
    draws.collect()
}

/// The arm with the largest theta; of equal ones the first in ascending id.
pub fn select(theta_by_arm: &BTreeMap<String, f64>) -> Option<&str> {
    first_largest(theta_by_arm.iter().map(|(arm, theta)| (arm.as_str(), *theta)))
}

/// The first of the largest draws, in the order given.
pub fn first_largest<'a>(draws: impl IntoIterator<Item = (&'a str, f64)>) -> Option<&'a str> {
    let mut best: Option<(&str, f64)> = None;
    for (arm, theta) in draws {
        if best.is_none_or(|(_, largest)| theta > largest) {
            best = Some((arm, theta));
        }
    }
    best.map(|(arm, _)| arm)
}

/// Bounds far outside anything rewards can reach, inside which every step of the sampler stays finite.
fn can_be_drawn(posterior: &Posterior) -> bool {
    [posterior.alpha, posterior.beta].iter().all(|parameter| (1e-100..=1e100).contains(parameter))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn arm(id: &str, alpha: f64, beta: f64, enabled: bool) -> Arm {
        Arm { id: id.to_owned(), posterior: Posterior { alpha, beta }, enabled }
    }

    fn selection(arms: &[Arm]) -> Selection<'_> {
        Selection {
            session_id: Uuid::from_u128(0x3f2b8c1e_5a4d_4e6f_8a9b_0c1d2e3f4a5b),
            window_start_us: 1_777_024_800_000_000,
            stimulus_time_s: None,
            experiment_code: "greeting_line_v1",
            experiment_row_id: 1,
            arms,
        }
    }

    #[test]
    fn seeds_of_the_mathematics_page() {
        let Selection { session_id, window_start_us, .. } = selection(&[]);
        assert_eq!(seed(session_id, window_start_us, None), 8_675_503_385_693_727_385);
        assert_eq!(seed(session_id, window_start_us, Some(1_745_488_800.25)), 17_046_535_710_924_096_073);
    }

    #[test]
    fn nothing_to_choose_from_means_the_fallback() {
        let unusable = [
            vec![],
            vec![arm("a", 1.0, 1.0, false)],
            vec![arm("a", 0.0, 1.0, true), arm("b", f64::NAN, 1.0, true), arm("c", 1.0, f64::INFINITY, true)],
        ];
        for arms in unusable {
            let decision = decide(&selection(&arms));
            assert_eq!(decision, fallback("greeting_line_v1"));
            assert_eq!(
                (decision.seed, decision.theta_by_arm.len(), decision.experiment_row_id),
                (None, 0, 0)
            );
        }
    }

    #[test]
    fn a_tie_keeps_the_first_in_ascending_id() {
        let draws =
            |pairs: [(&str, f64); 3]| BTreeMap::from(pairs.map(|(arm, theta)| (arm.to_owned(), theta)));
        assert_eq!(select(&draws([("b", 0.5), ("a", 0.5), ("c", 0.4)])), Some("a"));
        assert_eq!(select(&draws([("b", 0.0), ("a", 0.0), ("c", 0.0)])), Some("a"));
        assert_eq!(select(&BTreeMap::new()), None);
    }

    fn arms() -> impl Strategy<Value = Vec<Arm>> {
        let arm = ("[a-e]{1,3}", 0.01..200.0f64, 0.01..200.0f64, any::<bool>());
        let arm = arm.prop_map(|(id, alpha, beta, enabled)| Arm {
            id,
            posterior: Posterior { alpha, beta },
            enabled,
        });
        let unique = prop::collection::vec(arm, 0..8).prop_map(|mut arms| {
            arms.sort_by(|a, b| a.id.cmp(&b.id));
            arms.dedup_by(|a, b| a.id == b.id);
            arms
        });
        unique.prop_shuffle()
    }

    proptest! {
        #[test]
        fn order_of_arms_and_disabled_arms_do_not_matter(arms in arms()) {
            let decision = decide(&selection(&arms));
            let mut sorted: Vec<Arm> = arms.iter().filter(|arm| arm.enabled).cloned().collect();
            sorted.sort_by(|a, b| a.id.cmp(&b.id));
            prop_assert_eq!(&decision, &decide(&selection(&sorted)));

            prop_assert!(decision.candidate_arms.contains(&decision.selected_arm));
            prop_assert!(decision.theta_by_arm.values().all(|theta| (0.0..=1.0).contains(theta)));
            let largest = decision.theta_by_arm.values().copied().fold(0.0, f64::max);
            let selected = decision.theta_by_arm.get(&decision.selected_arm);
            prop_assert!(selected.is_none_or(|theta| *theta == largest));
            let text = serde_json::to_string(&decision).expect("a text");
            prop_assert_eq!(serde_json::from_str::<Decision>(&text).expect("the decision"), decision);
        }
    }
}
