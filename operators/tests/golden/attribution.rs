//! The attribution ledger: its scores, its identities, and all records of one segment.

use std::collections::BTreeMap;

use bytes::Bytes;
use lsie_operators::attribution::identity::{
    NAMESPACE, event_id, link_id, normalised_rule_text, outcome_id, rule_text_hash, score_id,
};
use lsie_operators::attribution::lag_scan::{LagScan, SyncPeak};
use lsie_operators::attribution::ledger::{Encounter, Judgement, LedgerEvent, NoLedger, Scanned};
use lsie_operators::attribution::link::{Horizon, LedgerRow, LinkOutput, LinkRecord, Linker};
use lsie_operators::attribution::scores::{Au12Metrics, au12_metrics, soft_reward_candidate};
use lsie_operators::logic::Logic;
use lsie_schemas::canonical::{from_epoch_s, parse};
use lsie_schemas::log::{LogRecord, TopicPartition};
use lsie_schemas::record::{Outcome, Record};
use lsie_schemas::row::{AttributionEventRow, AttributionScoreRow, EventOutcomeLinkRow, OutcomeEventRow};
use lsie_schemas::table::Json;
use lsie_schemas::{EventTime, LogTime, Topic, Uuid, codec};
use serde_json::{Map, Value, json};

use crate::read::{Case, assert_absolute, assert_committed, of_kind};

/// DM-17: the original interpolates percentiles in another form, and means are summed in another order: some
/// units in the last place of values in [0, 1], which a lift, a difference of two, keeps.
const LIFT: f64 = 1e-12;

#[derive(serde::Deserialize)]
struct Series {
    au12_series: Vec<(f64, f64)>,
    stimulus_time_s: Option<f64>,
}

#[test]
fn golden_attribution_au12_metrics() {
    for case in of_kind("attribution", 353, "au12_metrics", 99) {
        let input: Series = case.input();
        let ours = match input.stimulus_time_s {
            Some(stimulus_s) => au12_metrics(&input.au12_series, stimulus_s),
            None => Au12Metrics::default(),
        };
        let near = |ours: Option<f64>, key: &str| {
            assert_near(ours, &case.expected[key], &format!("{} {key}", case.name));
        };
        near(ours.baseline_pre, "au12_baseline_pre");
        near(ours.lift_p90, "au12_lift_p90");
        near(ours.lift_peak, "au12_lift_peak");
        // The same two operations in the same order.
        assert_eq!(json!(ours.peak_latency_ms), case.expected["au12_peak_latency_ms"], "{}", case.name);
    }
}

fn assert_near(ours: Option<f64>, theirs: &Value, what: &str) {
    match (ours, theirs.as_f64()) {
        (Some(ours), Some(theirs)) => assert_absolute(ours, theirs, LIFT, what),
        (ours, theirs) => assert_eq!(ours, theirs, "{what}"),
    }
}

#[test]
fn golden_attribution_soft_reward() {
    for case in of_kind("attribution", 353, "soft_reward", 24) {
        let value = |key: &str| case.input[key].as_f64();
        let ours = soft_reward_candidate(value("p_match"), value("proxy_reward"));
        assert_eq!(json!(ours), case.expected["soft_reward_candidate"], "{}", case.name);
    }
}

#[derive(serde::Deserialize)]
struct Lagged {
    x: Vec<f64>,
    y: Vec<f64>,
    max_lag: usize,
}

#[derive(serde::Deserialize)]
struct ExpectedLagged {
    sync_peak_corr: Option<f64>,
    sync_peak_lag: Option<usize>,
    r_by_lag: Vec<Option<f64>>,
}

