//! Action_Combo: live events of one session that come within two seconds make one group (mathematics §14,
//! contracts §4).
//!
//! Groups are cut by event time alone, never by arrival (DM-11): a group opens with an event at t0, takes
//! what lies up to 2 s after, and closes at the first later event or at the end of the session. Every event
//! is emitted alone too. An event that turns up late cuts anew from its place on, and the groups that were
//! emitted otherwise are taken back. Emitted are changes, which a changelog takes as they are.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};

use lsie_schemas::record::{ACTION_COMBO, LiveEvent};
use lsie_schemas::row::EventRow;
use lsie_schemas::{EventTime, LogTime, Uuid};
use serde::{Deserialize, Serialize};

use crate::logic::Logic;

/// How long a group takes events after its first, µs; inclusive.
pub const COMBO_US: i64 = 2_000_000;

/// Time and identity of a live event: the canonical order within a session.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Member {
    /// When it happened.
    pub time: EventTime,
    /// The platform's user.
    pub unique_id: String,
    /// The kind of event.
    pub event_type: String,
    /// The platform's reference, if it gave one.
    pub source_event_ref: Option<String>,
}

impl Member {
    fn of(event: &LiveEvent, watched_account: &str) -> Member {
        Member {
            time: event.timestamp_utc,
            unique_id: event.unique_id.clone().unwrap_or_else(|| watched_account.to_owned()),
            event_type: event.event_type.clone(),
            source_event_ref: event.source_event_ref(),
        }
    }

    /// The last instant of the group that this event opens.
    fn limit(&self) -> EventTime {
        self.time.plus_us(COMBO_US)
    }

    /// The natural key of table `events`.
    fn row_key(&self) -> (EventTime, &str, &str) {
        (self.time, &self.unique_id, &self.event_type)
    }
}

/// Two or more events within two seconds of the first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Combo {
    /// Its row: of the watched account, at the time of its last member.
    pub row: EventRow,
    /// Its events in order; the window is from the first to the last.
    pub members: Vec<Member>,
}

/// What the grouping takes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ComboRecord {
    /// A live event of the session.
    Event(LiveEvent),
    /// The session has ended: its last group closes.
    End,
}

/// What the grouping emits, with +1 for what comes and −1 for what goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ComboOutput {
    /// An event alone. Events that differ in their reference only share one row, that of the least reference,
    /// since the table's key does not hold it.
    Event(EventRow),
    /// A closed group.
    Combo(Combo),
}

/// The derived state: identities and gift values, no payloads. It grows with the session's events, since one
/// that turns up late may belong anywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComboSnapshot {
    events: Vec<(Member, Option<i64>)>,
    is_ended: bool,
}

/// Live events of one session and their groups.
#[derive(Clone, Debug)]
pub struct ActionCombos {
    session_id: Uuid,
    watched_account: String,
    events: BTreeMap<Member, Option<i64>>,
    /// The first member of each group. A group is its first member and all up to its limit.
    starts: BTreeSet<Member>,
    is_ended: bool,
}

/// First members of groups that an epoch touched: as they were, and as they are.
#[derive(Default)]
struct Touched {
    before: BTreeSet<Member>,
    after: BTreeSet<Member>,
}

impl ActionCombos {
    /// A session without events yet; `watched_account` stands for the user that an event does not name, and
    /// for the user of every group.
    pub fn new(session_id: Uuid, watched_account: &str) -> ActionCombos {
        ActionCombos {
            session_id,
            watched_account: watched_account.to_owned(),
            events: BTreeMap::new(),
            starts: BTreeSet::new(),
            is_ended: false,
        }
    }

    /// Time and identity of an event in this session.
    pub fn member(&self, event: &LiveEvent) -> Member {
        Member::of(event, &self.watched_account)
    }

    /// Whether an event of this time and identity is there already.
    pub fn knows(&self, member: &Member) -> bool {
        self.events.contains_key(member)
    }

    /// Members of the group that opens with `start`.
    fn group<'a>(&'a self, start: &'a Member) -> impl Iterator<Item = &'a Member> {
        let limit = start.limit();
        self.events.range(start..).map(|(member, _)| member).take_while(move |member| member.time <= limit)
    }

