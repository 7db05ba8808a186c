//! View maintenance on one worker: encounters, rewards, evaluations and all summaries from recovered history,
//! then one encounter an epoch.
//!
//! `cargo bench --locked --workspace --bench views`; `LSIE_BENCH_ENCOUNTERS` sets how many.
#![allow(clippy::disallowed_methods, reason = "a benchmark measures time")]

mod common;
/// The views, which are private to the graph.
#[allow(dead_code, unused_imports, reason = "the graph uses the rest")]
#[path = "../src"]
mod src {
    pub(crate) mod view;
}

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use differential_dataflow::input::{Input as _, InputSession};
use lsie_dataflow::adapter::Time;
// The views name these as the graph's own.
use lsie_dataflow::{adapter, commit, graph, select};
use lsie_operators::measure::{self, Lift, Measured};
use lsie_operators::segment_id::{segment_id, window};
use lsie_operators::utterance::Said;
use lsie_schemas::row::{DecisionRow, MetricsRow, SegmentRow, SessionRow, StimulusRow};
use lsie_schemas::table::Json;
use lsie_schemas::{EventTime, Real};
use src::view::feed::{self, Fact};
use src::view::{self, Evaluated};
use timely::dataflow::operators::vec::Map;
use timely::dataflow::operators::{Concat, Probe};
use uuid::Uuid;

const ANCHOR: i64 = 1_767_607_200_000_000;
/// Encounters of a session: an hour and a half with one a minute.
const PER_SESSION: u64 = 100;
/// Updates of one epoch while history is recovered.
const BATCH: usize = 20_000;
/// Single encounters that are timed.
const SINGLE: u64 = 500;

fn main() {
    common::print_machine();
    let encounters = common::setting("LSIE_BENCH_ENCOUNTERS", 200_000);
    timely::execute_directly(move |worker| {
        let written = Rc::new(Cell::new(0u64));
        let counted = written.clone();
        let (mut input, probe) = worker.dataflow::<Time, _, _>(|scope| {
            let (input, facts) = scope.new_collection::<Fact, isize>();
            let sources = feed::sources(facts);
            let rewards = view::rewards(sources.encounters.clone()).inner.map(|_| ());
            let evaluations = view::evaluations(sources.evaluated.clone()).inner.map(|_| ());
            let changes = view::summaries(sources, 0).map(|_| ());
            let all = changes.concat(rewards).concat(evaluations);
            let (probe, _) = all.map(move |()| counted.set(counted.get() + 1)).probe();
            (input, probe)
        });

        let mut history = (0..encounters).flat_map(facts).peekable();
        let (began, mut updates, mut epoch) = (Instant::now(), 0u64, 1);
        while history.peek().is_some() {
            for fact in history.by_ref().take(BATCH) {
                input.insert(fact);
                updates += 1;
            }
            complete(&mut input, &mut epoch);
            worker.step_while(|| probe.less_than(input.time()));
        }
        let seconds = began.elapsed().as_secs_f64();
        println!(
            "{updates} fact updates of {encounters} encounters: {seconds:.2} s, {:.0} updates/s, {} changes out",
            updates as f64 / seconds,
            written.get()
        );

        let mut single: Vec<f64> = Vec::new();
        for number in encounters..encounters + SINGLE {
            let began = Instant::now();
            facts(number).into_iter().for_each(|fact| input.insert(fact));
            complete(&mut input, &mut epoch);
            worker.step_while(|| probe.less_than(input.time()));
            single.push(began.elapsed().as_secs_f64() * 1e3);
        }
        single.sort_by(f64::total_cmp);
        println!(
            "one encounter an epoch: median {:.3} ms, p99 {:.3} ms",
            single[single.len() / 2],
            single[single.len() * 99 / 100]
        );
    });
}

fn complete(input: &mut InputSession<Time, Fact, isize>, epoch: &mut Time) {
    *epoch += 1;
    input.advance_to(*epoch);
    input.flush();
}

