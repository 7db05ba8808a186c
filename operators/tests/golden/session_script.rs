//! A whole session: every input at its reading, through all of the mathematics. Its tables are compared in
//! `tables.rs`.
//!
//! Compared is the variant `event_time_rules`, whose rules are ours: no wall clock in a result, the continuous
//! series, chunks once and in their own order, one attribution event per encounter, the gated reward as proxy.
//! Tables that the variant does not repeat (drift, stimuli, the selection) are those of the original.

mod tables;

use std::collections::BTreeMap;

use lsie_operators::attribution::ledger::{self, Judgement, LedgerEvent};
use lsie_operators::attribution::link::{Horizon, LedgerRow, LinkOutput, LinkRecord, Linker};
use lsie_operators::attribution::scores::au12_metrics;
use lsie_operators::comodulation::{Comodulation, SessionComodulation};
use lsie_operators::drift::{DriftState, Poll, PollRecord};
use lsie_operators::logic::Logic;
use lsie_operators::physiology::{
    Parameters, Physiology, PhysiologyOutput, PhysiologyRecord, SegmentSnapshots,
};
use lsie_operators::posterior::{Posterior, RewardSum};
use lsie_operators::reward::{EncounterInput, MEASURE_S, Reward, encounter_reward};
use lsie_operators::segment_id::{SEGMENT_US, ordinal_at, segment_id, window};
use lsie_operators::select_arm::{DecisionContext, POLICY_VERSION, select};
use lsie_operators::semantic::{CROSS_ENCODER, Evaluation, calibrate};
use lsie_schemas::canonical::{from_epoch_s, parse, parse_epoch_decimal, to_epoch_s, to_text};
use lsie_schemas::record::{Outcome, PhysiologicalChunk, SubjectRole};
use lsie_schemas::table::Json;
use lsie_schemas::{EventTime, LogTime, Real, TableRow, Uuid};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::posterior::{ArmRow, assert_close};
use crate::read::{assert_absolute, assert_relative, text};

#[derive(Deserialize)]
struct Script {
    session: Session,
    experiment_arms: Vec<Arm>,
    drift_polls: Vec<DriftPoll>,
    segments: Vec<Segment>,
    stimuli: Vec<Reading>,
    arm_selections: Vec<Draws>,
    physiology_arrivals: Vec<Arrival>,
    outcomes: Vec<OutcomeLine>,
    finalization: Finalization,
    au12_frames: Vec<(f64, f64)>,
    expected: Value,
    expected_variants: Value,
}

#[derive(Deserialize)]
struct Session {
    session_id: Uuid,
    experiment_code: String,
    start_wall_s: f64,
}

#[derive(Deserialize)]
struct Arm {
    row_id: i64,
    greeting_text: String,
    #[serde(flatten)]
    row: ArmRow,
}

#[derive(Deserialize)]
struct DriftPoll {
    wall_s: f64,
    adb: Answer,
}

#[derive(Deserialize)]
struct Answer {
    result: String,
    returncode: Option<i32>,
    stdout: Option<String>,
}

#[derive(Deserialize)]
struct Segment {
    number: i64,
    assembly_wall_s: f64,
    semantic: Option<Semantic>,
}

#[derive(Clone, Deserialize)]
struct Semantic {
    raw_score: f64,
}

#[derive(Deserialize)]
struct Reading {
    wall_s: f64,
}

#[derive(Deserialize)]
struct Draws {
    theta_by_arm: BTreeMap<String, f64>,
}

#[derive(Deserialize)]
struct Arrival {
    arrival_wall_s: f64,
    event: Value,
}

#[derive(Deserialize)]
struct OutcomeLine {
    received_wall_s: f64,
    outcome_type: String,
    outcome_value: f64,
    outcome_time_utc: String,
    source_system: String,
    source_event_ref: Option<String>,
    confidence: f64,
}

#[derive(Deserialize)]
struct Finalization {
    check_wall_s: Vec<f64>,
}

/// One input.
#[derive(Clone)]
enum Line {
    Poll(Poll),
    Stimulus,
    Frame(f64),
    /// The number of a segment and what was said in it.
    Assembly(i64, Option<Semantic>),
    /// A queued text.
    Chunk(String),
    Outcome(Outcome),
    /// Nothing but that time has passed.
    Tick,
}

