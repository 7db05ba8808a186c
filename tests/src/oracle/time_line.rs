//! The time line of one session, epoch after epoch: clock, anchor, accepted records, closed segments (DESIGN §3).

use std::collections::{BTreeMap, BTreeSet};

use lsie_operators::resample::Resampler;
use lsie_schemas::LogTime;
use lsie_schemas::record::{EpochRecord, Stream};
use uuid::Uuid;

use super::story::{At, Media, Story};
use super::text::sha256;

const SECOND: i64 = 1_000_000;
pub(super) const SEGMENT: i64 = 30 * SECOND;
/// 16 kHz.
pub(super) const WINDOW_SAMPLES: usize = 480_000;
const LATENESS: i64 = 2 * SECOND;
const STALL_MS: u64 = 10_000;
const START_WAIT_MS: u64 = 5_000;
const MAX_WAIT: i64 = 60 * SECOND;
const FUTURE: i64 = 10 * SECOND;
/// Chunks further apart than this from where they should join are not continuous audio.
const JOIN: i64 = SECOND / 50;
/// After a stimulus no other is accepted for so long.
const MEASURING: i64 = 5 * SECOND;

/// An accepted video frame on corrected UTC.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) seq: u64,
    pub(super) capture: i64,
}

/// A closed segment.
#[derive(Clone, Debug)]
pub(super) struct Closing {
    pub(super) reason: &'static str,
    pub(super) at: LogTime,
    pub(super) stream: Option<Stream>,
    pub(super) offset: Option<i64>,
    pub(super) reached: Option<i64>,
    pub(super) audio_samples: i64,
    pub(super) audio_sha256: String,
}

/// An accepted stimulus, and what was said to it.
#[derive(Clone, Debug)]
pub(super) struct Stimulated {
    pub(super) action: Uuid,
    pub(super) at: i64,
    pub(super) note: Option<String>,
    pub(super) said: Option<String>,
}

/// What became of one session.
#[derive(Debug, Default)]
pub(super) struct TimeLine {
    pub(super) anchor: Option<i64>,
    pub(super) ended: Option<i64>,
    pub(super) frames: Vec<Frame>,
    pub(super) closings: Vec<Closing>,
    pub(super) stimuli: Vec<Stimulated>,
    /// The sound of each window, sample by sample at its place; none where there is no audio.
    pub(super) sound: BTreeMap<i64, Vec<Option<i16>>>,
}

/// How far a declared stream has come.
#[derive(Clone, Debug)]
struct Reached {
    stream: Stream,
    time: Option<i64>,
    offset: Option<i64>,
    heard: LogTime,
    seen: BTreeSet<u64>,
}

/// Continuous audio.
#[derive(Debug)]
struct AudioRun {
    start: i64,
    samples: Vec<i16>,
    open: bool,
}

/// Follows a session through the epochs.
pub(super) fn follow(story: &Story, epochs: &[EpochRecord]) -> TimeLine {
    let mut line = TimeLine::default();
    let Some((first, anchor)) = anchor(story, epochs) else { return line };
    line.anchor = Some(anchor);
    let started = epochs[story.start.epoch].log_time;
    let track = |stream: &Stream| Reached {
        stream: *stream,
        time: None,
        offset: None,
        heard: started,
        seen: BTreeSet::new(),
    };
    let mut streams: Vec<Reached> = story.start.it.streams.iter().map(track).collect();
    let mut audio: Vec<AudioRun> = Vec::new();
    for (index, epoch) in epochs.iter().enumerate().skip(first) {
        let end = story.end.as_ref().filter(|end| end.epoch <= index).map(|end| micros(end.log_time));
        // What waited for the anchor counts at the anchor's epoch.
        let counts = |at: usize| at.max(first) == index;
        words(story, anchor, end, &counts, &mut line);
        for media in story.media.iter().filter(|media| counts(media.epoch)) {
            let offset = clock_offset(story, index).0;
            let closed = anchor + line.closings.len() as i64 * SEGMENT;
            if let Some(start) = accept(media, offset, anchor, closed, end, epoch.log_time, &mut streams) {
                keep(&media.it, start, &mut line, &mut audio);
            }
        }
        let over = end.filter(|end| is_over(*end, epoch.log_time, &streams));
        while close(anchor, over, epoch.log_time, &streams, &mut audio, &mut line) {}
        if over.is_some() {
            line.ended = over;
            break;
        }
    }
    fill_audio(anchor, &audio, &mut line);
    line
}

