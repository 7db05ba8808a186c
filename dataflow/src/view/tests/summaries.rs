//! The summaries of sessions, encounters, arms and physiology.

use lsie_schemas::row::{
    ArmSummaryRow, EncounterRow, EncounterSummaryRow, PhysiologyCurrentRow, SessionSummaryRow,
};
use lsie_schemas::table::Json;
use lsie_schemas::{EventTime, Real};
use proptest::prelude::*;
use timely::dataflow::StreamVec;

use super::encounters::all_encounters;
use super::places::{
    GREETING, Kind, Place, World, action, at, fact, judged_arm, physiology, place, places, reward_of,
    session, span,
};
use super::{Table, check, config, epochs, put, run};
use crate::adapter::Time;
use crate::checkpoint::Keep;
use crate::commit::Written;
use crate::view::feed::{self, Fact};
use crate::view::{Rows, summaries};

const KINDS: &[Kind] = &[
    Kind::Session,
    Kind::Decision,
    Kind::Stimulus,
    Kind::Measured,
    Kind::Judged,
    Kind::Closed,
    Kind::Calibrated,
    Kind::Streamer,
    Kind::Operator,
    Kind::Credited,
    Kind::Linked,
];

fn view<'scope>(facts: Rows<'scope, Fact>, keep: &Keep) -> StreamVec<'scope, Time, Written> {
    summaries(feed::sources(facts, keep), keep)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..config() })]

    #[test]
    fn summaries_equal_recomputation(epochs in epochs(places(KINDS), 0..8u8), run in run()) {
        check(view, run, epochs, fact, from_scratch)?;
    }
}

/// The rows of the summaries, from scratch.
fn from_scratch(world: &World) -> Table {
    let mut table = Table::new();
    let places = |kind: Kind| world.iter().filter(move |((of, ..), _)| *of == kind).map(|(p, v)| (*p, *v));
    let of = |kind: Kind, (_, s, k, j): Place| world.get(&place(kind, s, k, j)).copied();
    for (here, value) in places(Kind::Session) {
        let Fact::Session(known) = fact(here, value) else { unreachable!() };
        let mine = |kind| places(kind).filter(|((_, s, ..), _)| *s == here.1);
        let newest = mine(Kind::Stimulus).map(|(p, _)| p).max_by_key(|p| at(*p));
        let rewarded =
            mine(Kind::Measured).filter(|(p, _)| of(Kind::Judged, *p).is_some()).max_by_key(|(p, _)| at(*p));
        let gate = |p| i64::from(!of(Kind::Judged, p).expect("judged").is_multiple_of(3));
        put(
            &mut table,
            &SessionSummaryRow {
                session_id: known.session_id,
                stream_url: known.stream_url,
                started_at: known.started_at,
                ended_at: known.ended_at,
                experiment_id: known.experiment_id,
                active_arm: known.active_arm,
                expected_greeting: known.expected_greeting,
                total_segments: mine(Kind::Closed).count() as i64,
                last_segment_completed_at: mine(Kind::Closed)
                    .map(|(p, v)| span(p).1.plus_us(i64::from(v)))
                    .max(),
                latest_reward: rewarded.map(|(p, v)| Real(if gate(p) == 1 { reward_of(v) } else { 0.0 })),
                latest_semantic_gate: rewarded.map(|(p, _)| gate(p)),
                encounter_state: newest.map_or("awaiting_stimulus", |p| state(world, p)).into(),
                latest_stimulus_utc: newest.map(at),
                is_calibrating: newest.is_none(),
                calibration_frames_accumulated: of(Kind::Calibrated, here).map_or(0, i64::from),
                calibration_frames_required: 45,
            },
        );
    }
    for s in 0..4 {
        // Segments are in order of time, so the last closed one with a snapshot is the newest.
        let closed = |p: Place| of(Kind::Closed, p).is_some();
        let newest = places(Kind::Streamer).rfind(|(p, _)| p.1 == s && closed(*p));
        if let Some((p, value)) = newest {
            let row = physiology(p, value, "streamer");
            put(
                &mut table,
                &PhysiologyCurrentRow {
                    session_id: row.session_id,
                    subject_role: row.subject_role,
                    segment_id: row.segment_id,
                    segment_timestamp_utc: span(p).1,
                    rmssd_ms: row.rmssd_ms,
                    heart_rate_bpm: None,
                    freshness_s: row.freshness_s,
                    is_stale: row.is_stale,
                    provider: row.provider,
                    source_timestamp_utc: row.source_timestamp_utc,
                },
            );
        }
    }
    for (here, _) in places(Kind::Stimulus).filter(|(p, _)| of(Kind::Decision, *p).is_some()) {
        put(&mut table, &encounter(world, here));
    }
    for name in ["hello", "praise"] {
        let mine: Vec<EncounterRow> =
            all_encounters(world).into_iter().filter(|row| row.arm == name).collect();
        if let Some(row) = arm_summary(name, &mine) {
            put(&mut table, &row);
        }
    }
    table
}

