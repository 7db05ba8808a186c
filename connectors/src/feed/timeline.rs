//! The records of one session in the order in which a live capture would have appended them.

use std::iter::Peekable;
use std::sync::Arc;

use bytes::Bytes;
use lsie_schemas::LogTime;
use lsie_schemas::log::NewRecord;
use lsie_schemas::record::{
    AudioChunk, ClockPoll, Control, EndSession, StartSession, Stimulus, Stream, Subjects, VideoUnit,
};
use uuid::Uuid;

use super::ids;
use super::recording::{AUDIO_BYTES_PER_S, FPS, Recording};

/// From the end of its capture to a media record's creation time.
const LATENCY_US: u64 = 20_000;
/// Length of an audio chunk.
const CHUNK_US: u64 = 100_000;
const CHUNK_BYTES: usize = (AUDIO_BYTES_PER_S * CHUNK_US / 1_000_000) as usize;
/// How long a poll of the device takes.
const POLL_US: i64 = 2_000;
/// The experiment of sessions that name none.
const DEFAULT_EXPERIMENT: &str = "greeting_line_v1";

/// How a recording becomes a session.
#[derive(Clone, Debug)]
pub struct FeedOptions {
    /// The host's clock at time 0 of the feed.
    pub base: LogTime,
    /// When the session begins, in milliseconds of the feed.
    pub start_ms: u64,
    /// The session's id; [`session_id`](super::session_id) makes one.
    pub session_id: Uuid,
    /// Whether stimuli have the action ids of the script. Each may be used by one session only, so that
    /// further sessions of the same recording derive theirs from the session id.
    pub script_actions: bool,
    /// The experiment; `None`: the script's.
    pub experiment_id: Option<String>,
    /// Whose wearables belong to the session.
    pub subjects: Subjects,
}

impl FeedOptions {
    /// A session that begins at `base`, with the script's actions and experiment.
    pub fn new(base: LogTime, session_id: Uuid) -> FeedOptions {
        let subjects = Subjects::default();
        FeedOptions { base, start_ms: 0, session_id, script_actions: true, experiment_id: None, subjects }
    }
}

/// A record and when it is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimedRecord {
    /// Milliseconds of the feed; the record's creation time is the feed's base plus this.
    pub at_ms: u64,
    /// The record.
    pub record: NewRecord,
}

/// The timeline of a session, made as it is read.
pub fn timeline(recording: Arc<Recording>, options: FeedOptions) -> Timeline {
    let control = Controls::new(&recording, &options).sorted().into_iter().peekable();
    Timeline { recording, options, control, next_chunk: 0, next_frame: 0 }
}

/// An iterator over the records of one session, by due time, then control, audio, video.
pub struct Timeline {
    recording: Arc<Recording>,
    options: FeedOptions,
    control: Peekable<std::vec::IntoIter<(u64, Control)>>,
    next_chunk: usize,
    next_frame: usize,
}

impl Iterator for Timeline {
    type Item = TimedRecord;

    fn next(&mut self) -> Option<TimedRecord> {
        let control = self.control.peek().map(|(us, _)| *us);
        let audio = self.chunk(self.next_chunk).map(|pcm| capture_end_us(self.next_chunk, &pcm) + LATENCY_US);
        let video = self.recording.units.get(self.next_frame).map(|_| frame_us(self.next_frame) + LATENCY_US);
        let due = [control, audio, video].into_iter().flatten().min()?;
        if control == Some(due) {
            let (_, control) = self.control.next()?;
            Some(self.timed(due, |time| control.encode(time)))
        } else if audio == Some(due) {
            let chunk = self.audio()?;
            Some(self.timed(due, |time| chunk.encode(time)))
        } else {
            let unit = self.video()?;
            Some(self.timed(due, |time| unit.encode(time)))
        }
    }
}

impl Timeline {
    fn timed(&self, due_us: u64, encode: impl FnOnce(Option<LogTime>) -> NewRecord) -> TimedRecord {
        let at_ms = self.options.start_ms + due_us / 1000;
        TimedRecord { at_ms, record: encode(Some(self.options.base.plus_ms(at_ms))) }
    }

    fn chunk(&self, index: usize) -> Option<Bytes> {
        let start = index * CHUNK_BYTES;
        let end = (start + CHUNK_BYTES).min(self.recording.pcm.len());
        (start < end).then(|| self.recording.pcm.slice(start..end))
    }

