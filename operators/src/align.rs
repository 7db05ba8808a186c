//! Aligns the records of all sessions of a worker: drift correction, order, resampling, session life, and the
//! closing of segments. A pure function of the records of completed epochs.

mod audio;
mod closing;
mod lineage;
mod pause;
mod sequence;
mod session;
mod windows;

use std::collections::{BTreeMap, BTreeSet};

use lsie_schemas::codec::Rejection;
use lsie_schemas::log::{LogRecord, TopicPartition};
use lsie_schemas::record::{
    Answered, Control, DeadLetter, ExperimentRecord, HEADER_ACTION, Record, StartSession,
};
use lsie_schemas::row::{ActionRow, SegmentStreamRow};
use lsie_schemas::{EventTime, LogTime, Topic};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use audio::{Making, Recipe};
pub use closing::{Evidence, Rule};
use session::Session;

use crate::context::{self, Visit};
use crate::drift::PollEffect;
use crate::logic::{Keyed, Logic, apart};

/// The limits of DESIGN §3, all in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Log time to wait for the first clock poll before media are taken as they are.
    pub start_wait_ms: u64,
    /// How far every stream must be past a segment's end.
    pub allowed_lateness_ms: u64,
    /// Log time of silence after which a stream no longer holds its session.
    pub stall_timeout_ms: u64,
    /// Log time past a segment's end at which it closes whatever is missing.
    pub max_wait_ms: u64,
    /// How far a time may lie ahead of the log's before the record is filed.
    pub future_guard_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            start_wait_ms: 5_000,
            allowed_lateness_ms: 2_000,
            stall_timeout_ms: 10_000,
            max_wait_ms: 60_000,
            future_guard_ms: 10_000,
        }
    }
}

/// How long an action on an experiment is known for a duplicate: `behaviour.md` §5.
const ACTIONS_KEPT_MS: u64 = 86_400_000;

/// A decoded record together with the raw one, which a dead letter would need.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrived {
    /// As the log handed it out.
    pub raw: LogRecord,
    /// As decoded.
    pub record: Record,
}

/// What became of a record (law 4): every record gets exactly one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Classified {
    /// The session its key names.
    pub session: Option<Uuid>,
    /// The topic.
    pub topic: Topic,
    /// The class.
    pub class: Class,
    /// Why, for `late` and `filed`; empty otherwise.
    pub reason: String,
}

/// The classes of law 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Class {
    /// It reached a result.
    Used,
    /// It had been there before.
    Duplicate,
    /// It came when its time was over.
    Late,
    /// It could not be used.
    Filed,
}

impl Class {
    /// Its name in rows.
    pub fn name(self) -> &'static str {
        match self {
            Class::Used => "used",
            Class::Duplicate => "duplicate",
            Class::Late => "late",
            Class::Filed => "filed",
        }
    }
}

/// A video frame to decode and measure; its class is decided by the decoder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameJob {
    /// The session.
    pub session: Uuid,
    /// Its sequence number.
    pub seq: u64,
    /// Corrected capture time.
    pub capture: EventTime,
    /// Whether decoding can start here.
    pub key_frame: bool,
    /// The epoch at which the record came.
    pub seen: LogTime,
    /// The record, whose value is the access unit.
    pub raw: LogRecord,
}

/// The voice of a closed segment with a stimulus, to measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoiceJob {
    /// The session.
    pub session: Uuid,
    /// The segment's ordinal.
    pub ordinal: i64,
    /// Capture time of the first sample.
    pub start: EventTime,
    /// The first stimulus in the segment.
    pub stimulus: EventTime,
    /// 16 kHz samples from there on, gaps as silence.
    pub sound: Vec<i16>,
}

