//! Arms: the texts that an experiment's changes leave, with the posterior of the rewards.

use std::collections::BTreeMap;

use lsie_schemas::record::{self, ExperimentRecord};
use lsie_schemas::row::{ActionRow, ArmRow};
use lsie_schemas::{EventTime, LogTime, Real, Uuid};
use proptest::prelude::*;
use timely::dataflow::StreamVec;

use super::encounters::all_encounters;
use super::places::{self, Kind, Place, World, places};
use super::posterior_history::posterior;
use super::{Table, check, config, epochs, put, run};
use crate::adapter::Time;
use crate::checkpoint::Keep;
use crate::commit::Written;
use crate::graph::changes;
use crate::view::arms::Admin;
use crate::view::feed::{self, Fact};
use crate::view::{ArmText, Rewards, Rows, arm_texts, arm_texts_told, arms, encounters, met, rewards};

/// The encounters are of the first experiment, and of the first two arms.
const EXPERIMENTS: [&str; 2] = ["line", "other"];
const ARMS: [&str; 3] = ["hello", "praise", "third"];
/// As many changes as an experiment may have.
const CHANGES: u8 = 8;

/// Where a fact belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Here {
    /// A change of this experiment at this offset.
    Change(u8, u8),
    /// A part of an encounter.
    Reaction(Place),
}

fn administered(facts: Rows<'_, Fact>) -> Rows<'_, Admin> {
    facts.flat_map(|fact| match fact {
        Fact::Admin(change) => Some(change),
        _ => None,
    })
}

fn rewarded<'scope>(facts: Rows<'scope, Fact>, keep: &Keep) -> Rewards<'scope> {
    rewards(encounters(met(feed::measured(facts.clone()), feed::evaluated(facts), keep)), keep)
}

fn view<'scope>(facts: Rows<'scope, Fact>, keep: &Keep) -> StreamVec<'scope, Time, Written> {
    changes(arms(arm_texts(administered(facts.clone())), rewarded(facts, keep)), 0)
}

/// The same of the table that it gives, and of who asked for which change.
fn told<'scope>(facts: Rows<'scope, Fact>, keep: &Keep) -> StreamVec<'scope, Time, Written> {
    let rewards = rewarded(facts.clone(), keep);
    changes(arms(texts_told(facts, keep), rewards), 0)
}

/// Without any encounter: all sessions are erased.
fn told_alone<'scope>(facts: Rows<'scope, Fact>, keep: &Keep) -> StreamVec<'scope, Time, Written> {
    let rewards = rewarded(facts.clone().filter(|_| false), keep);
    changes(arms(texts_told(facts, keep), rewards), 0)
}

fn texts_told<'scope>(facts: Rows<'scope, Fact>, keep: &Keep) -> Rows<'scope, ArmText> {
    let admin = administered(facts.clone());
    let rows = arms(arm_texts(admin.clone()), rewarded(facts, keep));
    arm_texts_told(
        rows,
        admin.map(|((partition, offset), at, change)| asked(partition.into(), offset, at, &change)),
    )
}

fn asked(partition: i64, offset: i64, at: LogTime, change: &ExperimentRecord) -> ActionRow {
    let (action, arm) = match change {
        ExperimentRecord::Create { .. } => ("create", None),
        ExperimentRecord::SetArm { arm, .. } => ("set_arm", Some(arm)),
        ExperimentRecord::DisableArm { arm, .. } => ("disable_arm", Some(arm)),
        ExperimentRecord::DeleteArm { arm, .. } => ("delete_arm", Some(arm)),
    };
    ActionRow {
        action_id: Uuid::from_u64_pair(partition as u64, offset as u64),
        actor: "olga".into(),
        action: action.into(),
        at: at.as_event(),
        session_id: None,
        experiment_id: Some(change.experiment().to_owned()),
        arm: arm.cloned(),
        topic: "experiments".into(),
        partition,
        record_offset: offset,
    }
}

fn log_time(offset: u8) -> LogTime {
    LogTime(5_000 + u64::from(offset) * 10)
}

/// The change that a number below 36 stands for: what it does, to which arm, with which text.
fn record(experiment: u8, offset: u8, value: u8) -> ExperimentRecord {
    let (arm, text) = (ARMS[usize::from(value / 6 % 3)].to_string(), value / 18);
    let experiment_id = EXPERIMENTS[usize::from(experiment)].to_string();
    let greeting_text = format!("text {offset}.{text}");
    match value % 6 {
        0 | 1 => {
            let also = ARMS[usize::from((value / 6 + 1) % 3)].to_string();
            let arms = [(arm, greeting_text), (also, format!("also {offset}.{text}"))];
            let arms = arms.map(|(arm, greeting_text)| record::ArmText { arm, greeting_text });
            let number = 1 + usize::from(value % 6);
            let label = format!("label {offset}.{text}");
            ExperimentRecord::Create { experiment_id, label, arms: arms[..number].to_vec() }
        }
        2 | 3 => ExperimentRecord::SetArm { experiment_id, arm, greeting_text },
        4 => {
            let greeting_text = (text == 1).then_some(greeting_text);
            ExperimentRecord::DisableArm { experiment_id, arm, greeting_text }
        }
        _ => ExperimentRecord::DeleteArm { experiment_id, arm },
    }
}

