//! View maintenance on one worker: encounters, arms, evaluations, the ledger's events and all summaries from recovered
//! history, then one encounter an epoch.
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
use std::sync::Arc;
use std::time::Instant;

use differential_dataflow::input::{Input as _, InputSession};
use lsie_dataflow::adapter::Time;
use lsie_dataflow::checkpoint::Keep;
use lsie_dataflow::select::AdminOrder;
// The views name these as the graph's own.
use lsie_dataflow::{adapter, board, checkpoint, commit, graph, metrics, select};
use lsie_operators::measure::{self, Lift, Measured};
use lsie_operators::segment_id::{segment_id, window};
use lsie_operators::telemetry::Scan;
use lsie_operators::utterance::Said;
use lsie_schemas::record::{ArmText, ExperimentRecord};
use lsie_schemas::row::{DecisionRow, MetricsRow, SegmentRow, SessionRow, StimulusRow};
use lsie_schemas::table::Json;
use lsie_schemas::{EventTime, LogTime, Real};
use src::view::feed::Fact;
use src::view::{self, Evaluated, Handle, Of, Part, StimulusKey};
use timely::dataflow::operators::vec::Map;
use timely::dataflow::operators::{Concat, Probe};
use timely::dataflow::{Scope, StreamVec};
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
            let (input, changes) = Inputs::all(scope);
            let (probe, _) = changes.map(move |()| counted.set(counted.get() + 1)).probe();
            (input, probe)
        });

        let mut history = (0..encounters).flat_map(facts).peekable();
        let (mut seconds, mut updates, mut epoch) = (0.0, 0u64, 1);
        while history.peek().is_some() {
            let batch: Vec<Fact> = history.by_ref().take(BATCH).collect();
            updates += batch.len() as u64;
            let began = Instant::now();
            batch.into_iter().for_each(|fact| input.insert(fact));
            input.complete(&mut epoch);
            worker.step_while(|| probe.less_than(&epoch));
            seconds += began.elapsed().as_secs_f64();
        }
        println!(
            "{updates} fact updates of {encounters} encounters: {seconds:.2} s, {:.0} updates/s, {} changes out",
            updates as f64 / seconds,
            written.get()
        );

        let mut single: Vec<f64> = Vec::new();
        for number in encounters..encounters + SINGLE {
            let began = Instant::now();
            facts(number).into_iter().for_each(|fact| input.insert(fact));
            input.complete(&mut epoch);
            worker.step_while(|| probe.less_than(&epoch));
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

/// Facts of each kind come on their own, as they do from the graph's operators.
struct Inputs {
    admin: InputSession<Time, (AdminOrder, LogTime, ExperimentRecord), isize>,
    sessions: InputSession<Time, SessionRow, isize>,
    decisions: InputSession<Time, DecisionRow, isize>,
    stimuli: InputSession<Time, StimulusRow, isize>,
    measured: InputSession<Time, (StimulusKey, Handle<Measured>), isize>,
    judged: InputSession<Time, (StimulusKey, Handle<Evaluated>), isize>,
    scans: InputSession<Time, ((Uuid, String), Option<Scan>), isize>,
    parts: InputSession<Time, (Of, Part), isize>,
}

impl Inputs {
    /// The views over facts, and one for each change of any of them.
    fn all(scope: Scope<'_, Time>) -> (Inputs, StreamVec<'_, Time, ()>) {
        let (admin, administered) = scope.new_collection();
        let (sessions, session_rows) = scope.new_collection();
        let (decisions, decided) = scope.new_collection::<DecisionRow, isize>();
        let (stimuli, stimulated) = scope.new_collection();
        let (measured, of_reactions) = scope.new_collection();
        let (judged, evaluated) = scope.new_collection::<(StimulusKey, Handle<Evaluated>), isize>();
        let (scans, scanned) = scope.new_collection();
        let (parts, of_facts) = scope.new_collection();
        let keep = Keep::nothing(0, 1, Arc::default());
        let met = view::met(of_reactions, evaluated.clone(), &keep);
        let encounters = view::encounters(met.clone());
        let arms = view::arms(view::arm_texts(administered), view::rewards(encounters.clone(), &keep));
        let events = view::ledger_events(met, decided.clone(), scanned, &keep);
        let evaluations = view::evaluations(evaluated.clone(), &keep);
        let sources = view::Sources {
            sessions: session_rows,
            stimuli: stimulated,
            decisions: decided,
            evaluated,
            encounters: encounters.clone(),
            parts: of_facts,
        };
        let changes = view::summaries(sources, &keep)
            .map(|_| ())
            .concat(arms.inner.map(|_| ()))
            .concat(events.inner.map(|_| ()))
            .concat(evaluations.inner.map(|_| ()))
            .concat(encounters.inner.map(|_| ()));
        (Inputs { admin, sessions, decisions, stimuli, measured, judged, scans, parts }, changes)
    }

    fn insert(&mut self, fact: Fact) {
        match fact {
            Fact::Admin(change) => self.admin.insert(change),
            Fact::Session(row) => self.sessions.insert(row),
            Fact::Decision(row) => self.decisions.insert(row),
            Fact::Stimulus(row) => {
                self.parts_of(measure::Fact::Stimulus(row.clone()));
                self.stimuli.insert(row);
            }
            Fact::Measured(session, action, measured) => {
                self.parts_of(measure::Fact::Measured(session, action, measured.clone()));
                self.measured.insert(((session, action), measured.into()));
            }
            Fact::Judged(session, action, judged) => self.judged.insert(((session, action), judged.into())),
            Fact::Scanned(session, segment, scan) => self.scans.insert(((session, segment), scan)),
            Fact::Part(of, part) => self.parts.insert((of, part)),
            Fact::Asked(_) | Fact::Known(..) | Fact::Class(_) => {}
        }
    }

    fn parts_of(&mut self, fact: measure::Fact) {
        view::of_fact(&fact).into_iter().for_each(|part| self.parts.insert(part));
    }

    fn complete(&mut self, epoch: &mut Time) {
        *epoch += 1;
        self.admin.advance_to(*epoch);
        self.sessions.advance_to(*epoch);
        self.decisions.advance_to(*epoch);
        self.stimuli.advance_to(*epoch);
        self.measured.advance_to(*epoch);
        self.judged.advance_to(*epoch);
        self.scans.advance_to(*epoch);
        self.parts.advance_to(*epoch);
        self.admin.flush();
        self.sessions.flush();
        self.decisions.flush();
        self.stimuli.flush();
        self.measured.flush();
        self.judged.flush();
        self.scans.flush();
        self.parts.flush();
    }
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
    facts.push(Fact::Scanned(id, segment.clone(), Some(Scan { corr: Real(0.5), lag: 1 })));
    facts.extend(closed(id, ordinal, segment, window_end));
    if place == 0 {
        facts.extend(began(id, arm));
    }
    if number == 0 {
        let arm = |number| ArmText { arm: format!("arm-{number}"), greeting_text: "hello".into() };
        let (experiment_id, label) = ("line".into(), "line".into());
        let arms = (0..4).map(arm).collect();
        facts.push(Fact::Admin((
            (0, 0),
            LogTime(1),
            ExperimentRecord::Create { experiment_id, label, arms },
        )));
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
    let parts = facts.iter().flat_map(view::of_fact);
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
