//! The life of one session: waiting for its clock, running on its time line, ended.

use std::collections::BTreeMap;
use std::sync::Arc;

use lsie_schemas::codec::Rejection;
use lsie_schemas::log::LogRecord;
use lsie_schemas::record::{AudioChunk, ClockPoll, Control, Record, StartSession, Stream, VideoUnit};
use lsie_schemas::row::SegmentStreamRow;
use lsie_schemas::{EventTime, LogTime};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::audio::{AudioTrack, Spoken};
use super::closing::{self, Evidence, Progress, Rule};
use super::lineage::Lineage;
use super::sequence::{Seen, Sequence};
use super::{
    Aligned, Arrived, Class, ClosedSegment, FrameJob, Limits, SpeechJob, VoiceJob, classify, file, late,
};
use crate::drift::{DriftState, Poll, PollEffect};
use crate::reward::MEASURE_S;
use crate::segment_id::{SEGMENT_US, window};

/// Failed polls after which a session stops waiting for its clock.
const GIVE_UP_AFTER_FAILURES: u32 = 3;

/// One declared stream.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Track {
    sequence: Sequence,
    reached: Option<EventTime>,
    offset: Option<i64>,
    heard: LogTime,
    lineage: Lineage,
}

/// One session. What is serialised of it holds no media.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Session {
    start: StartSession,
    started_epoch: LogTime,
    drift: DriftState,
    /// Whether the clock is known well enough to place media.
    clock_ready: bool,
    /// What came before the anchor was known, in order, and when.
    #[serde(skip)]
    held: Vec<(LogTime, Arrived)>,
    anchor: Option<EventTime>,
    tracks: BTreeMap<Stream, Track>,
    audio: Option<AudioTrack>,
    stimuli: BTreeMap<Uuid, EventTime>,
    end: Option<LogTime>,
    settled: Option<EventTime>,
    next_ordinal: i64,
}

impl Session {
    pub(super) fn new(start: StartSession, epoch: LogTime) -> Session {
        let track = || Track {
            sequence: Sequence::default(),
            reached: None,
            offset: None,
            heard: epoch,
            lineage: Lineage::default(),
        };
        let tracks = start.streams.iter().map(|stream| (*stream, track())).collect();
        Session {
            start,
            started_epoch: epoch,
            drift: DriftState::default(),
            clock_ready: false,
            held: Vec::new(),
            anchor: None,
            tracks,
            audio: None,
            stimuli: BTreeMap::new(),
            end: None,
            settled: None,
            next_ordinal: 1,
        }
    }

    /// Takes a record of this session, which came at the epoch `seen`.
    pub(super) fn take(
        &mut self,
        epoch: LogTime,
        (seen, arrived): (LogTime, Arrived),
        limits: &Limits,
        out: &mut Vec<Aligned>,
    ) {
        match (&arrived.record, self.anchor) {
            (Record::Control(Control::ClockPoll(poll)), _) => {
                let effect = self.poll(&arrived.raw, poll);
                out.push(Aligned::Polled { session: self.start.session_id, effect });
                classify(&arrived.raw, Class::Used, "", out);
            }
            // What is missing is missing; that somebody said so changes nothing.
            (Record::Control(Control::Gap(_)), _) => classify(&arrived.raw, Class::Used, "", out),
            (Record::Control(Control::End(_)), _) => {
                let class = if self.end.is_some() { Class::Duplicate } else { Class::Used };
                self.end.get_or_insert(arrived.raw.log_time);
                classify(&arrived.raw, class, "", out);
            }
            (Record::Physio(_) | Record::Event(_) | Record::Outcome(_) | Record::Inference(_), _) => {
                pass_telemetry(arrived, limits, out);
            }
            (_, None) => self.held.push((seen, arrived)),
            (_, Some(anchor)) => self.place(epoch, anchor, (seen, arrived), limits, out),
        }
    }

    /// Judges the session at the end of an epoch; true when it is over.
    pub(super) fn end_of_epoch(&mut self, epoch: LogTime, limits: &Limits, out: &mut Vec<Aligned>) -> bool {
        let end_waited = self.end.is_some_and(|end| end.plus_ms(limits.allowed_lateness_ms) <= epoch);
        if self.anchor.is_none() {
            self.clock_ready |= end_waited || self.started_epoch.plus_ms(limits.start_wait_ms) <= epoch;
            self.fix_anchor(epoch, limits, out);
        }
        let end = self.end.map(LogTime::as_event);
        let passed = |track: &Track| track.reached >= end;
        let over =
            end.is_some() && (end_waited || (self.anchor.is_some() && self.tracks.values().all(passed)));
        if let Some(anchor) = self.anchor {
            self.settle(anchor, end.filter(|_| over), epoch, limits, out);
        }
        if let (true, Some(at)) = (over, end) {
            self.finish(at, out);
        }
        over
    }

