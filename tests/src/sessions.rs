//! The recorded sessions of `tests/sessions`, as timelines of records.

use std::path::Path;
use std::sync::Arc;

use lsie_connectors::feed::{FeedOptions, Recording, TimedRecord, session_id, timeline};
use lsie_operators::posterior::Posterior;
use lsie_operators::select_arm::{Arm, Selection, decide};
use lsie_schemas::LogTime;
use lsie_schemas::record::ExperimentRecord;
use uuid::Uuid;

/// When the recorded sessions were made: 2026-01-05T10:00:00Z.
pub const RECORDED_AT: LogTime = LogTime(1_767_607_200_000);
/// Session ids that are tried for one whose first draw selects the wanted arm.
const TRIES: u64 = 1_000;

/// A recorded session of `tests/sessions`.
pub fn recording(name: &str) -> Arc<Recording> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("sessions").join(name);
    Arc::new(Recording::open(dir).expect("a made session"))
}

/// The records of a recording as session `id` that begins `start_ms` after `base`.
pub fn records(recording: &Arc<Recording>, id: Uuid, base: LogTime, start_ms: u64) -> Vec<TimedRecord> {
    let mut options = FeedOptions::new(base, id);
    options.start_ms = start_ms;
    // Actions derived from the session id: any number of sessions can be made of one recording.
    options.script_actions = false;
    timeline(recording.clone(), options).collect()
}

/// A session id for which the first draw among the arms of `experiment` does (or does not) select the arm
/// whose greeting is spoken in the recording. The draw is not touched: ids are tried in order.
///
/// `anchor` is the session's first capture on corrected UTC: the feeder's clock polls are exact, so it is the
/// instant at which the session begins.
pub fn id_for_arm(
    recording: &Recording,
    experiment: &ExperimentRecord,
    anchor: LogTime,
    spoken: bool,
) -> Uuid {
    let wanted = &recording.script().stimuli[0].expected_arm_id;
    let mut ids = (0..TRIES).map(|number| session_id(recording.name(), number));
    let found = ids.find(|id| (first_arm(experiment, *id, anchor) == *wanted) == spoken);
    found.expect("one of many ids draws the arm")
}

fn first_arm(experiment: &ExperimentRecord, session_id: Uuid, anchor: LogTime) -> String {
    let ExperimentRecord::Create { experiment_id, arms, .. } = experiment else {
        panic!("an experiment is created with its arms")
    };
    let arm = |id: &String| Arm { id: id.clone(), posterior: Posterior::UNIFORM, enabled: true };
    let arms: Vec<Arm> = arms.iter().map(|text| arm(&text.arm)).collect();
    let selection = Selection {
        session_id,
        window_start_us: anchor.as_event().0,
        stimulus_time_s: None,
        experiment_code: experiment_id,
        experiment_row_id: 0,
        arms: &arms,
    };
    decide(&selection).selected_arm
}