/// The sound to transcribe when a segment closes: from the pause at which the segment before was cut to the
/// last pause in this one, or to its end when nothing follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpeechJob {
    /// The session.
    pub session: Uuid,
    /// The segment's ordinal.
    pub ordinal: i64,
    /// The session's anchor.
    pub anchor: EventTime,
    /// From where on nothing has been asked about before.
    pub from: EventTime,
    /// Up to where this asks.
    pub until: EventTime,
    /// Time of the first sample.
    pub start: EventTime,
    /// 16 kHz samples, gaps as silence, without the zeros in front and behind; empty when there is no sound.
    pub sound: std::sync::Arc<[i16]>,
    /// How to make the sound again from the records.
    pub recipe: Recipe,
}

/// A closed segment, as far as the streams tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedSegment {
    /// The session.
    pub session: Uuid,
    /// 1 for the first.
    pub ordinal: i64,
    /// The session's anchor.
    pub anchor: EventTime,
    /// Why it closed.
    pub rule: Rule,
    /// Which stream decided.
    pub evidence: Option<Evidence>,
    /// What of each declared stream went into it, and how far the stream had come.
    pub streams: Vec<SegmentStreamRow>,
    /// 16 kHz samples in its window.
    pub audio_samples: i64,
    /// SHA-256 of these samples, little-endian, lowercase hex: the input hash of speech and acoustics.
    pub audio_sha256: String,
}

/// What alignment says about a session, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Aligned {
    /// A session began.
    Started {
        /// The record.
        start: StartSession,
        /// Its log time.
        at: EventTime,
    },
    /// The clock of its device was polled.
    Polled {
        /// The session.
        session: Uuid,
        /// What that did.
        effect: PollEffect,
    },
    /// Its time line is fixed; an arm can be selected.
    Anchored {
        /// The session.
        session: Uuid,
        /// Its experiment.
        experiment: String,
        /// Corrected capture time of its first sample.
        anchor: EventTime,
    },
    /// A frame to measure.
    Frame(std::sync::Arc<FrameJob>),
    /// The voice of a segment that closes at the same epoch.
    Voice(std::sync::Arc<VoiceJob>),
    /// An accepted stimulus.
    Stimulus {
        /// The session.
        session: Uuid,
        /// The action that sent it.
        action: Uuid,
        /// Its time.
        at: EventTime,
        /// The operator's note.
        note: Option<String>,
    },
    /// A chunk, event or outcome of a session that has begun. It brings its own time: it takes no part in the
    /// closing of segments, and has no class yet.
    Telemetry(std::sync::Arc<Arrived>),
    /// The sound to transcribe of a segment that closes at the same epoch, of every session that has audio.
    Speech(std::sync::Arc<SpeechJob>),
    /// The answer of a model, of a session that has begun; whether it was asked for is not known here, so that it
    /// has no class yet.
    Answer(std::sync::Arc<Arrived>),
    /// A chunk of audio that is seen again after a restart, for whoever has to make sound of it again.
    Sound(std::sync::Arc<Arrived>),
    /// Everything of the session before this event time is there.
    Settled {
        /// The session.
        session: Uuid,
        /// The event time.
        until: EventTime,
    },
    /// A segment closed.
    Closed(ClosedSegment),
    /// The session ended; nothing of it follows but answers, outcomes, late events, `Classified` and `Dead`.
    Ended {
        /// The session.
        session: Uuid,
        /// The end record's log time.
        at: EventTime,
    },
    /// An experiment was administered.
    Experiment {
        /// Partition and offset of the record: the order of changes.
        order: (i32, i64),
        /// Its log time.
        at: LogTime,
        /// The change.
        record: ExperimentRecord,
    },
    /// A web page was visited; whether for the first time is not known here, so that the answer has no class yet.
    Visited(Box<Visit>),
    /// Someone asked for an action, whatever comes of it.
    Asked(Box<ActionRow>),
    /// What became of a record.
    Classified(Classified),
    /// A record that could not be used.
    Dead(DeadLetter),
}

