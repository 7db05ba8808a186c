//! The sound of a session's open segments: chunks resampled, cut at segment borders, hashed.
//!
//! What is taken again after a restart waits, as the bytes that the log has, and what follows waits behind it, until the
//! segment closes: many sessions would otherwise all be resampled before the first epoch that is new. As much waits as a
//! full window takes when it is resampled, so that a start needs at most twice the memory.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use lsie_schemas::EventTime;
use sha2::{Digest, Sha256};

use crate::resample::Resampler;
use crate::segment_id::SEGMENT_US;

/// Samples of a full window.
pub(super) const SEGMENT_SAMPLES: usize = (SEGMENT_US * 16 / 1_000) as usize;

/// Bytes that may wait.
const WAITING: usize = 2 * SEGMENT_SAMPLES;

/// What is done to sound.
#[derive(Clone, Debug)]
enum Step {
    /// The next samples are of a run that has had so many.
    Resume(u64),
    /// Samples of the run whose first was captured then: 48 kHz, s16le.
    Take(EventTime, Bytes),
    /// The run ends: what the filter holds back is flushed.
    Finish,
}

impl Step {
    fn bytes(&self) -> usize {
        match self {
            Step::Take(_, pcm) => pcm.len(),
            Step::Resume(_) | Step::Finish => 0,
        }
    }
}

/// The open windows.
#[derive(Clone, Debug)]
pub(super) struct Windows {
    anchor: EventTime,
    /// Ordinal of the first window that takes samples.
    open: i64,
    /// What was taken again, and what came after it.
    waiting: VecDeque<Step>,
    /// Their bytes.
    bytes: usize,
    resampler: Resampler,
    /// Capture time of the run's first sample, if a run is open.
    run: Option<EventTime>,
    windows: BTreeMap<i64, Window>,
}

impl Windows {
    /// None open before this ordinal.
    pub(super) fn from(anchor: EventTime, open: i64) -> Windows {
        Windows {
            anchor,
            open,
            waiting: VecDeque::new(),
            bytes: 0,
            resampler: Resampler::default(),
            run: None,
            windows: BTreeMap::new(),
        }
    }

    /// Takes a chunk of a run.
    pub(super) fn take(&mut self, run: EventTime, pcm: Bytes) {
        self.then(Step::Take(run, pcm));
    }

    /// Ends the run.
    pub(super) fn finish_run(&mut self) {
        self.then(Step::Finish);
    }

    /// The same chunk after a restart; before the first of a run that had had samples, how many.
    pub(super) fn take_again(&mut self, run: EventTime, resumed: Option<u64>, pcm: Bytes) {
        self.waiting.extend(resumed.map(Step::Resume));
        self.wait(Step::Take(run, pcm));
    }

    fn then(&mut self, step: Step) {
        match self.waiting.is_empty() {
            true => self.work(step),
            false => self.wait(step),
        }
    }

    fn wait(&mut self, step: Step) {
        self.bytes += step.bytes();
        self.waiting.push_back(step);
        while self.bytes > WAITING && self.work_off() {}
    }

    /// Works on what waits longest; false if nothing does.
    fn work_off(&mut self) -> bool {
        let Some(step) = self.waiting.pop_front() else { return false };
        self.bytes -= step.bytes();
        self.work(step);
        true
    }

    /// Works off what waits and takes out the window of this ordinal; nothing can be added to it any more. What the
    /// filter holds back of it is flushed, which ends the run: true if it did.
    pub(super) fn close(&mut self, ordinal: i64) -> (Window, bool) {
        while self.work_off() {}
        let end = self.anchor.plus_us(ordinal * SEGMENT_US);
        let given = samples_us(self.resampler.samples_out() as i64, 16);
        let ends = self.run.is_some_and(|run| run.plus_us(given) < end);
        if ends {
            self.finish_run();
        }
        (self.windows.remove(&ordinal).unwrap_or_default(), ends)
    }

    /// The window of this ordinal, if there is something of it that has not been handed out for transcription.
    pub(super) fn get(&self, ordinal: i64) -> Option<&Window> {
        self.windows.get(&ordinal)
    }

    /// From now on samples are taken from this window on, which begins with what is put back into it.
    pub(super) fn open_from(&mut self, ordinal: i64, window: Option<Window>) {
        self.open = ordinal;
        self.windows.retain(|open, _| *open >= ordinal);
        if let Some(window) = window {
            self.windows.insert(ordinal, window);
        }
    }

    fn work(&mut self, step: Step) {
        match step {
            Step::Resume(before) => self.resampler = Resampler::resumed(before),
            Step::Take(run, pcm) => {
                self.run = Some(run);
                let samples: Vec<i16> =
                    pcm.as_chunks().0.iter().map(|sample| i16::from_le_bytes(*sample)).collect();
                let mut out = Vec::with_capacity(samples.len() / 3 + 1);
                let given = self.resampler.samples_out();
                self.resampler.push(&samples, &mut out);
                self.place(run, given, &out);
            }
            Step::Finish => {
                let mut out = Vec::new();
                let given = self.resampler.samples_out();
                self.resampler.finish(&mut out);
                if let Some(run) = self.run.take() {
                    self.place(run, given, &out);
                }
            }
        }
    }

    /// Puts output samples of the run, the first being its `given`th, into their windows.
    fn place(&mut self, run: EventTime, mut given: u64, samples: &[i16]) {
        let mut rest = samples;
        while !rest.is_empty() {
            let at = run.plus_us(samples_us(given as i64, 16));
            let ordinal = (at.0 - self.anchor.0).div_euclid(SEGMENT_US) + 1;
            // The first sample of the run that lies at or past the window's end.
            let end_us = self.anchor.0 + ordinal * SEGMENT_US - run.0;
            let end = (end_us * 16).div_euclid(1_000) + i64::from((end_us * 16).rem_euclid(1_000) != 0);
            let fit = usize::try_from(end - given as i64).unwrap_or(1).clamp(1, rest.len());
            let (now, later) = rest.split_at(fit);
            if ordinal >= self.open {
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

/// Samples of one segment so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    /// How many came.
    pub(super) samples: i64,
    /// Of them, little-endian.
    pub(super) hash: Sha256,
    /// Where in the window the first sample lies, in samples.
    pub(super) first: usize,
    /// From the first sample on, gaps as silence: each sample at its time.
    pub(super) sound: Vec<i16>,
}

impl Window {
    /// Takes samples, the first of which belongs to the `at`th of the window.
    fn take(&mut self, at: usize, samples: &[i16]) {
        self.samples += samples.len() as i64;
        // At once: a hash that is told of samples one by one costs more than the filter.
        let mut bytes = vec![0; 2 * samples.len()];
        for (two, sample) in bytes.as_chunks_mut().0.iter_mut().zip(samples) {
            *two = sample.to_le_bytes();
        }
        self.hash.update(&bytes);
        if self.sound.is_empty() {
            self.first = at;
            // It grows to about that, a little at a time.
            self.sound.reserve_exact(SEGMENT_SAMPLES.saturating_sub(at));
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
    pub(super) fn copy_from(&self, from: usize, out: &mut [i16]) {
        let skipped = from.saturating_sub(self.first).min(self.sound.len());
        let at = (self.first + skipped).saturating_sub(from);
        for (to, sample) in out.iter_mut().skip(at).zip(&self.sound[skipped..]) {
            *to = *sample;
        }
    }
}

/// Microseconds of `n` samples at `khz` thousand samples a second, rounded down.
pub(super) fn samples_us(n: i64, khz: i64) -> i64 {
    (n * 1_000).div_euclid(khz)
}
