//! The events of the attribution ledger: one for each encounter, with its scores (`math.md` §13).

use lsie_operators::attribution::lag_scan::{LagScan, SyncPeak};
use lsie_operators::attribution::ledger::{Encounter, Judgement, LedgerEvent, Scanned, decision_snapshot};
use lsie_operators::attribution::scores::Au12Metrics;
use lsie_operators::measure::Measured;
use lsie_operators::telemetry::Scan;
use lsie_schemas::Real;
use lsie_schemas::row::DecisionRow;
use lsie_schemas::table::Json;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Rows;
use super::encounters::{Evaluated, Met, StimulusKey};
use super::handle::Handle;
use super::join_total::join_total;
use super::reduce_total::reduce_total;
use crate::checkpoint::Keep;

/// What is known of the events of a segment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Known {
    Met(Met),
    Scanned(Option<Scan>),
}

/// What an event says of the decision of its session.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Decided {
    greeting: String,
    snapshot: Json,
}

/// The event of every encounter that can have one. It waits for its segment to close: the window of physiology
/// that its lag scan looks at ends there.
pub(crate) fn ledger_events<'scope>(
    met: Rows<'scope, (StimulusKey, Met)>,
    decisions: Rows<'scope, DecisionRow>,
    scans: Rows<'scope, ((Uuid, String), Option<Scan>)>,
    keep: &Keep,
) -> Rows<'scope, LedgerEvent> {
    let met = met.map(|((session, _), met)| ((session, met.0.segment_id.clone()), Known::Met(met)));
    let known = met.concat(scans.map(|(segment, scan)| (segment, Known::Scanned(scan))));
    let of_session = |(session, _): &(Uuid, String)| *session;
    let scanned = reduce_total(known, keep.station("scanned"), of_session, |(session, _), known, rows| {
        for (met, scan) in known.iter().flat_map(|(one, _)| known.iter().map(move |(other, _)| (one, other)))
        {
            if let (Known::Met(met), Known::Scanned(scan)) = (met, scan) {
                rows.push((*session, (met.clone(), scan.clone())));
            }
        }
    });
    let decided = decisions.map(|row| {
        let decided = Decided { greeting: row.expected_greeting.clone(), snapshot: decision_snapshot(&row) };
        (row.session_id, Handle::from(decided))
    });
    let credited = keep.station("credited");
    join_total(scanned, decided, credited, |session, ((measured, judged), scan), decided| {
        event(*session, measured, judged, scan.as_ref(), decided)
    })
}

fn event(
    session_id: Uuid,
    measured: &Measured,
    judged: &Evaluated,
    scan: Option<&Scan>,
    decided: &Decided,
) -> Option<LedgerEvent> {
    let value = |real: &Option<Real>| real.map(|real| real.0);
    let encounter = Encounter {
        session_id,
        segment_id: measured.segment_id.clone(),
        stimulus: measured.at,
        arm: judged.arm.clone(),
        expected_greeting: decided.greeting.clone(),
        semantic: Some(Judgement {
            method: judged.method.clone(),
            version: judged.version.clone(),
            p_match: Some(judged.confidence.0),
            reason: Some(judged.reason.clone()),
        }),
        decision: Some(decided.snapshot.clone()),
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