    /// The session without media, and the records it must be given again.
    pub(super) fn without_media(&self) -> (Session, impl Iterator<Item = &(LogTime, Arrived)>) {
        let audio = self.audio.as_ref().map(AudioTrack::without_samples);
        // Not a clone of all but media: that would copy 30 s of sound first.
        let session = Session {
            start: self.start.clone(),
            started_epoch: self.started_epoch,
            drift: self.drift,
            clock_ready: self.clock_ready,
            held: Vec::new(),
            anchor: self.anchor,
            tracks: self.tracks.clone(),
            audio,
            stimuli: self.stimuli.clone(),
            end: self.end,
            settled: self.settled,
            next_ordinal: self.next_ordinal,
        };
        (session, self.held.iter())
    }

    /// The oldest epoch with a record that the session must be given again after a restore.
    pub(super) fn since(&self) -> Option<LogTime> {
        let held = self.held.iter().map(|(epoch, _)| *epoch);
        held.chain(self.audio.as_ref().and_then(AudioTrack::since)).min()
    }

    /// Holds a record again.
    pub(super) fn hold(&mut self, seen: LogTime, arrived: Arrived) {
        self.held.push((seen, arrived));
    }

    /// Takes audio again.
    pub(super) fn rebuild(&mut self, epoch: LogTime, chunk: &AudioChunk) {
        if let Some(audio) = &mut self.audio {
            audio.rebuild(epoch, chunk.seq, &chunk.pcm);
        }
    }

    /// Ends rebuilding.
    pub(super) fn rebuilt(&mut self) {
        if let Some(audio) = &mut self.audio {
            audio.rebuilt();
        }
    }

    fn poll(&mut self, raw: &LogRecord, poll: &ClockPoll) -> PollEffect {
        let observed = match poll.device_us {
            Some(device_us) => Poll::Success { host_before_us: poll.host_before_us, device_us },
            None => Poll::Failure,
        };
        let effect = self.drift.observe(raw.log_time.0 as i64, observed);
        self.clock_ready |= match observed {
            Poll::Success { .. } => true,
            Poll::Failure => self.drift.consecutive_failures() >= GIVE_UP_AFTER_FAILURES,
        };
        effect
    }

    /// Fixes the anchor at the earliest held sample, once the clock is known, and takes what was held.
    fn fix_anchor(&mut self, epoch: LogTime, limits: &Limits, out: &mut Vec<Aligned>) {
        if !self.clock_ready {
            return;
        }
        let held = std::mem::take(&mut self.held).into_iter();
        let (usable, unusable): (Vec<_>, Vec<_>) =
            held.partition(|(_, held)| self.refusal(held, limits).is_none());
        self.held = usable;
        for (_, arrived) in unusable {
            self.refuse(&arrived, limits, out);
        }
        let captured = self.held.iter().filter_map(|(_, held)| captured(held));
        let captured = captured.map(|span| self.drift.correct(span.0));
        let Some(first_us) = captured.min() else { return };
        let anchor = EventTime(first_us);
        self.anchor = Some(anchor);
        self.audio = self.tracks.contains_key(&Stream::Audio).then(|| AudioTrack::new(anchor));
        let experiment = self.start.experiment_id.clone();
        out.push(Aligned::Anchored { session: self.start.session_id, experiment, anchor });
        for held in std::mem::take(&mut self.held) {
            self.place(epoch, anchor, held, limits, out);
        }
    }

    /// Puts a record on the session's time line.
    fn place(
        &mut self,
        epoch: LogTime,
        anchor: EventTime,
        (seen, arrived): (LogTime, Arrived),
        limits: &Limits,
        out: &mut Vec<Aligned>,
    ) {
        if self.refuse(&arrived, limits, out) {
            return;
        }
        let Arrived { raw, record } = arrived;
        match record {
            Record::Audio(chunk) => self.place_audio((epoch, seen), anchor, &raw, &chunk, out),
            Record::Video(unit) => self.place_video((epoch, seen), anchor, raw, &unit, out),
            Record::Control(Control::Stimulus(stimulus)) => {
                let (action, note) = (stimulus.client_action_id, stimulus.operator_note);
                self.place_stimulus(anchor, &raw, action, note, out);
            }
            // None of these gets here: `take` and `Align` handle them.
            Record::Control(_)
            | Record::Experiment(_)
            | Record::Physio(_)
            | Record::Event(_)
            | Record::Outcome(_)
            | Record::Inference(_)
            | Record::Answered(_) => {
                classify(&raw, Class::Used, "", out);
            }
        }
    }

