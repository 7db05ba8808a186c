//! The linker: a keyed join of encounters and outcomes within a horizon, with first-outcome scores and
//! finality by log time (mathematics §13.3).
//!
//! It emits changes of rows, not upserts: a changelog and differential collections take them as they are, and
//! a score whose first outcome changes is another row (its identity holds the outcome), which an upsert by
//! identity would leave behind.

use std::collections::{BTreeMap, BTreeSet};

use lsie_schemas::record::Outcome;
use lsie_schemas::row::{AttributionEventRow, AttributionScoreRow, EventOutcomeLinkRow, OutcomeEventRow};
use lsie_schemas::{EventTime, LogTime, Real, Uuid};
use serde::{Deserialize, Serialize};

use super::identity;
use super::ledger::{LedgerEvent, OFFLINE_FINAL, ONLINE_PROVISIONAL, SCHEMA_VERSION, outcome_row, texts};
use crate::logic::Logic;
use crate::segment_id::SEGMENT_US;

/// Version of the rule `0 <= lag <= horizon`, same session.
pub const LINK_RULE_VERSION: &str = "event_outcome_lag_horizon_v1";

/// How far after an event an outcome may lie, and how long its record is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Horizon {
    length_us: i64,
    lateness_ms: u64,
}

impl Default for Horizon {
    /// Seven days (the code default of the original), and 2 s for the record of an outcome at their very end.
    fn default() -> Self {
        Horizon { length_us: 604_800_000_000, lateness_ms: 2_000 }
    }
}

impl Horizon {
    /// A horizon of this length in µs, both ends inclusive, and the wait for late records in ms of log time;
    /// `None` unless the length is positive.
    pub fn new(length_us: i64, lateness_ms: u64) -> Option<Horizon> {
        (length_us > 0).then_some(Horizon { length_us, lateness_ms })
    }

    /// Outcome time minus event time in µs, if the outcome is eligible: 0 <= lag <= horizon.
    pub fn lag_us(&self, event: EventTime, outcome: EventTime) -> Option<i64> {
        outcome.0.checked_sub(event.0).filter(|lag| (0..=self.length_us).contains(lag))
    }

    /// The log time from which on nothing of this event time changes any more: its horizon and the wait for
    /// late records have passed. An epoch at that very time is past it.
    pub fn closes_at(&self, event: EventTime) -> LogTime {
        let end_us = event.0.saturating_add(self.length_us).max(0).unsigned_abs();
        LogTime(end_us.div_ceil(1000)).plus_ms(self.lateness_ms)
    }
}

/// What the linker takes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum LinkRecord {
    /// An encounter's event with its scores. It never changes once it is made; of several in one segment the
    /// earliest holds the segment's identity.
    Event(Box<LedgerEvent>),
    /// An outcome, from topic `outcomes` or a follow among the live events. Of several with one identity the
    /// first holds.
    Outcome(Outcome),
}

/// A row of one of the four ledger tables.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum LedgerRow {
    /// Of `attribution_event`.
    Event(AttributionEventRow),
    /// Of `outcome_event`.
    Outcome(OutcomeEventRow),
    /// Of `event_outcome_link`.
    Link(EventOutcomeLinkRow),
    /// Of `attribution_score`.
    Score(AttributionScoreRow),
}

/// What the linker emits: in one epoch, first what was refused, then the rows that go and come, table by table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkOutput {
    /// The event or outcome of this identity came after its own horizon had closed, and changes nothing:
    /// closed horizons do not reopen.
    Late(Uuid),
    /// The encounter at this time has no row: an earlier one holds the identity of its segment.
    Unlisted(Uuid, EventTime),
    /// A row came (+1) or went (−1).
    Change(Box<LedgerRow>, i64),
}

/// Time, then identity: the order of events and of outcomes.
type Place = (EventTime, Uuid);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Listed {
    event: LedgerEvent,
    is_final: bool,
}

/// What is known of one session and not yet forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Session {
    events: BTreeMap<Place, Listed>,
    outcomes: BTreeMap<Place, OutcomeEventRow>,
}

impl Session {
    fn eligible(&self, horizon: &Horizon, event: EventTime) -> impl Iterator<Item = &OutcomeEventRow> {
        let last = event.plus_us(horizon.length_us);
        self.outcomes.range((event, Uuid::nil())..=(last, Uuid::max())).map(|(_, row)| row)
    }

