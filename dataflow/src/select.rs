//! Arm selection: one place per experiment, which learns from earlier epochs only.

use std::collections::BTreeMap;
use std::sync::Arc;

use lsie_operators::logic::{Keyed, Logic};
use lsie_operators::posterior::{Posterior, RewardSum};
use lsie_operators::select_arm::{Arm, Selection, decide};
use lsie_schemas::record::ExperimentRecord;
use lsie_schemas::row::DecisionRow;
use lsie_schemas::table::Json;
use lsie_schemas::{EventTime, LogTime};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::healing::Selections;

/// What an arm without a text says.
const GENERIC_GREETING: &str = "hello and welcome";

/// Where an experiment record stands in its topic.
pub type AdminOrder = (i32, i64);

/// What reaches the selection of an experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Input {
    /// A session needs an arm.
    Anchored {
        /// The session.
        session: Uuid,
        /// Its experiment.
        experiment: String,
        /// Its anchor.
        anchor: EventTime,
    },
    /// A reward of an earlier epoch came, or went.
    Reward {
        /// The experiment.
        experiment: String,
        /// The arm.
        arm: String,
        /// What to add.
        sum: RewardSum,
    },
    /// The experiment was changed in an earlier epoch.
    Admin {
        /// The order of changes.
        order: AdminOrder,
        /// The change.
        record: ExperimentRecord,
    },
}

impl Input {
    /// The experiment it concerns.
    pub fn experiment(&self) -> &str {
        match self {
            Input::Anchored { experiment, .. } | Input::Reward { experiment, .. } => experiment,
            Input::Admin { record, .. } => record.experiment(),
        }
    }

    /// Learning comes first, and in a fixed order.
    fn rank(&self) -> (u8, AdminOrder, EventTime, Uuid) {
        match self {
            Input::Admin { order, .. } => (0, *order, EventTime(0), Uuid::nil()),
            Input::Reward { .. } => (1, (0, 0), EventTime(0), Uuid::nil()),
            Input::Anchored { session, anchor, .. } => (2, (0, 0), *anchor, *session),
        }
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct ArmState {
    /// Set by the record that declares the arm; a reward alone declares nothing.
    declared: bool,
    disabled: bool,
    greeting: String,
    rewards: RewardSum,
}

/// The arms of the experiments of one worker.
#[derive(Debug, Default)]
pub struct Select {
    experiments: BTreeMap<String, BTreeMap<String, ArmState>>,
    /// Selections that a healing has kept.
    made: Arc<Selections>,
}

/// All arms of a worker, as a checkpoint holds them.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct SelectSnapshot {
    experiments: BTreeMap<String, BTreeMap<String, ArmState>>,
}

impl Keyed for SelectSnapshot {
    type Key = String;

    fn apart(self) -> Vec<(Option<String>, SelectSnapshot)> {
        let piece = |(id, arms): (String, _)| {
            (Some(id.clone()), SelectSnapshot { experiments: BTreeMap::from([(id, arms)]) })
        };
        self.experiments.into_iter().map(piece).collect()
    }

    fn join(&mut self, piece: SelectSnapshot) {
        self.experiments.extend(piece.experiments);
    }
}

impl Logic for Select {
    type Record = Input;
    type Output = DecisionRow;
    type Snapshot = SelectSnapshot;

    fn on_epoch(&mut self, _epoch: LogTime, mut inputs: Vec<Input>, out: &mut Vec<DecisionRow>) {
        inputs.sort_by_key(Input::rank);
        for input in inputs {
            match input {
                Input::Admin { record, .. } => self.administer(record),
                Input::Reward { experiment, arm, sum } => {
                    self.experiments.entry(experiment).or_default().entry(arm).or_default().rewards += sum;
                }
                Input::Anchored { session, experiment, anchor } => {
                    out.push(self.made.stand(self.select(session, experiment, anchor)));
                }
            }
        }
    }

