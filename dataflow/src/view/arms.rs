//! View `experiments`: every arm with its text and its posterior.

use differential_dataflow::VecCollection;
use differential_dataflow::operators::CountTotal;
use lsie_operators::posterior::{Posterior, RewardSum};
use lsie_schemas::record::ExperimentRecord;
use lsie_schemas::row::ArmRow;
use lsie_schemas::{EventTime, LogTime, Real};

use super::Rows;
use crate::adapter::Time;
use crate::select::AdminOrder;

/// A change of an experiment: where it stands, when the log took it, and the record.
pub(crate) type Admin = (AdminOrder, LogTime, ExperimentRecord);

pub(crate) fn arms<'scope>(
    admin: Rows<'scope, (String, Admin)>,
    rewards: VecCollection<'scope, Time, (String, String), (i128, i64)>,
) -> Rows<'scope, ArmRow> {
    let texts = admin
        .reduce(|experiment, changes, rows| {
            let changes = changes.iter().map(|(change, _)| *change);
            rows.extend(texts(experiment, changes).into_iter().map(|row| (row, 1)));
        })
        .map(|(experiment, row)| ((experiment, row.arm.clone()), row));
    let totals = rewards.count_total();
    let rewarded = totals.clone().map(|(key, _)| key);
    let with = texts.clone().join_map(totals, |_, row, (sum, n)| {
        let posterior = Posterior::UNIFORM.after(RewardSum { sum: *sum, n: *n });
        ArmRow { alpha_param: Real(posterior.alpha), beta_param: Real(posterior.beta), ..row.clone() }
    });
    let without = texts.antijoin(rewarded).map(|(_, row)| row);
    with.concat(without)
}

/// The arms of one experiment after its changes in order, each with the prior.
fn texts<'a>(experiment: &str, changes: impl Iterator<Item = &'a Admin>) -> Vec<ArmRow> {
    let mut label = None;
    let mut arms: Vec<ArmRow> = Vec::new();
    for (_, at, change) in changes {
        match change {
            ExperimentRecord::Create { label: text, arms: created, .. } => {
                label.get_or_insert_with(|| text.clone());
                for arm in created {
                    set(&mut arms, experiment, &arm.arm, &arm.greeting_text);
                }
            }
            ExperimentRecord::SetArm { arm, greeting_text, .. } => {
                set(&mut arms, experiment, arm, greeting_text)
            }
            ExperimentRecord::DisableArm { arm, .. } => {
                for row in arms.iter_mut().filter(|row| row.arm == *arm && row.enabled) {
                    row.enabled = false;
                    row.end_dated_at = Some(at.as_event());
                }
            }
        }
    }
    let label = label.unwrap_or_else(|| experiment.to_string());
    for row in &mut arms {
        row.label = Some(label.clone());
    }
    arms
}

fn set(arms: &mut Vec<ArmRow>, experiment: &str, arm: &str, greeting: &str) {
    if let Some(row) = arms.iter_mut().find(|row| row.arm == arm) {
        row.greeting_text = Some(greeting.to_string());
        return;
    }
    arms.push(ArmRow {
        experiment_id: experiment.to_string(),
        arm: arm.to_string(),
        alpha_param: Real(Posterior::UNIFORM.alpha),
        beta_param: Real(Posterior::UNIFORM.beta),
        label: None,
        greeting_text: Some(greeting.to_string()),
        enabled: true,
        end_dated_at: None::<EventTime>,
    });
}
