//! The views against recomputation from scratch, at every epoch, while rows come, go and are corrected.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use differential_dataflow::input::Input as _;
use lsie_operators::logic::Logic;
use lsie_operators::measure::{Lift, Measured};
use lsie_operators::segment_id::{segment_id, window};
use lsie_operators::utterance::Said;
use lsie_schemas::row::{
    ArmSummaryRow, DecisionRow, EncounterRow, EncounterSummaryRow, PhysiologyCurrentRow, PhysiologyRow,
    PosteriorUpdateRow, SessionRow, SessionSummaryRow, StimulusRow,
};
use lsie_schemas::table::Json;
use lsie_schemas::{Cell, EventTime, LogTime, Real, TableRow};
use proptest::prelude::*;
use timely::dataflow::operators::Probe;
use timely::dataflow::operators::vec::Map;
use uuid::Uuid;

use super::encounters::{Evaluated, encounters};
use super::posterior_history::PosteriorHistory;
use super::summary::{Of, Part, Sources, segment, summaries};
use crate::commit::Written;

mod watch;

const ANCHOR: i64 = 1_767_607_200_000_000;
const GREETING: &str = "hello and welcome";

/// Where a fact belongs: its kind, its session, segment and stimulus.
type Place = (Kind, u8, u8, u8);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kind {
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
}

const KINDS: [Kind; 11] = [
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

/// At most one fact a place, each with a small number that decides all of it.
type World = BTreeMap<Place, u8>;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
enum Fact {
    Session(SessionRow),
    Decision(DecisionRow),
    Stimulus(StimulusRow),
    Measured(Uuid, Uuid, Measured),
    Judged(Uuid, Uuid, Evaluated),
    Part(Of, Part),
}

fn session(s: u8) -> Uuid {
    Uuid::from_u128(1 + u128::from(s))
}

fn action((_, s, k, j): Place) -> Uuid {
    Uuid::from_u128(u128::from(s) << 64 | u128::from(k) << 8 | u128::from(j) | 1 << 90)
}

fn at((_, s, k, j): Place) -> EventTime {
    EventTime(ANCHOR + i64::from(k) * 30_000_000 + 5_000_000 + i64::from(j) * 9_000_000 + i64::from(s))
}

fn span((_, s, k, _): Place) -> (String, EventTime) {
    let window = window(ANCHOR, i64::from(k) + 1).expect("a window");
    (segment_id(session(s), window.start_us, window.end_us), EventTime(window.end_us))
}

fn reward_of(value: u8) -> f64 {
    f64::from(value) / 7.0
}

fn arm(value: u8) -> String {
    if value.is_multiple_of(2) { "hello".into() } else { "praise".into() }
}

/// The arm of a session, by its decision, or that of a decision that is gone: judgements keep theirs.
fn judged_arm(s: u8) -> String {
    arm(s)
}

fn facts(place: Place, value: u8) -> Fact {
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
        Kind::Closed => part(Part::Closed(segment_id, window_end, window_end.plus_us(i64::from(value)))),
        Kind::Calibrated => part(Part::Calibrated(i64::from(value))),
        Kind::Streamer => part(Part::Physiology(physiology(place, value, "streamer"))),
        Kind::Operator => {
            Fact::Part(segment(id, &segment_id), Part::Physiology(physiology(place, value, "operator")))
        }
        Kind::Credited => {
            Fact::Part(segment(id, &segment_id), Part::Credited(at(place), format!("final{value}")))
        }
        Kind::Linked => Fact::Part(segment(id, &segment_id), Part::Linked(Real(reward_of(value)))),
    }
}