/// Host minus device clock as known at an epoch, successes so far, and failures in a row (`math.md` §3).
fn clock_offset(story: &Story, epoch: usize) -> (i64, u32, u32) {
    let (mut offset, mut successes, mut failures, mut frozen) = (0, 0, 0, None);
    for poll in story.polls.iter().filter(|poll| poll.epoch <= epoch) {
        match (frozen, poll.it.device_us) {
            (Some(since), _) if poll.log_time.0 < since + 300_000 => {}
            (Some(_), _) => (offset, failures, frozen) = (0, 0, None),
            (None, Some(device)) => {
                (offset, failures) = (poll.it.host_before_us - device, 0);
                successes += 1;
            }
            (None, None) => {
                failures += 1;
                frozen = (failures == 3).then_some(poll.log_time.0);
            }
        }
    }
    (offset, successes, failures)
}

/// The epoch at which the time line is fixed, and the earliest corrected capture known then.
fn anchor(story: &Story, epochs: &[EpochRecord]) -> Option<(usize, i64)> {
    (story.start.epoch..epochs.len()).find_map(|index| {
        let now = epochs[index].log_time;
        let (offset, successes, failures) = clock_offset(story, index);
        let waited = epochs[story.start.epoch].log_time.0 + START_WAIT_MS <= now.0;
        let ended = story
            .end
            .as_ref()
            .is_some_and(|end| end.epoch <= index && micros(end.log_time) + LATENESS <= micros(now));
        let ready = successes > 0 || failures >= 3 || waited || ended;
        let known = story.media.iter().filter(|media| ready && media.epoch <= index);
        let near = known.filter(|media| is_near_the_log(media, offset));
        Some((index, near.map(|media| media.it.device_us + offset).min()?))
    })
}

/// Whether a capture time is neither ahead of the log nor older than anything that may still be open.
fn is_near_the_log(media: &At<Media>, offset: i64) -> bool {
    let start = media.it.device_us + offset;
    let logged = micros(media.log_time);
    start + media.it.length_us <= logged + FUTURE && start >= logged - MAX_WAIT
}

fn micros(time: LogTime) -> i64 {
    time.0 as i64 * 1_000
}

/// Takes the stimuli that count now.
fn words(story: &Story, anchor: i64, end: Option<i64>, counts: &dyn Fn(usize) -> bool, line: &mut TimeLine) {
    for stimulus in story.stimuli.iter().filter(|stimulus| counts(stimulus.epoch)) {
        let (at, action) = (micros(stimulus.log_time), stimulus.it.client_action_id);
        let known = line.stimuli.iter().any(|s| s.action == action);
        let busy = line.stimuli.iter().any(|s| s.at <= at && at < s.at + MEASURING);
        if !known && !busy && at >= anchor && end.is_none_or(|end| at < end) {
            let note = stimulus.it.operator_note.clone();
            line.stimuli.push(Stimulated { action, at, note, said: None });
        }
    }
}

/// The corrected capture time of a media record, if it may be used.
fn accept(
    media: &At<Media>,
    offset: i64,
    anchor: i64,
    closed: i64,
    end: Option<i64>,
    now: LogTime,
    streams: &mut [Reached],
) -> Option<i64> {
    let start = media.it.device_us + offset;
    if !is_near_the_log(media, offset) || media.log_time.0 > now.0 + 10_000 {
        return None;
    }
    let track = streams.iter_mut().find(|track| track.stream == media.it.stream)?;
    let overtaken = track.seen.last().is_some_and(|last| media.it.seq < *last);
    let fresh = track.seen.insert(media.it.seq) && !overtaken;
    let reached = start + media.it.length_us;
    let before_anchor = start < anchor && reached <= anchor;
    if !fresh || before_anchor || start < closed {
        return None;
    }
    if end.is_some_and(|end| start >= end) {
        // It is too late to be used, and tells that its stream has passed the end.
        track.time = track.time.max(end);
        return None;
    }
    track.time = track.time.max(Some(reached));
    track.offset = Some(media.it.offset);
    track.heard = now;
    Some(start)
}

