//! The rows of the ledger that one encounter makes before any outcome is known (contracts §10).

use lsie_schemas::record::Outcome;
use lsie_schemas::row::{AttributionEventRow, AttributionScoreRow, DecisionRow, OutcomeEventRow};
use lsie_schemas::table::Json;
use lsie_schemas::{EventTime, Real, Uuid};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::identity;
use super::lag_scan::SyncPeak;
use super::scores::{Au12Metrics, soft_reward_candidate};

/// The one type of attribution event.
pub const EVENT_TYPE: &str = "greeting_interaction";
/// The reward path whose gated reward the scores use.
pub const REWARD_PATH_VERSION: &str = "7B.v3.4";
/// Version of the scores.
pub const METHOD_VERSION: &str = "7E.v1";
/// Version of every ledger record.
pub const SCHEMA_VERSION: &str = "v3.4";
/// Finality while the horizon is open.
pub const ONLINE_PROVISIONAL: &str = "online_provisional";
/// Finality once it has closed.
pub const OFFLINE_FINAL: &str = "offline_final";

/// What the ledger takes of the semantic evaluation of an encounter.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// Who decided.
    pub method: String,
    /// Its version.
    pub version: String,
    /// Its confidence, taken as the probability of a match.
    pub p_match: Option<f64>,
    /// Its bounded code.
    pub reason: Option<String>,
}

/// A lag scan as scores carry it.
#[derive(Clone, Debug, PartialEq)]
pub struct Scanned {
    /// What it found.
    pub peak: SyncPeak,
    /// Which scan it was: [`LagScan::method_version`](super::lag_scan::LagScan::method_version).
    pub method_version: String,
}

/// One encounter as the ledger sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Encounter {
    /// The session.
    pub session_id: Uuid,
    /// The segment that contains the stimulus, 64 lowercase hex digits.
    pub segment_id: String,
    /// When the stimulus happened: the time of the event (DM-15).
    pub stimulus: EventTime,
    /// The arm in use.
    pub arm: String,
    /// The rule the utterance was compared with.
    pub expected_greeting: String,
    /// The semantic evaluation, if there was one.
    pub semantic: Option<Judgement>,
    /// The decision snapshot of the session, if there was one.
    pub decision: Option<Json>,
    /// The gated reward, if it was computed.
    pub gated_reward: Option<f64>,
    /// AU12 around the stimulus.
    pub au12: Au12Metrics,
    /// The lag scan of the encounter's co-modulation window, if one ran.
    pub scan: Option<Scanned>,
}

/// Why an encounter has no ledger: an analytical absence, not an error (contracts §14).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoLedger {
    /// The segment id is not 64 lowercase hex digits.
    #[error("no valid segment id")]
    SegmentId,
    /// The arm is empty.
    #[error("no arm")]
    Arm,
    /// There is no decision snapshot, or one without candidates or posteriors.
    #[error("no valid decision snapshot")]
    Decision,
}

/// An attribution event with its six scores, provisional and without an outcome.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LedgerEvent {
    pub(super) row: AttributionEventRow,
    pub(super) scores: Vec<AttributionScoreRow>,
}

impl LedgerEvent {
    /// The event of an encounter and its scores.
    pub fn of(encounter: &Encounter) -> Result<LedgerEvent, NoLedger> {
        let Encounter { session_id, segment_id, stimulus, arm, decision, semantic, .. } = encounter;
        let is_hex = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if segment_id.len() != 64 || !is_hex(segment_id) {
            return Err(NoLedger::SegmentId);
        }
        if arm.is_empty() {
            return Err(NoLedger::Arm);
        }
        let decision = decision.clone().filter(has_candidates).ok_or(NoLedger::Decision)?;
        let event_id = identity::event_id(*session_id, segment_id, EVENT_TYPE, REWARD_PATH_VERSION);
        let p_match = semantic.as_ref().and_then(|s| s.p_match).filter(|p| (0.0..=1.0).contains(p));
        // Without an evaluation the columns say whose it would have been.
        let (method, version) = match semantic {
            Some(semantic) => (semantic.method.clone(), semantic.version.clone()),
            None => ("cross_encoder".into(), "unknown".into()),
        };
        let row = AttributionEventRow {
            event_id,
            session_id: *session_id,
            segment_id: segment_id.clone(),
            event_type: EVENT_TYPE.into(),
            event_time_utc: *stimulus,
            stimulus_time_utc: Some(*stimulus),
            selected_arm_id: arm.clone(),
            expected_rule_text_hash: identity::rule_text_hash(&encounter.expected_greeting),
            semantic_method: method,
            semantic_method_version: version,
            semantic_p_match: p_match.map(Real),
            semantic_reason_code: semantic.as_ref().and_then(|s| s.reason.clone()),
            reward_path_version: REWARD_PATH_VERSION.into(),
            bandit_decision_snapshot: decision,
            evidence_flags: texts(&["bandit_decision_snapshot", "module_d_metrics"]),
            finality: ONLINE_PROVISIONAL.into(),
            schema_version: SCHEMA_VERSION.into(),
        };
        Ok(LedgerEvent { row, scores: scores(event_id, encounter, p_match) })
    }

