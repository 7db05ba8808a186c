//! What must have been asked about speech, and which of the words that were heard belong to which stimulus.

use lsie_schemas::EventTime;
use lsie_schemas::row::{InferenceRow, TranscriptRow};
use serde::Deserialize;
use uuid::Uuid;

use super::reaction::segment_of;
use super::text::sha256;
use super::time_line::{SEGMENT, TimeLine, WINDOW_SAMPLES};

/// A cut lies in the last 10 s of a window.
const SEARCHED: usize = 160_000;
/// 10 ms.
const FRAME: usize = 160;
/// 200 ms.
const PAUSE: usize = 3_200;
/// Zeros that are left in front of sound and behind it.
const MARGIN: usize = 4_800;
/// From 1 s before a stimulus to 5 s after it.
const BEFORE: i64 = 1_000_000;
const AFTER: i64 = 5_000_000;

/// A request that must have been made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked {
    /// The session.
    pub session: Uuid,
    /// The segment.
    pub segment_id: String,
    /// From where on.
    pub from: i64,
    /// Up to where.
    pub until: i64,
    /// SHA-256 of the samples.
    pub sha256: String,
    /// The epoch at which the segment closed, ms.
    pub at_ms: u64,
}

/// The requests of a session: of every closed segment the sound from the last cut to the next.
pub(super) fn asked(session: Uuid, anchor: i64, line: &TimeLine) -> Vec<Asked> {
    let mut requests = Vec::new();
    let silence = vec![None; WINDOW_SAMPLES];
    let window = |index: i64| line.sound.get(&index).unwrap_or(&silence);
    let mut before = WINDOW_SAMPLES;
    for (index, closing) in (0..).zip(&line.closings) {
        let start = anchor + index * SEGMENT;
        let is_last = line.ended.is_some_and(|ended| start + SEGMENT >= ended);
        let cut = if is_last { WINDOW_SAMPLES } else { cut(window(index)) };
        let carried = window(index - 1)[before..].iter();
        let sound: Vec<i16> =
            carried.chain(&window(index)[..cut]).map(|sample| sample.unwrap_or(0)).collect();
        let micros = |sample: usize| sample as i64 * 1_000 / 16;
        let (from, until) = (start - SEGMENT + micros(before), start + micros(cut));
        if let Some(sha256) = hash(&sound) {
            let segment_id = segment_of(session, anchor, start).0;
            requests.push(Asked { session, segment_id, from, until, sha256, at_ms: closing.at.0 });
        }
        before = cut;
    }
    requests
}

/// The middle of the latest 200 ms that are at most 6 dB louder than the quietest.
fn cut(window: &[Option<i16>]) -> usize {
    let is_over = window[WINDOW_SAMPLES - PAUSE..].iter().all(Option::is_none);
    if is_over {
        return WINDOW_SAMPLES;
    }
    let squares: Vec<u64> = window.iter().map(|s| i64::from(s.unwrap_or(0)).pow(2) as u64).collect();
    let places = (0..=(SEARCHED - PAUSE) / FRAME).map(|frame| WINDOW_SAMPLES - SEARCHED + frame * FRAME);
    let places: Vec<usize> = places.collect();
    let energy = |at: usize| squares[at..at + PAUSE].iter().sum::<u64>() + PAUSE as u64;
    let quietest = places.iter().copied().map(energy).min().expect("there are places");
    let latest =
        places.into_iter().rev().find(|at| energy(*at) <= 4 * quietest).expect("the quietest is one");
    latest + PAUSE / 2
}

/// The hash of a sound without the zeros around it, if it is more than zeros.
fn hash(sound: &[i16]) -> Option<String> {
    let first = sound.iter().position(|sample| *sample != 0)?;
    let last = sound.iter().rposition(|sample| *sample != 0)?;
    let kept = &sound[first.saturating_sub(MARGIN)..(last + 1 + MARGIN).min(sound.len())];
    let bytes: Vec<u8> = kept.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    Some(sha256(&bytes))
}

/// A recorded answer.
#[derive(Deserialize)]
struct Answer {
    text: String,
    words: Vec<Word>,
}

#[derive(Deserialize)]
struct Word {
    text: String,
    from_us: i64,
    to_us: i64,
}

fn answer(row: &InferenceRow) -> Option<Answer> {
    let text = row.answer.as_ref()?;
    Some(serde_json::from_str(text.as_str()).expect("a recorded answer can be read"))
}

fn of<'r>(session: Uuid, rows: &'r [InferenceRow]) -> impl Iterator<Item = &'r InferenceRow> {
    rows.iter().filter(move |row| row.session_id == session && row.what == "speech")
}

/// Table `transcripts`: what was heard of each segment of which something was heard.
pub(super) fn transcripts(
    session: Uuid,
    anchor: i64,
    rows: &[InferenceRow],
    line: &TimeLine,
) -> Vec<TranscriptRow> {
    let ends =
        (0..line.closings.len() as i64).map(|index| segment_of(session, anchor, anchor + index * SEGMENT));
    let ends: std::collections::BTreeMap<String, i64> = ends.collect();
    let mut transcripts = Vec::new();
    for row in of(session, rows) {
        let Some(heard) = answer(row).filter(|heard| !heard.text.is_empty()) else { continue };
        let timestamp_utc = EventTime(ends[&row.segment_id]);
        let segment_id = row.segment_id.clone();
        transcripts.push(TranscriptRow { session_id: session, segment_id, timestamp_utc, text: heard.text });
    }
    transcripts
}

/// Gives every stimulus the words that are its own.
pub(super) fn attribute(session: Uuid, rows: &[InferenceRow], line: &mut TimeLine) {
    let times: Vec<i64> = line.stimuli.iter().map(|stimulus| stimulus.at).collect();
    for stimulus in &mut line.stimuli {
        let earlier = times.iter().filter(|at| **at < stimulus.at).max().map(|at| at + AFTER);
        let from = (stimulus.at - BEFORE).max(earlier.unwrap_or(i64::MIN));
        let span = from..=stimulus.at + AFTER;
        let touching =
            of(session, rows).filter(|row| row.from_utc.0 < *span.end() && *span.start() < row.to_utc.0);
        let answers: Option<Vec<Answer>> = touching.map(answer).collect();
        let mut words: Vec<Word> = answers.into_iter().flatten().flat_map(|answer| answer.words).collect();
        words.sort_by(|a, b| (a.from_us, &a.text).cmp(&(b.from_us, &b.text)));
        words.retain(|word| span.contains(&(word.from_us + (word.to_us - word.from_us) / 2)));
        let said: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
        stimulus.said = (!said.is_empty()).then(|| said.join(" "));
    }
}
