//! The tables that sum up what others hold. Each is a function of the parts of one subject, in a file of its own;
//! one type of part does for all of them, since each instance of a reduction costs seconds of every build.

use std::collections::BTreeMap;

use lsie_operators::attribution::{identity, ledger, link::LedgerRow};
use lsie_operators::measure::{Fact, Measured};
use lsie_operators::segment_id::{ordinal_at, window};
use lsie_operators::telemetry::Told;
use lsie_schemas::row::{
    ArmSummaryRow, DecisionRow, EncounterRow, EncounterSummaryRow, MetricsRow, PhysiologyCurrentRow,
    PhysiologyRow, SessionRow, SessionSummaryRow, StimulusRow,
};
use lsie_schemas::{EventTime, Real, TableRow};
use serde::{Deserialize, Serialize};
use timely::dataflow::StreamVec;
use timely::dataflow::operators::Concat;
use timely::dataflow::operators::vec::{Filter, Map};
use uuid::Uuid;

use super::arm_summaries::{self, Slot, Tally};
use super::handle::Handle;
use super::join_total::join_total;
use super::reduce_total::reduce_total;
use super::shelf::Subject;
use super::{Evaluated, Rows, StimulusKey, encounter_summaries, physiology_current, session_summaries};
use crate::adapter::{Restored, Time};
use crate::checkpoint::{Keep, Station};
use crate::commit::Written;
use crate::graph::hash;

/// What a summary is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Of {
    /// A session.
    Session(Uuid),
    /// The stimuli of a segment of this session, by the id of its attribution event: of all that is said of a
    /// segment, scores and links name only that.
    Segment(Uuid, Uuid),
    /// The encounters of an arm that fall into one slot.
    Arm(String, String, Slot),
}

/// Whose parts are on one worker, and are put to rest together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Owner {
    /// A session has its own and those of its segments.
    Session(Uuid),
    /// A slot of an arm.
    Slot(String, String, Slot),
}

impl Owner {
    fn of(of: &Of) -> Owner {
        match of {
            Of::Session(session) | Of::Segment(session, _) => Owner::Session(*session),
            Of::Arm(experiment, arm, slot) => Owner::Slot(experiment.clone(), arm.clone(), *slot),
        }
    }
}

impl Subject for Owner {
    fn route(&self) -> u64 {
        match self {
            Owner::Session(id) => id.route(),
            Owner::Slot(experiment, arm, slot) => hash(experiment) ^ hash(arm).rotate_left(1) ^ slot.spread(),
        }
    }
}

/// One thing that a summary is made of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Part {
    /// What is known of the session.
    Session(Handle<SessionRow>),
    /// A segment closed: its id, its window end, and the log time of that epoch.
    Closed(Handle<String>, EventTime, EventTime),
    /// So many neutral frames are collected.
    Calibrated(i64),
    /// A stimulus was accepted.
    Stimulated(EventTime, Uuid),
    /// The same, with what the operator should say.
    Issued(Handle<Issued>),
    /// What happened after it, by its action.
    Measured(Uuid, Handle<Measured>),
    /// Whether the greeting was said, by its action.
    Judged(Uuid, Handle<Evaluated>),
    /// A reward: stimulus time, reward, gate.
    Rewarded(EventTime, Real, i64),
    /// The measures of the segment.
    Metrics(Handle<MetricsRow>),
    /// A physiological snapshot of the segment.
    Physiology(Handle<PhysiologyRow>),
    /// The attribution event of the segment: its stimulus' time and its finality.
    Credited(EventTime, String),
    /// A score of that event: method and raw value.
    Scored(String, Option<Real>),
    /// An outcome that came so many seconds after it.
    Linked(Real),
    /// Encounters added up.
    Tally(Handle<Tally>),
}

/// A stimulus and the decision it is under.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Issued {
    pub(crate) session: Uuid,
    pub(crate) action: Uuid,
    pub(crate) at: EventTime,
    pub(crate) segment_id: String,
    pub(crate) window_end: EventTime,
    pub(crate) experiment: String,
    pub(crate) arm: String,
    pub(crate) greeting: String,
}

/// A row of one of the summaries.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Summed {
    Session(Handle<SessionSummaryRow>),
    Encounter(Handle<EncounterSummaryRow>),
    Physiology(Handle<PhysiologyCurrentRow>),
    Arm(Handle<ArmSummaryRow>),
    /// Encounters of a slot added up: a part of the next slot.
    Tally(Handle<Tally>),
}

