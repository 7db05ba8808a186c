//! What a window of time around the stimulus says: voiced frames, islands of voice, and the island whose
//! jitter and shimmer count (mathematics §12.2).

use super::perturbation::{Perturbation, inside, perturbation};
use super::{Voice, path};

/// Strength from which a frame is voiced.
pub const VOICING_THRESHOLD: f64 = path::VOICING_THRESHOLD;
/// Voiced time that a window needs, s.
pub const MIN_COVERAGE_S: f64 = 1.0;
/// Length that its longest island needs, s.
pub const MIN_ISLAND_S: f64 = 0.2;
/// Pulses that an island needs for jitter and shimmer.
pub const MIN_PULSES: usize = 4;

/// A maximal run of voiced frames within a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Island {
    /// From half a step before its first frame, s from the start of the sound.
    pub start_s: f64,
    /// To half a step after its last frame.
    pub end_s: f64,
    /// Sum of the durations of its frames, s.
    pub duration_s: f64,
}

/// One window.
#[derive(Clone, Copy, Debug)]
pub(super) struct WindowVoice {
    pub(super) f0_valid: bool,
    pub(super) coverage_s: f64,
    pub(super) f0_mean_hz: Option<f64>,
    pub(super) perturbation: Option<Perturbation>,
}

impl WindowVoice {
    /// `window` is an inclusive span on the clock of `segment_start_s`.
    pub(super) fn of(voice: &Voice<'_>, segment_start_s: f64, window: (f64, f64)) -> Self {
        let islands = voice.islands(segment_start_s, window);
        let frames = voice.voiced_frames(segment_start_s, window);
        let coverage_s = frames.clone().map(|_| voice.pitch.step_s()).sum();
        let longest_s = islands.first().map_or(0.0, |island| island.duration_s);
        let f0_valid = coverage_s >= MIN_COVERAGE_S && longest_s >= MIN_ISLAND_S;
        let pitches = frames.map(|frame| voice.pitch.selected(frame).frequency_hz).filter(|hz| *hz > 0.0);
        let (count, sum) = pitches.fold((0u32, 0.0), |(count, sum), hz| (count + 1, sum + hz));
        let f0_mean_hz = (f0_valid && count > 0).then(|| sum / f64::from(count));
        let first_good = || islands.iter().find_map(|island| voice.perturbation(island));
        let perturbation = if f0_valid { first_good() } else { None };
        WindowVoice { f0_valid, coverage_s, f0_mean_hz, perturbation }
    }
}

impl Voice<'_> {
    /// The islands of an inclusive window, by falling duration, then by start.
    pub fn islands(&self, segment_start_s: f64, window: (f64, f64)) -> Vec<Island> {
        let step = self.pitch.step_s();
        let mut islands: Vec<Island> = Vec::new();
        let mut last = None;
        // Frames are equally spaced, so islands are parted by unvoiced frames only.
        for frame in self.voiced_frames(segment_start_s, window) {
            let centre = segment_start_s + self.pitch.time_s(frame);
            let end_s = f64::min(centre + 0.5 * step - segment_start_s, self.sound.duration_s());
            match islands.last_mut().filter(|_| last.is_some_and(|last| last + 1 == frame)) {
                Some(island) => {
                    island.end_s = end_s;
                    island.duration_s += step;
                }
                None => {
                    let start_s = f64::max(centre - 0.5 * step - segment_start_s, 0.0);
                    islands.push(Island { start_s, end_s, duration_s: step });
                }
            }
            last = Some(frame);
        }
        islands.sort_by(|a, b| b.duration_s.total_cmp(&a.duration_s));
        islands
    }

    /// Pulses in an island, both ends included.
    pub fn pulses_inside(&self, island: &Island) -> usize {
        let (first, end) = inside(self.pulses, (island.start_s, island.end_s));
        end - first
    }

    /// Jitter and shimmer of an island that has pulses enough (DM-8) and both values.
    fn perturbation(&self, island: &Island) -> Option<Perturbation> {
        if self.pulses_inside(island) < MIN_PULSES {
            return None;
        }
        let (jitter, shimmer) = perturbation(self.sound, self.pulses, (island.start_s, island.end_s));
        Some(Perturbation { jitter: jitter?, shimmer: shimmer? })
    }

    fn voiced_frames(
        &self,
        segment_start_s: f64,
        (from, to): (f64, f64),
    ) -> impl Iterator<Item = usize> + Clone {
        (0..self.pitch.len()).filter(move |frame| {
            let centre = segment_start_s + self.pitch.time_s(*frame);
            from <= centre && centre <= to && self.pitch.selected(*frame).strength >= VOICING_THRESHOLD
        })
    }
}