    /// The first eligible outcome: by lag, then identity.
    fn first(&self, horizon: &Horizon, event: EventTime) -> Option<Uuid> {
        self.eligible(horizon, event).next().map(|row| row.outcome_id)
    }
}

/// What happens at a log time. Of one time, events come before outcomes: they close with all their links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    CloseEvent(Uuid, Place),
    CloseOutcome(Uuid, Place),
    ForgetEvent(Uuid, Place),
}

/// The derived state: rows whose horizon is open, and final events of segments that may still be heard of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkSnapshot {
    events: Vec<(LedgerEvent, bool)>,
    outcomes: Vec<OutcomeEventRow>,
}

/// Links events and outcomes of any number of sessions.
///
/// An event or outcome is open until [`Horizon::closes_at`] its own time. An outcome is linked to every open
/// event of its session that it lies within the horizon of, whichever came first; what closes turns
/// `offline_final` and is forgotten, so state is bounded by the horizon.
#[derive(Clone, Debug)]
pub struct Linker {
    horizon: Horizon,
    sessions: BTreeMap<Uuid, Session>,
    /// Where the event of an identity stands.
    listed: BTreeMap<Uuid, EventTime>,
    due: BTreeSet<(LogTime, Due)>,
}

/// Changes of one epoch; what comes and goes within it cancels.
#[derive(Default)]
struct Changes(BTreeMap<LedgerRow, i64>);

impl Changes {
    fn add(&mut self, row: LedgerRow, diff: i64) {
        *self.0.entry(row).or_insert(0) += diff;
    }

    fn scores(&mut self, event: &LedgerEvent, outcome: Option<Uuid>, finality: &str, diff: i64) {
        for score in event.scores(outcome, finality) {
            self.add(LedgerRow::Score(score), diff);
        }
    }
}

impl Linker {
    /// A linker that knows nothing yet.
    pub fn new(horizon: Horizon) -> Linker {
        Linker { horizon, sessions: BTreeMap::new(), listed: BTreeMap::new(), due: BTreeSet::new() }
    }

    /// All rows of an event as they are now.
    fn rows_of(&self, session: &Session, event: &LedgerEvent, finality: &str, diff: i64, to: &mut Changes) {
        let time = event.row.event_time_utc;
        to.add(
            LedgerRow::Event(AttributionEventRow { finality: finality.into(), ..event.row.clone() }),
            diff,
        );
        for outcome in session.eligible(&self.horizon, time) {
            to.add(LedgerRow::Link(self.link(event, outcome, finality)), diff);
        }
        to.scores(event, session.first(&self.horizon, time), finality, diff);
    }

    fn link(&self, event: &LedgerEvent, outcome: &OutcomeEventRow, finality: &str) -> EventOutcomeLinkRow {
        let lag_us = outcome.outcome_time_utc.0.saturating_sub(event.row.event_time_utc.0);
        let (event_id, outcome_id) = (event.row.event_id, outcome.outcome_id);
        EventOutcomeLinkRow {
            link_id: identity::link_id(event_id, outcome_id, LINK_RULE_VERSION),
            event_id,
            outcome_id,
            lag_s: Real(lag_us as f64 / 1e6),
            horizon_s: Real(self.horizon.length_us as f64 / 1e6),
            link_rule_version: LINK_RULE_VERSION.into(),
            eligibility_flags: texts(&["same_session", "within_horizon"]),
            finality: finality.into(),
            schema_version: SCHEMA_VERSION.into(),
        }
    }

    fn take_event(
        &mut self,
        epoch: LogTime,
        event: LedgerEvent,
        to: &mut Changes,
        out: &mut Vec<LinkOutput>,
    ) {
        let (id, time, session_id) = (event.row.event_id, event.row.event_time_utc, event.row.session_id);
        if self.horizon.closes_at(time) <= epoch {
            return out.push(LinkOutput::Late(id));
        }
        let mut session = self.sessions.remove(&session_id).unwrap_or_default();
        let holder = self.listed.get(&id).copied().and_then(|at| session.events.get(&(at, id)));
        let is_listed = match holder {
            // The same encounter again.
            Some(holder) if holder.event.row.event_time_utc == time => false,
            Some(holder) if holder.event.row.event_time_utc < time || holder.is_final => {
                out.push(LinkOutput::Unlisted(id, time));
                false
            }
            Some(holder) => {
                let later = holder.event.row.event_time_utc;
                out.push(LinkOutput::Unlisted(id, later));
                self.rows_of(&session, &holder.event, ONLINE_PROVISIONAL, -1, to);
                session.events.remove(&(later, id));
                self.due.remove(&(self.horizon.closes_at(later), Due::CloseEvent(session_id, (later, id))));
                true
            }
            None => true,
        };
        if is_listed {
            self.rows_of(&session, &event, ONLINE_PROVISIONAL, 1, to);
            self.list(&mut session, event, false);
        }
        self.sessions.insert(session_id, session);
    }

