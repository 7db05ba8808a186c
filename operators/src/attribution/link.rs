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
use crate::logic::{Keyed, Logic};
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
    /// Events, and whether each is final.
    pub events: Vec<(LedgerEvent, bool)>,
    /// Outcomes.
    pub outcomes: Vec<OutcomeEventRow>,
}

impl Keyed for LinkSnapshot {
    type Key = Uuid;

    fn apart(self) -> Vec<(Option<Uuid>, LinkSnapshot)> {
        let mut sessions: BTreeMap<Uuid, LinkSnapshot> = BTreeMap::new();
        for event in self.events {
            sessions.entry(event.0.row.session_id).or_default().events.push(event);
        }
        for outcome in self.outcomes {
            sessions.entry(outcome.session_id).or_default().outcomes.push(outcome);
        }
        sessions.into_iter().map(|(session, piece)| (Some(session), piece)).collect()
    }

    fn join(&mut self, piece: LinkSnapshot) {
        self.events.extend(piece.events);
        self.outcomes.extend(piece.outcomes);
    }
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

    /// The next log time at which something closes or is forgotten; none when nothing is held.
    pub fn due(&self) -> Option<LogTime> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Whether this outcome is there already.
    pub fn knows(&self, outcome: &OutcomeEventRow) -> bool {
        let place = (outcome.outcome_time_utc, outcome.outcome_id);
        let session = self.sessions.get(&outcome.session_id);
        session.is_some_and(|session| session.outcomes.contains_key(&place))
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
mod tests;
