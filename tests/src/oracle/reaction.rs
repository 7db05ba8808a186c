//! AU12 series, segments and encounters of one session (`math.md` §1, §2, §5, §6).

use lsie_schemas::row::{
    Au12Row, DecisionRow, EncounterRow, EvaluationRow, FaceRow, SegmentRow, StimulusRow,
};
use lsie_schemas::{EventTime, LogTime, Real};
use uuid::Uuid;

use super::text::{gate, segment_id};
use super::time_line::{Closing, Frame, SEGMENT, TimeLine};

const ALPHA: f64 = 6.0;
/// The series begins so long before the first stimulus.
const TAIL: i64 = 5_000_000;

/// A measured frame.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    at: i64,
    seq: i64,
    ratio: Option<f64>,
    present: bool,
}

/// A scored frame.
#[derive(Clone, Debug)]
pub(super) struct Scored {
    pub(super) row: Au12Row,
    legacy: f64,
}

/// Accepted frames with what the models said of them, in order of time.
pub(super) fn join(session: Uuid, frames: &[Frame], faces: &[FaceRow]) -> Vec<Measured> {
    let of_session: Vec<&FaceRow> = faces.iter().filter(|face| face.session_id == session).collect();
    let mut measured: Vec<Measured> = Vec::new();
    for frame in frames {
        let seq = frame.seq as i64;
        let Some(face) = of_session.iter().find(|face| face.seq == seq) else { continue };
        let ratio = face.ratio.map(|ratio| ratio.0);
        measured.push(Measured { at: frame.capture, seq, ratio, present: face.present });
    }
    measured.sort_by_key(|frame| (frame.at, frame.seq));
    measured
}

/// The series: bounded and legacy intensity of every frame with a face, from 5 s before the first stimulus on.
pub(super) fn score(frames: &[Measured], session: Uuid, line: &TimeLine) -> Vec<Scored> {
    let Some(first) = line.stimuli.iter().map(|stimulus| stimulus.at).min() else { return Vec::new() };
    let calibration: Vec<f64> = frames.iter().filter(|f| f.at < first).filter_map(|f| f.ratio).collect();
    let neutral = calibration.iter().sum::<f64>() / calibration.len() as f64;
    let mut scored = Vec::new();
    for frame in frames.iter().filter(|frame| frame.at >= first - TAIL && frame.present) {
        let (bounded, legacy) = match frame.ratio {
            None => (0.0, 0.0),
            Some(_) if calibration.is_empty() => continue,
            Some(ratio) => {
                let lift = ratio - neutral;
                ((ALPHA * if lift > 0.0 { lift } else { 0.0 }).tanh(), (ALPHA * lift).clamp(0.0, 5.0))
            }
        };
        let row = Au12Row {
            session_id: session,
            seq: frame.seq,
            timestamp_utc: EventTime(frame.at),
            intensity: Real(bounded),
        };
        scored.push(Scored { row, legacy });
    }
    scored
}

/// The window of the segment that contains an instant.
pub(super) fn segment_of(session: Uuid, anchor: i64, at: i64) -> (String, i64) {
    let start = anchor + (at - anchor) / SEGMENT * SEGMENT;
    (segment_id(session, start, start + SEGMENT), start + SEGMENT)
}

/// Table `stimuli`.
pub(super) fn stimuli(session: Uuid, anchor: i64, line: &TimeLine) -> Vec<StimulusRow> {
    let row = |stimulus: &super::time_line::Stimulated| StimulusRow {
        session_id: session,
        client_action_id: stimulus.action,
        stimulus_utc: EventTime(stimulus.at),
        segment_id: segment_of(session, anchor, stimulus.at).0,
        operator_note: stimulus.note.clone(),
    };
    line.stimuli.iter().map(row).collect()
}

/// Table `segments`.
pub(super) fn segments(session: Uuid, anchor: i64, line: &TimeLine, frames: &[Measured]) -> Vec<SegmentRow> {
    let row = |(index, closing): (i64, &Closing)| {
        let (start, end) = (anchor + index * SEGMENT, anchor + (index + 1) * SEGMENT);
        let inside = frames.iter().filter(|frame| (start..end).contains(&frame.at));
        SegmentRow {
            session_id: session,
            ordinal: index + 1,
            segment_id: segment_id(session, start, end),
            window_start_utc: EventTime(start),
            window_end_utc: EventTime(end),
            closed_by: closing.reason.to_string(),
            closed_at: epoch_time(closing.at),
            evidence_stream: closing.stream.map(|stream| stream.name().to_string()),
            evidence_offset: closing.offset,
            evidence_event_time: closing.reached.map(EventTime),
            audio_samples: closing.audio_samples,
            audio_sha256: closing.audio_sha256.clone(),
            video_frames: inside.clone().count() as i64,
            face_frames: inside.filter(|frame| frame.present).count() as i64,
        }
    };
    (0..).zip(&line.closings).map(row).collect()
}

fn epoch_time(time: LogTime) -> EventTime {
    EventTime(time.0 as i64 * 1_000)
}

