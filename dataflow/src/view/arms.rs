//! View `experiments`: every arm with its text and its posterior.

use differential_dataflow::operators::CountTotal;
use lsie_operators::posterior::{Posterior, RewardSum};
use lsie_schemas::record::ExperimentRecord;
use lsie_schemas::row::{ActionRow, ArmRow};
use lsie_schemas::{EventTime, LogTime, Real};
use serde::{Deserialize, Serialize};

use super::actions::deletion;
use super::{Rewards, Rows};
use crate::select::AdminOrder;

/// A change of an experiment: where it stands, when the log took it, and the record.
pub(crate) type Admin = (AdminOrder, LogTime, ExperimentRecord);

/// An arm by experiment and name: its row with the prior, and whether it was deleted. Then it is seen, disabled, only if
/// there are encounters of it.
pub(crate) type ArmText = ((String, String), (ArmRow, bool));

/// The arms that the changes of experiments leave.
pub(crate) fn arm_texts(administered: Rows<'_, Admin>) -> Rows<'_, ArmText> {
    administered
        .map(|change| (change.2.experiment().to_string(), change))
        .reduce(|experiment, changes, rows| {
            let changes = changes.iter().map(|(change, _)| *change);
            rows.extend(texts(experiment, changes).into_iter().map(|arm| (arm, 1)));
        })
        .map(|(experiment, (row, deleted))| ((experiment, row.arm.clone()), (row, deleted)))
}

/// What tables tell of an arm.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
enum Told {
    Row(ArmRow),
    Deleted(EventTime),
}

/// The arms that are in their table, without what rewards have made of them. A row does not say whether its arm was disabled or
/// deleted; the audit trail does.
pub(crate) fn arm_texts_told<'scope>(
    rows: Rows<'scope, ArmRow>,
    asked: Rows<'scope, ActionRow>,
) -> Rows<'scope, ArmText> {
    let rows = rows.map(|row| {
        let arm = (row.experiment_id.clone(), row.arm.clone());
        (arm, Told::Row(with(row, Posterior::UNIFORM)))
    });
    let deleted = asked.flat_map(deletion).map(|(arm, at)| (arm, Told::Deleted(at)));
    rows.concat(deleted).reduce(|_, told, texts| {
        // An arm that came back after its deletion is enabled, or has ended later.
        let last = told.iter().filter_map(|(told, _)| match told {
            Told::Deleted(at) => Some(*at),
            Told::Row(_) => None,
        });
        let last = last.max();
        texts.extend(told.iter().filter_map(|(told, copies)| match told {
            Told::Row(row) => {
                let is_deleted = row.end_dated_at.is_some_and(|ended| last >= Some(ended));
                Some(((row.clone(), is_deleted), *copies))
            }
            Told::Deleted(_) => None,
        }));
    })
}

fn with(row: ArmRow, posterior: Posterior) -> ArmRow {
    ArmRow {
        alpha_param: Real(posterior.alpha),
        beta_param: Real(posterior.beta),
        evaluation_variance: Real(posterior.evaluation_variance()),
        ..row
    }
}

/// Every arm with the posterior of its rewards.
pub(crate) fn arms<'scope>(texts: Rows<'scope, ArmText>, rewards: Rewards<'scope>) -> Rows<'scope, ArmRow> {
    let totals = rewards.count_total();
    let rewarded = totals.clone().map(|(key, _)| key);
    let learned = texts.clone().join_map(totals, |_, (row, _), (sum, n)| {
        with(row.clone(), Posterior::UNIFORM.after(RewardSum { sum: *sum, n: *n }))
    });
    let without = texts.antijoin(rewarded).filter(|(_, (_, deleted))| !deleted).map(|(_, (row, _))| row);
    learned.concat(without)
}

/// The arms of one experiment after its changes in order, each with the prior, and whether it was deleted.
fn texts<'a>(experiment: &str, changes: impl Iterator<Item = &'a Admin>) -> Vec<(ArmRow, bool)> {
    let mut label = None;
    let mut arms: Vec<(ArmRow, bool)> = Vec::new();
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
            ExperimentRecord::DisableArm { arm, greeting_text, .. } => {
                if let Some((row, _)) = arms.iter_mut().find(|(row, _)| row.arm == *arm) {
                    disable(row, *at);
                    row.greeting_text = greeting_text.clone().or(row.greeting_text.take());
                }
            }
            ExperimentRecord::DeleteArm { arm, .. } => {
                if let Some((row, deleted)) = arms.iter_mut().find(|(row, _)| row.arm == *arm) {
                    disable(row, *at);
                    *deleted = true;
                }
            }
        }
    }
    let label = label.unwrap_or_else(|| experiment.to_string());
    for (row, _) in &mut arms {
        row.label = Some(label.clone());
    }
    arms
}

fn disable(row: &mut ArmRow, at: LogTime) {
    row.enabled = false;
    row.end_dated_at.get_or_insert(at.as_event());
}

/// Another greeting for an arm that there is; a new arm else.
fn set(arms: &mut Vec<(ArmRow, bool)>, experiment: &str, arm: &str, greeting: &str) {
    if let Some((row, _)) = arms.iter_mut().find(|(row, deleted)| row.arm == arm && !deleted) {
        row.greeting_text = Some(greeting.to_string());
        return;
    }
    arms.retain(|(row, _)| row.arm != arm);
    let row = ArmRow {
        experiment_id: experiment.to_string(),
        arm: arm.to_string(),
        alpha_param: Real(Posterior::UNIFORM.alpha),
        beta_param: Real(Posterior::UNIFORM.beta),
        evaluation_variance: Real(Posterior::UNIFORM.evaluation_variance()),
        label: None,
        greeting_text: Some(greeting.to_string()),
        enabled: true,
        end_dated_at: None::<EventTime>,
    };
    arms.push((row, false));
}