    fn place_audio(
        &mut self,
        (epoch, seen): (LogTime, LogTime),
        anchor: EventTime,
        raw: &LogRecord,
        chunk: &AudioChunk,
        out: &mut Vec<Aligned>,
    ) {
        let start = EventTime(self.drift.correct(chunk.capture_us));
        let end = start.plus_us((chunk.samples() as i64 * 1_000).div_euclid(48));
        let next = self.next_ordinal;
        let Some(track) = self.accept(Stream::Audio, chunk.seq, anchor, start, end, raw, out) else { return };
        track.advance(epoch, end, raw.offset);
        track.lineage.note(anchor, next, raw, (start, end));
        if let Some(audio) = &mut self.audio {
            audio.push(seen, chunk.seq, start, &chunk.pcm);
        }
        classify(raw, Class::Used, "", out);
    }

    fn place_video(
        &mut self,
        (epoch, seen): (LogTime, LogTime),
        anchor: EventTime,
        raw: LogRecord,
        unit: &VideoUnit,
        out: &mut Vec<Aligned>,
    ) {
        let capture = EventTime(self.drift.correct(unit.capture_us));
        let next = self.next_ordinal;
        let Some(track) = self.accept(Stream::Video, unit.seq, anchor, capture, capture, &raw, out) else {
            return;
        };
        track.advance(epoch, capture, raw.offset);
        track.lineage.note(anchor, next, &raw, (capture, capture));
        let session = self.start.session_id;
        let job = FrameJob { session, seq: unit.seq, capture, key_frame: unit.key_frame, seen, raw };
        out.push(Aligned::Frame(Arc::new(job)));
    }

    /// The track of a media record that may be used; otherwise the record has got its class.
    #[allow(clippy::too_many_arguments, reason = "the facts of one record, used here only")]
    fn accept(
        &mut self,
        stream: Stream,
        seq: u64,
        anchor: EventTime,
        start: EventTime,
        end: EventTime,
        raw: &LogRecord,
        out: &mut Vec<Aligned>,
    ) -> Option<&mut Track> {
        let closed = anchor.plus_us((self.next_ordinal - 1) * SEGMENT_US);
        let ended = self.end.map(LogTime::as_event);
        // `refuse` has seen that the stream is declared.
        let track = self.tracks.get_mut(&stream)?;
        match track.sequence.observe(seq) {
            Seen::Duplicate => classify(raw, Class::Duplicate, "", out),
            Seen::OutOfOrder => late(raw, "out_of_order", out),
            Seen::Jump => file(raw, Rejection::new("sequence_jump", "far ahead of its predecessor"), out),
            Seen::InOrder if end < anchor || (end == anchor && start < end) => {
                late(raw, "before_anchor", out)
            }
            Seen::InOrder if start < closed => late(raw, "segment_closed", out),
            Seen::InOrder if ended.is_some_and(|at| start >= at) => {
                // It tells that the stream has passed the end, and nothing else.
                track.reached = track.reached.max(ended);
                late(raw, "after_end", out);
            }
            Seen::InOrder => return Some(track),
        }
        None
    }

    fn place_stimulus(
        &mut self,
        anchor: EventTime,
        raw: &LogRecord,
        action: Uuid,
        note: Option<String>,
        out: &mut Vec<Aligned>,
    ) {
        let at = raw.log_time.as_event();
        let measuring_us = (MEASURE_S.1 * 1e6) as i64;
        let open =
            self.stimuli.values().any(|earlier| (earlier.0..earlier.plus_us(measuring_us).0).contains(&at.0));
        match () {
            _ if self.stimuli.contains_key(&action) => classify(raw, Class::Duplicate, "", out),
            _ if at < anchor => late(raw, "before_anchor", out),
            _ if self.end.is_some_and(|end| at >= end.as_event()) => late(raw, "after_end", out),
            _ if open => {
                file(raw, Rejection::new("measurement_open", "an earlier stimulus is measured"), out)
            }
            _ => {
                self.stimuli.insert(action, at);
                classify(raw, Class::Used, "", out);
                out.push(Aligned::Stimulus { session: self.start.session_id, action, at, note });
            }
        }
    }