impl Script {
    fn read() -> Script {
        serde_json::from_slice(&text("session_script.json")).expect("a script")
    }

    fn rules(&self) -> &Value {
        &self.expected_variants["event_time_rules"]
    }

    /// All inputs by their readings, in microseconds.
    fn lines(&self) -> BTreeMap<LogTime, Vec<(i64, Line)>> {
        let polls = self.drift_polls.iter().map(|poll| (poll.wall_s, Line::Poll(poll.record())));
        let stimuli = self.stimuli.iter().map(|stimulus| (stimulus.wall_s, Line::Stimulus));
        let frames = self.au12_frames.iter().map(|(wall_s, intensity)| (*wall_s, Line::Frame(*intensity)));
        let assemblies = self.segments.iter().map(|segment| {
            (segment.assembly_wall_s, Line::Assembly(segment.number, segment.semantic.clone()))
        });
        let chunks = self.physiology_arrivals.iter().map(|arrival| {
            // A malformed one is queued as the text it is.
            let text = arrival.event.as_str().map_or_else(|| arrival.event.to_string(), str::to_owned);
            (arrival.arrival_wall_s, Line::Chunk(text))
        });
        let outcomes =
            self.outcomes.iter().map(|line| (line.received_wall_s, Line::Outcome(self.outcome(line))));
        let checks = self.finalization.check_wall_s.iter().map(|wall_s| (*wall_s, Line::Tick));
        let mut lines: BTreeMap<LogTime, Vec<(i64, Line)>> = BTreeMap::new();
        let inputs =
            polls.chain(stimuli).chain(frames).chain(assemblies).chain(chunks).chain(outcomes).chain(checks);
        for (wall_s, line) in inputs {
            let us = from_epoch_s(wall_s).expect("a time");
            lines.entry(LogTime(us as u64 / 1_000)).or_default().push((us, line));
        }
        // Time passes until the horizon of the last outcome has closed too.
        for line in &self.outcomes {
            let closes_at = Horizon::default().closes_at(self.outcome(line).outcome_time_utc);
            lines.entry(closes_at).or_default().push((closes_at.as_event().0, Line::Tick));
        }
        lines
    }

    fn outcome(&self, line: &OutcomeLine) -> Outcome {
        Outcome {
            session_id: self.session.session_id,
            outcome_type: line.outcome_type.clone(),
            outcome_value: Real(line.outcome_value),
            outcome_time_utc: EventTime(parse(&line.outcome_time_utc).expect("a time")),
            source_system: line.source_system.clone(),
            source_event_ref: line.source_event_ref.clone(),
            confidence: Real(line.confidence),
        }
    }

    fn segment_id(&self, number: i64) -> (String, EventTime) {
        let anchor_us = from_epoch_s(self.session.start_wall_s).expect("a time");
        let window = window(anchor_us, number).expect("a window");
        (segment_id(self.session.session_id, window.start_us, window.end_us), EventTime(window.end_us))
    }

    /// The decision snapshot (contracts §9) of the selection.
    fn decision(&self) -> Value {
        let expected = &self.expected["arm_selections"][0];
        let mut decision = json!({
            "selection_method": "thompson_sampling",
            "policy_version": POLICY_VERSION,
            "selected_arm_id": expected["selected_arm"],
            "experiment_id": expected["experiment_row_id"],
            "sampled_theta_by_arm": self.arm_selections[0].theta_by_arm,
            "random_seed": null,
        });
        let same = [
            "selection_time_utc",
            "candidate_arm_ids",
            "posterior_by_arm",
            "expected_greeting",
            "decision_context_hash",
        ];
        for key in same {
            decision[key] = expected[key].clone();
        }
        decision
    }

    fn arm(&self, id: &str) -> &Arm {
        self.experiment_arms.iter().find(|arm| arm.row.arm == id).expect("an arm")
    }
}

impl DriftPoll {
    fn record(&self) -> Poll {
        let answered = self.adb.result == "output" && self.adb.returncode == Some(0);
        match self.adb.stdout.as_deref().filter(|_| answered).and_then(parse_epoch_decimal) {
            Some(device_us) => {
                Poll::Success { host_before_us: from_epoch_s(self.wall_s).expect("a time"), device_us }
            }
            None => Poll::Failure,
        }
    }
}

