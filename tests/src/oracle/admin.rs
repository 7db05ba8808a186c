//! Experiments: arms, texts, and posteriors after all rewards (`math.md` §6).

use lsie_schemas::log::LogRecord;
use lsie_schemas::record::{ExperimentRecord, Record};
use lsie_schemas::row::{ArmRow, EncounterRow};
use lsie_schemas::{EventTime, Real, codec};

/// Table `experiments`.
pub(super) fn arms(records: &[LogRecord], encounters: &[EncounterRow]) -> Vec<ArmRow> {
    let mut arms: Vec<ArmRow> = Vec::new();
    for raw in records {
        let Ok(Record::Experiment(record)) = codec::decode(raw) else { continue };
        match record {
            ExperimentRecord::Create { experiment_id, label, arms: texts } => {
                for text in texts {
                    set(&mut arms, &experiment_id, &text.arm, &text.greeting_text, &label);
                }
            }
            ExperimentRecord::SetArm { experiment_id, arm, greeting_text } => {
                let mut of_experiment = arms.iter().filter(|row| row.experiment_id == experiment_id);
                let label = of_experiment.find_map(|row| row.label.clone()).unwrap_or(experiment_id.clone());
                set(&mut arms, &experiment_id, &arm, &greeting_text, &label);
            }
            ExperimentRecord::DisableArm { experiment_id, arm, greeting_text } => {
                let named = |row: &&mut ArmRow| row.experiment_id == experiment_id && row.arm == arm;
                if let Some(row) = arms.iter_mut().find(named) {
                    row.greeting_text = greeting_text.or(row.greeting_text.take());
                    if row.enabled {
                        row.enabled = false;
                        row.end_dated_at = Some(EventTime(raw.log_time.0 as i64 * 1_000));
                    }
                }
            }
            ExperimentRecord::DeleteArm { experiment_id, arm } => {
                let of_arm = |id: &str, name: &str| id == experiment_id && name == arm;
                if !encounters.iter().any(|e| of_arm(&e.experiment_id, &e.arm)) {
                    arms.retain(|row| !of_arm(&row.experiment_id, &row.arm));
                } else if let Some(row) = arms.iter_mut().find(|row| of_arm(&row.experiment_id, &row.arm)) {
                    row.enabled = false;
                    row.end_dated_at.get_or_insert(EventTime(raw.log_time.0 as i64 * 1_000));
                }
            }
        }
    }
    for row in &mut arms {
        let mine = |e: &&EncounterRow| e.experiment_id == row.experiment_id && e.arm == row.arm;
        let rewards: Vec<f64> = encounters.iter().filter(mine).map(|e| e.gated_reward.0).collect();
        row.alpha_param = Real(1.0 + rewards.iter().sum::<f64>());
        row.beta_param = Real(1.0 + rewards.iter().map(|reward| 1.0 - reward).sum::<f64>());
        let (a, b) = (row.alpha_param.0, row.beta_param.0);
        row.evaluation_variance = Real(a * b / ((a + b).powi(2) * (a + b + 1.0)));
    }
    arms
}

fn set(arms: &mut Vec<ArmRow>, experiment: &str, arm: &str, greeting: &str, label: &str) {
    let named = |row: &&mut ArmRow| row.experiment_id == experiment && row.arm == arm;
    if let Some(row) = arms.iter_mut().find(named) {
        row.greeting_text = Some(greeting.into());
        return;
    }
    arms.push(ArmRow {
        experiment_id: experiment.into(),
        arm: arm.into(),
        alpha_param: Real(1.0),
        beta_param: Real(1.0),
        evaluation_variance: Real(1.0 / 12.0),
        label: Some(label.into()),
        greeting_text: Some(greeting.into()),
        enabled: true,
        end_dated_at: None,
    });
}
