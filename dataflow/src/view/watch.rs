//! Watches how the subsystems do: the rows of views `health` and `alerts`, from what the graph produces and the
//! log time of completed epochs (console specification §7).
//!
//! A row comes when something changed, never because time went on: ages are the reader's, here they only make a
//! state pass into the next. `sink` and `vault` are not functions of the log; who serves health adds the first.

use std::collections::{BTreeMap, BTreeSet};

use lsie_operators::align::Aligned;
use lsie_operators::drift::PollEffect;
use lsie_operators::logic::{Keyed, Logic};
use lsie_operators::measure::Fact;
use lsie_operators::telemetry::Told;
use lsie_schemas::record::DeadLetter;
use lsie_schemas::row::{AlertRow, EncounterRow, HealthRow, SegmentRow};
use lsie_schemas::{Change, EventTime, LogTime, Topic};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::alerts;
use super::health::{State, Subsystem};
use super::summary::instant;

/// What the watch is told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Note {
    /// A session began.
    Started(Uuid),
    /// Its clock was polled.
    Polled(Uuid, Polled),
    /// A stimulus was accepted.
    Stimulated(Uuid, EventTime),
    /// A physiological snapshot was taken: session, role, age of its source in ms, whether that is stale.
    Physiology(Uuid, String, i64, bool),
    /// Co-modulation was evaluated.
    Comodulation,
    /// What was said is known and was judged, with this reason.
    Judged(String),
    /// The encounter with this stimulus time was written.
    Encountered(Uuid, EventTime),
    /// A segment closed, and its metrics were written.
    Closed { session: Uuid, ordinal: i64, segment_id: String, rule: String, stream: Option<String> },
    /// A record was filed, or came too late.
    Filed { session: Option<Uuid>, topic: Topic, reason: String, offset: i64, is_late: bool },
    /// A session ended.
    Ended(Uuid),
    /// There is this epoch.
    Tick,
}

/// What a poll did to the correction of a session's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Polled {
    /// The offset is new.
    Updated,
    /// The offset is frozen.
    Froze,
    /// The offset was given up.
    Reset,
}

impl Note {
    fn poll(session: Uuid, effect: &PollEffect) -> Option<Note> {
        match effect {
            PollEffect::Updated { .. } => Some(Note::Polled(session, Polled::Updated)),
            PollEffect::Froze => Some(Note::Polled(session, Polled::Froze)),
            PollEffect::Reset => Some(Note::Polled(session, Polled::Reset)),
            PollEffect::Counted | PollEffect::IgnoredWhileFrozen => None,
        }
    }

    fn closed(row: &SegmentRow) -> Note {
        Note::Closed {
            session: row.session_id,
            ordinal: row.ordinal,
            segment_id: row.segment_id.clone(),
            rule: row.closed_by.clone(),
            stream: row.evidence_stream.clone(),
        }
    }

    pub(crate) fn filed(letter: &DeadLetter) -> Note {
        Note::Filed {
            session: letter.session_id,
            topic: letter.at.topic,
            reason: letter.rejection.reason.clone(),
            offset: letter.offset,
            is_late: letter.rejection.detail == "late",
        }
    }

    pub(crate) fn of_aligned(word: &Aligned) -> Option<Note> {
        match word {
            Aligned::Started { start, .. } => Some(Note::Started(start.session_id)),
            Aligned::Polled { session, effect } => Note::poll(*session, effect),
            Aligned::Dead(letter) => Some(Note::filed(letter)),
            Aligned::Ended { session, .. } => Some(Note::Ended(*session)),
            _ => None,
        }
    }

    pub(crate) fn of_fact(fact: &Fact) -> Option<Note> {
        match fact {
            Fact::Segment(row) => Some(Note::closed(row)),
            Fact::Stimulus(row) => Some(Note::Stimulated(row.session_id, row.stimulus_utc)),
            _ => None,
        }
    }

    pub(crate) fn of_told(told: &Told) -> Option<Note> {
        match told {
            Told::Physiology(row) => {
                let age_ms = (row.freshness_s.0 * 1e3) as i64;
                Some(Note::Physiology(row.session_id, row.subject_role.clone(), age_ms, row.is_stale))
            }
            Told::Comodulation(_) => Some(Note::Comodulation),
            Told::Dead(letter) => Some(Note::filed(letter)),
            _ => None,
        }
    }

    pub(crate) fn of_encounter(row: &EncounterRow) -> Option<Note> {
        Some(Note::Encountered(row.session_id, instant(row.stimulus_time?)))
    }
}

/// A row that came (+1) or went (-1); of alerts none goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Watched {
    Health(HealthRow, i64),
    Alert(AlertRow),
}

impl Watched {
    /// The change of its table.
    pub(crate) fn change(epoch: LogTime, watched: &Watched) -> Option<Change> {
        Some(match watched {
            Watched::Health(row, diff) => crate::graph::change(row, epoch, *diff),
            Watched::Alert(row) => crate::graph::change(row, epoch, 1),
        })
    }
}

/// What is known of the subsystems; on one worker, for all sessions.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    known: Known,
}

/// All of it: what a checkpoint holds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Known {
    /// Sessions that have begun and not ended.
    pub(super) active: BTreeSet<Uuid>,
    /// Since when there has been one.
    pub(super) active_since: Option<LogTime>,
    /// The newest success of each subsystem.
    pub(super) success: BTreeMap<Subsystem, LogTime>,
    /// What went wrong last, until it goes right again.
    pub(super) fault: BTreeMap<Subsystem, String>,
    /// Active sessions whose clock is not known at present.
    pub(super) clockless: BTreeSet<Uuid>,
    /// Active sessions whose newest segment did not get what it waited for: which stream.
    pub(super) gaps: BTreeMap<Uuid, String>,
    /// Stimuli without an encounter.
    pub(super) waiting: BTreeSet<(EventTime, Uuid)>,
    /// When a record was filed last, and what it was.
    pub(super) filed: Option<(LogTime, String)>,
    /// Roles of sessions whose newest snapshot is stale.
    stale: BTreeSet<(Uuid, String)>,
    /// The rows that are out.
    rows: BTreeMap<Subsystem, HealthRow>,
}