#[test]
fn golden_attribution_lagged_corr() {
    for case in of_kind("attribution", 353, "lagged_corr", 70) {
        let (input, expected): (Lagged, ExpectedLagged) = (case.input(), case.expected());
        let name = &case.name;
        let scan = LagScan { max_lag: input.max_lag };
        let ours: Vec<Option<f64>> = scan.correlations(&input.x, &input.y).collect();
        assert_eq!(ours.len(), expected.r_by_lag.len(), "{name}");
        // 1e-9: the order of the sums.
        let near = |ours: Option<f64>, theirs: Option<f64>| match (ours, theirs) {
            (Some(ours), Some(theirs)) => assert_absolute(ours, theirs, 1e-9, name),
            (ours, theirs) => assert_eq!(ours, theirs, "{name}"),
        };
        ours.into_iter().zip(expected.r_by_lag).for_each(|(ours, theirs)| near(ours, theirs));
        let peak = scan.peak(&input.x, &input.y);
        assert_eq!(peak.map(|peak| peak.lag), expected.sync_peak_lag, "{name}");
        near(peak.map(|peak| peak.corr), expected.sync_peak_corr);
    }
}

#[test]
fn golden_attribution_rule_hash() {
    for case in of_kind("attribution", 353, "rule_hash", 18) {
        let text = case.input["rule_text"].as_str().expect("a text");
        assert_eq!(normalised_rule_text(text), case.expected["normalized"], "{}", case.name);
        assert_eq!(rule_text_hash(text), case.expected["sha256"], "{}", case.name);
    }
}

#[derive(serde::Deserialize)]
struct Ids {
    session_id: Uuid,
    segment_id: String,
    event_type: String,
    reward_path_version: String,
    outcome_type: String,
    outcome_time_utc: String,
    source_system: String,
    source_event_ref: Option<String>,
    link_rule_version: String,
    method_version: String,
    methods: Vec<String>,
}

#[derive(serde::Deserialize)]
struct ExpectedIds {
    namespace: Uuid,
    event_id: Uuid,
    outcome_id: Uuid,
    link_id: Uuid,
    score_ids: BTreeMap<String, Uuid>,
    score_ids_without_outcome: BTreeMap<String, Uuid>,
}

#[test]
fn golden_attribution_ids() {
    for case in of_kind("attribution", 353, "ids", 24) {
        let (i, expected): (Ids, ExpectedIds) = (case.input(), case.expected());
        let name = &case.name;
        assert_eq!(NAMESPACE, expected.namespace, "{name}");
        let event = event_id(i.session_id, &i.segment_id, &i.event_type, &i.reward_path_version);
        assert_eq!(event, expected.event_id, "{name}");
        let time = EventTime(parse(&i.outcome_time_utc).expect("a time"));
        let reference = i.source_event_ref.as_deref();
        let outcome = outcome_id(i.session_id, &i.outcome_type, time, &i.source_system, reference);
        assert_eq!(outcome, expected.outcome_id, "{name}");
        assert_eq!(link_id(event, outcome, &i.link_rule_version), expected.link_id, "{name}");
        assert_eq!(i.methods.len(), expected.score_ids.len(), "{name}");
        for method in &i.methods {
            let id = |outcome| score_id(event, outcome, method, &i.method_version);
            assert_eq!(id(Some(outcome)), expected.score_ids[method], "{name} {method}");
            assert_eq!(id(None), expected.score_ids_without_outcome[method], "{name} {method}");
        }
    }
}

#[derive(serde::Deserialize)]
struct Ledger {
    metrics: Metrics,
    reward: Option<Reward>,
    #[serde(default)]
    comodulation: Map<String, Value>,
    horizon_s: Option<f64>,
    finality: String,
}

#[derive(serde::Deserialize)]
struct Reward {
    p90_intensity: f64,
    gated_reward: f64,
}

#[derive(serde::Deserialize)]
struct Metrics {
    session_id: String,
    segment_id: String,
    timestamp_utc: String,
    #[serde(rename = "_active_arm", default)]
    arm: Option<String>,
    #[serde(rename = "_expected_greeting", default)]
    expected_greeting: String,
    #[serde(rename = "_stimulus_time", default)]
    stimulus_s: Option<f64>,
    #[serde(rename = "_au12_series", default)]
    series: Vec<Frame>,
    #[serde(default)]
    semantic: Option<Semantic>,
    #[serde(default)]
    au12_intensity: Option<f64>,
    #[serde(rename = "_bandit_decision_snapshot", default)]
    decision: Option<Value>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(serde::Deserialize)]
struct Frame {
    timestamp_s: f64,
    intensity: f64,
}

#[derive(serde::Deserialize)]
struct Semantic {
    reasoning: String,
    confidence_score: f64,
    semantic_method: String,
    semantic_method_version: String,
}

