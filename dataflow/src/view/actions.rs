//! View `actions`: who asked for what, by the records that the API wrote.

use lsie_schemas::EventTime;
use lsie_schemas::codec;
use lsie_schemas::log::LogRecord;
use lsie_schemas::record::{Control, ExperimentRecord, HEADER_ACTION, HEADER_ACTOR, Record};
use lsie_schemas::row::ActionRow;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Rows;
use super::handle::Handle;
use super::reduce_total::reduce_total;
use super::shelf::Subject;
use crate::checkpoint::Keep;

/// An action that deletes an arm.
const DELETE: &str = "delete_arm";

/// One row an action: that of its first record by log time, then by place.
pub(crate) fn actions<'scope>(asked: Rows<'scope, ActionRow>, keep: &Keep) -> Rows<'scope, ActionRow> {
    let asked = asked.map(|row| {
        let order = (row.at, row.topic.clone(), row.partition, row.record_offset);
        (row.action_id, (order, Handle::from(row)))
    });
    reduce_total(asked, keep.station("asked"), Bunch::of, |_, rows, first| {
        first.extend(rows.first().map(|((_, row), _)| ActionRow::clone(row)));
    })
}

/// Some of the actions, by their ids: an action need not be of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Bunch(u16);

impl Bunch {
    fn of(action: &Uuid) -> Bunch {
        let (high, low) = action.as_u64_pair();
        Bunch(((high ^ low).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52) as u16)
    }
}

impl Subject for Bunch {
    fn route(&self) -> u64 {
        self.0.into()
    }
}

/// What a record says of an action, if someone asked for it.
pub(crate) fn asked(raw: &LogRecord, record: &Record) -> Option<ActionRow> {
    let header = |name| raw.header(name).and_then(|value| std::str::from_utf8(value).ok());
    let (actor, action_id) = (header(HEADER_ACTOR)?, header(HEADER_ACTION).and_then(codec::uuid)?);
    let (action, arm) = named(record)?;
    let experiment = match record {
        Record::Experiment(record) => Some(record.experiment()),
        Record::Control(Control::Start(start)) => Some(start.experiment_id.as_str()),
        _ => None,
    };
    Some(ActionRow {
        action_id,
        actor: actor.to_owned(),
        action: action.to_owned(),
        at: raw.log_time.as_event(),
        session_id: record.session(),
        experiment_id: experiment.map(str::to_owned),
        arm: arm.map(str::to_owned),
        topic: raw.at.topic.name().to_owned(),
        partition: raw.at.partition.into(),
        record_offset: raw.offset,
    })
}

/// The arm that an action deleted, by experiment and name, and when.
pub(crate) fn deletion(row: ActionRow) -> Option<((String, String), EventTime)> {
    let is_one = row.action == DELETE;
    is_one.then_some(((row.experiment_id?, row.arm?), row.at))
}

/// The type of a record that an action may be made of, and the arm it names.
fn named(record: &Record) -> Option<(&'static str, Option<&str>)> {
    match record {
        Record::Control(Control::Start(_)) => Some(("start", None)),
        Record::Control(Control::End(_)) => Some(("end", None)),
        Record::Control(Control::Stimulus(_)) => Some(("stimulus", None)),
        Record::Experiment(ExperimentRecord::Create { .. }) => Some(("create", None)),
        Record::Experiment(ExperimentRecord::SetArm { arm, .. }) => Some(("set_arm", Some(arm))),
        Record::Experiment(ExperimentRecord::DisableArm { arm, .. }) => Some(("disable_arm", Some(arm))),
        Record::Experiment(ExperimentRecord::DeleteArm { arm, .. }) => Some((DELETE, Some(arm))),
        _ => None,
    }
}
