//! The telemetry of all sessions of one worker: physiological snapshots and their co-modulation when a segment
//! closes, live events and their groups, outcomes.
//!
//! Physiology is as of the closing epoch. Events and outcomes bring their own time and may come late: what
//! depends on them is emitted as changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lsie_schemas::codec::Rejection;
use lsie_schemas::record::{DeadLetter, Outcome, Record, SubjectRole};
use lsie_schemas::row::{ComodulationRow, EventRow, PhysiologyRow};
use lsie_schemas::{EventTime, LogTime, Real};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::action_combo::{ActionCombos, ComboOutput, ComboRecord, ComboSnapshot};
use crate::align::{Aligned, Arrived, Class, Classified, classified};
use crate::comodulation::{ComodulationState, SessionComodulation};
use crate::logic::{Keyed, Logic, apart};
use crate::physiology::{Physiology, PhysiologyOutput, PhysiologyRecord, PhysiologyState};
use crate::segment_id::{segment_id, window};

/// What telemetry says.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// The physiology of one role at a closed segment.
    Physiology(PhysiologyRow),
    /// The co-modulation at a closed segment.
    Comodulation(ComodulationRow),
    /// What the lag scan of a closed segment of this session found, if it found anything.
    Scanned(Uuid, String, Option<Scan>),
    /// A row of table `events` came (+1) or went (−1).
    Event(EventRow, i64),
    /// An outcome, and its dead letter should it turn out to be late. The one of a follow among the events has
    /// no record of its own, so no letter.
    Outcome(Outcome, Option<Box<DeadLetter>>),
    /// What became of a record. That of an outcome's record is the linker's to say.
    Classified(Classified),
    /// A record that came too late.
    Dead(DeadLetter),
}

/// The peak of a lag scan, as a value that collections can hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Scan {
    /// Pearson's r at the best lag.
    pub corr: Real,
    /// That lag, in minutes.
    pub lag: usize,
}

/// All sessions of one worker. A session is forgotten when no event of it can be taken any more.
#[derive(Debug)]
pub struct Telemetry {
    /// How long after the epoch of their session's end events are taken, ms.
    grace_ms: u64,
    sessions: BTreeMap<Uuid, Session>,
}

#[derive(Debug)]
struct Session {
    watched_account: String,
    physiology: Physiology,
    comodulation: SessionComodulation,
    combos: ActionCombos,
    ended: Option<LogTime>,
}

/// What of telemetry a checkpoint may hold: no inter-beat intervals, no payloads.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct TelemetrySnapshot {
    sessions: BTreeMap<Uuid, SessionSnapshot>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SessionSnapshot {
    watched_account: String,
    physiology: PhysiologyState,
    comodulation: ComodulationState,
    combos: ComboSnapshot,
    ended: Option<LogTime>,
}

impl Keyed for TelemetrySnapshot {
    type Key = Uuid;

    fn apart(self) -> Vec<(Option<Uuid>, TelemetrySnapshot)> {
        apart(self.sessions, |sessions| TelemetrySnapshot { sessions })
    }

    fn join(&mut self, piece: TelemetrySnapshot) {
        self.sessions.extend(piece.sessions);
    }
}

impl Session {
    fn new(id: Uuid, watched_account: &str) -> Session {
        Session {
            watched_account: watched_account.to_owned(),
            physiology: Physiology::default(),
            comodulation: SessionComodulation::default(),
            combos: ActionCombos::new(id, watched_account),
            ended: None,
        }
    }
}

/// What an epoch holds for one session.
#[derive(Default)]
struct Heard {
    telemetry: Vec<Arc<Arrived>>,
    closed: Vec<(String, EventTime)>,
    ended: bool,
}

impl Telemetry {
    /// No sessions yet. Alignment passes events on for so long after the epoch of their session's end.
    pub fn new(grace_ms: u64) -> Telemetry {
        Telemetry { grace_ms, sessions: BTreeMap::new() }
    }

