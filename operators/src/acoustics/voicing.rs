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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::acoustics::{Candidate, PitchTrack, Sound};

    /// Frames of 200 Hz at 0.02, 0.03, ... s with these strengths, over a sound of 10 s.
    fn with_voice<T>(strengths: &[f64], test: impl FnOnce(&Voice<'_>) -> T) -> T {
        let candidates =
            strengths.iter().map(|strength| Candidate { frequency_hz: 200.0, strength: *strength });
        let pitch = PitchTrack::of(candidates.collect());
        let mut sound = Sound::default();
        sound.load(&[0; 160_000]);
        test(&Voice { sound: &sound, pitch: &pitch, pulses: &[] })
    }

    #[test]
    fn thresholds_and_edges_are_inclusive() {
        let mut strengths = vec![0.45; 100];
        let window = |voice: &Voice<'_>| WindowVoice::of(voice, 0.0, (0.02, 1.01));
        let all = with_voice(&strengths, window);
        assert!(all.f0_valid && all.f0_mean_hz == Some(200.0) && all.perturbation.is_none());
        strengths[50] = 0.449_999_9;
        let without_one = with_voice(&strengths, window);
        assert!(!without_one.f0_valid && without_one.f0_mean_hz.is_none());
        assert!((without_one.coverage_s - 0.99).abs() < 1e-12);
    }

    #[test]
    fn islands_shorter_than_a_fifth_of_a_second_are_not_enough() {
        let of_length = |voiced: usize| -> Vec<f64> {
            (0..400).map(|i| if i % (voiced + 1) == 0 { 0.0 } else { 0.9 }).collect()
        };
        let is_valid = |voice: &Voice<'_>| WindowVoice::of(voice, 0.0, (0.0, 9.0)).f0_valid;
        assert!(with_voice(&of_length(20), is_valid));
        assert!(!with_voice(&of_length(19), is_valid));
    }

    proptest! {
        #[test]
        fn islands_are_the_runs_of_voiced_frames(strengths in prop::collection::vec(0.0..0.9f64, 0..60)) {
            let islands = with_voice(&strengths, |voice| voice.islands(1e9, (1e9 - 1.0, 1e9 + 9.0)));
            let runs = strengths.chunk_by(|a, b| (*a >= 0.45) == (*b >= 0.45));
            let mut lengths: Vec<usize> = runs.filter(|run| run[0] >= 0.45).map(<[f64]>::len).collect();
            lengths.sort_unstable_by(|a, b| b.cmp(a));
            let ours: Vec<usize> =
                islands.iter().map(|island| (island.duration_s * 100.0).round() as usize).collect();
            prop_assert_eq!(ours, lengths);
            for island in &islands {
                prop_assert!((island.end_s - island.start_s - island.duration_s).abs() < 1e-6);
            }
            let in_order = |pair: &[Island]| {
                pair[0].duration_s > pair[1].duration_s || pair[0].start_s < pair[1].start_s
            };
            prop_assert!(islands.windows(2).all(in_order));
        }
    }
}