/// The mean legacy score of each segment.
pub(super) fn legacy(
    session: Uuid,
    anchor: i64,
    line: &TimeLine,
    scored: &[Scored],
) -> Vec<(Uuid, String, Option<f64>)> {
    let mean_of = |index: i64| {
        let (start, end) = (anchor + index * SEGMENT, anchor + (index + 1) * SEGMENT);
        let inside = scored.iter().filter(|frame| (start..end).contains(&frame.row.timestamp_utc.0));
        let values: Vec<f64> = inside.map(|frame| frame.legacy).collect();
        (session, segment_id(session, start, end), mean(&values))
    };
    (0..line.closings.len() as i64).map(mean_of).collect()
}

fn mean(values: &[f64]) -> Option<f64> {
    if values.is_empty() { None } else { Some(values.iter().sum::<f64>() / values.len() as f64) }
}

/// Table `encounter_log`: every stimulus to which something was said in a session with an arm.
pub(super) fn encounters(
    session: Uuid,
    anchor: i64,
    line: &TimeLine,
    scored: &[Scored],
    decision: Option<&DecisionRow>,
) -> Vec<EncounterRow> {
    let Some(decision) = decision else { return Vec::new() };
    let mut rows = Vec::new();
    for stimulus in &line.stimuli {
        let Some(said) = &stimulus.said else { continue };
        let at = stimulus.at as f64 / 1e6;
        let within = |from: f64, to: f64| -> Vec<f64> {
            let time = |frame: &&Scored| frame.row.timestamp_utc.0 as f64 / 1e6;
            let inside = scored.iter().filter(|frame| at + from <= time(frame) && time(frame) <= at + to);
            inside.map(|frame| frame.row.intensity.0.clamp(0.0, 1.0)).collect()
        };
        let measured = within(0.5, 5.0);
        let p90 = percentile_90(measured.clone());
        let (is_match, _) = gate(&decision.expected_greeting, said);
        let (segment_id, window_end) = segment_of(session, anchor, stimulus.at);
        rows.push(EncounterRow {
            session_id: session,
            segment_id,
            experiment_id: decision.experiment_id.clone(),
            arm: decision.selected_arm_id.clone(),
            timestamp_utc: EventTime(window_end),
            gated_reward: Real(if is_match { p90 } else { 0.0 }),
            p90_intensity: Real(p90),
            semantic_gate: i64::from(is_match),
            is_valid: true,
            n_frames: measured.len() as i64,
            baseline_neutral: mean(&within(-5.0, -2.0)).map(Real),
            stimulus_time: Some(Real(at)),
        });
    }
    rows
}

/// Table `evaluations`: of each segment the first stimulus to which something was said.
pub(super) fn evaluations(
    session: Uuid,
    anchor: i64,
    line: &TimeLine,
    decision: Option<&DecisionRow>,
) -> Vec<EvaluationRow> {
    let Some(decision) = decision else { return Vec::new() };
    let mut rows: Vec<EvaluationRow> = Vec::new();
    let mut stimuli: Vec<_> = line.stimuli.iter().collect();
    stimuli.sort_by_key(|stimulus| stimulus.at);
    for stimulus in stimuli {
        let Some(said) = &stimulus.said else { continue };
        let (segment_id, window_end) = segment_of(session, anchor, stimulus.at);
        if rows.iter().any(|row| row.segment_id == segment_id) {
            continue;
        }
        let (is_match, confidence) = gate(&decision.expected_greeting, said);
        let reason = if is_match { "token_overlap_match" } else { "token_overlap_nonmatch" };
        rows.push(EvaluationRow {
            session_id: session,
            segment_id,
            timestamp_utc: EventTime(window_end),
            reasoning: Some(reason.into()),
            is_match: Some(is_match),
            confidence: Some(Real(confidence)),
            semantic_method: Some("token_overlap".into()),
            semantic_method_version: Some("token-overlap-v1".into()),
        });
    }
    rows
}

/// The 90th percentile, numpy's linear method; 0 of nothing.
fn percentile_90(mut values: Vec<f64>) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    values.sort_by(f64::total_cmp);
    let h = (values.len() - 1) as f64 * 90.0 / 100.0;
    let i = h.floor();
    let t = h - i;
    let a = values[i as usize];
    let b = values[(i as usize + 1).min(values.len() - 1)];
    if t < 0.5 { a + (b - a) * t } else { b - (b - a) * (1.0 - t) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of `math.md` §1.
    #[test]
    fn percentiles_of_the_mathematics_page() {
        let repeated = |a: f64, n: usize, b: f64, m: usize| [vec![a; n], vec![b; m]].concat();
        let cases = [
            (vec![0.8, 0.9], 0.89),
            (vec![0.1, 0.2, 0.3, 0.4, 0.5], 0.46),
            (repeated(0.3, 99, 1.0, 1), 0.3),
            (repeated(0.1, 70, 0.8, 30), 0.8),
            (vec![0.42], 0.42),
        ];
        for (values, expected) in cases {
            assert!((percentile_90(values.clone()) - expected).abs() < 1e-12, "{values:?}");
        }
    }
}