    /// Cuts the groups anew from `start` on, until they are cut as before.
    fn cut(&mut self, start: Member, touched: &mut Touched) {
        let mut start = Some(start);
        while let Some(first) = start {
            let limit = first.limit();
            let starts = self.starts.range((Excluded(&first), Unbounded));
            let swallowed: Vec<Member> = starts.take_while(|member| member.time <= limit).cloned().collect();
            for member in swallowed {
                self.starts.remove(&member);
                if !touched.after.remove(&member) {
                    touched.before.insert(member);
                }
            }
            let last = self.group(&first).last().cloned();
            let next = last.and_then(|last| {
                self.events.range((Excluded(&last), Unbounded)).next().map(|(member, _)| member.clone())
            });
            touched.after.insert(first.clone());
            self.starts.insert(first);
            start = next.filter(|next| !self.starts.contains(next));
        }
    }

    /// The combo of a group, given its members.
    fn combo<'a>(&self, members: impl Iterator<Item = &'a Member>) -> Option<Combo> {
        let members: Vec<Member> = members.cloned().collect();
        let [_, .., last] = members.as_slice() else { return None };
        let row = EventRow {
            session_id: self.session_id,
            unique_id: self.watched_account.clone(),
            event_type: ACTION_COMBO.to_owned(),
            timestamp_utc: last.time,
            gift_value: None,
            is_combo: Some(true),
        };
        Some(Combo { row, members })
    }

    fn row(&self, member: &Member) -> EventRow {
        EventRow {
            session_id: self.session_id,
            unique_id: member.unique_id.clone(),
            event_type: member.event_type.clone(),
            timestamp_utc: member.time,
            gift_value: self.events.get(member).copied().flatten(),
            is_combo: Some(false),
        }
    }

    /// Changes of the rows of single events by what is new.
    fn emit_rows(&self, new: &BTreeSet<Member>, out: &mut Vec<(ComboOutput, i64)>) {
        let mut done = None;
        for member in new {
            // Members of one key follow each other.
            if done.replace(member.row_key()) == Some(member.row_key()) {
                continue;
            }
            let least = Member { source_event_ref: None, ..member.clone() };
            let of_key = || {
                let range = self.events.range(&least..).map(|(other, _)| other);
                range.take_while(|other| other.row_key() == member.row_key())
            };
            let before = of_key().find(|other| !new.contains(*other)).map(|other| self.row(other));
            let after = of_key().next().map(|other| self.row(other));
            if before != after {
                out.extend(before.map(|row| (ComboOutput::Event(row), -1)));
                out.extend(after.map(|row| (ComboOutput::Event(row), 1)));
            }
        }
    }
}

/// Events of an epoch in order of time and identity, then the end. First the rows of single events, then the
/// groups that go, then those that come.
impl Logic for ActionCombos {
    type Record = ComboRecord;
    type Output = (ComboOutput, i64);
    type Snapshot = ComboSnapshot;