/// All sessions of one worker.
#[derive(Debug)]
pub struct Align {
    limits: Limits,
    sessions: BTreeMap<Uuid, Session>,
    /// Sessions that have ended, and at which epoch.
    ended: BTreeMap<Uuid, LogTime>,
    /// Records whose session is not known yet: topics are fetched at their own pace, so media can overtake
    /// the start record by an epoch or two.
    waiting: BTreeMap<Uuid, Vec<(LogTime, Arrived)>>,
    /// Actions on experiments, and at which epoch: a repeated one is a duplicate for a day.
    acted: BTreeMap<Uuid, LogTime>,
    /// What a restored value must see again; empty in one that runs.
    wanted: Wanted,
}

/// Records that a snapshot does not hold, for they may be media.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Wanted {
    /// The oldest epoch of them.
    since: Option<LogTime>,
    records: BTreeSet<(TopicPartition, i64)>,
}

/// What of alignment a checkpoint may hold.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct AlignSnapshot {
    sessions: BTreeMap<Uuid, Session>,
    ended: BTreeMap<Uuid, LogTime>,
    acted: BTreeMap<Uuid, LogTime>,
    wanted: Wanted,
}

impl Logic for Align {
    type Record = Arrived;
    type Output = Aligned;
    type Snapshot = AlignSnapshot;

    /// Words of one session are in their order: its start, its anchor, what was placed on its time line, what
    /// is settled, what closed, its end.
    fn on_epoch(&mut self, epoch: LogTime, mut records: Vec<Arrived>, out: &mut Vec<Aligned>) {
        self.end_rebuilding();
        records.sort_by_key(place);
        for arrived in records {
            self.take(epoch, arrived, out);
        }
        let mut over = Vec::new();
        for (id, session) in &mut self.sessions {
            if session.end_of_epoch(epoch, &self.limits, out) {
                over.push(*id);
            }
        }
        for id in over {
            self.sessions.remove(&id);
            self.ended.insert(id, epoch);
        }
        self.file_unknown(epoch, out);
    }

    fn snapshot(&self) -> AlignSnapshot {
        let mut wanted = Wanted::default();
        let mut want = |(epoch, arrived): &(LogTime, Arrived)| {
            wanted.since = Some(wanted.since.map_or(*epoch, |since| since.min(*epoch)));
            wanted.records.insert(place(arrived));
        };
        self.waiting.values().flatten().for_each(&mut want);
        let mut sessions = BTreeMap::new();
        for (id, session) in &self.sessions {
            let (session, held) = session.without_media();
            held.for_each(&mut want);
            sessions.insert(*id, session);
        }
        AlignSnapshot { sessions, ended: self.ended.clone(), acted: self.acted.clone(), wanted }
    }

    fn restore(&mut self, snapshot: AlignSnapshot) {
        let AlignSnapshot { sessions, ended, acted, wanted } = snapshot;
        *self = Align { sessions, ended, acted, wanted, ..Align::new(self.limits) };
    }

    fn rewind(&self) -> Option<LogTime> {
        let sessions = self.sessions.values().filter_map(Session::since);
        let waiting = self.waiting.values().flatten().map(|(epoch, _)| *epoch);
        sessions.chain(waiting).chain(self.wanted.since).min()
    }

    fn rebuild(&mut self, epoch: LogTime, mut records: Vec<Arrived>, again: &mut Vec<Aligned>) {
        records.sort_by_key(place);
        for arrived in records {
            let Some(id) = arrived.record.session() else { continue };
            again.extend(said_again(epoch, id, &arrived));
            let wanted = self.wanted.records.remove(&place(&arrived));
            match (self.sessions.get_mut(&id), &arrived.record) {
                (Some(session), _) if wanted => session.hold(epoch, arrived),
                (Some(session), Record::Audio(chunk)) => session.rebuild(epoch, chunk),
                (None, _) if wanted => self.waiting.entry(id).or_default().push((epoch, arrived)),
                _ => {}
            }
        }
    }
}

