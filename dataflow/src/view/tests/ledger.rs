//! Ledger events: encounters whose segment is scanned and whose session has a decision.

use lsie_operators::attribution::lag_scan::SyncPeak;
use lsie_operators::attribution::ledger::{
    Encounter, Judgement, LedgerEvent, ONLINE_PROVISIONAL, Scanned, decision_snapshot,
};
use lsie_operators::attribution::scores::Au12Metrics;
use lsie_operators::measure::{Lift, Measured};
use lsie_schemas::row::DecisionRow;
use lsie_schemas::table::Json;
use lsie_schemas::{LogTime, Real};
use proptest::prelude::*;
use timely::dataflow::StreamVec;
use timely::dataflow::operators::vec::Map;

use super::places::{
    self, Kind, Place, World, at, judged_arm, place, places, reward_of, scan, session, span,
};
use super::{Table, check, config, epochs, put, run};
use crate::adapter::Time;
use crate::checkpoint::Keep;
use crate::commit::Written;
use crate::graph::change;
use crate::view::feed::{self, Fact};
use crate::view::{Rows, ledger_events, met};

/// An event goes out as its row and the rows of its scores.
fn view<'scope>(facts: Rows<'scope, Fact>, keep: &Keep) -> StreamVec<'scope, Time, Written> {
    let scans = facts.clone().flat_map(|fact| match fact {
        Fact::Scanned(session, segment, scan) => Some(((session, segment), scan)),
        _ => None,
    });
    let (measured, evaluated) = (feed::measured(facts.clone()), feed::evaluated(facts.clone()));
    let events = ledger_events(met(measured, evaluated, keep), feed::decisions(facts), scans, keep);
    events.inner.flat_map(|(event, epoch, diff)| {
        let (epoch, diff) = (LogTime(epoch), diff as i64);
        let scores = event.scores(None, ONLINE_PROVISIONAL).map(|score| change(&score, epoch, diff));
        let rows = scores.chain([change(event.row(), epoch, diff)]);
        rows.map(Written::Change).collect::<Vec<_>>()
    })
}

/// As elsewhere, with lifts and with decisions of which some had nothing to decide between.
fn fact(here: Place, value: u8) -> Fact {
    match places::fact(here, value) {
        Fact::Measured(session, action, measured) => {
            let lift = Lift {
                p90: (value > 1).then(|| Real(reward_of(value) / 2.0)),
                peak: (value > 2).then(|| Real(reward_of(value) / 4.0)),
                peak_latency_ms: (value > 3).then(|| Real(f64::from(value) * 100.0)),
            };
            Fact::Measured(session, action, Measured { lift, ..measured })
        }
        Fact::Decision(row) => Fact::Decision(decision(row, value)),
        other => other,
    }
}

fn decision(row: DecisionRow, value: u8) -> DecisionRow {
    let posteriors = match value {
        1 => serde_json::json!({}),
        _ => serde_json::json!({"hello": {"alpha": 1.0, "beta": f64::from(value)}}),
    };
    DecisionRow {
        candidate_arm_ids: if value == 0 { Vec::new() } else { vec!["hello".into(), "praise".into()] },
        posterior_by_arm: Json::new(&posteriors),
        expected_greeting: format!("hello {value}"),
        ..row
    }
}

fn from_scratch(world: &World) -> Table {
    let mut table = Table::new();
    for (here, measured) in world {
        let (kind, s, k, j) = *here;
        let of = |kind| world.get(&place(kind, s, k, j)).copied();
        if kind != Kind::Measured {
            continue;
        }
        let (Some(judged), Some(scanned), Some(decided)) =
            (of(Kind::Judged), of(Kind::Scanned), of(Kind::Decision))
        else {
            continue;
        };
        if decided < 2 {
            continue;
        }
        let Fact::Decision(decided) = fact(place(Kind::Decision, s, k, j), decided) else { unreachable!() };
        let measured = *measured;
        let event = LedgerEvent::of(&Encounter {
            session_id: session(s),
            segment_id: span(*here).0,
            stimulus: at(*here),
            arm: judged_arm(s),
            expected_greeting: decided.expected_greeting.clone(),
            semantic: Some(Judgement {
                method: "cross_encoder".into(),
                version: "v1".into(),
                p_match: Some(reward_of(judged)),
                reason: Some("cross_encoder_high_match".into()),
            }),
            decision: Some(decision_snapshot(&decided)),
            gated_reward: Some(if judged.is_multiple_of(3) { 0.0 } else { reward_of(measured) }),
            au12: Au12Metrics {
                baseline_pre: (measured > 3).then_some(0.25),
                lift_p90: (measured > 1).then(|| reward_of(measured) / 2.0),
                lift_peak: (measured > 2).then(|| reward_of(measured) / 4.0),
                peak_latency_ms: (measured > 3).then(|| f64::from(measured) * 100.0),
            },
            scan: scan(scanned).map(|scan| Scanned {
                peak: SyncPeak { corr: scan.corr.0, lag: scan.lag },
                method_version: "7E.v1+operator-streamer-rmssd-60s-lag5".into(),
            }),
        });
        let event = event.expect("a decision between arms makes an event");
        put(&mut table, event.row());
        event.scores(None, ONLINE_PROVISIONAL).for_each(|score| put(&mut table, &score));
    }
    table
}

const KINDS: &[Kind] =
    &[Kind::Measured, Kind::Measured, Kind::Judged, Kind::Judged, Kind::Scanned, Kind::Decision];

proptest! {
    #![proptest_config(config())]

    #[test]
    fn ledger_events_equal_recomputation(epochs in epochs(places(KINDS), 0..8u8), run in run()) {
        check(view, run, epochs, fact, from_scratch)?;
    }
}