    /// Moves settled event time on and closes the segments it has passed.
    fn settle(
        &mut self,
        anchor: EventTime,
        ended: Option<EventTime>,
        epoch: LogTime,
        limits: &Limits,
        out: &mut Vec<Aligned>,
    ) {
        let session = self.start.session_id;
        let progress: Vec<Progress> = self.tracks.iter().map(|(s, track)| track.progress(*s)).collect();
        let rules = closing::settled(&progress, ended, epoch, limits);
        let until = rules.iter().map(|rule| rule.until).max().max(self.settled);
        if let Some(until) = until.filter(|until| self.settled < Some(*until)) {
            self.settled = Some(until);
            out.push(Aligned::Settled { session, until });
        }
        while let Some(span) = window(anchor.0, self.next_ordinal) {
            let (start, end) = (EventTime(span.start_us), EventTime(span.end_us));
            if ended.is_some_and(|at| start >= at) {
                break;
            }
            let full = rules.iter().find(|rule| rule.until >= end);
            let cut = || rules.iter().find(|rule| rule.rule == Rule::Ended);
            let Some(decided) = full.or_else(cut) else { break };
            let (rule, evidence) = (decided.rule, decided.evidence);
            let last = ended.is_some_and(|at| end >= at);
            self.close(anchor, (rule, evidence), last, out);
        }
    }

    fn close(
        &mut self,
        anchor: EventTime,
        (rule, evidence): (Rule, Option<Evidence>),
        last: bool,
        out: &mut Vec<Aligned>,
    ) {
        let (session, ordinal) = (self.start.session_id, self.next_ordinal);
        self.next_ordinal += 1;
        let (audio, spoken) = self.audio.as_mut().map(|track| track.close(ordinal, last)).unzip();
        let audio = audio.unwrap_or_default();
        out.extend(spoken.map(|spoken| speech(session, ordinal, anchor, spoken)));
        let start = anchor.plus_us((ordinal - 1) * SEGMENT_US);
        let inside = |at: &EventTime| (start.0..start.plus_us(SEGMENT_US).0).contains(&at.0);
        if let Some(stimulus) = self.stimuli.values().copied().filter(inside).min() {
            // 16 samples a millisecond.
            let start = start.plus_us(audio.first as i64 * 1_000 / 16);
            let job = VoiceJob { session, ordinal, start, stimulus, sound: audio.sound };
            out.push(Aligned::Voice(Arc::new(job)));
        }
        let streams =
            self.tracks.iter_mut().map(|(stream, track)| track.row(session, ordinal, *stream)).collect();
        out.push(Aligned::Closed(ClosedSegment {
            session,
            ordinal,
            anchor,
            rule,
            evidence,
            streams,
            audio_samples: audio.samples,
            audio_sha256: audio.sha256,
        }));
    }

    fn finish(&mut self, at: EventTime, out: &mut Vec<Aligned>) {
        for (_, arrived) in std::mem::take(&mut self.held) {
            file(&arrived.raw, Rejection::new("no_media", "the session ended before its first sample"), out);
        }
        self.ask_about_the_rest(out);
        out.push(Aligned::Ended { session: self.start.session_id, at });
    }

    /// A segment that was closed while another was expected has left the sound behind its last pause; it is
    /// asked about as if that segment had begun.
    fn ask_about_the_rest(&mut self, out: &mut Vec<Aligned>) {
        let (session, ordinal) = (self.start.session_id, self.next_ordinal);
        let rest = self.audio.as_mut().filter(|audio| audio.carries());
        let rest = rest.map(|audio| audio.close(ordinal, true).1).filter(|rest| !rest.sound.is_empty());
        if let (Some(anchor), Some(rest)) = (self.anchor, rest) {
            out.push(speech(session, ordinal, anchor, rest));
        }
    }