/// One piece: all of it is on one worker.
impl Keyed for Known {
    /// The worker that it is on.
    type Key = u64;

    fn apart(self) -> Vec<(Option<u64>, Known)> {
        // Elsewhere there are no rows.
        if self.rows.is_empty() { Vec::new() } else { vec![(Some(0), self)] }
    }

    fn join(&mut self, piece: Known) {
        *self = piece;
    }
}

impl Logic for Watch {
    type Record = Note;
    type Output = Watched;
    type Snapshot = Known;

    fn on_epoch(&mut self, epoch: LogTime, mut notes: Vec<Note>, out: &mut Vec<Watched>) {
        notes.sort();
        for note in notes {
            self.known.take(epoch, note, out);
        }
        for subsystem in Subsystem::ALL {
            self.known.judge(epoch, subsystem, out);
        }
    }

    fn snapshot(&self) -> Known {
        self.known.clone()
    }

    fn restore(&mut self, snapshot: Known) {
        self.known = snapshot;
    }
}

impl Known {
    fn take(&mut self, epoch: LogTime, note: Note, out: &mut Vec<Watched>) {
        match note {
            Note::Started(session) => {
                self.active.insert(session);
                self.active_since.get_or_insert(epoch);
            }
            Note::Polled(session, Polled::Updated) => {
                self.clockless.remove(&session);
                self.success.insert(Subsystem::Drift, epoch);
            }
            Note::Polled(session, Polled::Froze | Polled::Reset) => {
                self.clockless.insert(session);
            }
            Note::Stimulated(session, at) => {
                self.waiting.insert((at, session));
            }
            Note::Physiology(session, role, age_ms, is_stale) => {
                self.success.insert(Subsystem::Physiology, epoch);
                let key = (session, role);
                if !is_stale {
                    self.stale.remove(&key);
                } else if self.stale.insert(key.clone()) {
                    out.push(Watched::Alert(alerts::stale(epoch, session, &key.1, age_ms)));
                }
            }
            Note::Comodulation => {
                self.success.insert(Subsystem::Comodulation, epoch);
            }
            Note::Judged(reason) => {
                self.success.insert(Subsystem::Asr, epoch);
                match reason.as_str() {
                    "semantic_local_failure_fallback" | "semantic_timeout" | "semantic_error" => {
                        self.fault.insert(Subsystem::Semantic, reason);
                    }
                    _ => {
                        self.fault.remove(&Subsystem::Semantic);
                        self.success.insert(Subsystem::Semantic, epoch);
                    }
                }
            }
            Note::Encountered(session, at) => {
                self.waiting.remove(&(at, session));
                self.success.insert(Subsystem::Encounters, epoch);
            }
            Note::Closed { session, ordinal, segment_id, rule, stream } => {
                self.success.insert(Subsystem::Metrics, epoch);
                self.success.insert(Subsystem::Ingest, epoch);
                if matches!(rule.as_str(), "stalled" | "max_wait") {
                    let stream = stream.unwrap_or_else(|| "media".into());
                    let alert = alerts::gap(epoch, session, ordinal, &segment_id, &stream);
                    out.push(Watched::Alert(alert));
                    self.gaps.insert(session, stream);
                } else {
                    self.gaps.remove(&session);
                    self.success.insert(Subsystem::Capture, epoch);
                }
            }
            Note::Filed { session, topic, reason, offset, is_late } => {
                // A refused action is an operator's to know of, and no fault of the ingest.
                if topic == Topic::Control && alerts::STIMULUS_REASONS.contains(&reason.as_str()) {
                    out.push(Watched::Alert(alerts::stimulus_failed(epoch, session, &reason, offset)));
                } else if !is_late {
                    self.filed = Some((epoch, format!("{}: {reason}", topic.name())));
                }
            }
            Note::Ended(session) => {
                if self.active.remove(&session) {
                    out.push(Watched::Alert(alerts::session_ended(epoch, session)));
                }
                self.forget(session);
            }
            Note::Tick => {}
        }
    }

    fn forget(&mut self, session: Uuid) {
        self.clockless.remove(&session);
        self.gaps.remove(&session);
        self.waiting.retain(|(_, of)| *of != session);
        self.stale.retain(|(of, _)| *of != session);
        if self.active.is_empty() {
            self.active_since = None;
            self.fault.clear();
        }
    }

    /// Says how a subsystem does, if that is not what was said before.
    fn judge(&mut self, epoch: LogTime, subsystem: Subsystem, out: &mut Vec<Watched>) {
        let (state, detail) = subsystem.state(self, epoch);
        let before = self.rows.get(&subsystem);
        let changed = before.is_none_or(|row| row.state != state.name());
        let since = match before {
            Some(row) if !changed => row.since_utc,
            _ => epoch.as_event(),
        };
        let last = self.success.get(&subsystem).map(|at| at.as_event());
        let row = subsystem.row(state, since, last, detail);
        if before == Some(&row) {
            return;
        }
        if changed && !matches!(state, State::Ok | State::Unknown) {
            out.push(Watched::Alert(alerts::transition(epoch, subsystem, state, row.detail.as_deref())));
        }
        if let Some(before) = self.rows.insert(subsystem, row.clone()) {
            out.push(Watched::Health(before, -1));
        }
        out.push(Watched::Health(row, 1));
    }
}