    fn audio(&mut self) -> Option<AudioChunk> {
        let index = self.next_chunk;
        let pcm = self.chunk(index)?;
        self.next_chunk += 1;
        let capture_us = self.device_us(index as u64 * CHUNK_US);
        Some(AudioChunk { session_id: self.options.session_id, seq: index as u64, capture_us, pcm })
    }

    fn video(&mut self) -> Option<VideoUnit> {
        let index = self.next_frame;
        let unit = self.recording.units.get(index)?.clone();
        self.next_frame += 1;
        let capture_us = self.device_us(frame_us(index));
        let (session_id, seq) = (self.options.session_id, index as u64);
        Some(VideoUnit { session_id, seq, capture_us, key_frame: unit.key_frame, unit: unit.bytes })
    }

    fn device_us(&self, elapsed_us: u64) -> i64 {
        self.recording.script.device_clock.read(start_us(&self.options), elapsed_us as i64)
    }
}

/// When a frame is captured, after the session's start.
fn frame_us(index: usize) -> u64 {
    index as u64 * 1_000_000 / FPS
}

/// When the last sample of a chunk is captured.
fn capture_end_us(index: usize, pcm: &[u8]) -> u64 {
    index as u64 * CHUNK_US + pcm.len() as u64 * 1_000_000 / AUDIO_BYTES_PER_S
}

/// The session's start on the host's clock.
fn start_us(options: &FeedOptions) -> i64 {
    options.base.plus_ms(options.start_ms).as_event().0
}

/// The control records of a session.
struct Controls<'r> {
    recording: &'r Recording,
    options: &'r FeedOptions,
    records: Vec<(u64, Control)>,
}

impl<'r> Controls<'r> {
    fn new(recording: &'r Recording, options: &'r FeedOptions) -> Self {
        let mut controls = Controls { recording, options, records: Vec::new() };
        controls.start();
        controls.polls();
        controls.stimuli();
        controls.end();
        controls
    }

    /// By time; of the same instant in the order in which they were made.
    fn sorted(mut self) -> Vec<(u64, Control)> {
        self.records.sort_by_key(|(us, _)| *us);
        self.records
    }

    fn start(&mut self) {
        let script = &self.recording.script;
        let experiment = self.options.experiment_id.clone().or_else(|| script.experiment_id.clone());
        let start = StartSession {
            session_id: self.options.session_id,
            streams: vec![Stream::Audio, Stream::Video],
            subjects: self.options.subjects.clone(),
            watched_account: None,
            source_url: format!("replay:{}", self.recording.name),
            experiment_id: experiment.unwrap_or_else(|| DEFAULT_EXPERIMENT.into()),
            client_action_id: Some(ids::action_id(self.options.session_id, "start")),
        };
        self.records.push((0, Control::Start(start)));
    }

    fn polls(&mut self) {
        let clock = &self.recording.script.device_clock;
        let interval = (clock.poll_interval_s * 1e6).round() as u64;
        let start = start_us(self.options);
        let mut elapsed = 0;
        while elapsed < self.recording.duration_us() {
            let host_before_us = start.saturating_add(elapsed as i64);
            let poll = ClockPoll {
                session_id: self.options.session_id,
                host_before_us,
                host_after_us: host_before_us.saturating_add(POLL_US),
                device_us: Some(clock.read(start, elapsed as i64)),
            };
            self.records.push((elapsed, Control::ClockPoll(poll)));
            elapsed += interval;
        }
    }

    fn stimuli(&mut self) {
        let session_id = self.options.session_id;
        for (i, stimulus) in self.recording.script.stimuli.iter().enumerate() {
            let at = stimulus.elapsed_us();
            let scripted = stimulus.client_action_id.filter(|_| self.options.script_actions);
            let client_action_id =
                scripted.unwrap_or_else(|| ids::action_id(session_id, &format!("stimulus/{i}")));
            let (operator_note, received_at_utc) = (None, None);
            let record = Stimulus { session_id, client_action_id, operator_note, received_at_utc };
            self.records.push((at, Control::Stimulus(record)));
        }
    }

    fn end(&mut self) {
        let client_action_id = Some(ids::action_id(self.options.session_id, "end"));
        let end = EndSession { session_id: self.options.session_id, client_action_id };
        self.records.push((self.recording.duration_us(), Control::End(end)));
    }
}
