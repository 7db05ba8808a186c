//! The facts of a small world: at most one at each place, and one small number decides all of it.

use std::collections::BTreeMap;

use lsie_operators::measure::{Lift, Measured};
use lsie_operators::segment_id::{segment_id, window};
use lsie_operators::telemetry::Scan;
use lsie_operators::utterance::Said;
use lsie_schemas::row::{DecisionRow, PhysiologyRow, SessionRow, StimulusRow};
use lsie_schemas::table::Json;
use lsie_schemas::{EventTime, Real};
use proptest::prelude::*;
use uuid::Uuid;

use crate::view::feed::Fact;
use crate::view::summary::segment;
use crate::view::{Evaluated, Of, Part};

pub(super) const ANCHOR: i64 = 1_767_607_200_000_000;
pub(super) const GREETING: &str = "hello and welcome";

/// Where a fact belongs: its kind, its session, segment and stimulus.
pub(crate) type Place = (Kind, u8, u8, u8);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Session,
    Decision,
    Stimulus,
    Measured,
    Judged,
    Closed,
    Calibrated,
    Streamer,
    Operator,
    Credited,
    Linked,
    Scanned,
}

/// The facts that are there.
pub(super) type World = BTreeMap<Place, u8>;

/// Places of facts of these kinds.
pub(super) fn places(kinds: &'static [Kind]) -> impl Strategy<Value = Place> {
    let parts = (prop::sample::select(kinds), 0..3u8, 0..3u8, 0..2u8);
    parts.prop_map(|(kind, s, k, j)| place(kind, s, k, j))
}

/// Where a fact of this kind belongs: some belong to a session, some to a segment, some to a stimulus.
pub(crate) fn place(kind: Kind, s: u8, k: u8, j: u8) -> Place {
    match kind {
        Kind::Session | Kind::Decision | Kind::Calibrated => (kind, s, 0, 0),
        Kind::Closed | Kind::Streamer | Kind::Operator | Kind::Credited | Kind::Linked | Kind::Scanned => {
            (kind, s, k, 0)
        }
        Kind::Stimulus | Kind::Measured | Kind::Judged => (kind, s, k, j),
    }
}

pub(super) fn session(s: u8) -> Uuid {
    Uuid::from_u128(1 + u128::from(s))
}

pub(super) fn action((_, s, k, j): Place) -> Uuid {
    Uuid::from_u128(u128::from(s) << 64 | u128::from(k) << 8 | u128::from(j) | 1 << 90)
}

pub(super) fn at((_, s, k, j): Place) -> EventTime {
    EventTime(ANCHOR + i64::from(k) * 30_000_000 + 5_000_000 + i64::from(j) * 9_000_000 + i64::from(s))
}

pub(super) fn span((_, s, k, _): Place) -> (String, EventTime) {
    let window = window(ANCHOR, i64::from(k) + 1).expect("a window");
    (segment_id(session(s), window.start_us, window.end_us), EventTime(window.end_us))
}

pub(super) fn reward_of(value: u8) -> f64 {
    f64::from(value) / 7.0
}

pub(super) fn arm(value: u8) -> String {
    if value.is_multiple_of(2) { "hello".into() } else { "praise".into() }
}

/// The arm of a session's decision; its judgements keep it when the decision is gone.
pub(super) fn judged_arm(s: u8) -> String {
    arm(s)
}

pub(super) fn fact(place: Place, value: u8) -> Fact {
    let (kind, s, ..) = place;
    let (id, (segment_id, window_end)) = (session(s), span(place));
    let part = |part| Fact::Part(Of::Session(id), part);
    match kind {
        Kind::Session => Fact::Session(SessionRow {
            session_id: id,
            stream_url: "test:".into(),
            started_at: EventTime(ANCHOR),
            ended_at: (value > 4).then_some(EventTime(ANCHOR + i64::from(value))),
            experiment_id: "line".into(),
            anchor_utc: Some(EventTime(ANCHOR)),
            active_arm: (value > 2).then(|| judged_arm(s)),
            expected_greeting: (value > 2).then(|| GREETING.into()),
        }),
        Kind::Decision => Fact::Decision(DecisionRow {
            session_id: id,
            experiment_id: "line".into(),
            selection_method: "thompson_sampling".into(),
            selection_time_utc: EventTime(ANCHOR),
            policy_version: "v1".into(),
            selected_arm_id: judged_arm(s),
            candidate_arm_ids: vec!["hello".into(), "praise".into()],
            posterior_by_arm: Json::new(&serde_json::json!({})),
            sampled_theta_by_arm: Json::new(&serde_json::json!({})),
            expected_greeting: GREETING.into(),
            decision_context_hash: String::new(),
            random_seed: "1".into(),
        }),
        Kind::Stimulus => Fact::Stimulus(StimulusRow {
            session_id: id,
            client_action_id: action(place),
            stimulus_utc: at(place),
            segment_id,
            operator_note: None,
        }),
        Kind::Measured => Fact::Measured(
            id,
            action(place),
            Measured {
                at: at(place),
                segment_id,
                window_end,
                p90: Real(reward_of(value)),
                n_frames: i64::from(value),
                baseline: (value > 3).then_some(Real(0.25)),
                lift: Lift::default(),
            },
        ),
        Kind::Judged => Fact::Judged(
            id,
            action(place),
            Evaluated {
                said: Said { at: at(place), segment_id, window_end, text: "hello".into() },
                experiment: "line".into(),
                arm: judged_arm(s),
                is_match: !value.is_multiple_of(3),
                confidence: Real(reward_of(value)),
                reason: "cross_encoder_high_match".into(),
                method: "cross_encoder".into(),
                version: "v1".into(),
            },
        ),
        Kind::Closed => {
            part(Part::Closed(segment_id.into(), window_end, window_end.plus_us(i64::from(value))))
        }
        Kind::Calibrated => part(Part::Calibrated(i64::from(value))),
        Kind::Streamer => part(Part::Physiology(physiology(place, value, "streamer").into())),
        Kind::Operator => Fact::Part(
            segment(id, &segment_id),
            Part::Physiology(physiology(place, value, "operator").into()),
        ),
        Kind::Credited => {
            Fact::Part(segment(id, &segment_id), Part::Credited(at(place), format!("final{value}")))
        }
        Kind::Linked => Fact::Part(segment(id, &segment_id), Part::Linked(Real(reward_of(value)))),
        Kind::Scanned => Fact::Scanned(id, segment_id, scan(value)),
    }
}

/// What a scan of the segment found, if it could be scanned.
pub(super) fn scan(value: u8) -> Option<Scan> {
    (value > 2).then(|| Scan { corr: Real(reward_of(value)), lag: value.into() })
}

pub(crate) fn physiology(place: Place, value: u8, role: &str) -> PhysiologyRow {
    PhysiologyRow {
        session_id: session(place.1),
        segment_id: span(place).0,
        subject_role: role.into(),
        rmssd_ms: Some(Real(40.0 + f64::from(value))),
        heart_rate_bpm: None,
        freshness_s: Real(30.0),
        is_stale: value > 4,
        provider: "oura".into(),
        source_kind: "ibi".into(),
        derivation_method: "server".into(),
        window_s: 60,
        validity_ratio: Real(1.0),
        is_valid: true,
        source_timestamp_utc: EventTime(ANCHOR),
    }
}