    fn on_epoch(&mut self, _: LogTime, records: Vec<ComboRecord>, out: &mut Vec<Self::Output>) {
        let (was_ended, was_last) = (self.is_ended, self.starts.last().cloned());
        let mut new = BTreeMap::new();
        for record in records {
            match record {
                ComboRecord::End => self.is_ended = true,
                ComboRecord::Event(event) => {
                    let member = self.member(&event);
                    if !self.events.contains_key(&member) {
                        // Of several in one epoch the least value, so that their order does not matter.
                        let value: &mut Option<i64> = new.entry(member).or_insert(event.gift_value);
                        *value = (*value).min(event.gift_value);
                    }
                }
            }
        }
        self.events.extend(new.iter().map(|(member, value)| (member.clone(), *value)));
        let new: BTreeSet<Member> = new.into_keys().collect();
        self.emit_rows(&new, out);

        let mut touched = Touched::default();
        for member in &new {
            match self.starts.range(..=member).next_back().filter(|start| member.time <= start.limit()) {
                Some(start) if touched.after.contains(start) => {}
                Some(start) => {
                    touched.before.insert(start.clone());
                    touched.after.insert(start.clone());
                }
                None => self.cut(member.clone(), &mut touched),
            }
        }
        // The group that was last may have closed, by a later event or by the end.
        if let Some(last) = &was_last {
            touched.before.insert(last.clone());
            if self.starts.contains(last) {
                touched.after.insert(last.clone());
            }
        }
        let is_last = self.starts.last();
        let was_closed = |start: &&Member| was_ended || was_last.as_ref() != Some(*start);
        let is_closed = |start: &&Member| self.is_ended || is_last != Some(*start);
        let before = touched.before.iter().filter(was_closed);
        let before: BTreeSet<Combo> =
            before.filter_map(|start| self.combo(self.group(start).filter(|m| !new.contains(*m)))).collect();
        let after = touched.after.iter().filter(is_closed);
        let after: BTreeSet<Combo> = after.filter_map(|start| self.combo(self.group(start))).collect();
        out.extend(before.difference(&after).map(|combo| (ComboOutput::Combo(combo.clone()), -1)));
        out.extend(after.difference(&before).map(|combo| (ComboOutput::Combo(combo.clone()), 1)));
    }

    fn snapshot(&self) -> ComboSnapshot {
        let events = self.events.iter().map(|(member, value)| (member.clone(), *value)).collect();
        ComboSnapshot { events, is_ended: self.is_ended }
    }

    fn restore(&mut self, snapshot: ComboSnapshot) {
        self.is_ended = snapshot.is_ended;
        self.events = snapshot.events.into_iter().collect();
        self.starts.clear();
        if let Some((first, _)) = self.events.first_key_value() {
            self.cut(first.clone(), &mut Touched::default());
        }
    }
}

#[cfg(test)]
mod tests {
    use lsie_schemas::table::Json;
    use proptest::prelude::*;

    use super::*;

    fn event(at_us: i64, user: &str, event_type: &str, event_id: Option<&str>) -> ComboRecord {
        ComboRecord::Event(LiveEvent {
            session_id: Uuid::nil(),
            unique_id: Some(user.into()),
            event_type: event_type.into(),
            timestamp_utc: EventTime(at_us),
            payload: Json::new(&serde_json::json!({})),
            gift_value: None,
            event_id: event_id.map(str::to_owned),
        })
    }

    /// The rule as it is said: sort, open, join, close. Times of the members of every closed combo.
    fn naive(times: &[i64], is_ended: bool) -> Vec<Vec<i64>> {
        let mut times = times.to_vec();
        times.sort_unstable();
        times.dedup();
        let mut groups: Vec<Vec<i64>> = Vec::new();
        for time in times {
            match groups.last_mut() {
                Some(group) if time <= group[0].saturating_add(2_000_000) => group.push(time),
                _ => groups.push(vec![time]),
            }
        }
        if !is_ended {
            groups.pop();
        }
        groups.retain(|group| group.len() >= 2);
        groups
    }

    /// What stands after all changes; every row at most once at any time.
    fn standing(state: &mut BTreeMap<ComboOutput, i64>, out: Vec<(ComboOutput, i64)>) {
        for (row, diff) in out {
            *state.entry(row).or_insert(0) += diff;
        }
        state.retain(|_, n| *n != 0);
        assert!(state.values().all(|n| *n == 1), "{state:?}");
    }

    fn combos(state: &BTreeMap<ComboOutput, i64>) -> Vec<Vec<i64>> {
        let members = |output: &ComboOutput| match output {
            ComboOutput::Combo(combo) => Some(combo.members.iter().map(|m| m.time.0).collect()),
            ComboOutput::Event(_) => None,
        };
        let mut combos: Vec<Vec<i64>> = state.keys().filter_map(members).collect();
        combos.sort();
        combos
    }

    fn run(epochs: &[Vec<ComboRecord>]) -> BTreeMap<ComboOutput, i64> {
        let mut logic = ActionCombos::new(Uuid::nil(), "creator");
        let mut state = BTreeMap::new();
        for (index, records) in epochs.iter().enumerate() {
            let mut out = Vec::new();
            logic.on_epoch(LogTime(index as u64), records.clone(), &mut out);
            standing(&mut state, out);
        }
        state
    }