/// A logic that may be restarted before every line.
struct Driven<L: Logic> {
    make: fn() -> L,
    logic: L,
    past: Vec<(LogTime, Vec<L::Record>)>,
    is_restarted: bool,
}

impl<L: Logic<Record: Clone>> Driven<L> {
    fn new(make: fn() -> L, is_restarted: bool) -> Driven<L> {
        Driven { make, logic: make(), past: Vec::new(), is_restarted }
    }

    fn on_epoch(&mut self, epoch: LogTime, records: Vec<L::Record>) -> Vec<L::Output> {
        if self.is_restarted {
            let bytes = serde_json::to_vec(&self.logic.snapshot()).expect("a snapshot can be written");
            self.logic = (self.make)();
            self.logic.restore(serde_json::from_slice(&bytes).expect("a snapshot can be read"));
            let rewind = self.logic.rewind();
            for (epoch, records) in
                self.past.iter().filter(|(epoch, _)| rewind.is_some_and(|at| *epoch >= at))
            {
                self.logic.rebuild(*epoch, records.clone(), &mut Vec::new());
            }
        }
        self.past.push((epoch, records.clone()));
        let mut out = Vec::new();
        self.logic.on_epoch(epoch, records, &mut out);
        out
    }
}

/// The result tables.
#[derive(Debug, Default, PartialEq)]
struct Tables {
    drift: Vec<DriftState>,
    stimuli_us: Vec<i64>,
    frames_of: BTreeMap<i64, usize>,
    encounters: Vec<Encounter>,
    physiology: Vec<SegmentSnapshots>,
    /// Chunks that were no chunks.
    malformed: usize,
    comodulation: Vec<Comodulation>,
    /// The ledger as its changes leave it.
    ledger: BTreeMap<LedgerRow, i64>,
    /// Events that were final at each check.
    closed_at: BTreeMap<LogTime, usize>,
}

impl Tables {
    fn final_events(&self) -> usize {
        let is_final =
            |row: &&LedgerRow| matches!(row, LedgerRow::Event(event) if event.finality == "offline_final");
        self.ledger.keys().filter(is_final).count()
    }
}

#[derive(Debug, PartialEq)]
struct Encounter {
    segment: i64,
    stimulus_us: i64,
    reward: Reward,
    said: Evaluation,
}

fn physiology() -> Physiology {
    Physiology::new(Parameters::default())
}

fn linker() -> Linker {
    Linker::new(Horizon::default())
}

/// The notes: a null entry is no transcript; the raw score is calibrated, and there is no fallback.
fn judged(said: &Option<Semantic>) -> Option<Evaluation> {
    said.as_ref().map(|said| CROSS_ENCODER.decide(calibrate(said.raw_score).ok()))
}