/// What the summaries are views over.
pub(crate) struct Sources<'scope> {
    pub(crate) sessions: Rows<'scope, SessionRow>,
    pub(crate) stimuli: Rows<'scope, StimulusRow>,
    pub(crate) decisions: Rows<'scope, DecisionRow>,
    pub(crate) evaluated: Rows<'scope, (StimulusKey, Handle<Evaluated>)>,
    pub(crate) encounters: Rows<'scope, Handle<EncounterRow>>,
    /// Of facts, telemetry and ledger: see [`of_fact`], [`of_told`], [`of_ledger`].
    pub(crate) parts: Rows<'scope, (Of, Part)>,
}

/// The changes of all summaries after the epoch at which a run resumed.
pub(crate) fn summaries<'scope>(sources: Sources<'scope>, keep: &Keep) -> StreamVec<'scope, Time, Written> {
    let Sources { sessions, stimuli, decisions, evaluated, encounters, parts } = sources;
    let decided = decisions.map(|row| (row.session_id, Handle::from(row)));
    let stimuli = stimuli.map(|row| (row.session_id, Handle::from(row)));
    let station = keep.station("issued");
    let issued = join_total(stimuli, decided, station, |_, stimulus, decision| issued(stimulus, decision));
    let tallied = encounters.clone().map(|row| arm_summaries::of_encounter(&row));
    let parts = parts
        .concat(sessions.map(|row| (Of::Session(row.session_id), Part::Session(row.into()))))
        .concat(issued)
        .concat(evaluated.flat_map(|((session, action), judged)| of_judgement(session, action, judged)))
        .concat(encounters.flat_map(of_encounter));
    let leaves = summed(tallied, keep.station("leaves"));
    let twigs = summed(leaves.flat_map(arm_summaries::onwards), keep.station("twigs"));
    let arms = summed(twigs.flat_map(arm_summaries::onwards), keep.station("roots"));
    let summaries = summed(parts, keep.station("summaries"));
    changes(summaries, keep.resumed).concat(changes(arms, keep.resumed))
}

/// The summaries of every subject, from its parts.
pub(crate) fn summed(parts: Rows<'_, (Of, Part)>, station: Station) -> Rows<'_, (Of, Summed)> {
    reduce_total(parts, station, Owner::of, |of, parts, rows| {
        rows.extend(of_parts(of, parts).into_iter().map(|row| (of.clone(), row)));
    })
}

/// The rows of one subject.
pub(crate) fn of_parts(of: &Of, parts: &[(Part, isize)]) -> Vec<Summed> {
    let each: Vec<&Part> = parts.iter().map(|(part, _)| part).collect();
    match of {
        Of::Session(session) => {
            let current = physiology_current::rows(*session, &each)
                .into_iter()
                .map(|row| Summed::Physiology(row.into()));
            session_summaries::row(&each)
                .map(|row| Summed::Session(row.into()))
                .into_iter()
                .chain(current)
                .collect()
        }
        Of::Segment(..) => {
            encounter_summaries::rows(&each).into_iter().map(|row| Summed::Encounter(row.into())).collect()
        }
        Of::Arm(experiment, arm, slot) => {
            arm_summaries::row(experiment, arm, *slot, parts).into_iter().collect()
        }
    }
}

/// The parts that a fact is.
pub(crate) fn of_fact(fact: &Fact) -> Vec<(Of, Part)> {
    match fact {
        Fact::Segment(row) => {
            let closed = Part::Closed(row.segment_id.clone().into(), row.window_end_utc, row.closed_at);
            vec![(Of::Session(row.session_id), closed)]
        }
        Fact::Metrics(row) => {
            vec![(segment(row.session_id, &row.segment_id), Part::Metrics(row.clone().into()))]
        }
        Fact::Stimulus(row) => {
            vec![(Of::Session(row.session_id), Part::Stimulated(row.stimulus_utc, row.client_action_id))]
        }
        Fact::Calibrated(session, frames) => vec![(Of::Session(*session), Part::Calibrated(*frames))],
        Fact::Measured(session, action, measured) => {
            let measured = Handle::from(measured.clone());
            vec![
                (segment(*session, &measured.segment_id), Part::Measured(*action, measured.clone())),
                (Of::Session(*session), Part::Measured(*action, measured)),
            ]
        }
        Fact::Au12(_) | Fact::Pitch(_) => Vec::new(),
    }
}

/// The parts that a word of telemetry is.
pub(crate) fn of_told(told: &Told) -> Vec<(Of, Part)> {
    match told {
        Told::Physiology(row) => {
            let row = Handle::from(row.clone());
            vec![
                (segment(row.session_id, &row.segment_id), Part::Physiology(row.clone())),
                (Of::Session(row.session_id), Part::Physiology(row)),
            ]
        }
        _ => Vec::new(),
    }
}

/// The part that a row of a session's ledger is.
pub(crate) fn of_ledger(session: Uuid, row: LedgerRow) -> Option<(Of, Part)> {
    match row {
        LedgerRow::Event(row) => {
            Some((Of::Segment(session, row.event_id), Part::Credited(row.event_time_utc, row.finality)))
        }
        LedgerRow::Score(row) => {
            Some((Of::Segment(session, row.event_id), Part::Scored(row.attribution_method, row.score_raw)))
        }
        LedgerRow::Link(row) => Some((Of::Segment(session, row.event_id), Part::Linked(row.lag_s))),
        LedgerRow::Outcome(_) => None,
    }
}

/// What the first format said a part is of: a segment without its session.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum OfFormerly {
    Session(Uuid),
    Segment(Uuid),
}