    /// Whether a word of alignment says anything to it. That something is settled does: it forgets sessions by the time
    /// at which others go on.
    pub fn hears(word: &Aligned) -> bool {
        match word {
            Aligned::Started { .. }
            | Aligned::Telemetry(_)
            | Aligned::Settled { .. }
            | Aligned::Closed(_)
            | Aligned::Ended { .. } => true,
            Aligned::Polled { .. }
            | Aligned::Experiment { .. }
            | Aligned::Anchored { .. }
            | Aligned::Stimulus { .. }
            | Aligned::Frame(_)
            | Aligned::Voice(_)
            | Aligned::Speech(_)
            | Aligned::Answer(_)
            | Aligned::Sound(_)
            | Aligned::Visited(_)
            | Aligned::Asked(_)
            | Aligned::Classified(_)
            | Aligned::Dead(_) => false,
        }
    }
}

/// Sessions in order of their ids; of each, events and outcomes in canonical order before the chunks, and
/// those before the segments that closed.
impl Logic for Telemetry {
    type Record = Aligned;
    type Output = Told;
    type Snapshot = TelemetrySnapshot;

    fn on_epoch(&mut self, epoch: LogTime, words: Vec<Aligned>, out: &mut Vec<Told>) {
        self.sessions.retain(|_, session| session.ended.is_none_or(|at| epoch < at.plus_ms(self.grace_ms)));
        let mut heard: BTreeMap<Uuid, Heard> = BTreeMap::new();
        for word in words {
            match word {
                Aligned::Started { start, .. } => {
                    let account = start.watched_account.as_deref().unwrap_or_default();
                    let id = start.session_id;
                    self.sessions.entry(id).or_insert_with(|| Session::new(id, account));
                }
                Aligned::Telemetry(arrived) => {
                    let Some(id) = arrived.record.session() else { continue };
                    heard.entry(id).or_default().telemetry.push(arrived);
                }
                Aligned::Closed(segment) => {
                    let Some(span) = window(segment.anchor.0, segment.ordinal) else { continue };
                    let id = segment_id(segment.session, span.start_us, span.end_us);
                    let closed = (id, EventTime(span.end_us));
                    heard.entry(segment.session).or_default().closed.push(closed);
                }
                Aligned::Ended { session, .. } => heard.entry(session).or_default().ended = true,
                _ => {}
            }
        }
        for (id, mut heard) in heard {
            heard.telemetry.sort_by_key(|arrived| (arrived.raw.at, arrived.raw.offset));
            self.hear(id, epoch, heard, out);
        }
    }

    fn snapshot(&self) -> TelemetrySnapshot {
        let of = |session: &Session| SessionSnapshot {
            watched_account: session.watched_account.clone(),
            physiology: session.physiology.snapshot(),
            comodulation: session.comodulation.snapshot(),
            combos: session.combos.snapshot(),
            ended: session.ended,
        };
        TelemetrySnapshot { sessions: self.sessions.iter().map(|(id, session)| (*id, of(session))).collect() }
    }

    fn restore(&mut self, snapshot: TelemetrySnapshot) {
        self.sessions.clear();
        for (id, held) in snapshot.sessions {
            let mut session = Session::new(id, &held.watched_account);
            session.physiology.restore(held.physiology);
            session.comodulation.restore(held.comodulation);
            session.combos.restore(held.combos);
            session.ended = held.ended;
            self.sessions.insert(id, session);
        }
    }

    fn rewind(&self) -> Option<LogTime> {
        self.sessions.values().filter_map(|session| session.physiology.rewind()).min()
    }

    fn rebuild(&mut self, epoch: LogTime, words: Vec<Aligned>, _again: &mut Vec<Told>) {
        for word in words {
            let Aligned::Telemetry(arrived) = word else { continue };
            let Record::Physio(chunk) = &arrived.record else { continue };
            if let Some(session) = self.sessions.get_mut(&chunk.session_id) {
                let again =
                    PhysiologyRecord::Chunk { offset: arrived.raw.offset, chunk: chunk.chunk.clone() };
                session.physiology.rebuild(epoch, vec![again], &mut Vec::new());
            }
        }
    }
}