fn run(script: &Script, arm: &str, is_restarted: bool) -> Tables {
    let anchor_us = from_epoch_s(script.session.start_wall_s).expect("a time");
    let mut drift = Driven::new(DriftState::default, is_restarted);
    let mut body = Driven::new(physiology, is_restarted);
    let mut both = Driven::new(SessionComodulation::default, is_restarted);
    let mut links = Driven::new(linker, is_restarted);
    let mut offset = 0;
    let mut series: Vec<(f64, f64)> = Vec::new();
    let mut pending: Vec<i64> = Vec::new();
    let mut said: BTreeMap<i64, Option<Semantic>> = BTreeMap::new();
    let mut tables = Tables::default();
    for (epoch, lines) in script.lines() {
        let (mut polls, mut chunks, mut linked) = (Vec::new(), Vec::new(), Vec::new());
        for (us, line) in &lines {
            offset += 1;
            match line {
                Line::Poll(poll) => polls.push(PollRecord { offset, log_ms: us / 1_000, poll: *poll }),
                Line::Chunk(text) => match PhysiologicalChunk::read_event(text.as_bytes()) {
                    Ok(chunk) => chunks.push(PhysiologyRecord::Chunk { offset, chunk }),
                    Err(_) => tables.malformed += 1,
                },
                Line::Assembly(number, _) => {
                    let (segment_id, timestamp_utc) = script.segment_id(*number);
                    chunks.push(PhysiologyRecord::SegmentClosed { segment_id, timestamp_utc });
                }
                Line::Outcome(outcome) => linked.push(LinkRecord::Outcome(outcome.clone())),
                Line::Stimulus | Line::Frame(_) | Line::Tick => {}
            }
        }
        tables.drift.extend(drift.on_epoch(epoch, polls).into_iter().map(|(_, state)| state));
        let snapshots = body.on_epoch(epoch, chunks).into_iter().filter_map(|output| match output {
            PhysiologyOutput::Snapshots(snapshots) => Some(snapshots),
            PhysiologyOutput::Classified { .. } => None,
        });
        let snapshots: Vec<SegmentSnapshots> = snapshots.collect();
        tables.physiology.extend(snapshots.iter().cloned());
        tables.comodulation.extend(both.on_epoch(epoch, snapshots));
        for (us, line) in &lines {
            // The notes: the script corrects readings of the host, as the original does (DM-1).
            let corrected_us = drift.logic.correct(*us);
            match line {
                Line::Stimulus => {
                    tables.stimuli_us.push(corrected_us);
                    pending.push(corrected_us);
                }
                Line::Frame(intensity) => series.push((to_epoch_s(corrected_us), *intensity)),
                Line::Assembly(number, semantic) => {
                    said.insert(*number, semantic.clone());
                }
                _ => {}
            }
        }
        // An encounter is complete when its measurement window has passed and its segment was judged.
        pending.retain(|stimulus_us| {
            let segment = ordinal_at(anchor_us, *stimulus_us).expect("a segment");
            let stimulus_s = to_epoch_s(*stimulus_us);
            let has_passed = epoch.0 as f64 / 1e3 > stimulus_s + MEASURE_S.1 + 1.0;
            let Some(semantic) = said.get(&segment).filter(|_| has_passed) else { return true };
            let said = judged(semantic);
            let reward = encounter_reward(&EncounterInput {
                is_match: said.as_ref().map(|said| said.is_match),
                series: Some(&series),
                stimulus_s: Some(stimulus_s),
                arm,
                experiment: &script.session.experiment_code,
            });
            let (Some(reward), Some(said)) = (reward, said) else { return false };
            let event = LedgerEvent::of(&ledger::Encounter {
                session_id: script.session.session_id,
                segment_id: script.segment_id(segment).0,
                stimulus: EventTime(*stimulus_us),
                arm: arm.to_owned(),
                expected_greeting: script.arm(arm).greeting_text.clone(),
                semantic: Some(Judgement {
                    method: said.method.name().to_owned(),
                    version: said.version.to_string(),
                    p_match: Some(said.confidence),
                    reason: Some(said.reason.code().to_owned()),
                }),
                decision: Some(Json::new(&script.decision())),
                gated_reward: Some(reward.gated_reward),
                au12: au12_metrics(&series, stimulus_s),
                scan: None,
            });
            linked.push(LinkRecord::Event(Box::new(event.expect("a ledger"))));
            tables.encounters.push(Encounter { segment, stimulus_us: *stimulus_us, reward, said });
            false
        });
        for output in links.on_epoch(epoch, linked) {
            let LinkOutput::Change(row, diff) = output else { panic!("{output:?}") };
            *tables.ledger.entry(*row).or_default() += diff;
        }
        tables.ledger.retain(|_, diff| *diff != 0);
        if lines.iter().any(|(_, line)| matches!(line, Line::Tick)) {
            tables.closed_at.insert(epoch, tables.final_events());
        }
    }
    for (at, _) in &series {
        let segment = ordinal_at(anchor_us, from_epoch_s(*at).expect("a time")).expect("a segment");
        *tables.frames_of.entry(segment).or_default() += 1;
    }
    assert!(pending.is_empty(), "every stimulus was answered");
    tables
}

/// What the selection chose: the arm, from the draws given.
fn selected(script: &Script) -> String {
    let [draws] = script.arm_selections.as_slice() else { panic!("one selection per session") };
    let enabled = |arm: &String| script.arm(arm).row.enabled;
    let draws: BTreeMap<String, f64> =
        draws.theta_by_arm.iter().filter(|(arm, _)| enabled(arm)).map(|(arm, x)| (arm.clone(), *x)).collect();
    select(&draws).expect("an arm").to_owned()
}