/// Ledger rows by identity, scores by method.
#[derive(Default)]
struct Rows {
    events: Vec<AttributionEventRow>,
    outcomes: BTreeMap<Uuid, OutcomeEventRow>,
    links: BTreeMap<Uuid, EventOutcomeLinkRow>,
    scores: BTreeMap<String, AttributionScoreRow>,
}

/// How often each rule made a difference.
#[derive(Default)]
struct Departures {
    dm_14: u32,
    dm_15: u32,
    first_by_lag: u32,
    converted: u32,
}

#[test]
fn golden_attribution_ledger() {
    let mut departures = Departures::default();
    for case in of_kind("attribution", 353, "ledger", 118) {
        let input: Ledger = case.input();
        match made(&input) {
            None => assert!(case.expected["ledger"].is_null(), "{}", case.name),
            Some(encounter) => check_ledger(&case, &input, encounter, &mut departures),
        }
    }
    let Departures { dm_14, dm_15, first_by_lag, converted } = departures;
    assert_committed(dm_14 > 0 && dm_15 > 0 && first_by_lag > 0 && converted > 0, "every departure occurs");
}

/// The encounter of a segment's metrics at the original's event time, the assembly of the segment; `None` when
/// its identity cannot be made (contracts §14).
fn made(input: &Ledger) -> Option<Encounter> {
    let metrics = &input.metrics;
    let (Some(session_id), Ok(time)) =
        (codec::session_id(&metrics.session_id), parse(&metrics.timestamp_utc))
    else {
        return None;
    };
    let series: Vec<(f64, f64)> = metrics.series.iter().map(|f| (f.timestamp_s, f.intensity)).collect();
    let encounter = Encounter {
        session_id,
        segment_id: metrics.segment_id.clone(),
        stimulus: EventTime(time),
        arm: metrics.arm.clone().unwrap_or_default(),
        expected_greeting: metrics.expected_greeting.clone(),
        semantic: metrics.semantic.as_ref().map(|semantic| Judgement {
            method: semantic.semantic_method.clone(),
            version: semantic.semantic_method_version.clone(),
            p_match: Some(semantic.confidence_score),
            reason: Some(semantic.reasoning.clone()),
        }),
        decision: metrics.decision.as_ref().map(|decision| {
            let mut decision = decision.clone();
            // The one field that the original writes as null when it is not there (contracts §9).
            decision.as_object_mut()?.entry("random_seed").or_insert(Value::Null);
            Some(Json::new(&decision))
        })?,
        gated_reward: input.reward.as_ref().map(|reward| reward.gated_reward),
        au12: metrics.stimulus_s.map_or_else(Au12Metrics::default, |at| au12_metrics(&series, at)),
        scan: scanned(input),
    };
    match LedgerEvent::of(&encounter) {
        Ok(_) => Some(encounter),
        Err(NoLedger::SegmentId | NoLedger::Arm | NoLedger::Decision) => None,
    }
}

/// The scan that the vectors bring along; the original never makes one, and gives it no version of its own.
fn scanned(input: &Ledger) -> Option<Scanned> {
    let of = |fields: &Map<String, Value>| {
        let corr = fields.get("sync_peak_corr")?.as_f64()?;
        let lag = fields.get("sync_peak_lag")?.as_f64()? as usize;
        Some(Scanned { peak: SyncPeak { corr, lag }, method_version: "7E.v1".into() })
    };
    of(&input.metrics.rest).or_else(|| of(&input.comodulation))
}

