//! The ledger: scores of any numbers, and events and outcomes at any times, in any order of an epoch.

#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use lsie_operators::attribution::lag_scan::LagScan;
use lsie_operators::attribution::ledger::{Encounter, Judgement, LedgerEvent};
use lsie_operators::attribution::link::{Horizon, LinkOutput, LinkRecord, Linker};
use lsie_operators::attribution::scores::{au12_metrics, soft_reward_candidate};
use lsie_operators::logic::Logic;
use lsie_schemas::record::Outcome;
use lsie_schemas::table::Json;
use lsie_schemas::{EventTime, LogTime, Real, Uuid};

#[derive(Arbitrary, Debug)]
enum Input {
    Event {
        segment: u8,
        at: i64,
        series: Vec<(f64, f64)>,
        p_match: Option<f64>,
        reward: Option<f64>,
        rule: String,
    },
    Outcome {
        at: i64,
        value: f64,
        reference: Option<String>,
    },
    Epoch {
        ms: u16,
    },
}

fn event(
    segment: u8,
    at: i64,
    series: &[(f64, f64)],
    p_match: Option<f64>,
    gated_reward: Option<f64>,
    rule: String,
) -> LinkRecord {
    let stimulus = EventTime(at);
    let au12 = au12_metrics(series, stimulus.seconds());
    let values = [au12.baseline_pre, au12.lift_p90, au12.lift_peak, au12.peak_latency_ms];
    assert!(values.into_iter().flatten().all(f64::is_finite));
    assert!(soft_reward_candidate(p_match, gated_reward).is_none_or(|soft| (0.0..=1.0).contains(&soft)));
    let encounter = Encounter {
        session_id: Uuid::from_u128(1),
        segment_id: format!("{segment:064x}"),
        stimulus,
        arm: "simple_hello".into(),
        expected_greeting: rule,
        semantic: Some(Judgement {
            method: "cross_encoder".into(),
            version: "v".into(),
            p_match,
            reason: None,
        }),
        decision: Some(Json::new(
            &serde_json::json!({"candidate_arm_ids": ["a"], "posterior_by_arm": {"a": 1}}),
        )),
        gated_reward,
        au12,
        scan: None,
    };
    LinkRecord::Event(Box::new(LedgerEvent::of(&encounter).expect("an event")))
}

fn run(epochs: &[(LogTime, Vec<LinkRecord>)]) -> Vec<Vec<LinkOutput>> {
    let mut linker = Linker::new(Horizon::new(1_000_000, 500).expect("a horizon"));
    let mut copies: BTreeMap<String, i64> = BTreeMap::new();
    let step = |(epoch, records): &(LogTime, Vec<LinkRecord>)| {
        let mut out = Vec::new();
        linker.on_epoch(*epoch, records.clone(), &mut out);
        for output in &out {
            if let LinkOutput::Change(row, diff) = output {
                *copies.entry(format!("{row:?}")).or_default() += diff;
            }
        }
        assert!(copies.values().all(|copies| (0..=1).contains(copies)), "a row stands once or not at all");
        out
    };
    epochs.iter().map(step).collect()
}

fuzz_target!(|input: (Vec<Input>, Vec<f64>, Vec<f64>)| {
    let (inputs, x, y) = input;
    let peak = LagScan::default().peak(&x, &y);
    assert!(peak.is_none_or(|peak| (-1.0..=1.0).contains(&peak.corr)));
    let mut epochs = vec![(LogTime(0), Vec::new())];
    for input in inputs {
        let record = match input {
            Input::Event { segment, at, series, p_match, reward, rule } => {
                event(segment, at, &series, p_match, reward, rule)
            }
            Input::Outcome { at, value, reference } => LinkRecord::Outcome(Outcome {
                session_id: Uuid::from_u128(1),
                outcome_type: "creator_follow".into(),
                outcome_value: Real(value),
                outcome_time_utc: EventTime(at),
                source_system: "tiktok_webcast".into(),
                source_event_ref: reference,
                confidence: Real(1.0),
            }),
            Input::Epoch { ms } => {
                let last = epochs.last().expect("an epoch").0;
                epochs.push((last.plus_ms(1 + u64::from(ms)), Vec::new()));
                continue;
            }
        };
        epochs.last_mut().expect("an epoch").1.push(record);
    }
    let whole = run(&epochs);
    epochs.iter_mut().for_each(|(_, records)| records.reverse());
    assert_eq!(run(&epochs), whole);
});