fn fact(here: Here, value: u8) -> Fact {
    match here {
        Here::Change(experiment, offset) => {
            let order = (experiment.into(), offset.into());
            Fact::Admin((order, log_time(offset), record(experiment, offset, value)))
        }
        Here::Reaction(place) => places::fact(place, value % 8),
    }
}

/// What a change does to one arm.
enum Step {
    Set(String),
    Disable(Option<String>),
    Delete,
}

fn step(change: &ExperimentRecord, of: &str) -> Option<Step> {
    match change {
        ExperimentRecord::Create { arms, .. } => {
            arms.iter().find(|text| text.arm == of).map(|text| Step::Set(text.greeting_text.clone()))
        }
        ExperimentRecord::SetArm { arm, greeting_text, .. } => {
            (arm == of).then(|| Step::Set(greeting_text.clone()))
        }
        ExperimentRecord::DisableArm { arm, greeting_text, .. } => {
            (arm == of).then(|| Step::Disable(greeting_text.clone()))
        }
        ExperimentRecord::DeleteArm { arm, .. } => (arm == of).then_some(Step::Delete),
    }
}

/// The steps of an arm since it was declared, or declared anew after it was deleted.
fn life(steps: impl Iterator<Item = (EventTime, Step)>) -> Vec<(EventTime, Step)> {
    let mut life: Vec<(EventTime, Step)> = Vec::new();
    for (at, step) in steps {
        let is_over = life.is_empty() || life.iter().any(|(_, step)| matches!(step, Step::Delete));
        match step {
            Step::Set(_) if is_over => life = vec![(at, step)],
            _ if life.is_empty() => {}
            _ => life.push((at, step)),
        }
    }
    life
}

fn from_scratch(world: &BTreeMap<Here, u8>) -> Table {
    let mut table = Table::new();
    let mut reactions = World::new();
    for (here, value) in world {
        if let Here::Reaction(place) = here {
            reactions.insert(*place, value % 8);
        }
    }
    let encounters = all_encounters(&reactions);
    for (number, experiment) in (0..).zip(EXPERIMENTS) {
        let changes: Vec<(EventTime, ExperimentRecord)> = (0..CHANGES)
            .filter_map(|offset| {
                let value = world.get(&Here::Change(number, offset))?;
                Some((log_time(offset).as_event(), record(number, offset, *value)))
            })
            .collect();
        let label = changes.iter().find_map(|(_, change)| match change {
            ExperimentRecord::Create { label, .. } => Some(label.clone()),
            _ => None,
        });
        for arm in ARMS {
            let rewards: Vec<f64> = encounters
                .iter()
                .filter(|row| row.experiment_id == experiment && row.arm == arm)
                .map(|row| row.gated_reward.0)
                .collect();
            let life = life(changes.iter().filter_map(|(at, change)| Some((*at, step(change, arm)?))));
            let is_deleted = life.iter().any(|(_, step)| matches!(step, Step::Delete));
            if life.is_empty() || is_deleted && rewards.is_empty() {
                continue;
            }
            let ended = life.iter().find(|(_, step)| !matches!(step, Step::Set(_)));
            let greeting = life.iter().rev().find_map(|(_, step)| match step {
                Step::Set(text) => Some(text.clone()),
                Step::Disable(text) => text.clone(),
                Step::Delete => None,
            });
            let (alpha, beta) = posterior(&rewards);
            let total = alpha + beta;
            let row = ArmRow {
                experiment_id: experiment.into(),
                arm: arm.into(),
                alpha_param: Real(alpha),
                beta_param: Real(beta),
                evaluation_variance: Real(alpha * beta / (total * total * (total + 1.0))),
                label: Some(label.clone().unwrap_or_else(|| experiment.into())),
                greeting_text: greeting,
                enabled: ended.is_none(),
                end_dated_at: ended.map(|(at, _)| *at),
            };
            put(&mut table, &row);
        }
    }
    table
}

fn here() -> impl Strategy<Value = Here> {
    prop_oneof![
        (0..2u8, 0..CHANGES).prop_map(|(experiment, offset)| Here::Change(experiment, offset)),
        places(&[Kind::Measured, Kind::Judged]).prop_map(Here::Reaction),
    ]
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn arms_equal_recomputation(epochs in epochs(here(), 0..36u8), run in run()) {
        check(view, run.whole(), epochs, fact, from_scratch)?;
    }

    #[test]
    fn arms_of_their_table_equal_recomputation(epochs in epochs(here(), 0..36u8), run in run()) {
        check(told, run.whole(), epochs, fact, from_scratch)?;
    }

    #[test]
    fn arms_of_their_table_are_those_of_no_encounter(epochs in epochs(here(), 0..36u8), run in run()) {
        check(told_alone, run.whole(), epochs, fact, |world| {
            let is_change = |here: &&Here| matches!(here, Here::Change(..));
            let changes = world.iter().filter(|(here, _)| is_change(here));
            from_scratch(&changes.map(|(here, value)| (*here, *value)).collect())
        })?;
    }
}
