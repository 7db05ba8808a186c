//! The audio of one session on its time line: resampled, cut at segment borders, hashed; and cut once more, in
//! pauses, for what is to be transcribed.

use std::collections::{BTreeMap, VecDeque};

use lsie_schemas::record::AudioChunk;
use lsie_schemas::{EventTime, LogTime};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::pause;
use crate::resample::Resampler;
use crate::segment_id::{SEGMENT_US, hex};

/// A chunk whose capture time is further than this from where its predecessor ended begins a new run. Below
/// it the difference is the device's clock drifting between polls, and the samples are taken as consecutive.
const GAP_US: i64 = 20_000;
/// More than the filter looks back, and no shorter than what a resumed one needs.
const FILTER_US: i64 = 3_000;
/// Samples of a full window.
pub(super) const SEGMENT_SAMPLES: usize = (SEGMENT_US * 16 / 1_000) as usize;
/// Silence that is left around sound when nothing but zeros is there, in samples: 0.3 s.
const MARGIN: usize = 4_800;

/// Samples of one segment so far.
#[derive(Clone, Debug, Default)]
struct Window {
    samples: i64,
    hash: Sha256,
    /// Where in the window the first sample lies, in samples.
    first: usize,
    /// From the first sample on, gaps as silence: each sample at its time.
    sound: Vec<i16>,
}

impl Window {
    /// Takes samples, the first of which belongs to the `at`th of the window.
    fn take(&mut self, at: usize, samples: &[i16]) {
        self.samples += samples.len() as i64;
        for sample in samples {
            self.hash.update(sample.to_le_bytes());
        }
        if self.sound.is_empty() {
            self.first = at;
        }
        // The device's clock went back further than the window's first sample.
        let missing = self.first.saturating_sub(at);
        self.sound.splice(0..0, std::iter::repeat_n(0, missing));
        self.first -= missing;
        // Where the device's clock makes runs overlap, the later samples stand: each is at its own time, whatever
        // came before it.
        let from = at.saturating_sub(self.first);
        let room = SEGMENT_SAMPLES.saturating_sub(self.first + from);
        let samples = &samples[..samples.len().min(room)];
        let end = (from + samples.len()).max(self.sound.len());
        self.sound.resize(end, 0);
        self.sound[from..from + samples.len()].copy_from_slice(samples);
    }

    /// Puts what it holds from sample `from` on into `out`, which begins there.
    fn copy_from(&self, from: usize, out: &mut [i16]) {
        let skipped = from.saturating_sub(self.first).min(self.sound.len());
        let at = (self.first + skipped).saturating_sub(from);
        for (to, sample) in out.iter_mut().skip(at).zip(&self.sound[skipped..]) {
            *to = *sample;
        }
    }
}

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
        let closed = self.ordinal - 1;
        let track = AudioTrack { closed, cut, pieces, ..AudioTrack::new(self.anchor) };
        Making { track, ordinal: self.ordinal, last: self.last }
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
pub(crate) struct AudioTrack {
    anchor: EventTime,
    /// Ordinal of the newest closed window.
    closed: i64,
    /// Sample of that window from which on it has not been handed out for transcription; its length when all
    /// of it has been.
    cut: usize,
    /// What a restored track must see again; empty in one that runs.
    pieces: VecDeque<Piece>,
    #[serde(skip)]
    chunks: VecDeque<Chunk>,
    #[serde(skip)]
    resampler: Resampler,
    /// Capture time of the run's first sample, if a run is open.
    #[serde(skip)]
    run: Option<EventTime>,
    #[serde(skip)]
    windows: BTreeMap<i64, Window>,
}

impl AudioTrack {
    pub(crate) fn new(anchor: EventTime) -> AudioTrack {
        AudioTrack {
            anchor,
            closed: 0,
            cut: SEGMENT_SAMPLES,
            pieces: VecDeque::new(),
            chunks: VecDeque::new(),
            resampler: Resampler::default(),
            run: None,
            windows: BTreeMap::new(),
        }
    }

    /// Takes a chunk of 48 kHz s16le samples whose first was captured at `start`, from a record of `epoch`.
    pub(crate) fn push(&mut self, epoch: LogTime, seq: u64, start: EventTime, pcm: &[u8]) {
        let expected = self.run.map(|run| run.plus_us(samples_us(self.resampler.samples_in() as i64, 48)));
        let run = match (self.run, expected) {
            (Some(run), Some(at)) if (at.0 - start.0).abs() <= GAP_US => run,
            _ => {
                self.finish_run();
                start
            }
        };
        self.take(epoch, seq, run, pcm);
    }

    fn take(&mut self, epoch: LogTime, seq: u64, run: EventTime, pcm: &[u8]) {
        self.run = Some(run);
        let before = self.resampler.samples_in();
        let samples: Vec<i16> = pcm.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect();
        let mut out = Vec::with_capacity(samples.len() / 3 + 1);
        let given = self.resampler.samples_out();
        self.resampler.push(&samples, &mut out);
        self.place(given, &out);
        let span = (before, before + samples.len() as u64);
        self.chunks.push_back(Chunk { epoch, seq, run, span, ended: false });
    }