fn check_ledger(case: &Case, input: &Ledger, encounter: Encounter, departures: &mut Departures) {
    let (name, expected) = (&case.name, &case.expected["ledger"]);
    let horizon = match input.horizon_s {
        Some(seconds) => Horizon::new(from_epoch_s(seconds).expect("a length"), 2_000).expect("a horizon"),
        None => Horizon::default(),
    };
    let outcomes = outcomes(&input.metrics, encounter.session_id, name, departures);

    // At the original's event time everything is as in the original, but for the rules below.
    let ours = linked(&encounter, &outcomes, horizon, &input.finality);
    check_event(&ours, input, expected, name);
    let by_id = |list: &Value, key: &str| -> BTreeMap<Uuid, Value> {
        let id = |row: &Value| row[key].as_str().expect("an id").parse().expect("an id");
        list.as_array().expect("a list").iter().map(|row| (id(row), row.clone())).collect()
    };
    let theirs = by_id(&expected["outcomes"], "outcome_id");
    assert_eq!(theirs.len(), ours.outcomes.len(), "{name}");
    for (id, theirs) in theirs {
        let row = serde_json::to_value(&ours.outcomes[&id]).expect("a row");
        assert_same(&row, &theirs, &["outcome_time_utc"], name);
        assert_eq!(ours.outcomes[&id].outcome_time_utc, instant(&theirs["outcome_time_utc"]), "{name}");
    }
    let links = by_id(&expected["links"], "link_id");
    assert_eq!(links.len(), ours.links.len(), "{name}");
    for (id, theirs) in &links {
        assert_same(&serde_json::to_value(&ours.links[id]).expect("a row"), theirs, &[], name);
    }
    check_scores(case, input, &ours, departures);

    // DM-15: the event is the encounter's, at the time of its stimulus, and outcomes lag behind that. A
    // segment without a stimulus has no encounter, and by the rule no event.
    let Some(stimulus) = input.metrics.stimulus_s.and_then(from_epoch_s).map(EventTime) else { return };
    departures.dm_15 += u32::from(stimulus != encounter.stimulus);
    let ours = linked(&Encounter { stimulus, ..encounter }, &outcomes, horizon, &input.finality);
    assert_eq!(ours.events.len(), 1, "{name}");
    let event = &ours.events[0];
    assert_eq!((event.event_time_utc, event.stimulus_time_utc), (stimulus, Some(stimulus)), "{name}");
    assert_eq!(event.event_id.to_string(), expected["event"]["event_id"], "{name}");
    let length_s = input.horizon_s.unwrap_or(604_800.0);
    let lag_s = |outcome: &OutcomeEventRow| (outcome.outcome_time_utc.0 - stimulus.0) as f64 / 1e6;
    let eligible: BTreeMap<Uuid, f64> = (ours.outcomes.values())
        .map(|outcome| (outcome.outcome_id, lag_s(outcome)))
        .filter(|(_, lag_s)| (0.0..=length_s).contains(lag_s))
        .collect();
    let linked: BTreeMap<Uuid, f64> =
        ours.links.values().map(|link| (link.outcome_id, link.lag_s.0)).collect();
    assert_eq!(linked, eligible, "{name}");
}

/// The ledger of one encounter and its outcomes, once its horizon has closed if that is asked for.
fn linked(encounter: &Encounter, outcomes: &[Outcome], horizon: Horizon, finality: &str) -> Rows {
    let mut linker = Linker::new(horizon);
    let event = LedgerEvent::of(encounter).expect("an event");
    let records: Vec<LinkRecord> = std::iter::once(LinkRecord::Event(Box::new(event)))
        .chain(outcomes.iter().cloned().map(LinkRecord::Outcome))
        .collect();
    let mut out = Vec::new();
    linker.on_epoch(LogTime(1), records, &mut out);
    if finality == "offline_final" {
        linker.on_epoch(LogTime(u64::MAX), Vec::new(), &mut out);
    }
    let mut standing: BTreeMap<LedgerRow, i64> = BTreeMap::new();
    for output in out {
        let LinkOutput::Change(row, diff) = output else { panic!("{output:?}") };
        *standing.entry(*row).or_insert(0) += diff;
    }
    let mut rows = Rows::default();
    for (row, _) in standing.into_iter().filter(|(_, count)| *count != 0) {
        match row {
            LedgerRow::Event(row) => rows.events.push(row),
            LedgerRow::Outcome(row) => drop(rows.outcomes.insert(row.outcome_id, row)),
            LedgerRow::Link(row) => drop(rows.links.insert(row.link_id, row)),
            LedgerRow::Score(row) => drop(rows.scores.insert(row.attribution_method.clone(), row)),
        }
    }
    rows
}