    /// The event's row, provisional.
    pub fn row(&self) -> &AttributionEventRow {
        &self.row
    }

    /// The six scores as they are while `outcome_id` is the first eligible outcome.
    pub fn scores(
        &self,
        outcome_id: Option<Uuid>,
        finality: &str,
    ) -> impl Iterator<Item = AttributionScoreRow> {
        self.scores.iter().map(move |score| {
            let (method, version) = (&score.attribution_method, &score.method_version);
            AttributionScoreRow {
                score_id: identity::score_id(score.event_id, outcome_id, method, version),
                outcome_id,
                finality: finality.to_owned(),
                ..score.clone()
            }
        })
    }
}

/// The snapshot of a decision as the ledger keeps it (contracts §9); its experiment is the engine's code.
pub fn decision_snapshot(row: &DecisionRow) -> Json {
    let parsed = |json: &Json| serde_json::from_str::<Value>(json.as_str()).unwrap_or_default();
    Json::new(&serde_json::json!({
        "selection_method": row.selection_method,
        "selection_time_utc": row.selection_time_utc.canonical(),
        "experiment_id": row.experiment_id,
        "policy_version": row.policy_version,
        "selected_arm_id": row.selected_arm_id,
        "candidate_arm_ids": row.candidate_arm_ids,
        "posterior_by_arm": parsed(&row.posterior_by_arm),
        "sampled_theta_by_arm": parsed(&row.sampled_theta_by_arm),
        "expected_greeting": row.expected_greeting,
        "decision_context_hash": row.decision_context_hash,
        "random_seed": row.random_seed.parse::<u64>().ok(),
    }))
}

/// Whether a decision had something to decide between: at least one candidate and one posterior (contracts
/// §9). The engine makes the snapshots itself; all else about them is its own doing.
fn has_candidates(decision: &Json) -> bool {
    let decision: Value = serde_json::from_str(decision.as_str()).unwrap_or_default();
    let candidates = decision["candidate_arm_ids"].as_array().is_some_and(|arms| !arms.is_empty());
    candidates && decision["posterior_by_arm"].as_object().is_some_and(|posteriors| !posteriors.is_empty())
}

/// The six scores of contracts §10.4, in its order.
fn scores(event_id: Uuid, encounter: &Encounter, p_match: Option<f64>) -> Vec<AttributionScoreRow> {
    let Au12Metrics { lift_p90, lift_peak, peak_latency_ms, .. } = encounter.au12;
    let scan = encounter.scan.as_ref();
    let corr = scan.map(|scan| scan.peak.corr);
    let lag = scan.map(|scan| scan.peak.lag as f64);
    let scan_version = scan.map_or(METHOD_VERSION, |scan| &scan.method_version);
    let scan_flags: &[&str] = if scan.is_some() { &["lag_scan_result"] } else { &[] };
    // DM-14: the proxy is the gated reward, never the ungated percentile.
    let soft = soft_reward_candidate(p_match, encounter.gated_reward);
    let lift_flags: &[&str] = &["au12_series", "baseline_pre"];
    let score = |method: &str, raw: Option<f64>, is_normal: bool, flags: &[&str], version: &str| {
        let raw = raw.and_then(Real::finite);
        AttributionScoreRow {
            score_id: identity::score_id(event_id, None, method, version),
            event_id,
            outcome_id: None,
            attribution_method: method.into(),
            method_version: version.into(),
            score_raw: raw,
            score_normalized: raw.filter(|_| is_normal),
            confidence: None,
            evidence_flags: texts(flags),
            finality: ONLINE_PROVISIONAL.into(),
            schema_version: SCHEMA_VERSION.into(),
        }
    };
    let soft_flags = ["au12_reward_proxy", "semantic_p_match"];
    let soft = score("soft_reward_candidate", soft, true, &soft_flags, METHOD_VERSION);
    vec![
        AttributionScoreRow { confidence: p_match.map(Real), ..soft },
        score("au12_lift_p90", lift_p90, true, lift_flags, METHOD_VERSION),
        score("au12_lift_peak", lift_peak, true, lift_flags, METHOD_VERSION),
        score(
            "au12_peak_latency_ms",
            peak_latency_ms,
            false,
            &["au12_series", "stimulus_time"],
            METHOD_VERSION,
        ),
        score("sync_peak_corr", corr, true, scan_flags, scan_version),
        score("sync_peak_lag", lag, false, scan_flags, scan_version),
    ]
}