/// What decoders and physiology take again; they know by the offset what they had taken.
fn said_again(epoch: LogTime, session: Uuid, arrived: &Arrived) -> Option<Aligned> {
    match &arrived.record {
        Record::Video(unit) => Some(Aligned::Frame(std::sync::Arc::new(FrameJob {
            session,
            seq: unit.seq,
            capture: EventTime(unit.capture_us),
            key_frame: unit.key_frame,
            seen: epoch,
            raw: arrived.raw.clone(),
        }))),
        Record::Physio(_) => Some(Aligned::Telemetry(std::sync::Arc::new(arrived.clone()))),
        _ => None,
    }
}

impl Keyed for AlignSnapshot {
    type Key = Uuid;

    fn apart(self) -> Vec<(Option<Uuid>, AlignSnapshot)> {
        let AlignSnapshot { sessions, ended, acted, wanted } = self;
        let mut pieces = apart(sessions, |sessions| AlignSnapshot { sessions, ..AlignSnapshot::default() });
        pieces.extend(apart(ended, |ended| AlignSnapshot { ended, ..AlignSnapshot::default() }));
        // Which records are wanted is asked by their place, and an action by its own id, so a worker may know of
        // others' too.
        pieces.push((None, AlignSnapshot { acted, wanted, ..AlignSnapshot::default() }));
        pieces
    }

    fn join(&mut self, piece: AlignSnapshot) {
        self.sessions.extend(piece.sessions);
        self.ended.extend(piece.ended);
        for (action, at) in piece.acted {
            let known = self.acted.entry(action).or_insert(at);
            *known = at.max(*known);
        }
        self.wanted.records.extend(piece.wanted.records);
        let since = [self.wanted.since, piece.wanted.since];
        self.wanted.since = since.into_iter().flatten().min();
    }
}

/// Where a record stands in canonical order: topic rank, partition, offset.
fn place(arrived: &Arrived) -> (TopicPartition, i64) {
    (arrived.raw.at, arrived.raw.offset)
}

impl Align {
    /// No sessions yet.
    pub fn new(limits: Limits) -> Align {
        Align {
            limits,
            sessions: BTreeMap::new(),
            ended: BTreeMap::new(),
            waiting: BTreeMap::new(),
            acted: BTreeMap::new(),
            wanted: Wanted::default(),
        }
    }

    fn end_rebuilding(&mut self) {
        self.wanted = Wanted::default();
        self.sessions.values_mut().for_each(Session::rebuilt);
    }

    /// Sessions that run now.
    pub fn running(&self) -> usize {
        self.sessions.len()
    }

    fn take(&mut self, epoch: LogTime, arrived: Arrived, out: &mut Vec<Aligned>) {
        let guard = epoch.plus_ms(self.limits.future_guard_ms);
        if arrived.raw.log_time > guard {
            let ahead = arrived.raw.log_time.0 - epoch.0;
            return file(&arrived.raw, Rejection::new("future", format!("{ahead} ms ahead of the log")), out);
        }
        if let Record::Experiment(record) = arrived.record {
            if self.acted_before(epoch, &arrived.raw) {
                return classify(&arrived.raw, Class::Duplicate, "", out);
            }
            classify(&arrived.raw, Class::Used, "", out);
            let order = (arrived.raw.at.partition, arrived.raw.offset);
            return out.push(Aligned::Experiment { order, at: arrived.raw.log_time, record });
        }
        if let Record::Answered(answered) = arrived.record {
            return self.take_answer(epoch, &arrived.raw, answered, out);
        }
        let Some(id) = arrived.record.session() else { return };
        if let Some(at) = self.ended.get(&id) {
            return self.take_after_end(*at, epoch, arrived, out);
        }
        match (self.sessions.get_mut(&id), &arrived.record) {
            (Some(_), Record::Control(Control::Start(_))) => {
                classify(&arrived.raw, Class::Duplicate, "", out)
            }
            (Some(session), _) => session.take(epoch, (epoch, arrived), &self.limits, out),
            (None, Record::Control(Control::Start(start))) => {
                classify(&arrived.raw, Class::Used, "", out);
                let at = arrived.raw.log_time.as_event();
                out.push(Aligned::Started { start: start.clone(), at });
                let mut session = Session::new(start.clone(), epoch);
                for earlier in self.waiting.remove(&id).unwrap_or_default() {
                    session.take(epoch, earlier, &self.limits, out);
                }
                self.sessions.insert(id, session);
            }
            (None, _) => self.waiting.entry(id).or_default().push((epoch, arrived)),
        }
    }