/// A part as the first format kept it, with the copies that one of it stands for.
type Formerly = ((OfFormerly, Part), i64);

/// This worker's share of the parts that a checkpoint of the first format kept. What the ledger says of a segment names only
/// the event; it came after a reaction, which names the session, but may be on another worker.
pub(crate) fn formerly(keep: &Keep) -> Restored<((Of, Part), i64)> {
    let mut sessions = BTreeMap::new();
    for (((of, part), _), _) in keep.all_formerly::<Formerly>("parts")?.into_iter().flatten() {
        if let (OfFormerly::Session(session), Part::Measured(_, measured)) = (of, part) {
            sessions.insert(event_id(session, &measured.segment_id), session);
        }
    }
    let of = |formerly: &OfFormerly, part: &Part| match (formerly, part) {
        (OfFormerly::Session(session), _) => Some(Of::Session(*session)),
        (OfFormerly::Segment(event), Part::Metrics(row)) => Some(Of::Segment(row.session_id, *event)),
        (OfFormerly::Segment(event), Part::Physiology(row)) => Some(Of::Segment(row.session_id, *event)),
        (OfFormerly::Segment(event), _) => Some(Of::Segment(*sessions.get(event)?, *event)),
    };
    let named = |(((formerly, part), copies), n): (Formerly, i64)| {
        let of = of(&formerly, &part);
        if of.is_none() {
            keep.shared.fail(format!("the checkpoint has {part:?} of an event without a reaction"));
        }
        of.map(|of| (((of, part), copies), n))
    };
    let kept = keep.formerly::<Formerly>("parts")?;
    Some(kept.map(|rows| rows.into_iter().filter_map(named).collect()))
}

fn of_judgement(session: Uuid, action: Uuid, judged: Handle<Evaluated>) -> [(Of, Part); 2] {
    [
        (segment(session, &judged.said.segment_id), Part::Judged(action, judged.clone())),
        (Of::Session(session), Part::Judged(action, judged)),
    ]
}

fn of_encounter(row: Handle<EncounterRow>) -> Option<(Of, Part)> {
    let at = row.stimulus_time.map(instant)?;
    Some((Of::Session(row.session_id), Part::Rewarded(at, row.gated_reward, row.semantic_gate)))
}

fn issued(stimulus: &StimulusRow, decision: &DecisionRow) -> Option<(Of, Part)> {
    let (anchor, at) = (decision.selection_time_utc.0, stimulus.stimulus_utc);
    let window_end = EventTime(window(anchor, ordinal_at(anchor, at.0)?)?.end_us);
    let issued = Issued {
        session: stimulus.session_id,
        action: stimulus.client_action_id,
        at,
        segment_id: stimulus.segment_id.clone(),
        window_end,
        experiment: decision.experiment_id.clone(),
        arm: decision.selected_arm_id.clone(),
        greeting: decision.expected_greeting.clone(),
    };
    Some((segment(issued.session, &issued.segment_id), Part::Issued(issued.into())))
}

pub(crate) fn segment(session: Uuid, segment_id: &str) -> Of {
    Of::Segment(session, event_id(session, segment_id))
}

fn event_id(session: Uuid, segment_id: &str) -> Uuid {
    identity::event_id(session, segment_id, ledger::EVENT_TYPE, ledger::REWARD_PATH_VERSION)
}

/// Seconds since the Unix epoch, as `encounter_log` has them, back to whole microseconds.
pub(crate) fn instant(seconds: Real) -> EventTime {
    EventTime((seconds.0 * 1e6).round() as i64)
}

