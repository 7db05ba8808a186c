//! The events of the attribution ledger: one for each encounter, with its scores (`math.md` §13).

use differential_dataflow::VecCollection;
use lsie_operators::attribution::lag_scan::{LagScan, SyncPeak};
use lsie_operators::attribution::ledger::{Encounter, Judgement, LedgerEvent, Scanned, decision_snapshot};
use lsie_operators::attribution::scores::Au12Metrics;
use lsie_operators::measure::Measured;
use lsie_operators::telemetry::Scan;
use lsie_schemas::Real;
use lsie_schemas::row::DecisionRow;
use uuid::Uuid;

use super::Rows;
use super::encounters::{Evaluated, StimulusKey};
use crate::adapter::Time;

/// The event of every encounter that can have one. It waits for its segment to close: the window of physiology
/// that its lag scan looks at ends there.
pub(crate) fn ledger_events<'scope>(
    measured: Rows<'scope, (StimulusKey, Measured)>,
    evaluated: Rows<'scope, (StimulusKey, Evaluated)>,
    decisions: Rows<'scope, DecisionRow>,
    scans: Rows<'scope, ((Uuid, String), Option<Scan>)>,
) -> VecCollection<'scope, Time, LedgerEvent, isize> {
    let encounters = measured.join_map(evaluated, |(session, _), measured, judged| {
        ((*session, measured.segment_id.clone()), (measured.clone(), judged.clone()))
    });
    let scanned = encounters.join_map(scans, |(session, _), (measured, judged), scan| {
        (*session, (measured.clone(), judged.clone(), scan.clone()))
    });
    let decided = decisions.map(|row| (row.session_id, row));
    scanned
        .join_map(decided, |session, (measured, judged, scan), decision| {
            event(*session, measured, judged, scan.as_ref(), decision)
        })
        .flat_map(|event| event)
}

fn event(
    session_id: Uuid,
    measured: &Measured,
    judged: &Evaluated,
    scan: Option<&Scan>,
    decision: &DecisionRow,
) -> Option<LedgerEvent> {
    let value = |real: &Option<Real>| real.map(|real| real.0);
    let encounter = Encounter {
        session_id,
        segment_id: measured.segment_id.clone(),
        stimulus: measured.at,
        arm: judged.arm.clone(),
        expected_greeting: decision.expected_greeting.clone(),
        semantic: Some(Judgement {
            method: judged.method.clone(),
            version: judged.version.clone(),
            p_match: Some(judged.confidence.0),
            reason: Some(judged.reason.clone()),
        }),
        decision: Some(decision_snapshot(decision)),
        gated_reward: Some(if judged.is_match { measured.p90.0 } else { 0.0 }),
        au12: Au12Metrics {
            baseline_pre: value(&measured.baseline),
            lift_p90: value(&measured.lift.p90),
            lift_peak: value(&measured.lift.peak),
            peak_latency_ms: value(&measured.lift.peak_latency_ms),
        },
        scan: scan.map(|scan| Scanned {
            peak: SyncPeak { corr: scan.corr.0, lag: scan.lag },
            method_version: LagScan::default().method_version(),
        }),
    };
    // Without a ledger event: an analytical absence, not an error (`contracts.md` §14).
    LedgerEvent::of(&encounter).ok()
}