    /// Visits of pages are told on, with their session or without; that a hydration ended changes nothing.
    fn take_answer(&self, epoch: LogTime, raw: &LogRecord, answered: Answered, out: &mut Vec<Aligned>) {
        let Answered::Enriched(answer) = answered else { return classify(raw, Class::Used, "", out) };
        let at = answer.scraped_at_utc;
        if at > raw.log_time.plus_ms(self.limits.future_guard_ms).as_event() {
            return file(raw, Rejection::new("future", "its own time is ahead of the log"), out);
        }
        if context::is_late(at, epoch) {
            return late(raw, "too_old", out);
        }
        out.push(Aligned::Visited(Box::new(Visit::of((raw.at.partition, raw.offset), answer))));
    }

    /// Whether an action on an experiment was seen before; a session's actions are told apart by the session.
    fn acted_before(&mut self, epoch: LogTime, raw: &LogRecord) -> bool {
        let named = raw.header(HEADER_ACTION).and_then(|id| std::str::from_utf8(id).ok());
        let Some(action) = named.and_then(lsie_schemas::codec::uuid) else { return false };
        self.acted.retain(|_, at| at.plus_ms(ACTIONS_KEPT_MS) > epoch);
        self.acted.insert(action, epoch).is_some()
    }

    /// Outcomes may come days after their session, and answers whenever a model has got there; events until
    /// `max_wait` after its end.
    fn take_after_end(&self, at: LogTime, epoch: LogTime, arrived: Arrived, out: &mut Vec<Aligned>) {
        let awaited = match &arrived.record {
            Record::Outcome(_) | Record::Inference(_) => true,
            Record::Event(_) => epoch < at.plus_ms(self.limits.max_wait_ms),
            _ => false,
        };
        match awaited {
            true => session::pass_telemetry(arrived, &self.limits, out),
            false => late(&arrived.raw, "session_ended", out),
        }
    }

    fn file_unknown(&mut self, epoch: LogTime, out: &mut Vec<Aligned>) {
        let wait_ms = self.limits.start_wait_ms;
        self.waiting.retain(|_, records| {
            let due = records.partition_point(|(since, _)| since.plus_ms(wait_ms) <= epoch);
            for (_, arrived) in records.drain(..due) {
                let why = Rejection::new("unknown_session", "no start record names this session");
                file(&arrived.raw, why, out);
            }
            !records.is_empty()
        });
    }
}

pub(crate) fn classify(raw: &LogRecord, class: Class, reason: &str, out: &mut Vec<Aligned>) {
    out.push(Aligned::Classified(classified(raw, class, reason)));
}

/// The class of a record.
pub fn classified(raw: &LogRecord, class: Class, reason: &str) -> Classified {
    let session = lsie_schemas::codec::session_of_key(raw);
    Classified { session, topic: raw.at.topic, class, reason: reason.to_string() }
}

pub(crate) fn file(raw: &LogRecord, rejection: Rejection, out: &mut Vec<Aligned>) {
    classify(raw, Class::Filed, &rejection.reason, out);
    out.push(Aligned::Dead(DeadLetter::new(raw, rejection)));
}

pub(crate) fn late(raw: &LogRecord, reason: &str, out: &mut Vec<Aligned>) {
    classify(raw, Class::Late, reason, out);
    out.push(Aligned::Dead(DeadLetter::new(raw, Rejection::new(reason, "late"))));
}

#[cfg(test)]
mod tests;