    /// Flushes what the filter holds back: after a gap, or when nothing may follow.
    fn finish_run(&mut self) {
        if self.run.is_some() {
            let mut out = Vec::new();
            let given = self.resampler.samples_out();
            self.resampler.finish(&mut out);
            self.place(given, &out);
            self.run = None;
            if let Some(last) = self.chunks.back_mut() {
                last.ended = true;
            }
        }
    }

    /// Takes out what lies in the window of `ordinal`, and what is to be transcribed: up to the last pause in the
    /// window, or all of it when nothing follows. What the filter holds back of the window is flushed first.
    pub(crate) fn close(&mut self, ordinal: i64, last: bool) -> (WindowAudio, Spoken) {
        let recipe = self.recipe(ordinal, last);
        let end = self.anchor.plus_us(ordinal * SEGMENT_US);
        let given = samples_us(self.resampler.samples_out() as i64, 16);
        if self.run.is_some_and(|run| run.plus_us(given) < end) {
            self.finish_run();
        }
        let window = self.windows.remove(&ordinal).unwrap_or_default();
        let cut = if last { SEGMENT_SAMPLES } else { pause::last_pause(window.first, &window.sound) };
        let spoken = self.spoken(ordinal, cut, &window, recipe);
        (self.closed, self.cut) = (ordinal, cut);
        // Nothing can be added to what is handed out: late media are filed.
        self.windows.retain(|open, _| *open > ordinal);
        if cut < SEGMENT_SAMPLES {
            let (first, sound) = (window.first, window.sound.clone());
            self.windows.insert(ordinal, Window { first, sound, ..Window::default() });
        }
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
        let before = self.windows.get(&(ordinal - 1)).filter(|_| carried > 0);
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
        AudioTrack { closed: self.closed, cut: self.cut, pieces, ..AudioTrack::new(self.anchor) }
    }

    /// Takes a chunk again. What the pieces do not name was not used then.
    pub(crate) fn rebuild(&mut self, epoch: LogTime, seq: u64, pcm: &[u8]) {
        let Some(piece) = self.pieces.iter().find(|piece| (piece.seqs.0..=piece.seqs.1).contains(&seq))
        else {
            return;
        };
        // Used numbers ascend: what comes again is a duplicate.
        if self.chunks.back().is_some_and(|last| last.seq >= seq) {
            return;
        }
        let (run, before, last) = (piece.run, piece.before, piece.ended && piece.seqs.1 == seq);
        if self.run != Some(run) {
            self.resampler = Resampler::resumed(before);
        }
        self.take(epoch, seq, run, pcm);
        if last {
            self.finish_run();
        }
    }

    /// Ends rebuilding.
    pub(crate) fn rebuilt(&mut self) {
        self.pieces.clear();
    }

    /// Puts output samples of the run, the first being its `given`th, into their windows.
    fn place(&mut self, mut given: u64, samples: &[i16]) {
        let Some(run) = self.run else { return };
        let mut rest = samples;
        while !rest.is_empty() {
            let at = run.plus_us(samples_us(given as i64, 16));
            let ordinal = (at.0 - self.anchor.0).div_euclid(SEGMENT_US) + 1;
            // The first sample of the run that lies at or past the window's end.
            let end_us = self.anchor.0 + ordinal * SEGMENT_US - run.0;
            let end = (end_us * 16).div_euclid(1_000) + i64::from((end_us * 16).rem_euclid(1_000) != 0);
            let fit = usize::try_from(end - given as i64).unwrap_or(1).clamp(1, rest.len());
            let (now, later) = rest.split_at(fit);
            if ordinal > self.closed || (ordinal == self.closed && self.carries()) {
                // The run's own place, rounded once: where a chunk begins must not move its samples.
                let from_us = run.0 - self.anchor.0 - (ordinal - 1) * SEGMENT_US;
                let index = (from_us * 16 + 500).div_euclid(1_000) + given as i64;
                let index = usize::try_from(index).unwrap_or(0);
                self.windows.entry(ordinal).or_default().take(index, now);
            }
            given += fit as u64;
            rest = later;
        }
    }
}

/// Microseconds of `n` samples at `khz` thousand samples a second, rounded down.
fn samples_us(n: i64, khz: i64) -> i64 {
    (n * 1_000).div_euclid(khz)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pcm(seconds: i64) -> Vec<u8> {
        vec![1; seconds as usize * 96_000]
    }

    #[test]
    fn windows_are_full_and_independent_of_chunking() {
        let anchor = EventTime(1_000_000_000_123);
        let mut whole = AudioTrack::new(anchor);
        whole.push(LogTime(0), 0, anchor, &pcm(61));
        whole.finish_run();
        let mut cut = AudioTrack::new(anchor);
        for (i, chunk) in pcm(61).chunks(9_600).enumerate() {
            cut.push(LogTime(0), i as u64, anchor.plus_us(i as i64 * 100_000), chunk);
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
