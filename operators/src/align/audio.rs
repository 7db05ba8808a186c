//! The audio of one session on its time line: resampled, cut at segment borders, hashed.

use std::collections::BTreeMap;

use lsie_schemas::EventTime;
use sha2::{Digest, Sha256};

use crate::resample::Resampler;
use crate::segment_id::{SEGMENT_US, hex};

/// A chunk whose capture time is further than this from where its predecessor ended begins a new run. Below
/// it the difference is the device's clock drifting between polls, and the samples are taken as consecutive.
const GAP_US: i64 = 20_000;

/// Samples of one segment so far.
#[derive(Clone, Debug, Default)]
struct Window {
    samples: i64,
    hash: Sha256,
}

/// Consecutive audio of one session.
#[derive(Clone, Debug)]
pub(crate) struct AudioTrack {
    anchor: EventTime,
    resampler: Resampler,
    /// Capture time of the run's first sample, if a run is open.
    run: Option<EventTime>,
    /// Output samples of the run so far.
    given: i64,
    windows: BTreeMap<i64, Window>,
}

impl AudioTrack {
    pub(crate) fn new(anchor: EventTime) -> AudioTrack {
        AudioTrack { anchor, resampler: Resampler::default(), run: None, given: 0, windows: BTreeMap::new() }
    }

    /// Takes a chunk of 48 kHz s16le samples whose first was captured at `start`.
    pub(crate) fn push(&mut self, start: EventTime, pcm: &[u8]) {
        let expected = self.run.map(|run| run.plus_us(samples_us(self.resampler.samples_in() as i64, 48)));
        if expected.is_none_or(|at| (at.0 - start.0).abs() > GAP_US) {
            self.finish_run();
            self.run = Some(start);
        }
        let samples: Vec<i16> = pcm.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect();
        let mut out = Vec::with_capacity(samples.len() / 3 + 1);
        self.resampler.push(&samples, &mut out);
        self.place(&out);
    }

    /// Flushes what the filter holds back: after a gap, or when nothing may follow.
    pub(crate) fn finish_run(&mut self) {
        if self.run.is_some() {
            let mut out = Vec::new();
            self.resampler.finish(&mut out);
            self.place(&out);
            self.run = None;
            self.given = 0;
        }
    }

    /// Takes out what lies in the window of `ordinal`: sample count and hash. What the filter holds back of it
    /// is flushed first.
    pub(crate) fn close(&mut self, ordinal: i64) -> (i64, String) {
        let end = self.anchor.plus_us(ordinal * SEGMENT_US);
        if self.run.is_some_and(|run| run.plus_us(samples_us(self.given, 16)) < end) {
            self.finish_run();
        }
        let window = self.windows.remove(&ordinal).unwrap_or_default();
        // Nothing can be added to closed windows any more: late media are filed.
        self.windows.retain(|open, _| *open > ordinal);
        (window.samples, hex(&window.hash.finalize()))
    }

    fn place(&mut self, samples: &[i16]) {
        let Some(run) = self.run else { return };
        let mut rest = samples;
        while !rest.is_empty() {
            let at = run.plus_us(samples_us(self.given, 16));
            let ordinal = (at.0 - self.anchor.0).div_euclid(SEGMENT_US) + 1;
            // The first sample of the run that lies at or past the window's end.
            let end_us = self.anchor.0 + ordinal * SEGMENT_US - run.0;
            let end = (end_us * 16).div_euclid(1_000) + i64::from((end_us * 16).rem_euclid(1_000) != 0);
            let fit = usize::try_from(end - self.given).unwrap_or(1).clamp(1, rest.len());
            let (now, later) = rest.split_at(fit);
            if ordinal >= 1 {
                let window = self.windows.entry(ordinal).or_default();
                window.samples += fit as i64;
                for sample in now {
                    window.hash.update(sample.to_le_bytes());
                }
            }
            self.given += fit as i64;
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
        whole.push(anchor, &pcm(61));
        whole.finish_run();
        let mut cut = AudioTrack::new(anchor);
        for (i, chunk) in pcm(61).chunks(9_600).enumerate() {
            cut.push(anchor.plus_us(i as i64 * 100_000), chunk);
        }
        cut.finish_run();
        for ordinal in [1, 2, 3] {
            let (a, b) = (whole.close(ordinal), cut.close(ordinal));
            assert_eq!(a, b);
            assert_eq!(a.0, if ordinal == 3 { 16_000 } else { 480_000 });
        }
    }

    #[test]
    fn a_gap_moves_later_samples_to_their_time() {
        let anchor = EventTime(0);
        let mut track = AudioTrack::new(anchor);
        track.push(anchor, &pcm(1));
        track.push(EventTime(30_500_000), &pcm(1));
        track.finish_run();
        assert_eq!((track.close(1).0, track.close(2).0), (16_000, 16_000));
    }
}