fn check_event(ours: &Rows, input: &Ledger, expected: &Value, name: &str) {
    assert_eq!(ours.events.len(), 1, "{name}");
    let (event, theirs) = (&ours.events[0], &expected["event"]);
    let row = serde_json::to_value(event).expect("a row");
    let apart = ["event_time_utc", "stimulus_time_utc", "bandit_decision_snapshot"];
    assert_same(&row, theirs, &apart, name);
    assert_eq!(event.event_time_utc, instant(&theirs["event_time_utc"]), "{name}");
    let decision: Value = serde_json::from_str(event.bandit_decision_snapshot.as_str()).expect("a document");
    // Contracts §9: these two are left out where there is nothing; the original writes them as null.
    let mut snapshot = theirs["bandit_decision_snapshot"].clone();
    let fields = snapshot.as_object_mut().expect("a snapshot");
    fields.retain(|key, value| {
        !value.is_null() || !["sampled_theta_by_arm", "decision_context_hash"].contains(&key.as_str())
    });
    assert_eq!(decision, snapshot, "{name}");
    // DM-15: of the two times that the original's event has, ours are one.
    assert_eq!(event.stimulus_time_utc, Some(event.event_time_utc), "{name}");
    let stimulus = input.metrics.stimulus_s.and_then(from_epoch_s).map(EventTime);
    let theirs = theirs["stimulus_time_utc"].as_str().map(|text| EventTime(parse(text).expect("a time")));
    assert_eq!(stimulus, theirs, "{name}");
}

fn check_scores(case: &Case, input: &Ledger, ours: &Rows, departures: &mut Departures) {
    let (name, expected) = (&case.name, &case.expected["ledger"]);
    let scores = expected["scores"].as_array().expect("scores");
    assert_eq!((scores.len(), ours.scores.len()), (6, 6), "{name}");
    // Mathematics §13.3: the first outcome is the first by lag, then identity; in the original by the order
    // of its payload.
    let by_lag = ours.links.values().map(|link| (link.lag_s, link.outcome_id)).min();
    let first = by_lag.map(|(_, outcome)| outcome);
    let theirs_first = scores[0]["outcome_id"].as_str().map(|id| id.parse().expect("an id"));
    assert_eq!(first.is_some(), theirs_first.is_some(), "{name}");
    departures.first_by_lag += u32::from(first != theirs_first);
    for theirs in scores {
        let method = theirs["attribution_method"].as_str().expect("a method");
        let score = &ours.scores[method];
        let row = serde_json::to_value(score).expect("a row");
        assert_same(&row, theirs, &["score_id", "outcome_id", "score_raw", "score_normalized"], name);
        assert_eq!(score.outcome_id, first, "{name} {method}");
        let version = &score.method_version;
        assert_eq!(score.score_id, score_id(score.event_id, first, method, version), "{name} {method}");
        let as_theirs = score_id(score.event_id, theirs_first, method, version).to_string();
        assert_eq!(as_theirs, theirs["score_id"], "{name} {method}");
        if method == "soft_reward_candidate" {
            check_soft_reward(case, input, score, theirs, departures);
            continue;
        }
        let is_latency = method == "au12_peak_latency_ms";
        assert_near(score.score_raw.map(|raw| raw.0), &theirs["score_raw"], name);
        assert!(!is_latency || json!(score.score_raw) == theirs["score_raw"], "{name}");
        assert_near(score.score_normalized.map(|raw| raw.0), &theirs["score_normalized"], name);
    }
}

/// DM-14: our proxy is the gated reward; the original takes P90, without a reward the legacy intensity.
fn check_soft_reward(
    case: &Case,
    input: &Ledger,
    score: &AttributionScoreRow,
    theirs: &Value,
    departures: &mut Departures,
) {
    let by_rule = &case.expected["soft_reward_from_gated_reward"];
    assert_eq!((json!(score.score_raw), json!(score.score_normalized)), (by_rule.clone(), by_rule.clone()));
    let proxy = input.reward.as_ref().map(|reward| reward.p90_intensity).or(input.metrics.au12_intensity);
    let p_match = input.metrics.semantic.as_ref().map(|semantic| semantic.confidence_score);
    let original = json!(soft_reward_candidate(p_match, proxy));
    assert_eq!((&original, &original), (&theirs["score_raw"], &theirs["score_normalized"]), "{}", case.name);
    departures.dm_14 += u32::from(original != *by_rule);
}

