//! View `encounter_summaries`: every accepted stimulus with all that became known of it.

use lsie_operators::measure::Measured;
use lsie_schemas::row::{EncounterSummaryRow, MetricsRow};
use lsie_schemas::table::Json;
use lsie_schemas::{EventTime, Real};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::Evaluated;
use super::summary::{Issued, Part};

/// One row a stimulus of the segment.
pub(crate) fn rows(parts: &[&Part]) -> Vec<EncounterSummaryRow> {
    let issued = || {
        parts.iter().filter_map(|part| match part {
            Part::Issued(issued) => Some(issued),
            _ => None,
        })
    };
    // The voice of a segment is measured around its first stimulus.
    let first = issued().map(|issued| (issued.at, issued.action)).min();
    issued().map(|issued| row(issued, first == Some((issued.at, issued.action)), parts)).collect()
}

/// Where a stimulus stands (`math.md` §15).
pub(crate) fn state(action: Uuid, parts: &[&Part]) -> &'static str {
    match (measured(action, parts), judged(action, parts)) {
        (None, _) => "stimulus_issued",
        (Some(_), None) => "measuring",
        (Some(measured), _) if measured.n_frames == 0 => "rejected_no_frames",
        (Some(_), Some(judged)) if !judged.is_match => "rejected_gate_closed",
        (Some(_), Some(_)) => "completed",
    }
}

fn measured<'a>(action: Uuid, parts: &[&'a Part]) -> Option<&'a Measured> {
    parts.iter().find_map(|part| match part {
        Part::Measured(of, measured) if *of == action => Some(&**measured),
        _ => None,
    })
}

fn judged<'a>(action: Uuid, parts: &[&'a Part]) -> Option<&'a Evaluated> {
    parts.iter().find_map(|part| match part {
        Part::Judged(of, judged) if *of == action => Some(&**judged),
        _ => None,
    })
}

fn row(issued: &Issued, is_first: bool, parts: &[&Part]) -> EncounterSummaryRow {
    let (measured, judged) = (measured(issued.action, parts), judged(issued.action, parts));
    let reward = |measured: &Measured, judged: &Evaluated| {
        if judged.is_match { measured.p90 } else { Real(0.0) }
    };
    let stale = parts.iter().filter_map(|part| match part {
        Part::Physiology(row) => Some(row.is_stale),
        _ => None,
    });
    let stale = stale.reduce(|one, other| one || other);
    let metrics = parts.iter().filter(|_| is_first).find_map(|part| match part {
        Part::Metrics(row) => Some(&**row),
        _ => None,
    });
    EncounterSummaryRow {
        session_id: issued.session,
        stimulus_time_utc: issued.at,
        client_action_id: issued.action,
        segment_id: issued.segment_id.clone(),
        segment_timestamp_utc: issued.window_end,
        state: state(issued.action, parts).into(),
        experiment_id: issued.experiment.clone(),
        active_arm: issued.arm.clone(),
        expected_greeting: issued.greeting.clone(),
        semantic_gate: judged.map(|judged| i64::from(judged.is_match)),
        semantic_confidence: judged.map(|judged| judged.confidence),
        p90_intensity: measured.map(|measured| measured.p90),
        gated_reward: measured.zip(judged).map(|(measured, judged)| reward(measured, judged)),
        n_frames_in_window: measured.map(|measured| measured.n_frames),
        baseline_b_neutral: measured.and_then(|measured| measured.baseline),
        physiology_attached: stale.is_some(),
        physiology_stale: stale,
        observational_acoustic: metrics.and_then(acoustic),
        semantic_evaluation: judged.map(evaluation),
        attribution: attribution(issued.at, parts),
    }
}

/// The 15 acoustic fields; none when all of them are null.
fn acoustic(row: &MetricsRow) -> Option<Json> {
    let real = |value: Option<Real>| json!(value.map(|value| value.0));
    let fields = [
        ("f0_valid_measure", json!(row.f0_valid_measure)),
        ("f0_valid_baseline", json!(row.f0_valid_baseline)),
        ("perturbation_valid_measure", json!(row.perturbation_valid_measure)),
        ("perturbation_valid_baseline", json!(row.perturbation_valid_baseline)),
        ("voiced_coverage_measure_s", real(row.voiced_coverage_measure_s)),
        ("voiced_coverage_baseline_s", real(row.voiced_coverage_baseline_s)),
        ("f0_mean_measure_hz", real(row.f0_mean_measure_hz)),
        ("f0_mean_baseline_hz", real(row.f0_mean_baseline_hz)),
        ("f0_delta_semitones", real(row.f0_delta_semitones)),
        ("jitter_mean_measure", real(row.jitter_mean_measure)),
        ("jitter_mean_baseline", real(row.jitter_mean_baseline)),
        ("jitter_delta", real(row.jitter_delta)),
        ("shimmer_mean_measure", real(row.shimmer_mean_measure)),
        ("shimmer_mean_baseline", real(row.shimmer_mean_baseline)),
        ("shimmer_delta", real(row.shimmer_delta)),
    ];
    let is_known = fields.iter().any(|(_, value)| !value.is_null());
    is_known.then(|| object(fields))
}

fn evaluation(judged: &Evaluated) -> Json {
    object([
        ("reasoning", json!(judged.reason)),
        ("is_match", json!(judged.is_match)),
        ("confidence_score", json!(judged.confidence.0)),
        ("semantic_method", json!(judged.method)),
        ("semantic_method_version", json!(judged.version)),
    ])
}

/// What the ledger says of the stimulus at this time; a segment has one attribution event.
fn attribution(at: EventTime, parts: &[&Part]) -> Option<Json> {
    let finality = parts.iter().find_map(|part| match part {
        Part::Credited(of, finality) if *of == at => Some(finality),
        _ => None,
    })?;
    let score = |method: &str| {
        let found = parts.iter().find_map(|part| match part {
            Part::Scored(of, raw) if of == method => *raw,
            _ => None,
        });
        json!(found.map(|raw| raw.0))
    };
    let lag = |score: Value| json!(score.as_f64().map(|lag| lag as i64));
    let links = parts.iter().filter_map(|part| match part {
        Part::Linked(lag_s) => Some(*lag_s),
        _ => None,
    });
    Some(object([
        ("finality", json!(finality)),
        ("soft_reward_candidate", score("soft_reward_candidate")),
        // The same value under the ledger's name.
        ("au12_baseline_pre", json!(baseline(at, parts).map(|value| value.0))),
        ("au12_lift_p90", score("au12_lift_p90")),
        ("au12_lift_peak", score("au12_lift_peak")),
        ("au12_peak_latency_ms", score("au12_peak_latency_ms")),
        ("sync_peak_corr", score("sync_peak_corr")),
        ("sync_peak_lag", lag(score("sync_peak_lag"))),
        ("outcome_link_lag_s", json!(links.min().map(|lag| lag.0))),
    ]))
}

fn baseline(at: EventTime, parts: &[&Part]) -> Option<Real> {
    parts.iter().find_map(|part| match part {
        Part::Measured(_, measured) if measured.at == at => measured.baseline,
        _ => None,
    })
}

fn object<const N: usize>(fields: [(&str, Value); N]) -> Json {
    let fields = fields.into_iter().map(|(key, value)| (key.to_owned(), value));
    Json::new(&Value::Object(fields.collect::<Map<_, _>>()))
}