fn keep(media: &Media, start: i64, line: &mut TimeLine, audio: &mut Vec<AudioRun>) {
    if media.stream == Stream::Video {
        return line.frames.push(Frame { seq: media.seq, capture: start });
    }
    let joins = |run: &&mut AudioRun| {
        let next = run.start + run.samples.len() as i64 * 1_000 / 48;
        run.open && (next - start).abs() <= JOIN
    };
    match audio.last_mut().filter(joins) {
        Some(run) => run.samples.extend_from_slice(&media.samples),
        None => audio.push(AudioRun { start, samples: media.samples.clone(), open: true }),
    }
}

/// Whether an end is in force: every stream has passed it, or the lateness has gone by since its record.
fn is_over(end: i64, now: LogTime, streams: &[Reached]) -> bool {
    end + LATENESS <= micros(now) || streams.iter().all(|track| track.time.is_some_and(|time| time >= end))
}

/// Closes the next segment if any rule says so.
fn close(
    anchor: i64,
    over: Option<i64>,
    now: LogTime,
    streams: &[Reached],
    audio: &mut [AudioRun],
    line: &mut TimeLine,
) -> bool {
    let start = anchor + line.closings.len() as i64 * SEGMENT;
    let end = start + SEGMENT;
    if over.is_some_and(|over| start >= over) {
        return false;
    }
    let past = |track: &Reached| track.time.is_some_and(|time| time >= end + LATENESS);
    let is_silent = |track: &&Reached| track.heard.0 + STALL_MS <= now.0;
    let (silent, heard): (Vec<&Reached>, Vec<&Reached>) = streams.iter().partition(is_silent);
    let (reason, deciding) = if streams.iter().all(past) {
        ("complete", slowest(streams.iter()))
    } else if over.is_some() {
        ("ended", None)
    } else if !silent.is_empty() && !heard.is_empty() && heard.iter().all(|track| past(track)) {
        ("stalled", slowest(silent.into_iter()))
    } else if micros(now) >= end + MAX_WAIT {
        ("max_wait", slowest(streams.iter()))
    } else {
        return false;
    };
    // The filter holds 127 samples back: a run whose output has not reached the end of the window is ended.
    let short = |run: &&mut AudioRun| {
        let given = (run.samples.len() as i64 - 127 + 2).max(0) / 3;
        run.start + given * 1_000 / 16 < end
    };
    audio.iter_mut().filter(short).for_each(|run| run.open = false);
    line.closings.push(Closing {
        reason,
        at: now,
        stream: deciding.map(|track| track.stream),
        offset: deciding.and_then(|track| track.offset),
        reached: deciding.and_then(|track| track.time),
        audio_samples: 0,
        audio_sha256: String::new(),
    });
    true
}

fn slowest<'a>(streams: impl Iterator<Item = &'a Reached>) -> Option<&'a Reached> {
    streams.min_by_key(|track| (track.time, track.stream))
}

/// Resamples each run as a whole and cuts it at the segments' borders.
fn fill_audio(anchor: i64, audio: &[AudioRun], line: &mut TimeLine) {
    let mut windows: BTreeMap<i64, Vec<u8>> = BTreeMap::new();
    for run in audio {
        let (mut resampler, mut out) = (Resampler::default(), Vec::new());
        resampler.push(&run.samples, &mut out);
        resampler.finish(&mut out);
        for (index, sample) in (0..).zip(out) {
            let at = run.start + index * 1_000 / 16;
            let window = (at - anchor).div_euclid(SEGMENT);
            windows.entry(window).or_default().extend(i16::to_le_bytes(sample));
            // To the nearest place; where runs overlap, the later one stands.
            let place = ((run.start - anchor - window * SEGMENT) * 16 + 500).div_euclid(1_000) + index;
            let sound = line.sound.entry(window).or_insert_with(|| vec![None; WINDOW_SAMPLES]);
            if let Some(slot) = usize::try_from(place).ok().and_then(|place| sound.get_mut(place)) {
                *slot = Some(sample);
            }
        }
    }
    for (index, closing) in (0..).zip(&mut line.closings) {
        let bytes = windows.remove(&index).unwrap_or_default();
        closing.audio_samples = bytes.len() as i64 / 2;
        closing.audio_sha256 = sha256(&bytes);
    }
}