/// The row of an outcome, provisional.
pub fn outcome_row(outcome: &Outcome) -> OutcomeEventRow {
    let Outcome { session_id, outcome_type, outcome_time_utc, source_system, source_event_ref, .. } = outcome;
    let reference = source_event_ref.as_deref();
    OutcomeEventRow {
        outcome_id: identity::outcome_id(
            *session_id,
            outcome_type,
            *outcome_time_utc,
            source_system,
            reference,
        ),
        session_id: *session_id,
        outcome_type: outcome_type.clone(),
        outcome_value: outcome.outcome_value,
        outcome_time_utc: *outcome_time_utc,
        source_system: source_system.clone(),
        source_event_ref: source_event_ref.clone(),
        confidence: outcome.confidence,
        finality: ONLINE_PROVISIONAL.into(),
        schema_version: SCHEMA_VERSION.into(),
    }
}

pub(super) fn texts(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn decision(candidates: &[&str]) -> Json {
        let posteriors = serde_json::json!({"simple_hello": {"alpha": 1.0, "beta": 1.0}});
        Json::new(&serde_json::json!({"candidate_arm_ids": candidates, "posterior_by_arm": posteriors}))
    }

    /// An encounter of a made session; `segment` and `seconds` tell one from another.
    pub(crate) fn encounter(session: u128, segment: u8, stimulus_us: i64) -> Encounter {
        Encounter {
            session_id: Uuid::from_u128(session),
            segment_id: format!("{segment:064x}"),
            stimulus: EventTime(stimulus_us),
            arm: "simple_hello".into(),
            expected_greeting: "hello".into(),
            semantic: None,
            decision: Some(decision(&["simple_hello"])),
            gated_reward: Some(0.5),
            au12: Au12Metrics::default(),
            scan: None,
        }
    }

    #[test]
    fn what_makes_no_ledger() {
        let good = encounter(1, 1, 0);
        assert!(LedgerEvent::of(&good).is_ok());
        let no = |change: fn(&mut Encounter)| {
            let mut encounter = good.clone();
            change(&mut encounter);
            LedgerEvent::of(&encounter).err()
        };
        assert_eq!(no(|e| e.segment_id = "ab".into()), Some(NoLedger::SegmentId));
        assert_eq!(no(|e| e.segment_id = "A".repeat(64)), Some(NoLedger::SegmentId));
        assert_eq!(no(|e| e.segment_id = "é".repeat(32)), Some(NoLedger::SegmentId));
        assert_eq!(no(|e| e.arm.clear()), Some(NoLedger::Arm));
        assert_eq!(no(|e| e.decision = None), Some(NoLedger::Decision));
        assert_eq!(no(|e| e.decision = Some(decision(&[]))), Some(NoLedger::Decision));
        assert_eq!(no(|e| e.decision = Some(Json::new(&Value::Null))), Some(NoLedger::Decision));
    }

    #[test]
    fn no_row_holds_what_is_not_finite() {
        let mut bad = encounter(1, 1, 0);
        bad.gated_reward = Some(f64::NAN);
        bad.semantic = Some(Judgement {
            method: "cross_encoder".into(),
            version: "v".into(),
            p_match: Some(f64::INFINITY),
            reason: None,
        });
        bad.au12.lift_p90 = Some(f64::NAN);
        bad.scan =
            Some(Scanned { peak: SyncPeak { corr: f64::NAN, lag: 2 }, method_version: "7E.v1+x".into() });
        let event = LedgerEvent::of(&bad).expect("an event");
        assert_eq!(event.row().semantic_p_match, None);
        let raw: Vec<_> = event.scores(None, ONLINE_PROVISIONAL).map(|score| score.score_raw).collect();
        assert_eq!(raw, [None, None, None, None, None, Some(Real(2.0))]);
    }
}