impl Telemetry {
    fn hear(&mut self, id: Uuid, epoch: LogTime, heard: Heard, out: &mut Vec<Told>) {
        // An outcome may come when its session is long forgotten.
        for arrived in &heard.telemetry {
            if let Record::Outcome(outcome) = &arrived.record {
                let letter = DeadLetter::new(&arrived.raw, Rejection::new("horizon_closed", "late"));
                out.push(Told::Outcome(outcome.clone(), Some(Box::new(letter))));
            }
        }
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.hear_events(epoch, &heard, out);
        if session.ended.is_none() {
            session.hear_chunks(id, epoch, &heard, out);
        }
        if heard.ended {
            session.ended = Some(epoch);
            // No chunk is passed on after it, and no segment closes: nothing is read again for it.
            session.physiology = Physiology::default();
            session.comodulation = SessionComodulation::default();
        }
    }
}

impl Session {
    fn hear_events(&mut self, epoch: LogTime, heard: &Heard, out: &mut Vec<Told>) {
        let mut records: Vec<ComboRecord> = heard.ended.then_some(ComboRecord::End).into_iter().collect();
        let mut new = BTreeSet::new();
        for arrived in &heard.telemetry {
            let Record::Event(event) = &arrived.record else { continue };
            let member = self.combos.member(event);
            let known = self.combos.knows(&member) || !new.insert(member);
            let class = if known { Class::Duplicate } else { Class::Used };
            out.push(Told::Classified(classified(&arrived.raw, class, "")));
            if !known {
                out.extend(event.outcome().map(|outcome| Told::Outcome(outcome, None)));
                records.push(ComboRecord::Event(event.clone()));
            }
        }
        if records.is_empty() {
            return;
        }
        let mut changes = Vec::new();
        self.combos.on_epoch(epoch, records, &mut changes);
        out.extend(changes.into_iter().map(|(change, diff)| match change {
            ComboOutput::Event(row) => Told::Event(row, diff),
            ComboOutput::Combo(combo) => Told::Event(combo.row, diff),
        }));
    }

    fn hear_chunks(&mut self, id: Uuid, epoch: LogTime, heard: &Heard, out: &mut Vec<Told>) {
        let mut records = Vec::new();
        let mut raws = BTreeMap::new();
        for arrived in &heard.telemetry {
            if let Record::Physio(chunk) = &arrived.record {
                records
                    .push(PhysiologyRecord::Chunk { offset: arrived.raw.offset, chunk: chunk.chunk.clone() });
                raws.insert(arrived.raw.offset, &arrived.raw);
            }
        }
        let closed = heard.closed.iter().cloned();
        records.extend(closed.map(|(segment_id, timestamp_utc)| PhysiologyRecord::SegmentClosed {
            segment_id,
            timestamp_utc,
        }));
        if records.is_empty() {
            return;
        }
        // Every closed segment has a scan, be it an empty one: attribution waits for it.
        let mut scans: BTreeMap<String, Option<Scan>> =
            heard.closed.iter().map(|(segment, _)| (segment.clone(), None)).collect();
        let mut said = Vec::new();
        self.physiology.on_epoch(epoch, records, &mut said);
        for word in said {
            match word {
                PhysiologyOutput::Classified { offset, class } => {
                    let Some(raw) = raws.get(&offset) else { continue };
                    let reason = if class == Class::Late { "expired" } else { "" };
                    out.push(Told::Classified(classified(raw, class, reason)));
                    if class == Class::Late {
                        out.push(Told::Dead(DeadLetter::new(raw, Rejection::new(reason, "late"))));
                    }
                }
                PhysiologyOutput::Snapshots(snapshots) => {
                    let roles = [
                        (SubjectRole::Streamer, &snapshots.streamer),
                        (SubjectRole::Operator, &snapshots.operator),
                    ];
                    for (role, snapshot) in roles {
                        let row = snapshot.as_ref().map(|s| s.row(id, &snapshots.segment_id, role));
                        out.extend(row.map(Told::Physiology));
                    }
                    let segment = snapshots.segment_id.clone();
                    let mut evaluated = Vec::new();
                    self.comodulation.on_epoch(epoch, vec![snapshots], &mut evaluated);
                    out.extend(evaluated.iter().map(|index| Told::Comodulation(index.row(id))));
                    let peak = evaluated.iter().find_map(|index| index.sync_peak);
                    let scan = peak
                        .and_then(|peak| Real::finite(peak.corr).map(|corr| Scan { corr, lag: peak.lag }));
                    scans.insert(segment, scan);
                }
            }
        }
        out.extend(scans.into_iter().map(|(segment, scan)| Told::Scanned(id, segment, scan)));
    }
}