/// All facts of one encounter; of the first one of a session also those of the session.
fn facts(number: u64) -> Vec<Fact> {
    let (session, place) = (number / PER_SESSION, (number % PER_SESSION) as i64);
    let id = Uuid::from_u128(u128::from(session) + 1);
    let action = Uuid::from_u128(u128::from(number) + (1 << 80));
    let ordinal = 2 * place + 1;
    let span = window(ANCHOR, ordinal).expect("a window");
    let segment = segment_id(id, span.start_us, span.end_us);
    let (at, window_end) = (EventTime(span.start_us + 10_000_000), EventTime(span.end_us));
    let reward = (number % 997) as f64 / 997.0;
    let arm = format!("arm-{}", session % 4);
    let mut facts = vec![
        Fact::Stimulus(StimulusRow {
            session_id: id,
            client_action_id: action,
            stimulus_utc: at,
            segment_id: segment.clone(),
            operator_note: None,
        }),
        Fact::Measured(
            id,
            action,
            Measured {
                at,
                segment_id: segment.clone(),
                window_end,
                p90: Real(reward),
                n_frames: 135,
                baseline: Some(Real(0.01)),
                lift: Lift::default(),
            },
        ),
        Fact::Judged(
            id,
            action,
            Evaluated {
                said: Said { at, segment_id: segment.clone(), window_end, text: "hello".into() },
                experiment: "line".into(),
                arm: arm.clone(),
                is_match: !number.is_multiple_of(3),
                confidence: Real(reward),
                reason: "cross_encoder_high_match".into(),
                method: "cross_encoder".into(),
                version: "v1".into(),
            },
        ),
    ];
    facts.extend(closed(id, ordinal, segment, window_end));
    if place == 0 {
        facts.extend(began(id, arm));
    }
    facts
}

fn closed(session_id: Uuid, ordinal: i64, segment_id: String, window_end: EventTime) -> Vec<Fact> {
    let segment = SegmentRow {
        session_id,
        ordinal,
        segment_id: segment_id.clone(),
        window_start_utc: window_end.plus_us(-30_000_000),
        window_end_utc: window_end,
        closed_by: "complete".into(),
        closed_at: window_end.plus_us(2_250_000),
        evidence_stream: None,
        evidence_offset: None,
        evidence_event_time: None,
        audio_samples: 480_000,
        audio_sha256: String::new(),
        video_frames: 900,
        face_frames: 900,
    };
    let metrics = MetricsRow {
        session_id,
        segment_id,
        timestamp_utc: window_end,
        au12_intensity: Some(Real(0.1)),
        pitch_f0: Some(Real(210.0)),
        jitter: None,
        shimmer: None,
        f0_valid_measure: Some(true),
        f0_valid_baseline: Some(true),
        perturbation_valid_measure: Some(true),
        perturbation_valid_baseline: Some(true),
        voiced_coverage_measure_s: Some(Real(2.0)),
        voiced_coverage_baseline_s: Some(Real(1.5)),
        f0_mean_measure_hz: Some(Real(212.0)),
        f0_mean_baseline_hz: Some(Real(205.0)),
        f0_delta_semitones: Some(Real(0.6)),
        jitter_mean_measure: None,
        jitter_mean_baseline: None,
        jitter_delta: None,
        shimmer_mean_measure: None,
        shimmer_mean_baseline: None,
        shimmer_delta: None,
    };
    let facts = [measure::Fact::Segment(segment), measure::Fact::Metrics(metrics)];
    let parts = facts.into_iter().flat_map(view::of_fact);
    parts.map(|(of, part)| Fact::Part(of, part)).collect()
}

fn began(session_id: Uuid, arm: String) -> Vec<Fact> {
    let session = SessionRow {
        session_id,
        stream_url: "bench:".into(),
        started_at: EventTime(ANCHOR),
        ended_at: None,
        experiment_id: "line".into(),
        anchor_utc: Some(EventTime(ANCHOR)),
        active_arm: Some(arm.clone()),
        expected_greeting: Some("hello".into()),
    };
    let decision = DecisionRow {
        session_id,
        experiment_id: "line".into(),
        selection_method: "thompson_sampling".into(),
        selection_time_utc: EventTime(ANCHOR),
        policy_version: "v1".into(),
        selected_arm_id: arm.clone(),
        candidate_arm_ids: vec![arm],
        posterior_by_arm: Json::new(&serde_json::json!({})),
        sampled_theta_by_arm: Json::new(&serde_json::json!({})),
        expected_greeting: "hello".into(),
        decision_context_hash: String::new(),
        random_seed: "1".into(),
    };
    vec![Fact::Session(session), Fact::Decision(decision)]
}