    fn take_outcome(
        &mut self,
        epoch: LogTime,
        outcome: OutcomeEventRow,
        to: &mut Changes,
        out: &mut Vec<LinkOutput>,
    ) {
        let (id, time, session_id) = (outcome.outcome_id, outcome.outcome_time_utc, outcome.session_id);
        if self.horizon.closes_at(time) <= epoch {
            return out.push(LinkOutput::Late(id));
        }
        let mut session = self.sessions.remove(&session_id).unwrap_or_default();
        if !session.outcomes.contains_key(&(time, id)) {
            to.add(LedgerRow::Outcome(outcome.clone()), 1);
            let earliest = time.plus_us(-self.horizon.length_us);
            let events = session.events.range((earliest, Uuid::nil())..=(time, Uuid::max()));
            for (_, listed) in events.filter(|(_, listed)| !listed.is_final) {
                let event = &listed.event;
                to.add(LedgerRow::Link(self.link(event, &outcome, ONLINE_PROVISIONAL)), 1);
                let before = session.eligible(&self.horizon, event.row.event_time_utc).next();
                if before.is_none_or(|first| (time, id) < (first.outcome_time_utc, first.outcome_id)) {
                    to.scores(event, before.map(|first| first.outcome_id), ONLINE_PROVISIONAL, -1);
                    to.scores(event, Some(id), ONLINE_PROVISIONAL, 1);
                }
            }
            self.keep(&mut session, outcome);
        }
        self.sessions.insert(session_id, session);
    }

    fn list(&mut self, session: &mut Session, event: LedgerEvent, is_final: bool) {
        let place = (event.row.event_time_utc, event.row.event_id);
        let closes_at = self.horizon.closes_at(place.0);
        let (session_id, forget_at) =
            (event.row.session_id, closes_at.plus_ms(SEGMENT_US.unsigned_abs() / 1000));
        if !is_final {
            self.due.insert((closes_at, Due::CloseEvent(session_id, place)));
        } else {
            self.due.insert((forget_at, Due::ForgetEvent(session_id, place)));
        }
        self.listed.insert(place.1, place.0);
        session.events.insert(place, Listed { event, is_final });
    }

    fn keep(&mut self, session: &mut Session, outcome: OutcomeEventRow) {
        let place = (outcome.outcome_time_utc, outcome.outcome_id);
        let due = Due::CloseOutcome(outcome.session_id, place);
        self.due.insert((self.horizon.closes_at(place.0), due));
        session.outcomes.insert(place, outcome);
    }

    /// Closes and forgets what is due at an epoch.
    fn close(&mut self, epoch: LogTime, to: &mut Changes) {
        while let Some((_, due)) = self.due.first().copied().filter(|(at, _)| *at <= epoch) {
            self.due.pop_first();
            let (Due::CloseEvent(id, _) | Due::CloseOutcome(id, _) | Due::ForgetEvent(id, _)) = due;
            let Some(mut session) = self.sessions.remove(&id) else { continue };
            match due {
                Due::CloseEvent(_, place) => {
                    if let Some(listed) = session.events.remove(&place) {
                        self.rows_of(&session, &listed.event, ONLINE_PROVISIONAL, -1, to);
                        self.rows_of(&session, &listed.event, OFFLINE_FINAL, 1, to);
                        self.list(&mut session, listed.event, true);
                    }
                }
                Due::CloseOutcome(_, place) => {
                    if let Some(row) = session.outcomes.remove(&place) {
                        to.add(LedgerRow::Outcome(row.clone()), -1);
                        to.add(
                            LedgerRow::Outcome(OutcomeEventRow { finality: OFFLINE_FINAL.into(), ..row }),
                            1,
                        );
                    }
                }
                Due::ForgetEvent(_, place) => {
                    session.events.remove(&place);
                    self.listed.remove(&place.1);
                }
            }
            if !session.events.is_empty() || !session.outcomes.is_empty() {
                self.sessions.insert(id, session);
            }
        }
    }
}