    /// Why a media record can have no place on any time line of this session: its stream is not declared, or
    /// its capture time is nowhere near the log's. Ahead of it by more than the guard it must move nothing;
    /// so old that `max_wait` has closed whatever it could belong to, it is late.
    fn refusal(&self, arrived: &Arrived, limits: &Limits) -> Option<Refusal> {
        let (first_us, last_us, stream) = captured(arrived)?;
        let logged = arrived.raw.log_time;
        let earliest = LogTime(logged.0.saturating_sub(limits.max_wait_ms)).as_event();
        let latest = logged.plus_ms(limits.future_guard_ms).as_event();
        match () {
            _ if !self.tracks.contains_key(&stream) => Some(Refusal::Undeclared(stream)),
            _ if EventTime(self.drift.correct(last_us)) > latest => Some(Refusal::Future),
            _ if EventTime(self.drift.correct(first_us)) < earliest => Some(Refusal::TooOld),
            _ => None,
        }
    }

    /// Gives a record its class if it must be refused; true if so.
    fn refuse(&self, arrived: &Arrived, limits: &Limits, out: &mut Vec<Aligned>) -> bool {
        let raw = &arrived.raw;
        match self.refusal(arrived, limits) {
            None => return false,
            Some(Refusal::Future) => file(raw, Rejection::new("future", "captured ahead of the log"), out),
            Some(Refusal::Undeclared(s)) => file(raw, Rejection::new("undeclared_stream", s.name()), out),
            Some(Refusal::TooOld) => late(raw, "too_old", out),
        }
        true
    }
}

fn speech(session: Uuid, ordinal: i64, anchor: EventTime, spoken: Spoken) -> Aligned {
    let Spoken { from, until, start, sound, recipe } = spoken;
    let sound = sound.into();
    Aligned::Speech(Arc::new(SpeechJob { session, ordinal, anchor, from, until, start, sound, recipe }))
}

/// Passes on what brings its own time, unless that is ahead of the log by more than the guard; and answers, whose
/// time is that of what was asked.
pub(super) fn pass_telemetry(arrived: Arrived, limits: &Limits, out: &mut Vec<Aligned>) {
    let at = match &arrived.record {
        Record::Inference(_) => return out.push(Aligned::Answer(Arc::new(arrived))),
        Record::Physio(chunk) => chunk.chunk.window_end_utc,
        Record::Event(event) => event.timestamp_utc,
        Record::Outcome(outcome) => outcome.outcome_time_utc,
        _ => return,
    };
    if at > arrived.raw.log_time.plus_ms(limits.future_guard_ms).as_event() {
        return file(&arrived.raw, Rejection::new("future", "its own time is ahead of the log"), out);
    }
    out.push(Aligned::Telemetry(Arc::new(arrived)));
}

/// Why a media record can have no place.
enum Refusal {
    Future,
    TooOld,
    Undeclared(Stream),
}

impl Track {
    fn advance(&mut self, epoch: LogTime, to: EventTime, offset: i64) {
        self.reached = self.reached.max(Some(to));
        self.offset = Some(offset);
        self.heard = epoch;
    }

    /// What of the stream went into a segment that closes, and how far the stream had come.
    fn row(&mut self, session_id: Uuid, ordinal: i64, stream: Stream) -> SegmentStreamRow {
        let fed = self.lineage.close(ordinal);
        SegmentStreamRow {
            session_id,
            ordinal,
            stream: stream.name().into(),
            topic: stream.topic().name().into(),
            partition: fed.map(|fed| fed.partition.into()),
            records: fed.map_or(0, |fed| fed.records),
            first_offset: fed.map(|fed| fed.offsets.0),
            last_offset: fed.map(|fed| fed.offsets.1),
            first_event_time: fed.map(|fed| fed.times.0),
            last_event_time: fed.map(|fed| fed.times.1),
            reached_offset: self.offset,
            reached_event_time: self.reached,
            heard_at: self.heard.as_event(),
        }
    }

    fn progress(&self, stream: Stream) -> Progress {
        let evidence = Evidence { stream, offset: self.offset, reached: self.reached };
        Progress { evidence, heard: self.heard }
    }
}

/// Device capture time of a media record, first and last sample in µs, and its stream.
fn captured(arrived: &Arrived) -> Option<(i64, i64, Stream)> {
    match &arrived.record {
        Record::Audio(chunk) => {
            let length_us = (chunk.samples() as i64 * 1_000).div_euclid(48);
            Some((chunk.capture_us, chunk.capture_us.saturating_add(length_us), Stream::Audio))
        }
        Record::Video(unit) => Some((unit.capture_us, unit.capture_us, Stream::Video)),
        Record::Control(_)
        | Record::Experiment(_)
        | Record::Physio(_)
        | Record::Event(_)
        | Record::Outcome(_)
        | Record::Inference(_)
        | Record::Answered(_) => None,
    }
}
