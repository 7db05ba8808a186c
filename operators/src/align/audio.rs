//! The audio of one session on its time line: what is consecutive, which records it came from, and where it is cut in
//! pauses for what is to be transcribed.

use std::collections::VecDeque;

use bytes::Bytes;
use lsie_schemas::record::AudioChunk;
use lsie_schemas::{EventTime, LogTime};
use serde::{Deserialize, Serialize};
use sha2::Digest;

use super::pause;
use super::windows::{SEGMENT_SAMPLES, Window, Windows, samples_us};
use crate::segment_id::{SEGMENT_US, hex};

/// A chunk whose capture time is further than this from where its predecessor ended begins a new run. Below
/// it the difference is the device's clock drifting between polls, and the samples are taken as consecutive.
const GAP_US: i64 = 20_000;
/// More than the filter looks back, and no shorter than what a resumed one needs.
const FILTER_US: i64 = 3_000;
/// Silence that is left around sound when nothing but zeros is there, in samples: 0.3 s.
const MARGIN: usize = 4_800;

/// The audio of a closed window.
#[derive(Clone, Debug, Default)]
pub(crate) struct WindowAudio {
    /// Samples that were there.
    pub(crate) samples: i64,
    /// SHA-256 of them, little-endian, lowercase hex.
    pub(crate) sha256: String,
    /// Where in the window the first lies, in samples.
    pub(crate) first: usize,
    /// From the first sample on, 16 kHz, gaps as silence.
    pub(crate) sound: Vec<i16>,
}

/// Sound to transcribe: from one pause to the next.
#[derive(Clone, Debug)]
pub(crate) struct Spoken {
    /// Where it begins on the time line: at the cut of the segment before.
    pub(crate) from: EventTime,
    /// Where it ends.
    pub(crate) until: EventTime,
    /// Time of the first sample.
    pub(crate) start: EventTime,
    /// 16 kHz, gaps as silence, without the zeros in front and behind; empty when all are zeros.
    pub(crate) sound: Vec<i16>,
    /// How to make it again from the records.
    pub(crate) recipe: Recipe,
}

/// How the sound of a request is made again from the log, for a request that a restart has left unanswered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipe {
    anchor: EventTime,
    cut: usize,
    pieces: VecDeque<Piece>,
    ordinal: i64,
    /// Nothing of the session follows.
    last: bool,
}

/// A recipe at work: it takes the chunks that it names, in order.
#[derive(Clone, Debug)]
pub struct Making {
    track: AudioTrack,
    ordinal: i64,
    last: bool,
}

impl Recipe {
    /// The oldest epoch with a record that it needs.
    pub fn since(&self) -> Option<LogTime> {
        self.pieces.iter().map(|piece| piece.epoch).min()
    }

    /// Begins to make the sound.
    pub fn begin(&self) -> Making {
        let (pieces, cut) = (self.pieces.clone(), self.cut);
        let saved = Saved { anchor: self.anchor, closed: self.ordinal - 1, cut, pieces };
        Making { track: saved.into(), ordinal: self.ordinal, last: self.last }
    }
}

impl Making {
    /// Takes a chunk of an epoch; one that the recipe does not name changes nothing.
    pub fn take(&mut self, epoch: LogTime, chunk: &AudioChunk) {
        self.track.rebuild(epoch, chunk.seq, &chunk.pcm);
    }

    /// The sound, as it was.
    pub fn finish(mut self) -> Vec<i16> {
        self.track.close(self.ordinal, self.last).1.sound
    }
}

/// A chunk that open windows were made from.
#[derive(Clone, Copy, Debug)]
struct Chunk {
    epoch: LogTime,
    seq: u64,
    /// Capture time of its run's first sample.
    run: EventTime,
    /// Its place in the run, in input samples, from and to.
    span: (u64, u64),
    /// The run ended behind it.
    ended: bool,
}

/// Chunks without a gap between them: how a snapshot says which records to read again, and where their
/// samples belong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Piece {
    epoch: LogTime,
    seqs: (u64, u64),
    run: EventTime,
    /// Input samples of the run before it.
    before: u64,
    ended: bool,
}

/// Consecutive audio of one session. What is serialised holds no samples: they are read again.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "Saved", into = "Saved")]
pub(crate) struct AudioTrack {
    anchor: EventTime,
    /// Ordinal of the newest closed window.
    closed: i64,
    /// Sample of that window from which on it has not been handed out for transcription; its length when all
    /// of it has been.
    cut: usize,
    /// What a restored track must see again; empty in one that runs.
    pieces: VecDeque<Piece>,
    chunks: VecDeque<Chunk>,
    /// Capture time of the run's first sample, and how many samples it has had, if a run is open.
    run: Option<(EventTime, u64)>,
    windows: Windows,
}

/// What a checkpoint holds of a track.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Saved {
    anchor: EventTime,
    closed: i64,
    cut: usize,
    pieces: VecDeque<Piece>,
}

impl From<Saved> for AudioTrack {
    fn from(saved: Saved) -> AudioTrack {
        let Saved { anchor, closed, cut, pieces } = saved;
        let windows = Windows::from(anchor, first_open(closed, cut));
        AudioTrack { anchor, closed, cut, pieces, chunks: VecDeque::new(), run: None, windows }
    }
}