impl Logic for Linker {
    type Record = LinkRecord;
    type Output = LinkOutput;
    type Snapshot = LinkSnapshot;

    fn on_epoch(&mut self, epoch: LogTime, mut records: Vec<LinkRecord>, out: &mut Vec<LinkOutput>) {
        let mut changes = Changes::default();
        self.close(epoch, &mut changes);
        // Events before outcomes; each by what it is.
        records.sort_unstable_by(|a, b| order(a).cmp(&order(b)).then_with(|| a.cmp(b)));
        records.dedup();
        for record in records {
            match record {
                LinkRecord::Event(event) => self.take_event(epoch, *event, &mut changes, out),
                LinkRecord::Outcome(outcome) => {
                    self.take_outcome(epoch, outcome_row(&outcome), &mut changes, out);
                }
            }
        }
        let moved = changes.0.into_iter().filter(|(_, diff)| *diff != 0);
        out.extend(moved.map(|(row, diff)| LinkOutput::Change(Box::new(row), diff)));
    }

    fn snapshot(&self) -> LinkSnapshot {
        let mut snapshot = LinkSnapshot::default();
        for session in self.sessions.values() {
            let events = session.events.values();
            snapshot.events.extend(events.map(|listed| (listed.event.clone(), listed.is_final)));
            snapshot.outcomes.extend(session.outcomes.values().cloned());
        }
        snapshot
    }

    fn restore(&mut self, snapshot: LinkSnapshot) {
        *self = Linker::new(self.horizon);
        for (event, is_final) in snapshot.events {
            let id = event.row.session_id;
            let mut session = self.sessions.remove(&id).unwrap_or_default();
            self.list(&mut session, event, is_final);
            self.sessions.insert(id, session);
        }
        for outcome in snapshot.outcomes {
            let id = outcome.session_id;
            let mut session = self.sessions.remove(&id).unwrap_or_default();
            self.keep(&mut session, outcome);
            self.sessions.insert(id, session);
        }
    }
}