fn changes(summed: Rows<'_, (Of, Summed)>, resumed: Time) -> StreamVec<'_, Time, Written> {
    fn change<R: TableRow>(row: &R, epoch: Time, diff: isize) -> Option<Written> {
        Some(Written::Change(crate::graph::change(row, lsie_schemas::LogTime(epoch), diff as i64)))
    }
    let new = summed.inner.filter(move |(_, epoch, _)| *epoch > resumed);
    new.flat_map(|((_, row), epoch, diff)| match row {
        Summed::Session(row) => change(&*row, epoch, diff),
        Summed::Encounter(row) => change(&*row, epoch, diff),
        Summed::Physiology(row) => change(&*row, epoch, diff),
        Summed::Arm(row) => change(&*row, epoch, diff),
        Summed::Tally(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::super::tests::places::{Kind, physiology, place};
    use super::*;
    use crate::checkpoint::state_file::{Added, Rows as Counted, StateFile, encode};
    use crate::checkpoint::{Keep, Restored};
    use lsie_operators::measure::Lift;

    fn measured(session: u128) -> (Uuid, Handle<Measured>) {
        let measured = Measured {
            at: EventTime(5_000_000),
            segment_id: format!("{session:064x}"),
            window_end: EventTime(30_000_000),
            p90: Real(0.5),
            n_frames: 1,
            baseline: None,
            lift: Lift::default(),
        };
        (Uuid::from_u128(session), measured.into())
    }

    /// What a checkpoint of the first format says.
    fn kept(parts: Counted) -> Arc<Restored> {
        let mut state = StateFile::default();
        state.rows.insert("parts".into(), Added { before: parts, last: Counted::default() });
        Arc::new(Restored { epoch: 1_000, state, weight: 0 })
    }

    /// Whichever worker has a part, it is of the session that a reaction names, or that it names itself.
    #[test]
    fn parts_of_the_first_format_find_their_session_on_any_worker() {
        let mut rows: BTreeMap<_, _> = BTreeMap::new();
        let mut keep = |of: OfFormerly, part: Part| {
            let row: Formerly = ((of, part), 1);
            rows.insert(encode(&row).expect("a part has bytes"), 1);
        };
        for number in 1..20 {
            let (session, measured) = measured(number);
            let event = event_id(session, &measured.segment_id);
            keep(OfFormerly::Session(session), Part::Measured(session, measured.clone()));
            keep(OfFormerly::Segment(event), Part::Measured(session, measured.clone()));
            keep(OfFormerly::Segment(event), Part::Credited(measured.at, "online_provisional".into()));
            keep(OfFormerly::Segment(event), Part::Linked(Real(number as f64)));
        }
        // Nothing is measured in this segment yet.
        let physiology = physiology(place(Kind::Streamer, 98, 0, 0), 0, "streamer");
        let closed = event_id(physiology.session_id, &physiology.segment_id);
        keep(OfFormerly::Segment(closed), Part::Physiology(physiology.into()));
        let all = rows.len();
        let restored = kept(rows.into_iter().collect());
        for workers in 1..4 {
            let mut found = 0;
            for worker in 0..workers {
                let keep = Keep {
                    resumed: 1_000,
                    restored: Arc::new(Mutex::new(Some(restored.clone()))),
                    ..Keep::nothing(worker, workers, Arc::default())
                };
                for (((of, part), _), _) in formerly(&keep).expect("parts").into_iter().flatten() {
                    found += 1;
                    let session = match (&of, &part) {
                        (Of::Session(session), _) => *session,
                        (Of::Segment(session, event), Part::Measured(_, measured)) => {
                            assert_eq!(*event, event_id(*session, &measured.segment_id));
                            *session
                        }
                        (Of::Segment(session, _), Part::Linked(number)) => {
                            assert_eq!(*session, Uuid::from_u128(number.0 as u128));
                            *session
                        }
                        (Of::Segment(session, _), _) => *session,
                        (Of::Arm(..), _) => unreachable!("no part of an arm was kept"),
                    };
                    assert_ne!(session, Uuid::nil());
                }
                assert!(!keep.shared.stopped(), "every part has a session");
            }
            assert_eq!(found, all, "{workers} workers");
        }
    }

    #[test]
    fn a_part_that_nobody_can_place_ends_the_run() {
        let row: Formerly = ((OfFormerly::Segment(Uuid::from_u128(1)), Part::Linked(Real(1.0))), 1);
        let rows = Counted::from_iter([(encode(&row).expect("a part has bytes"), 1)]);
        let restored = Arc::new(Mutex::new(Some(kept(rows))));
        let keep = Keep { resumed: 1_000, restored, ..Keep::nothing(0, 1, Arc::default()) };
        assert_eq!(formerly(&keep).map(|parts| parts.concat().len()), Some(0));
        assert!(keep.shared.stopped());
    }
}