impl From<AudioTrack> for Saved {
    fn from(track: AudioTrack) -> Saved {
        let AudioTrack { anchor, closed, cut, pieces, .. } = track;
        Saved { anchor, closed, cut, pieces }
    }
}

/// Ordinal of the first window that still takes samples: late media are filed, but of the newest closed one, what has not
/// been handed out for transcription is.
fn first_open(closed: i64, cut: usize) -> i64 {
    if cut < SEGMENT_SAMPLES { closed } else { closed + 1 }
}

impl AudioTrack {
    pub(crate) fn new(anchor: EventTime) -> AudioTrack {
        Saved { anchor, closed: 0, cut: SEGMENT_SAMPLES, pieces: VecDeque::new() }.into()
    }

    /// Takes a chunk of 48 kHz s16le samples whose first was captured at `start`, from a record of `epoch`.
    pub(crate) fn push(&mut self, epoch: LogTime, seq: u64, start: EventTime, pcm: &Bytes) {
        let follows = |&(run, had): &(EventTime, u64)| {
            (run.plus_us(samples_us(had as i64, 48)).0 - start.0).abs() <= GAP_US
        };
        let (run, before) = match self.run.filter(follows) {
            Some(run) => run,
            None => {
                self.finish_run();
                (start, 0)
            }
        };
        self.note(epoch, seq, (run, before), pcm);
        self.windows.take(run, pcm.clone());
    }

    /// Remembers a chunk of a run that had had so many samples.
    fn note(&mut self, epoch: LogTime, seq: u64, (run, before): (EventTime, u64), pcm: &[u8]) {
        let span = (before, before + pcm.len() as u64 / 2);
        self.run = Some((run, span.1));
        self.chunks.push_back(Chunk { epoch, seq, run, span, ended: false });
    }

    /// Flushes what the filter holds back: after a gap, or when nothing may follow.
    fn finish_run(&mut self) {
        if self.run.is_some() {
            self.windows.finish_run();
            self.run_ended();
        }
    }

    fn run_ended(&mut self) {
        self.run = None;
        if let Some(last) = self.chunks.back_mut() {
            last.ended = true;
        }
    }

    /// Takes out what lies in the window of `ordinal`, and what is to be transcribed: up to the last pause in the
    /// window, or all of it when nothing follows. What the filter holds back of the window is flushed first.
    pub(crate) fn close(&mut self, ordinal: i64, last: bool) -> (WindowAudio, Spoken) {
        let recipe = self.recipe(ordinal, last);
        let (window, ends) = self.windows.close(ordinal);
        if ends {
            self.run_ended();
        }
        let cut = if last { SEGMENT_SAMPLES } else { pause::last_pause(window.first, &window.sound) };
        let spoken = self.spoken(ordinal, cut, &window, recipe);
        (self.closed, self.cut) = (ordinal, cut);
        let carried = || Window { first: window.first, sound: window.sound.clone(), ..Window::default() };
        self.windows.open_from(first_open(ordinal, cut), self.carries().then(carried));
        self.forget(self.at(ordinal, cut));
        let Window { samples, hash, first, sound } = window;
        (WindowAudio { samples, sha256: hex(&hash.finalize()), first, sound }, spoken)
    }

    /// Whether something of the newest closed window has not been handed out for transcription.
    pub(crate) fn carries(&self) -> bool {
        self.cut < SEGMENT_SAMPLES
    }

    /// The time of a window's sample; exact to 10 ms, at which cuts lie.
    fn at(&self, ordinal: i64, sample: usize) -> EventTime {
        self.anchor.plus_us((ordinal - 1) * SEGMENT_US + samples_us(sample as i64, 16))
    }

    fn recipe(&self, ordinal: i64, last: bool) -> Recipe {
        let pieces = self.without_samples().pieces;
        Recipe { anchor: self.anchor, cut: self.cut, pieces, ordinal, last }
    }

    /// The sound from the last cut to this one.
    fn spoken(&self, ordinal: i64, cut: usize, window: &Window, recipe: Recipe) -> Spoken {
        let carried = SEGMENT_SAMPLES - self.cut;
        let before = self.windows.get(ordinal - 1).filter(|_| carried > 0);
        // Many a session has no sound at all.
        let is_silent = before.is_none() && window.sound.is_empty();
        let mut sound = vec![0; if is_silent { 0 } else { carried + cut }];
        if let Some(before) = before {
            before.copy_from(self.cut, &mut sound[..carried]);
        }
        if !is_silent {
            window.copy_from(0, &mut sound[carried..]);
        }
        let from = self.at(ordinal - 1, self.cut);
        let is_sound = |sample: &i16| *sample != 0;
        let start = sound.iter().position(is_sound).map_or(0, |at| at.saturating_sub(MARGIN));
        let end = sound.iter().rposition(is_sound).map_or(0, |at| (at + 1 + MARGIN).min(sound.len()));
        sound.truncate(end);
        sound.drain(..start.min(end));
        let start = from.plus_us(samples_us(start as i64, 16));
        Spoken { from, until: self.at(ordinal, cut), start, sound, recipe }
    }