/// Events come first, in the order of their times: of several in one segment the earliest is met first.
fn order(record: &LinkRecord) -> (u8, EventTime) {
    match record {
        LinkRecord::Event(event) => (0, event.row.event_time_utc),
        LinkRecord::Outcome(outcome) => (1, outcome.outcome_time_utc),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::ledger::tests::encounter;
    use super::*;

    const SECOND_US: i64 = 1_000_000;

    fn horizon() -> Horizon {
        Horizon::new(10 * SECOND_US, 2_000).expect("a horizon")
    }

    fn event(session: u128, segment: u8, at_us: i64) -> LinkRecord {
        LinkRecord::Event(Box::new(LedgerEvent::of(&encounter(session, segment, at_us)).expect("an event")))
    }

    fn outcome(session: u128, at_us: i64, reference: &str) -> LinkRecord {
        LinkRecord::Outcome(Outcome {
            session_id: Uuid::from_u128(session),
            outcome_type: "creator_follow".into(),
            outcome_value: Real(1.0),
            outcome_time_utc: EventTime(at_us),
            source_system: "tiktok_webcast".into(),
            source_event_ref: Some(reference.into()),
            confidence: Real(1.0),
        })
    }

    /// Runs a script; what stands at the end, and what was refused.
    fn run(script: &[(u64, Vec<LinkRecord>)]) -> (BTreeSet<LedgerRow>, Vec<LinkOutput>) {
        let mut linker = Linker::new(horizon());
        let (mut state, mut refused) = (BTreeMap::new(), Vec::new());
        for (epoch, records) in script {
            let mut out = Vec::new();
            linker.on_epoch(LogTime(*epoch), records.clone(), &mut out);
            for output in out {
                match output {
                    LinkOutput::Change(row, diff) => *state.entry(*row).or_insert(0) += diff,
                    other => refused.push(other),
                }
            }
            state.retain(|_, n| *n != 0);
            assert!(state.values().all(|n| *n == 1), "at {epoch}");
            let identities: BTreeSet<Uuid> = state.keys().map(identity_of).collect();
            assert_eq!(identities.len(), state.len(), "one row per identity at {epoch}");
        }
        (state.into_keys().collect(), refused)
    }

    fn identity_of(row: &LedgerRow) -> Uuid {
        match row {
            LedgerRow::Event(row) => row.event_id,
            LedgerRow::Outcome(row) => row.outcome_id,
            LedgerRow::Link(row) => row.link_id,
            LedgerRow::Score(row) => row.score_id,
        }
    }

    fn links(rows: &BTreeSet<LedgerRow>) -> Vec<f64> {
        let lag = |row: &LedgerRow| match row {
            LedgerRow::Link(link) => Some(link.lag_s.0),
            _ => None,
        };
        rows.iter().filter_map(lag).collect()
    }

    fn finalities(rows: &BTreeSet<LedgerRow>) -> BTreeSet<&str> {
        rows.iter()
            .map(|row| match row {
                LedgerRow::Event(row) => row.finality.as_str(),
                LedgerRow::Outcome(row) => row.finality.as_str(),
                LedgerRow::Link(row) => row.finality.as_str(),
                LedgerRow::Score(row) => row.finality.as_str(),
            })
            .collect()
    }

    #[test]
    fn both_ends_of_the_horizon_are_inside() {
        let (rows, _) = run(&[(
            0,
            vec![
                event(1, 1, 5 * SECOND_US),
                outcome(1, 5 * SECOND_US, "a"),
                outcome(1, 15 * SECOND_US, "b"),
                outcome(1, 5 * SECOND_US - 1, "before"),
                outcome(1, 15 * SECOND_US + 1, "after"),
                outcome(2, 6 * SECOND_US, "another session"),
            ],
        )]);
        let mut lags = links(&rows);
        lags.sort_by(f64::total_cmp);
        assert_eq!(lags, [0.0, 10.0]);
    }

    #[test]
    fn the_first_outcome_takes_the_scores_over() {
        let first = |rows: &BTreeSet<LedgerRow>| {
            let scores: Vec<_> = rows
                .iter()
                .filter_map(|row| match row {
                    LedgerRow::Score(score) => Some(score.outcome_id),
                    _ => None,
                })
                .collect();
            assert_eq!(scores.len(), 6);
            assert!(scores.windows(2).all(|pair| pair[0] == pair[1]));
            scores[0]
        };
        let id = |record: &LinkRecord| match record {
            LinkRecord::Outcome(outcome) => outcome_row(outcome).outcome_id,
            LinkRecord::Event(_) => panic!("an outcome"),
        };
        let (late, early) = (outcome(1, 4 * SECOND_US, "late"), outcome(1, 2 * SECOND_US, "early"));
        let mut script = vec![(1, vec![event(1, 1, SECOND_US)])];
        assert_eq!(first(&run(&script).0), None);
        script.push((2, vec![late.clone()]));
        assert_eq!(first(&run(&script).0), Some(id(&late)));
        script.push((3, vec![early.clone(), late]));
        assert_eq!(first(&run(&script).0), Some(id(&early)));
    }

    #[test]
    fn a_closed_horizon_does_not_reopen() {
        let mut script = vec![
            (1, vec![event(1, 1, 0), outcome(1, SECOND_US, "a")]),
            (11_999, vec![outcome(1, 9 * SECOND_US, "just in time")]),
        ];
        assert_eq!(finalities(&run(&script).0).into_iter().collect::<Vec<_>>(), [ONLINE_PROVISIONAL]);
        script.push((12_000, vec![outcome(1, 9 * SECOND_US + 1, "too late"), event(1, 1, 0)]));
        let (rows, refused) = run(&script);
        assert_eq!(links(&rows).len(), 2);
        assert!(matches!(refused[..], [LinkOutput::Late(_)]));
        script.push((30_000, vec![outcome(1, SECOND_US, "a")]));
        let (rows, refused) = run(&script);
        assert_eq!(finalities(&rows).into_iter().collect::<Vec<_>>(), [OFFLINE_FINAL]);
        assert_eq!(refused.len(), 2);
    }

    #[test]
    fn the_earliest_encounter_holds_the_segment() {
        let later = event(1, 1, 8 * SECOND_US);
        let earlier = event(1, 1, 2 * SECOND_US);
        let (rows, refused) =
            run(&[(1, vec![later.clone()]), (2, vec![earlier.clone()]), (3, vec![later.clone()])]);
        let expected = run(&[(1, vec![earlier, later])]);
        assert_eq!(rows, expected.0);
        assert_eq!((refused.len(), expected.1.len()), (2, 1));
    }

    #[test]
    fn hostile_times() {
        let ends = [i64::MIN, i64::MIN + 1, -1, 0, i64::MAX - 1, i64::MAX];
        let events = ends.iter().enumerate().map(|(index, at)| event(1, index as u8, *at));
        let outcomes = ends.iter().map(|at| outcome(1, *at, "x"));
        let records: Vec<LinkRecord> = events.chain(outcomes).collect();
        let (rows, _) = run(&[(0, records.clone()), (1, records.clone()), (u64::MAX, records)]);
        assert!(links(&rows).iter().all(|lag| (0.0..=10.0).contains(lag)));
    }

    /// Many outcomes on few events: the work of one outcome does not grow with those before it.
    #[test]
    fn many_outcomes() {
        let mut linker = Linker::new(horizon());
        let mut out = Vec::new();
        linker.on_epoch(LogTime(0), vec![event(1, 1, 0), event(1, 2, 1)], &mut out);
        for index in 0..20_000_i64 {
            out.clear();
            linker.on_epoch(LogTime(1), vec![outcome(1, SECOND_US + index, "o")], &mut out);
            assert_eq!(out.len(), if index == 0 { 27 } else { 3 });
        }
    }

    /// All pairs, as the rule is said: linked iff same session, lag within the horizon, and both came while
    /// the event was open. First arrivals count.
    fn naive(script: &[(u64, Vec<LinkRecord>)], now: u64) -> BTreeSet<LedgerRow> {
        let horizon = horizon();
        let (mut events, mut outcomes) = (BTreeMap::new(), BTreeMap::new());
        for (epoch, records) in script {
            for record in records {
                match record {
                    LinkRecord::Event(e) if horizon.closes_at(e.row.event_time_utc).0 > *epoch => {
                        events.entry((e.row.event_id, e.row.event_time_utc)).or_insert((*epoch, e.clone()));
                    }
                    LinkRecord::Outcome(o) if horizon.closes_at(o.outcome_time_utc).0 > *epoch => {
                        let row = outcome_row(o);
                        outcomes.entry(row.outcome_id).or_insert((*epoch, row));
                    }
                    _ => {}
                }
            }
        }
        let mut rows = BTreeSet::new();
        let finality =
            |at: EventTime| if horizon.closes_at(at).0 <= now { OFFLINE_FINAL } else { ONLINE_PROVISIONAL };
        for (_, outcome) in outcomes.values() {
            let finality = finality(outcome.outcome_time_utc).into();
            rows.insert(LedgerRow::Outcome(OutcomeEventRow { finality, ..outcome.clone() }));
        }
        let linker = Linker::new(horizon);
        for (_, event) in events.values() {
            let time = event.row.event_time_utc;
            let finality = finality(time);
            rows.insert(LedgerRow::Event(AttributionEventRow {
                finality: finality.into(),
                ..event.row.clone()
            }));
            let mut first: Option<(i64, Uuid)> = None;
            for (came, outcome) in outcomes.values() {
                let lag = outcome.outcome_time_utc.0 - time.0;
                let same_session = outcome.session_id == event.row.session_id;
                if same_session && (0..=10 * SECOND_US).contains(&lag) && *came < horizon.closes_at(time).0 {
                    rows.insert(LedgerRow::Link(linker.link(event, outcome, finality)));
                    let this = (lag, outcome.outcome_id);
                    first = Some(first.map_or(this, |first| first.min(this)));
                }
            }
            rows.extend(event.scores(first.map(|first| first.1), finality).map(LedgerRow::Score));
        }
        rows
    }

    prop_compose! {
        fn record()(
            is_event in any::<bool>(),
            session in 1u128..3,
            quarter in 0i64..80,
        ) -> LinkRecord {
            let at_us = quarter * 250_000;
            // One encounter a segment: the naive one knows nothing of two.
            if is_event { event(session, quarter as u8, at_us) } else { outcome(session, at_us, "r") }
        }
    }

    proptest! {
        #[test]
        fn equals_all_pairs_at_every_epoch(
            epochs in prop::collection::vec((0u64..6_000, prop::collection::vec(record(), 0..5)), 1..16),
        ) {
            let mut now = 0;
            let script: Vec<(u64, Vec<LinkRecord>)> = epochs
                .into_iter()
                .map(|(gap, records)| {
                    now += gap + 1;
                    (now, records)
                })
                .collect();
            for length in 1..=script.len() {
                let script = &script[..length];
                let now = script[length - 1].0;
                prop_assert_eq!(run(script).0, naive(script, now));
            }
        }
    }
}