fn physiology(place: Place, value: u8, role: &str) -> PhysiologyRow {
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

/// Where a fact of this kind belongs: some belong to a session, some to a segment, some to a stimulus.
fn place(kind: Kind, s: u8, k: u8, j: u8) -> Place {
    match kind {
        Kind::Session | Kind::Decision | Kind::Calibrated => (kind, s, 0, 0),
        Kind::Closed | Kind::Streamer | Kind::Operator | Kind::Credited | Kind::Linked => (kind, s, k, 0),
        Kind::Stimulus | Kind::Measured | Kind::Judged => (kind, s, k, j),
    }
}

/// The rows of the summaries, from scratch.
fn from_scratch(world: &World) -> BTreeMap<(String, Vec<Cell>), i64> {
    let mut rows: BTreeMap<(String, Vec<Cell>), i64> = BTreeMap::new();
    let mut put = |name: &str, cells: Vec<Cell>| *rows.entry((name.into(), cells)).or_default() += 1;
    let places = |kind: Kind| world.iter().filter(move |((of, ..), _)| *of == kind).map(|(p, v)| (*p, *v));
    let of = |kind: Kind, (_, s, k, j): Place| world.get(&place(kind, s, k, j)).copied();
    for (here, value) in places(Kind::Session) {
        let Fact::Session(known) = facts(here, value) else { unreachable!() };
        let mine = |kind| places(kind).filter(|((_, s, ..), _)| *s == here.1);
        let newest = mine(Kind::Stimulus).map(|(p, _)| p).max_by_key(|p| at(*p));
        let rewarded =
            mine(Kind::Measured).filter(|(p, _)| of(Kind::Judged, *p).is_some()).max_by_key(|(p, _)| at(*p));
        let gate = |p| i64::from(!of(Kind::Judged, p).expect("judged").is_multiple_of(3));
        put(
            SessionSummaryRow::TABLE.name,
            SessionSummaryRow {
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
            }
            .cells(),
        );
    }
    for s in 0..4 {
        // Segments are in order of time, so the last closed one with a snapshot is the newest.
        let closed = |p: Place| of(Kind::Closed, p).is_some();
        let newest = places(Kind::Streamer).rfind(|(p, _)| p.1 == s && closed(*p));
        if let Some((p, value)) = newest {
            let row = physiology(p, value, "streamer");
            put(
                PhysiologyCurrentRow::TABLE.name,
                PhysiologyCurrentRow {
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
                }
                .cells(),
            );
        }
    }
    for (here, _) in places(Kind::Stimulus).filter(|(p, _)| of(Kind::Decision, *p).is_some()) {
        put(EncounterSummaryRow::TABLE.name, encounter(world, here).cells());
    }
    for name in ["hello", "praise"] {
        let mine: Vec<EncounterRow> =
            all_encounters(world).into_iter().filter(|row| row.arm == name).collect();
        if let Some(row) = arm_summary(name, &mine) {
            put(ArmSummaryRow::TABLE.name, row.cells());
        }
    }
    rows
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

fn all_encounters(world: &World) -> Vec<EncounterRow> {
    let measured = world.iter().filter(|((kind, ..), _)| *kind == Kind::Measured);
    let rows = measured.filter_map(|(here, value)| {
        let gate = !world.get(&place(Kind::Judged, here.1, here.2, here.3))?.is_multiple_of(3);
        Some(EncounterRow {
            session_id: session(here.1),
            segment_id: span(*here).0,
            experiment_id: "line".into(),
            arm: judged_arm(here.1),
            timestamp_utc: span(*here).1,
            gated_reward: Real(if gate { reward_of(*value) } else { 0.0 }),
            p90_intensity: Real(reward_of(*value)),
            semantic_gate: i64::from(gate),
            is_valid: true,
            n_frames: i64::from(*value),
            baseline_neutral: (*value > 3).then_some(Real(0.25)),
            stimulus_time: Some(Real(at(*here).seconds())),
        })
    });
    rows.collect()
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

/// Feeds the summaries epoch by epoch, and hands their rows after each to `check`.
fn maintain(
    epochs: Vec<Vec<(Place, u8)>>,
    check: impl Fn(u64, &World, &BTreeMap<(String, Vec<Cell>), i64>) + Send + Sync + 'static,
) {
    timely::execute_directly(move |worker| {
        let seen = Rc::new(RefCell::new(Vec::<Written>::new()));
        let kept = seen.clone();
        let (mut input, probe) = worker.dataflow(|scope| {
            let (input, all) = scope.new_collection::<Fact, isize>();
            let measured = all.clone().flat_map(|fact| match fact {
                Fact::Measured(session, action, measured) => Some(((session, action), measured)),
                _ => None,
            });
            let evaluated = all.clone().flat_map(|fact| match fact {
                Fact::Judged(session, action, judged) => Some(((session, action), judged)),
                _ => None,
            });
            let sources = Sources {
                sessions: all.clone().flat_map(|fact| match fact {
                    Fact::Session(row) => Some(row),
                    _ => None,
                }),
                stimuli: all.clone().flat_map(|fact| match fact {
                    Fact::Stimulus(row) => Some(row),
                    _ => None,
                }),
                decisions: all.clone().flat_map(|fact| match fact {
                    Fact::Decision(row) => Some(row),
                    _ => None,
                }),
                encounters: encounters(measured, evaluated.clone()),
                evaluated,
                parts: all.flat_map(|fact| match fact {
                    Fact::Part(of, part) => vec![(of, part)],
                    Fact::Stimulus(row) => super::of_fact(lsie_operators::measure::Fact::Stimulus(row)),
                    Fact::Measured(session, action, measured) => {
                        super::of_fact(lsie_operators::measure::Fact::Measured(session, action, measured))
                    }
                    _ => Vec::new(),
                }),
            };
            let (probe, _) =
                summaries(sources, 0).map(move |written| kept.borrow_mut().push(written)).probe();
            (input, probe)
        });
        let (mut world, mut rows) = (World::new(), BTreeMap::new());
        // What a run resumed from, epoch 0 here, is known.
        input.advance_to(1);
        for (epoch, edits) in (1..).zip(epochs) {
            for (here, value) in edits {
                // The same again takes it back; another value corrects it.
                match world.remove(&here) {
                    Some(before) => {
                        input.update(facts(here, before), -1);
                        if before != value {
                            world.insert(here, value);
                            input.update(facts(here, value), 1);
                        }
                    }
                    None => {
                        world.insert(here, value);
                        input.update(facts(here, value), 1);
                    }
                }
            }
            input.advance_to(epoch + 1);
            input.flush();
            worker.step_while(|| probe.less_than(input.time()));
            for written in seen.borrow_mut().drain(..) {
                let Written::Change(change) = written else { continue };
                *rows.entry((change.table.to_string(), change.row)).or_insert(0) += change.diff;
            }
            rows.retain(|_, copies| *copies != 0);
            check(epoch, &world, &rows);
        }
    });
}

prop_compose! {
    fn edit()(kind in prop::sample::select(&KINDS[..]), s in 0..3u8, k in 0..3u8, j in 0..2u8, value in 0..8u8)
        -> (Place, u8) {
        (place(kind, s, k, j), value)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn summaries_equal_recomputation(
        epochs in prop::collection::vec(prop::collection::vec(edit(), 0..12), 1..14),
    ) {
        maintain(epochs, |epoch, world, rows| assert_eq!(*rows, from_scratch(world), "epoch {epoch}"));
    }

    /// After any steps, with a restart between any two: the newest row of each arm is what its encounters make
    /// of the prior, and the rows that moved it are exactly the differences.
    #[test]
    fn posterior_history_equals_recomputation(
        epochs in prop::collection::vec(prop::collection::vec((0..5u8, 0..2u8, 0..8u8), 0..6), 1..12),
        restarts in any::<u16>(),
    ) {
        let mut history = PosteriorHistory::default();
        let mut world: BTreeMap<u8, EncounterRow> = BTreeMap::new();
        for (number, edits) in epochs.into_iter().enumerate() {
            if restarts >> number & 1 == 1 {
                let snapshot = history.snapshot();
                history = PosteriorHistory::default();
                history.restore(snapshot);
            }
            let before = world.clone();
            let mut changes = Vec::new();
            for (at, arm, value) in edits {
                let row = one_encounter(at, arm, value);
                changes.extend(world.insert(at, row.clone()).map(|old| (old, -1)));
                changes.push((row, 1));
            }
            let epoch = LogTime(1_000 + number as u64);
            let mut out = Vec::new();
            history.on_epoch(epoch, changes, &mut out);
            prop_assert_eq!(out, steps(epoch, &before, &world));
        }
    }
}

fn one_encounter(at: u8, arm: u8, value: u8) -> EncounterRow {
    EncounterRow {
        session_id: session(at),
        segment_id: "0".into(),
        experiment_id: "line".into(),
        arm: self::arm(arm),
        timestamp_utc: EventTime(ANCHOR),
        gated_reward: Real(reward_of(value)),
        p90_intensity: Real(reward_of(value)),
        semantic_gate: 1,
        is_valid: true,
        n_frames: 1,
        baseline_neutral: None,
        stimulus_time: Some(Real(f64::from(at))),
    }
}

fn steps(
    epoch: LogTime,
    before: &BTreeMap<u8, EncounterRow>,
    after: &BTreeMap<u8, EncounterRow>,
) -> Vec<PosteriorUpdateRow> {
    let mut rows = Vec::new();
    for arm in ["hello", "praise"] {
        let of = |world: &BTreeMap<u8, EncounterRow>| -> Vec<EncounterRow> {
            world.values().filter(|row| row.arm == arm).cloned().collect()
        };
        let (old, new) = (of(before), of(after));
        let went = old.iter().filter(|row| !new.contains(row)).map(|row| (row, -1));
        let came = new.iter().filter(|row| !old.contains(row)).map(|row| (row, 1));
        let mut moved: Vec<(&EncounterRow, i64)> = went.chain(came).collect();
        moved.sort();
        if moved.is_empty() {
            continue;
        }
        let units = |row: &EncounterRow| (row.gated_reward.0 * 1e12).round_ties_even() as i128;
        let sum: i128 = new.iter().map(units).sum();
        let missing = new.len() as i128 * 1_000_000_000_000 - sum;
        let one = 1_000_000_000_000;
        let add = |units: i128| (1.0 + (units / one) as f64) + (units % one) as f64 / 1e12;
        let moved: Vec<serde_json::Value> = moved
            .iter()
            .map(|(row, diff)| {
                serde_json::json!({
                    "session_id": row.session_id.to_string(),
                    "segment_id": row.segment_id,
                    "stimulus_time": row.stimulus_time.map(|seconds| seconds.0),
                    "gated_reward": row.gated_reward.0,
                    "diff": diff,
                })
            })
            .collect();
        rows.push(PosteriorUpdateRow {
            experiment_id: "line".into(),
            arm: arm.into(),
            at: epoch.as_event(),
            alpha_param: Real(add(sum)),
            beta_param: Real(add(missing)),
            moved_by: Json::new(&serde_json::Value::Array(moved)),
        });
    }
    rows
}