    /// Forgets the chunks that nothing from `end` on depends on.
    fn forget(&mut self, end: EventTime) {
        let over = |chunk: &Chunk| {
            let margin_us = if chunk.ended { 0 } else { FILTER_US };
            chunk.run.plus_us(samples_us(chunk.span.1 as i64, 48) + margin_us) < end
        };
        while self.chunks.front().is_some_and(over) && (self.chunks.len() > 1 || self.run.is_none()) {
            self.chunks.pop_front();
        }
    }

    /// The oldest epoch with a chunk that a restored track must see again.
    pub(crate) fn since(&self) -> Option<LogTime> {
        let chunks = self.chunks.iter().map(|chunk| chunk.epoch);
        chunks.chain(self.pieces.iter().map(|piece| piece.epoch)).min()
    }

    /// The track without its samples.
    pub(crate) fn without_samples(&self) -> AudioTrack {
        let mut pieces: VecDeque<Piece> = VecDeque::new();
        for chunk in &self.chunks {
            let (epoch, seq, before) = (chunk.epoch, chunk.seq, chunk.span.0);
            match pieces.back_mut().filter(|p| p.run == chunk.run && !p.ended && p.seqs.1 + 1 == seq) {
                Some(piece) => (piece.seqs.1, piece.ended) = (seq, chunk.ended),
                None => {
                    let (run, ended) = (chunk.run, chunk.ended);
                    pieces.push_back(Piece { epoch, seqs: (seq, seq), run, before, ended });
                }
            }
        }
        Saved { anchor: self.anchor, closed: self.closed, cut: self.cut, pieces }.into()
    }

    /// Takes a chunk again. What the pieces do not name was not used then.
    pub(crate) fn rebuild(&mut self, epoch: LogTime, seq: u64, pcm: &Bytes) {
        let Some(piece) = self.pieces.iter().find(|piece| (piece.seqs.0..=piece.seqs.1).contains(&seq))
        else {
            return;
        };
        // Used numbers ascend: what comes again is a duplicate.
        if self.chunks.back().is_some_and(|last| last.seq >= seq) {
            return;
        }
        let last = piece.ended && piece.seqs.1 == seq;
        let goes_on = self.run.filter(|(run, _)| *run == piece.run);
        let resumed = if goes_on.is_some() { None } else { Some(piece.before) };
        let (run, before) = goes_on.unwrap_or((piece.run, piece.before));
        self.note(epoch, seq, (run, before), pcm);
        self.windows.take_again(run, resumed, pcm.clone());
        if last {
            self.finish_run();
        }
    }

    /// Ends rebuilding.
    pub(crate) fn rebuilt(&mut self) {
        self.pieces.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pcm(seconds: i64) -> Bytes {
        vec![1; seconds as usize * 96_000].into()
    }

    #[test]
    fn windows_are_full_and_independent_of_chunking() {
        let anchor = EventTime(1_000_000_000_123);
        let mut whole = AudioTrack::new(anchor);
        whole.push(LogTime(0), 0, anchor, &pcm(61));
        whole.finish_run();
        let mut cut = AudioTrack::new(anchor);
        for (i, chunk) in pcm(61).chunks(9_600).enumerate() {
            cut.push(
                LogTime(0),
                i as u64,
                anchor.plus_us(i as i64 * 100_000),
                &Bytes::copy_from_slice(chunk),
            );
        }
        cut.finish_run();
        for ordinal in [1, 2, 3] {
            let (a, b) = (whole.close(ordinal, false).0, cut.close(ordinal, false).0);
            assert_eq!((&a.sha256, &a.sound, a.first), (&b.sha256, &b.sound, b.first));
            assert_eq!(a.samples, if ordinal == 3 { 16_000 } else { 480_000 });
            assert_eq!((a.first, a.sound.len()), (0, a.samples as usize));
        }
    }

    #[test]
    fn a_gap_moves_later_samples_to_their_time() {
        let anchor = EventTime(0);
        let mut track = AudioTrack::new(anchor);
        track.push(LogTime(0), 0, anchor, &pcm(1));
        track.push(LogTime(0), 1, EventTime(30_500_000), &pcm(1));
        track.finish_run();
        let (first, second) = (track.close(1, false).0, track.close(2, false).0);
        assert_eq!((first.samples, second.samples), (16_000, 16_000));
        assert_eq!((second.first, second.sound.len()), (8_000, 16_000));
    }

    #[test]
    fn a_gap_is_silence() {
        let anchor = EventTime(0);
        let mut track = AudioTrack::new(anchor);
        track.push(LogTime(0), 0, EventTime(1_000_000), &pcm(1));
        track.push(LogTime(0), 1, EventTime(4_000_000), &pcm(1));
        let window = track.close(1, false).0;
        assert_eq!((window.first, window.sound.len(), window.samples), (16_000, 64_000, 32_000));
        assert!(window.sound[17_000..47_000].iter().all(|sample| *sample == 0));
    }
}