    #[test]
    fn the_limit_joins_and_one_microsecond_more_does_not() {
        let at = |at_us| event(at_us, "u", "like", None);
        assert_eq!(combos(&run(&[vec![at(0), at(2_000_000), ComboRecord::End]])), [[0, 2_000_000]]);
        assert!(combos(&run(&[vec![at(0), at(2_000_001), ComboRecord::End]])).is_empty());
    }

    #[test]
    fn a_group_waits_for_a_later_event_or_the_end() {
        let at = |at_us| event(at_us, "u", "like", None);
        assert!(combos(&run(&[vec![at(0), at(1)], vec![at(2_000_000)]])).is_empty());
        assert_eq!(combos(&run(&[vec![at(0), at(1)], vec![at(2_000_001)]])), [[0, 1]]);
        assert_eq!(combos(&run(&[vec![at(0), at(1)], vec![ComboRecord::End]])), [[0, 1]]);
    }

    /// A late first event takes the second of a group away, and all after it is cut anew.
    #[test]
    fn late_events_take_groups_back() {
        let at = |at_us: i64| event(at_us * 1_000_000, "u", "like", None);
        let state = run(&[vec![at(2), at(4), at(5), at(9)], vec![at(1)], vec![at(1)]]);
        assert_eq!(combos(&state), [[1_000_000, 2_000_000], [4_000_000, 5_000_000]]);
    }

    #[test]
    fn one_row_per_natural_key() {
        let like = |event_id| event(7, "u", "like", event_id);
        let state =
            run(&[vec![like(Some("b"))], vec![like(Some("a")), like(Some("b"))], vec![ComboRecord::End]]);
        let rows = state.keys().filter(|output| matches!(output, ComboOutput::Event(_))).count();
        assert_eq!((rows, combos(&state)), (1, vec![vec![7, 7]]));
    }

    #[test]
    fn times_at_the_ends_of_the_clock() {
        let at = |at_us| event(at_us, "u", "like", None);
        let ends = [i64::MAX, i64::MAX - 1, i64::MIN, i64::MIN + 1, 0];
        let state = run(&[ends.map(at).to_vec(), vec![ComboRecord::End]]);
        assert_eq!(combos(&state), naive(&ends, true));
    }

    #[test]
    fn a_million_events() {
        let at = |at_us| event(at_us, "u", "like", None);
        let dense = run(&[(0..1_000_000).map(at).collect(), vec![ComboRecord::End]]);
        assert_eq!(combos(&dense).iter().map(Vec::len).sum::<usize>(), 1_000_000);
        let sparse = run(&[(0..200_000).map(|i| at(i * 1_500_000)).rev().collect(), vec![ComboRecord::End]]);
        assert_eq!(combos(&sparse).len(), 100_000);
    }

    proptest! {
        #[test]
        fn equals_the_rule_at_every_epoch(
            epochs in prop::collection::vec((prop::collection::vec(0..60i64, 0..6), prop::bool::weighted(0.05)), 1..14),
        ) {
            let mut logic = ActionCombos::new(Uuid::nil(), "creator");
            let (mut state, mut times, mut is_ended) = (BTreeMap::new(), Vec::new(), false);
            for (index, (quarters, ends)) in epochs.into_iter().enumerate() {
                let at_us = quarters.into_iter().map(|quarter| quarter * 250_000);
                let at_us: Vec<i64> = at_us.collect();
                let mut records: Vec<ComboRecord> = at_us.iter().map(|at| event(*at, "u", "like", None)).collect();
                records.extend(ends.then_some(ComboRecord::End));
                times.extend(at_us);
                is_ended |= ends;
                let mut out = Vec::new();
                logic.on_epoch(LogTime(index as u64), records, &mut out);
                standing(&mut state, out);
                prop_assert_eq!(combos(&state), naive(&times, is_ended));
                let distinct: BTreeSet<&i64> = times.iter().collect();
                prop_assert_eq!(state.len() - combos(&state).len(), distinct.len());
            }
        }
    }
}
