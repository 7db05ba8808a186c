//! The facts that views are made of, as rows of their tables, and back.

use lsie_operators::measure::{Lift, Measured};
use lsie_operators::telemetry::Scan;
use lsie_operators::utterance::Said;
use lsie_schemas::record::Outcome;
use lsie_schemas::row::{JudgementRow, LagScanRow, OutcomeEventRow, ReactionRow};
use uuid::Uuid;

use crate::view::{Evaluated, Handle, StimulusKey};

pub(super) fn reaction((session_id, client_action_id): StimulusKey, measured: &Measured) -> ReactionRow {
    let Measured { at, segment_id, window_end, p90, n_frames, baseline, lift } = measured;
    ReactionRow {
        session_id,
        client_action_id,
        segment_id: segment_id.clone(),
        stimulus_utc: *at,
        timestamp_utc: *window_end,
        p90_intensity: *p90,
        n_frames: *n_frames,
        baseline_neutral: *baseline,
        lift_p90: lift.p90,
        lift_peak: lift.peak,
        peak_latency_ms: lift.peak_latency_ms,
    }
}

pub(super) fn measured(row: ReactionRow) -> (StimulusKey, Measured) {
    let lift = Lift { p90: row.lift_p90, peak: row.lift_peak, peak_latency_ms: row.peak_latency_ms };
    let measured = Measured {
        at: row.stimulus_utc,
        segment_id: row.segment_id,
        window_end: row.timestamp_utc,
        p90: row.p90_intensity,
        n_frames: row.n_frames,
        baseline: row.baseline_neutral,
        lift,
    };
    ((row.session_id, row.client_action_id), measured)
}

pub(super) fn judgement(
    ((session_id, client_action_id), judged): (StimulusKey, Handle<Evaluated>),
) -> JudgementRow {
    JudgementRow {
        session_id,
        client_action_id,
        segment_id: judged.said.segment_id.clone(),
        stimulus_utc: judged.said.at,
        timestamp_utc: judged.said.window_end,
        experiment_id: judged.experiment.clone(),
        arm: judged.arm.clone(),
        reasoning: judged.reason.clone(),
        is_match: judged.is_match,
        confidence: judged.confidence,
        semantic_method: judged.method.clone(),
        semantic_method_version: judged.version.clone(),
    }
}

/// Without the words, which no view looks at.
pub(super) fn evaluated(row: JudgementRow) -> (StimulusKey, Handle<Evaluated>) {
    let said = Said {
        at: row.stimulus_utc,
        segment_id: row.segment_id,
        window_end: row.timestamp_utc,
        text: String::new(),
    };
    let evaluated = Evaluated {
        said,
        experiment: row.experiment_id,
        arm: row.arm,
        is_match: row.is_match,
        confidence: row.confidence,
        reason: row.reasoning,
        method: row.semantic_method,
        version: row.semantic_method_version,
    };
    ((row.session_id, row.client_action_id), evaluated.into())
}

pub(super) fn lag_scan(session_id: Uuid, segment_id: &str, scan: Option<&Scan>) -> LagScanRow {
    LagScanRow {
        session_id,
        segment_id: segment_id.to_owned(),
        peak_corr: scan.map(|scan| scan.corr),
        peak_lag_min: scan.and_then(|scan| i64::try_from(scan.lag).ok()),
    }
}

pub(super) fn scanned(row: LagScanRow) -> ((Uuid, String), Option<Scan>) {
    let lag = row.peak_lag_min.and_then(|lag| usize::try_from(lag).ok());
    let scan = row.peak_corr.zip(lag).map(|(corr, lag)| Scan { corr, lag });
    ((row.session_id, row.segment_id), scan)
}

pub(super) fn outcome(row: OutcomeEventRow) -> Outcome {
    Outcome {
        session_id: row.session_id,
        outcome_type: row.outcome_type,
        outcome_value: row.outcome_value,
        outcome_time_utc: row.outcome_time_utc,
        source_system: row.source_system,
        source_event_ref: row.source_event_ref,
        confidence: row.confidence,
    }
}
