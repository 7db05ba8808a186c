//! View `session_summaries`: a session at a glance.

use lsie_operators::au12::CALIBRATION_FRAMES_REQUIRED;
use lsie_schemas::row::SessionSummaryRow;

use super::encounter_summaries::state;
use super::summary::Part;

/// The row of a session; none before its start is known.
pub(crate) fn row(parts: &[&Part]) -> Option<SessionSummaryRow> {
    let session = parts.iter().find_map(|part| match part {
        Part::Session(row) => Some(row),
        _ => None,
    })?;
    let (mut segments, mut closed_at, mut frames) = (0, None, 0);
    let (mut rewarded, mut newest) = (None, None);
    for part in parts {
        match part {
            Part::Closed(_, _, at) => {
                segments += 1;
                closed_at = closed_at.max(Some(*at));
            }
            Part::Calibrated(n) => frames = frames.max(*n),
            Part::Rewarded(at, reward, gate) => rewarded = rewarded.max(Some((*at, *reward, *gate))),
            Part::Stimulated(at, action) => newest = newest.max(Some((*at, *action))),
            _ => {}
        }
    }
    let encounter_state = newest.map_or("awaiting_stimulus", |(_, action)| state(action, parts));
    Some(SessionSummaryRow {
        session_id: session.session_id,
        stream_url: session.stream_url.clone(),
        started_at: session.started_at,
        ended_at: session.ended_at,
        experiment_id: session.experiment_id.clone(),
        active_arm: session.active_arm.clone(),
        expected_greeting: session.expected_greeting.clone(),
        total_segments: segments,
        last_segment_completed_at: closed_at,
        latest_reward: rewarded.map(|(_, reward, _)| reward),
        latest_semantic_gate: rewarded.map(|(_, _, gate)| gate),
        encounter_state: encounter_state.into(),
        latest_stimulus_utc: newest.map(|(at, _)| at),
        is_calibrating: newest.is_none(),
        calibration_frames_accumulated: frames,
        calibration_frames_required: CALIBRATION_FRAMES_REQUIRED as i64,
    })
}