    fn snapshot(&self) -> SelectSnapshot {
        SelectSnapshot { experiments: self.experiments.clone() }
    }

    fn restore(&mut self, snapshot: SelectSnapshot) {
        self.experiments = snapshot.experiments;
    }
}

impl Select {
    /// No arm is known yet; these selections stand.
    pub fn with(made: Arc<Selections>) -> Select {
        Select { made, ..Select::default() }
    }

    fn administer(&mut self, record: ExperimentRecord) {
        match record {
            ExperimentRecord::Create { experiment_id, arms, .. } => {
                let known = self.experiments.entry(experiment_id).or_default();
                for arm in arms {
                    set(known, arm.arm, arm.greeting_text);
                }
            }
            ExperimentRecord::SetArm { experiment_id, arm, greeting_text } => {
                set(self.experiments.entry(experiment_id).or_default(), arm, greeting_text);
            }
            ExperimentRecord::DisableArm { experiment_id, arm, greeting_text } => {
                let known = self.experiments.entry(experiment_id).or_default();
                if let Some(arm) = known.get_mut(&arm).filter(|arm| arm.declared) {
                    arm.disabled = true;
                    arm.greeting = greeting_text.unwrap_or(std::mem::take(&mut arm.greeting));
                }
            }
            ExperimentRecord::DeleteArm { experiment_id, arm } => {
                let known = self.experiments.entry(experiment_id).or_default();
                if let Some(arm) = known.get_mut(&arm) {
                    // Its rewards stay: they are of encounters that took place.
                    (arm.declared, arm.disabled) = (false, false);
                }
            }
        }
    }

    fn select(&self, session: Uuid, experiment: String, anchor: EventTime) -> DecisionRow {
        let known = self.experiments.get(&experiment);
        let arms: Vec<Arm> = known
            .into_iter()
            .flatten()
            .map(|(id, arm)| Arm {
                id: id.clone(),
                posterior: Posterior::UNIFORM.after(arm.rewards),
                enabled: arm.declared && !arm.disabled,
            })
            .collect();
        let decision = decide(&Selection {
            session_id: session,
            window_start_us: anchor.0,
            stimulus_time_s: None,
            experiment_code: &experiment,
            experiment_row_id: experiment_row_id(&experiment),
            arms: &arms,
        });
        let greeting =
            known.and_then(|arms| arms.get(&decision.selected_arm)).map(|arm| arm.greeting.clone());
        let posteriors: serde_json::Map<String, serde_json::Value> = decision
            .posterior_by_arm
            .iter()
            .map(|(arm, p)| (arm.clone(), serde_json::json!({"alpha": p.alpha, "beta": p.beta})))
            .collect();
        DecisionRow {
            session_id: session,
            experiment_id: experiment,
            selection_method: "thompson_sampling".into(),
            selection_time_utc: anchor,
            policy_version: decision.policy_version,
            selected_arm_id: decision.selected_arm,
            candidate_arm_ids: decision.candidate_arms,
            posterior_by_arm: Json::new(&posteriors.into()),
            sampled_theta_by_arm: Json::new(&serde_json::json!(decision.theta_by_arm)),
            expected_greeting: greeting.filter(|text| !text.is_empty()).unwrap_or(GENERIC_GREETING.into()),
            decision_context_hash: decision.context_hash,
            random_seed: decision.seed.map_or_else(String::new, |seed| seed.to_string()),
        }
    }
}

fn set(arms: &mut BTreeMap<String, ArmState>, arm: String, greeting: String) {
    let state = arms.entry(arm).or_default();
    state.declared = true;
    state.greeting = greeting;
}

/// The row id of an experiment: 63 bits of the hash of its code (DESIGN §5).
fn experiment_row_id(experiment: &str) -> i64 {
    let digest = Sha256::digest(format!("experiment\0{experiment}"));
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    (u64::from_be_bytes(first) >> 1) as i64
}
