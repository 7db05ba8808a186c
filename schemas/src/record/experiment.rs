//! Experiment administration records of topic `experiments`, keyed by experiment.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::codec::{self, Rejection};
use crate::log::NewRecord;
use crate::time::LogTime;
use crate::topic::Topic;

/// An arm as its owner writes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArmText {
    /// The arm id.
    pub arm: String,
    /// The greeting: what the utterance is compared with.
    pub greeting_text: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Create {
    experiment_id: String,
    label: String,
    arms: Vec<ArmText>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AddArm {
    experiment_id: String,
    arm: String,
    greeting_text: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Disable {
    experiment_id: String,
    arm: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    greeting_text: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ArmKey {
    experiment_id: String,
    arm: String,
}

/// A record of topic `experiments`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ExperimentRecord {
    /// Type `create`: a new experiment with its arms.
    Create {
        /// Its id.
        experiment_id: String,
        /// Its label.
        label: String,
        /// Its arms, ids unique.
        arms: Vec<ArmText>,
    },
    /// Type `set_arm`: a new arm, or another greeting for an arm.
    SetArm {
        /// The experiment.
        experiment_id: String,
        /// The arm.
        arm: String,
        /// Its greeting.
        greeting_text: String,
    },
    /// Type `disable_arm`: one way; the posterior is kept.
    DisableArm {
        /// The experiment.
        experiment_id: String,
        /// The arm.
        arm: String,
        /// Another greeting, in the same step.
        greeting_text: Option<String>,
    },
    /// Type `delete_arm`: it is gone while it has no encounter; one with encounters is disabled instead, also
    /// if they come later. A later `set_arm` declares it anew.
    DeleteArm {
        /// The experiment.
        experiment_id: String,
        /// The arm.
        arm: String,
    },
}

impl ExperimentRecord {
    pub(crate) fn decode(value: &Bytes) -> Result<ExperimentRecord, Rejection> {
        let (kind, body) = codec::envelope(value)?;
        let record = match kind.as_str() {
            "create" => {
                let c: Create = codec::fields(body)?;
                let ids: std::collections::BTreeSet<&str> = c.arms.iter().map(|a| a.arm.as_str()).collect();
                if c.arms.is_empty() || ids.len() != c.arms.len() {
                    return Err(Rejection::new("bad_field", "`arms` is empty or repeats an arm"));
                }
                ExperimentRecord::Create { experiment_id: c.experiment_id, label: c.label, arms: c.arms }
            }
            "set_arm" => {
                let a: AddArm = codec::fields(body)?;
                let AddArm { experiment_id, arm, greeting_text } = a;
                ExperimentRecord::SetArm { experiment_id, arm, greeting_text }
            }
            "disable_arm" => {
                let Disable { experiment_id, arm, greeting_text } = codec::fields(body)?;
                ExperimentRecord::DisableArm { experiment_id, arm, greeting_text }
            }
            "delete_arm" => {
                let ArmKey { experiment_id, arm } = codec::fields(body)?;
                ExperimentRecord::DeleteArm { experiment_id, arm }
            }
            _ => return Err(Rejection::new("unknown_type", "not an experiment record type")),
        };
        if record.experiment().trim().is_empty() {
            return Err(Rejection::new("bad_field", "`experiment_id` is blank"));
        }
        Ok(record)
    }

    /// The record to append.
    pub fn encode(&self, timestamp: Option<LogTime>) -> NewRecord {
        let value = match self.clone() {
            ExperimentRecord::Create { experiment_id, label, arms } => {
                codec::write("create", &Create { experiment_id, label, arms })
            }
            ExperimentRecord::SetArm { experiment_id, arm, greeting_text } => {
                codec::write("set_arm", &AddArm { experiment_id, arm, greeting_text })
            }
            ExperimentRecord::DisableArm { experiment_id, arm, greeting_text } => {
                codec::write("disable_arm", &Disable { experiment_id, arm, greeting_text })
            }
            ExperimentRecord::DeleteArm { experiment_id, arm } => {
                codec::write("delete_arm", &ArmKey { experiment_id, arm })
            }
        };
        let key = Bytes::from(self.experiment().to_string());
        NewRecord { topic: Topic::Experiments, key, value, headers: Vec::new(), timestamp }
    }

    /// The experiment it is about.
    pub fn experiment(&self) -> &str {
        match self {
            ExperimentRecord::Create { experiment_id, .. }
            | ExperimentRecord::SetArm { experiment_id, .. }
            | ExperimentRecord::DisableArm { experiment_id, .. }
            | ExperimentRecord::DeleteArm { experiment_id, .. } => experiment_id,
        }
    }

    /// The experiment every topic set is seeded with (`contracts.md` §13); its texts are the operator's to
    /// change.
    pub fn seed() -> ExperimentRecord {
        let arm = |arm: &str, text: &str| ArmText { arm: arm.into(), greeting_text: text.into() };
        ExperimentRecord::Create {
            experiment_id: "greeting_line_v1".into(),
            label: "Greeting line".into(),
            arms: vec![
                arm("warm_welcome", "thank you for the wonderful stream you are amazing"),
                arm("direct_question", "what is the best advice you got today"),
                arm("compliment_content", "i love the mood here how long have you been live"),
                arm("simple_hello", "hello everyone i am new here"),
            ],
        }
    }
}