fn state(world: &World, here: Place) -> &'static str {
    let of = |kind| world.get(&place(kind, here.1, here.2, here.3)).copied();
    match (of(Kind::Measured), of(Kind::Judged)) {
        (None, _) => "stimulus_issued",
        (Some(_), None) => "measuring",
        (Some(0), Some(_)) => "rejected_no_frames",
        (Some(_), Some(judged)) if judged.is_multiple_of(3) => "rejected_gate_closed",
        (Some(_), Some(_)) => "completed",
    }
}

fn encounter(world: &World, here: Place) -> EncounterSummaryRow {
    let of = |kind| world.get(&place(kind, here.1, here.2, here.3)).copied();
    let (measured, judged) = (of(Kind::Measured), of(Kind::Judged));
    let gate = judged.map(|value| !value.is_multiple_of(3));
    let stale = of(Kind::Operator).map(|value| value > 4);
    let is_credited = here.3 == 0;
    EncounterSummaryRow {
        session_id: session(here.1),
        stimulus_time_utc: at(here),
        client_action_id: action(here),
        segment_id: span(here).0,
        segment_timestamp_utc: span(here).1,
        state: state(world, here).into(),
        experiment_id: "line".into(),
        active_arm: judged_arm(here.1),
        expected_greeting: GREETING.into(),
        semantic_gate: gate.map(i64::from),
        semantic_confidence: judged.map(|value| Real(reward_of(value))),
        p90_intensity: measured.map(|value| Real(reward_of(value))),
        gated_reward: measured.zip(gate).map(|(value, gate)| Real(if gate { reward_of(value) } else { 0.0 })),
        n_frames_in_window: measured.map(i64::from),
        baseline_b_neutral: measured.filter(|value| *value > 3).map(|_| Real(0.25)),
        physiology_attached: stale.is_some(),
        physiology_stale: stale,
        observational_acoustic: None,
        semantic_evaluation: judged.map(|value| {
            Json::new(&serde_json::json!({
                "reasoning": "cross_encoder_high_match",
                "is_match": gate,
                "confidence_score": reward_of(value),
                "semantic_method": "cross_encoder",
                "semantic_method_version": "v1",
            }))
        }),
        attribution: of(Kind::Credited).filter(|_| is_credited).map(|value| {
            let baseline = measured.filter(|value| *value > 3).map(|_| 0.25);
            Json::new(&serde_json::json!({
                "finality": format!("final{value}"),
                "soft_reward_candidate": null,
                "au12_baseline_pre": baseline,
                "au12_lift_p90": null,
                "au12_lift_peak": null,
                "au12_peak_latency_ms": null,
                "sync_peak_corr": null,
                "sync_peak_lag": null,
                "outcome_link_lag_s": of(Kind::Linked).map(reward_of),
            }))
        }),
    }
}

fn arm_summary(arm: &str, rows: &[EncounterRow]) -> Option<ArmSummaryRow> {
    let n = rows.len() as i64;
    // Whole units of 1e-12, as the posterior counts them.
    let mean = |value: fn(&EncounterRow) -> f64| {
        let units: i128 = rows.iter().map(|row| (value(row) * 1e12).round_ties_even() as i128).sum();
        let total = (units / 1_000_000_000_000) as f64 + (units % 1_000_000_000_000) as f64 / 1e12;
        total / n as f64
    };
    let newest = rows.iter().max_by_key(|row| (row.stimulus_time, row.gated_reward))?;
    Some(ArmSummaryRow {
        experiment_id: "line".into(),
        arm: arm.into(),
        encounter_count: n,
        valid_count: n,
        avg_reward: Real(mean(|row| row.gated_reward.0)),
        avg_valid_reward: Some(Real(mean(|row| row.gated_reward.0))),
        avg_p90: Some(Real(mean(|row| row.p90_intensity.0))),
        gate_rate: Real(rows.iter().map(|row| row.semantic_gate).sum::<i64>() as f64 / n as f64),
        avg_frames: Some(Real(rows.iter().map(|row| row.n_frames).sum::<i64>() as f64 / n as f64)),
        first_encounter: rows.iter().map(|row| row.timestamp_utc).min()?,
        last_encounter: rows.iter().map(|row| row.timestamp_utc).max()?,
        latest_stimulus_utc: newest.stimulus_time.map(|seconds| EventTime((seconds.0 * 1e6).round() as i64)),
        latest_reward: newest.gated_reward,
    })
}
