//! The linker of the attribution ledger under the laws.

use lsie_operators::attribution::ledger::{Encounter, LedgerEvent};
use lsie_operators::attribution::link::{Horizon, LinkOutput, LinkRecord, Linker};
use lsie_operators::attribution::scores::Au12Metrics;
use lsie_schemas::record::Outcome;
use lsie_schemas::table::Json;
use lsie_schemas::{EventTime, LogTime, Real, Uuid};
use proptest::prelude::*;

use crate::laws::{Script, order_changes_nothing, restarts_in_pieces_change_nothing, run};

/// Ten seconds, so that horizons close within a script.
fn make() -> Linker {
    Linker::new(Horizon::new(10_000_000, 2_000).expect("a horizon"))
}

fn event(session: u128, segment: u8, at: EventTime, reward: f64) -> LinkRecord {
    let encounter = Encounter {
        session_id: Uuid::from_u128(session),
        segment_id: format!("{segment:064x}"),
        stimulus: at,
        arm: "simple_hello".into(),
        expected_greeting: "hello".into(),
        semantic: None,
        decision: Some(Json::new(&serde_json::json!({
            "candidate_arm_ids": ["simple_hello"],
            "posterior_by_arm": {"simple_hello": {"alpha": 1.0, "beta": 1.0}},
        }))),
        gated_reward: Some(reward),
        au12: Au12Metrics { peak_latency_ms: Some(reward), ..Au12Metrics::default() },
        scan: None,
    };
    LinkRecord::Event(Box::new(LedgerEvent::of(&encounter).expect("an event")))
}

fn outcome(session: u128, at: EventTime, value: f64) -> LinkRecord {
    LinkRecord::Outcome(Outcome {
        session_id: Uuid::from_u128(session),
        outcome_type: "creator_follow".into(),
        outcome_value: Real(value),
        outcome_time_utc: at,
        source_system: "tiktok_webcast".into(),
        source_event_ref: None,
        confidence: Real(1.0),
    })
}

/// Few sessions, segments and instants: events share segments, outcomes identities.
fn record() -> impl Strategy<Value = LinkRecord> {
    (any::<bool>(), 1u128..3, 0u8..4, 0i64..80, 0u8..2).prop_map(
        |(is_event, session, segment, quarter, value)| {
            let (at, value) = (EventTime(quarter * 250_000), f64::from(value));
            if is_event { event(session, segment, at, value) } else { outcome(session, at, value) }
        },
    )
}

prop_compose! {
    fn script()(epochs in prop::collection::vec((0u64..6_000, prop::collection::vec(record(), 0..5)), 1..14))
        -> Script<LinkRecord>
    {
        let mut now = 0;
        let line = |(gap, records)| {
            now += gap + 2;
            (LogTime(now), records)
        };
        epochs.into_iter().map(line).collect()
    }
}

proptest! {
    #[test]
    fn restarts(script in script()) {
        restarts_in_pieces_change_nothing(make, &script);
    }

    #[test]
    fn order(script in script(), turns in prop::collection::vec(0usize..8, 1..5)) {
        order_changes_nothing(make, &script, &turns);
    }

    /// Everything so far once more, in an epoch of its own after each: no row moves, then or later.
    #[test]
    fn duplicates(script in script()) {
        let mut seen = Vec::new();
        let mut repeated = Vec::new();
        for (epoch, records) in &script {
            seen.extend(records.clone());
            repeated.push((*epoch, [records.clone(), records.clone()].concat()));
            repeated.push((*epoch, seen.clone()));
        }
        let moved = |out: Vec<LinkOutput>| {
            let is_change = |output: &LinkOutput| matches!(output, LinkOutput::Change(..));
            out.into_iter().filter(is_change).collect::<Vec<_>>()
        };
        let whole: Vec<_> = run(make(), &script).into_iter().map(moved).collect();
        for (index, out) in run(make(), &repeated).into_iter().map(moved).enumerate() {
            prop_assert_eq!(out, if index % 2 == 0 { whole[index / 2].clone() } else { Vec::new() });
        }
    }
}