/// The outcomes that a segment's metrics carry in the original, as records of topic `outcomes`.
///
/// Contracts §1: nothing is converted and null is not absent. The original reads its carriers more kindly, so
/// one that needs that is refused as it is, and is one of ours once it is written as the original read it.
fn outcomes(metrics: &Metrics, session_id: Uuid, name: &str, departures: &mut Departures) -> Vec<Outcome> {
    let mut carriers: Vec<Value> = Vec::new();
    for (key, value) in &metrics.rest {
        match (key.as_str(), value) {
            ("_outcome_events", Value::Array(list)) => carriers.extend(list.iter().cloned()),
            ("_outcome_event" | "_creator_follow_outcome" | "_attribution_outcome", Value::Object(_)) => {
                carriers.push(value.clone());
            }
            // Contracts §10.2: a bare true.
            ("_creator_follow", Value::Bool(true)) => carriers.push(json!({
                "outcome_type": "creator_follow",
                "outcome_time_utc": metrics.timestamp_utc,
                "source_system": "module_e_metrics",
                "source_event_ref": metrics.segment_id,
            })),
            _ => {}
        }
    }
    let carriers = carriers.iter().filter_map(Value::as_object);
    carriers
        .filter_map(|carrier| {
            let strict = as_read(carrier);
            if strict != *carrier {
                assert!(outcome(carrier, session_id).is_err(), "{name}: {carrier:?}");
                departures.converted += 1;
            }
            outcome(&strict, session_id).ok()
        })
        .collect()
}

/// A carrier as the original reads it.
fn as_read(carrier: &Map<String, Value>) -> Map<String, Value> {
    let mut strict = carrier.clone();
    if let Some(event_type) = strict.remove("event_type") {
        strict.entry("outcome_type").or_insert(event_type);
    }
    let payload = strict.remove("payload");
    for key in ["outcome_value", "confidence"] {
        match strict.get(key) {
            Some(Value::Null) => drop(strict.remove(key)),
            Some(Value::String(text)) => {
                let number: f64 = text.parse().expect("a number");
                strict.insert(key.into(), number.into());
            }
            _ => {}
        }
    }
    let in_payload = payload.as_ref().map(|payload| payload["event_id"].clone());
    match strict.get("source_event_ref").cloned() {
        Some(Value::Number(number)) => {
            drop(strict.insert("source_event_ref".into(), number.to_string().into()))
        }
        None | Some(Value::Null) => {
            if let Some(id) = in_payload {
                strict.insert("source_event_ref".into(), id);
            }
        }
        _ => {}
    }
    strict
}

fn outcome(fields: &Map<String, Value>, session_id: Uuid) -> Result<Outcome, String> {
    let mut body = fields.clone();
    body.extend([
        ("v".into(), json!(1)),
        ("type".into(), json!("outcome")),
        ("session_id".into(), json!(session_id.to_string())),
    ]);
    let record = LogRecord {
        at: TopicPartition { topic: Topic::Outcomes, partition: 0 },
        offset: 0,
        log_time: LogTime(0),
        key: Some(Bytes::from(session_id.to_string())),
        value: Bytes::from(Value::Object(body).to_string()),
        headers: Vec::new(),
    };
    match codec::decode(&record) {
        Ok(Record::Outcome(outcome)) => Ok(outcome),
        Ok(other) => panic!("{other:?}"),
        Err(rejection) => Err(rejection.reason),
    }
}

/// All columns of a row but some equal the original's; `created_at` is in no row of ours.
fn assert_same(ours: &Value, theirs: &Value, apart: &[&str], name: &str) {
    let (ours, theirs) = (ours.as_object().expect("a row"), theirs.as_object().expect("a row"));
    assert_eq!(ours.len() + 1, theirs.len(), "{name}");
    for (column, value) in ours.iter().filter(|(column, _)| !apart.contains(&column.as_str())) {
        assert_eq!(value, &theirs[column], "{name} {column}");
    }
}

fn instant(text: &Value) -> EventTime {
    EventTime(parse(text.as_str().expect("a time")).expect("a time"))
}
