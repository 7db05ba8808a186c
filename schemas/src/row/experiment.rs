//! Tables `experiments` (one row an arm, with its posterior) and `decisions` (arm selections).

use crate::cell::Real;
use crate::table::{Json, table};
use crate::time::EventTime;
use uuid::Uuid;

table! {
    /// One arm of an experiment with its Beta posterior.
    ArmRow = "experiments", key(experiment_id, arm), {
        /// The experiment.
        experiment_id: String,
        /// The arm.
        arm: String,
        /// Posterior alpha.
        alpha_param: Real,
        /// Posterior beta.
        beta_param: Real,
        /// Variance of the expected reward under that posterior, alpha beta / ((alpha + beta)² (alpha + beta + 1)).
        evaluation_variance: Real,
        /// The experiment's label.
        label: Option<String>,
        /// What the operator says.
        greeting_text: Option<String>,
        /// Whether it may be selected.
        enabled: bool,
        /// When it was disabled.
        end_dated_at: Option<EventTime>,
    },
    constraints ["CHECK (alpha_param > 0)", "CHECK (beta_param > 0)"]
}

table! {
    /// The selection of a session's arm, as of before any reward of that session.
    DecisionRow = "decisions", key(session_id), {
        /// The session.
        session_id: Uuid,
        /// Its experiment.
        experiment_id: String,
        /// `thompson_sampling`.
        selection_method: String,
        /// The session's anchor.
        selection_time_utc: EventTime,
        /// Generator and sampler.
        policy_version: String,
        /// The arm drawn.
        selected_arm_id: String,
        /// The arms that could be drawn, ascending.
        candidate_arm_ids: Vec<String>,
        /// Alpha and beta of each candidate.
        posterior_by_arm: Json,
        /// The draws.
        sampled_theta_by_arm: Json,
        /// The selected arm's greeting.
        expected_greeting: String,
        /// SHA-256 of the decision's context.
        decision_context_hash: String,
        /// The generator's seed, unsigned 64 bit, as decimal text.
        random_seed: String,
    }
}
