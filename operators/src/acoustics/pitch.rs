//! Pitch by autocorrelation (mathematics §12.1): frames, their candidates, and the path through them.

use std::f64::consts::PI;

use super::autocorrelation::Autocorrelation;
use super::path::{self, PathFinder};
use super::sinc::Kernel;
use super::sound::{SAMPLE_HZ, Sound, index_before};
use super::{TooShort, brent};

/// Lowest pitch, Hz.
pub(super) const FLOOR_HZ: f64 = 75.0;
/// Highest pitch, Hz; candidates from here on count as unvoiced.
pub(super) const CEILING_HZ: f64 = 600.0;
/// Analysis window: three periods of the floor, s.
const WINDOW_S: f64 = 3.0 / FLOOR_HZ;
/// Time between frames, s.
const STEP_S: f64 = WINDOW_S / 4.0;
/// Samples of a window. Half of it, 319, is also the largest lag.
const WINDOW: usize = 2 * MAX_LAG;
const MAX_LAG: usize = 319;
/// The longest period, in samples.
const PERIOD: i64 = 213;
/// The frame's own peak is looked for within this many samples of its centre.
const HALF_PERIOD: usize = 107;
/// Lags of candidates are below this.
const MAX_CANDIDATE_LAG: usize = 214;
/// Candidates of a frame at most, the unvoiced one among them.
pub(super) const MAX_CANDIDATES: usize = 15;
/// A peak of the autocorrelation below this is no candidate: half the voicing threshold.
const MIN_PEAK: f64 = 0.5 * path::VOICING_THRESHOLD;
/// Interpolation depth of the first estimate of a strength.
const FIRST_DEPTH: usize = 30;
/// Interpolation depth of the final one.
const DEPTH: usize = 70;
/// Above this frequency, in Hz, the interpolation uses all lags there are.
const DEEP_HZ: f64 = 0.3 * SAMPLE_HZ;
/// The gaps, by the lag below them, that a peak above `DEEP_HZ` is searched in: its lag is 2 or 3.
const DEEP_GAPS: std::ops::RangeInclusive<usize> = 1..=3;

/// A way to see a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Candidate {
    /// Frequency, Hz; 0 for the unvoiced candidate.
    pub frequency_hz: f64,
    /// Normalised autocorrelation at its period, 0 to 1.
    pub strength: f64,
}

/// Where the candidates of a frame are, and how loud it is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Frame {
    pub(super) first: usize,
    pub(super) count: usize,
    /// Peak of the frame in relation to the peak of the sound, 0 to 1.
    pub(super) intensity: f64,
}

/// Pitch frames of a sound, 0.01 s apart.
#[derive(Clone, Debug, Default)]
pub struct PitchTrack {
    first_s: f64,
    pub(super) frames: Vec<Frame>,
    pub(super) candidates: Vec<Candidate>,
}

impl PitchTrack {
    /// Centre of frame 0, s.
    pub fn first_s(&self) -> f64 {
        self.first_s
    }

    /// Time between frames, s.
    pub fn step_s(&self) -> f64 {
        STEP_S
    }

    /// Number of frames.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether there are no frames.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Centre of a frame, s.
    pub fn time_s(&self, frame: usize) -> f64 {
        self.first_s + frame as f64 * STEP_S
    }

    /// The candidates of a frame, the selected one first; none beyond the last frame.
    pub fn candidates(&self, frame: usize) -> &[Candidate] {
        let range = self.frames.get(frame).map(|frame| frame.first..frame.first + frame.count);
        range.and_then(|range| self.candidates.get(range)).unwrap_or_default()
    }

    /// The selected candidate of a frame.
    pub fn selected(&self, frame: usize) -> Candidate {
        self.candidates(frame).first().copied().unwrap_or_default()
    }

    /// The peak of a frame in relation to the peak of the sound, 0 to 1.
    pub fn intensity(&self, frame: usize) -> f64 {
        self.frames.get(frame).map_or(0.0, |frame| frame.intensity)
    }

    /// Pitch of a voiced frame, Hz.
    pub fn voiced_hz(&self, frame: usize) -> Option<f64> {
        Some(self.selected(frame).frequency_hz).filter(|hz| is_voiced(*hz))
    }

    /// Mean pitch of all voiced frames, Hz.
    pub fn mean_hz(&self) -> Option<f64> {
        let voiced = (0..self.len()).filter_map(|frame| self.voiced_hz(frame));
        let (count, sum) = voiced.fold((0u32, 0.0), |(count, sum), hz| (count + 1, sum + hz));
        (count > 0).then(|| sum / f64::from(count))
    }

    /// Pitch at an instant, Hz: linear between two voiced frames, else that of the nearer frame.
    pub(super) fn hz_at(&self, time_s: f64) -> Option<f64> {
        let position = (time_s - self.first_s) / STEP_S;
        let (left, phase) = (position.floor(), position - position.floor());
        let (near, far) = if phase < 0.5 { (left, left + 1.0) } else { (left + 1.0, left) };
        let hz = |frame: f64| if frame < 0.0 { None } else { self.voiced_hz(frame as usize) };
        let near = hz(near)?;
        Some(hz(far).map_or(near, |far| near + phase.min(1.0 - phase) * (far - near)))
    }
}

#[cfg(test)]
impl PitchTrack {
    /// A track with one candidate per frame, the first frame at 0.02 s.
    pub(super) fn of(candidates: Vec<Candidate>) -> Self {
        let frames = (0..candidates.len()).map(|first| Frame { first, count: 1, intensity: 1.0 }).collect();
        PitchTrack { first_s: 0.02, frames, candidates }
    }
}

/// Whether a candidate's frequency is a pitch.
pub(super) fn is_voiced(frequency_hz: f64) -> bool {
    0.0 < frequency_hz && frequency_hz < CEILING_HZ
}

/// The tables and buffers of the analysis.
pub(super) struct PitchTracker {
    autocorrelation: Autocorrelation,
    /// Hann window.
    window: Vec<f64>,
    /// By lag, what makes an autocorrelation that of the signal without the window.
    correction: Vec<f64>,
    first_kernel: Kernel,
    kernel: Kernel,
    /// Kernels of all lags there are, for `DEEP_GAPS`.
    deep: Vec<Kernel>,
    /// Normalised autocorrelation of a frame from lag -319 to 319.
    lags: Vec<f64>,
    peaks: Vec<Peak>,
    path: PathFinder,
}

/// A local maximum of the autocorrelation.
#[derive(Clone, Copy, Debug)]
struct Peak {
    lag: usize,
    /// Frequency by a parabola, Hz.
    estimate_hz: f64,
}

impl Default for PitchTracker {
    fn default() -> Self {
        let mut autocorrelation = Autocorrelation::default();
        let window: Vec<f64> =
            (1..=WINDOW).map(|k| 0.5 - 0.5 * (2.0 * PI * k as f64 / (WINDOW + 1) as f64).cos()).collect();
        let of_window = autocorrelation.of(window.iter().copied());
        let correction = of_window.iter().take(MAX_LAG + 1).map(|value| of_window[0] / value).collect();
        PitchTracker {
            autocorrelation,
            window,
            correction,
            first_kernel: Kernel::new(FIRST_DEPTH),
            kernel: Kernel::new(DEPTH),
            deep: DEEP_GAPS.map(|lag| Kernel::new(MAX_LAG - lag)).collect(),
            lags: vec![0.0; 2 * MAX_LAG + 1],
            peaks: Vec::with_capacity(MAX_CANDIDATE_LAG),
            path: PathFinder::default(),
        }
    }
}

impl PitchTracker {
    /// Analyses a sound into `track`, whatever that held.
    pub(super) fn track(&mut self, sound: &Sound, track: &mut PitchTrack) -> Result<(), TooShort> {
        let samples = sound.samples().len();
        track.frames.clear();
        track.candidates.clear();
        let duration_s = sound.duration_s();
        if duration_s < WINDOW_S {
            return Err(TooShort { samples });
        }
        let count = ((duration_s - WINDOW_S) / STEP_S).floor() + 1.0;
        track.first_s = 0.5 * duration_s - 0.5 * count * STEP_S + 0.5 * STEP_S;
        let global_peak = sound.peak_around(sound.sum(0, samples as i64) / samples as f64);
        for frame in 0..count as usize {
            let time_s = track.time_s(frame);
            let first = track.candidates.len();
            track.candidates.push(Candidate::default());
            let intensity = self.analyze(sound, time_s, global_peak, &mut track.candidates);
            track.frames.push(Frame { first, count: track.candidates.len() - first, intensity });
        }
        self.path.select(&track.frames, &mut track.candidates);
        Ok(())
    }

    /// Appends the voiced candidates of the frame around an instant; returns its intensity.
    fn analyze(
        &mut self,
        sound: &Sound,
        time_s: f64,
        global_peak: f64,
        candidates: &mut Vec<Candidate>,
    ) -> f64 {
        let right = index_before(time_s) + 1;
        let mean = sound.sum(right - PERIOD, right + PERIOD) / (2 * PERIOD) as f64;
        let from = usize::try_from(right - MAX_LAG as i64).unwrap_or(0);
        let Some(samples) = sound.samples().get(from..from + WINDOW) else { return 0.0 };
        let windowed = samples.iter().zip(&self.window).map(|(sample, weight)| (sample - mean) * weight);
        let centre = windowed.clone().skip(MAX_LAG - HALF_PERIOD).take(2 * HALF_PERIOD);
        let peak = centre.fold(0.0, |peak, value| f64::max(peak, value.abs()));
        if peak == 0.0 {
            return 0.0;
        }
        let products = self.autocorrelation.of(windowed);
        let energy = products[0];
        let (negative, positive) = self.lags.split_at_mut(MAX_LAG);
        positive[0] = 1.0;
        for lag in 1..=MAX_LAG {
            positive[lag] = products[lag] * self.correction[lag] / energy;
            negative[MAX_LAG - lag] = positive[lag];
        }
        self.find_peaks();
        candidates.extend(self.peaks.iter().map(|peak| self.refine(*peak)));
        (peak / global_peak).min(1.0)
    }

    /// Local maxima of the autocorrelation by rising lag, the strongest when there are too many.
    fn find_peaks(&mut self) {
        self.peaks.clear();
        let positive = &self.lags[MAX_LAG..];
        for lag in 2..MAX_CANDIDATE_LAG {
            let (before, here, after) = (positive[lag - 1], positive[lag], positive[lag + 1]);
            if here > MIN_PEAK && here > before && here >= after {
                let shift = 0.5 * (after - before) / (2.0 * here - before - after);
                self.peaks.push(Peak { lag, estimate_hz: SAMPLE_HZ / (lag as f64 + shift) });
            }
        }
        if self.peaks.len() >= MAX_CANDIDATES {
            self.keep_strongest();
        }
    }

    /// Each peak beyond the places there are takes the place of the weakest before it, if it is stronger.
    fn keep_strongest(&mut self) {
        let weight = |peak: &Peak| {
            let position = MAX_LAG as f64 + SAMPLE_HZ / peak.estimate_hz;
            let gap = self.first_kernel.between(&self.lags, position as usize);
            let strength = folded(gap.at(position.fract()));
            strength - path::OCTAVE_COST * (FLOOR_HZ / peak.estimate_hz).log2()
        };
        let places = MAX_CANDIDATES - 1;
        let mut weights: [f64; MAX_CANDIDATES - 1] = std::array::from_fn(|place| weight(&self.peaks[place]));
        for next in places..self.peaks.len() {
            let peak = self.peaks[next];
            let weakest = (1..places).fold(0, |best, i| if weights[i] < weights[best] { i } else { best });
            let weight = weight(&peak);
            if weight > weights[weakest] {
                (self.peaks[weakest], weights[weakest]) = (peak, weight);
            }
        }
        self.peaks.truncate(places);
    }

    /// The maximum of the interpolated autocorrelation within one lag of a peak.
    fn refine(&self, peak: Peak) -> Candidate {
        let gap = |lag: usize| {
            let deep = self.deep.get(lag - DEEP_GAPS.start()).filter(|_| peak.estimate_hz > DEEP_HZ);
            deep.unwrap_or(&self.kernel).between(&self.lags, MAX_LAG + lag)
        };
        let (below, above) = (gap(peak.lag - 1), gap(peak.lag));
        // The search counts lags as Praat's arrays do, from 1 at lag -319, since its tolerance depends on it.
        let here = (peak.lag + MAX_LAG + 1) as f64;
        let found = brent::maximum(here - 1.0, here + 1.0, |x| {
            if x < here { below.at(x - here + 1.0) } else { above.at(x - here) }
        });
        let lag = found.x - (MAX_LAG + 1) as f64;
        Candidate { frequency_hz: SAMPLE_HZ / lag, strength: folded(found.y) }
    }
}

/// An interpolated correlation can exceed 1.
fn folded(strength: f64) -> f64 {
    if strength > 1.0 { 1.0 / strength } else { strength }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Candidates of a frame by the definition: sums of products, every lag in turn.
    fn naive_peaks(samples: &[i16], time_s: f64) -> Vec<usize> {
        // Some instants lie on a sample, where only Praat's own rounding decides.
        let right = index_before(time_s) as usize + 1;
        let near = &samples[right.saturating_sub(213)..(right + 213).min(samples.len())];
        let mean = near.iter().map(|sample| f64::from(*sample)).sum::<f64>() / 426.0;
        let window = |k: usize| 0.5 - 0.5 * (2.0 * PI * (k + 1) as f64 / 639.0).cos();
        let frame: Vec<f64> =
            (0..638).map(|k| (f64::from(samples[right - 319 + k]) - mean) * window(k)).collect();
        let products =
            |lag: usize| (lag..638).map(|k| frame[k] * frame[k - lag]).sum::<f64>() / products_0(&frame);
        let of_window = |lag: usize| (lag..638).map(|k| window(k) * window(k - lag)).sum::<f64>();
        let r: Vec<f64> = (0..=214).map(|lag| products(lag) * of_window(0) / of_window(lag)).collect();
        let is_peak = |lag: &usize| r[*lag] > 0.225 && r[*lag] > r[lag - 1] && r[*lag] >= r[lag + 1];
        (2..214).filter(is_peak).collect()
    }

    fn products_0(frame: &[f64]) -> f64 {
        frame.iter().map(|value| value * value).sum()
    }

    proptest! {
        #[test]
        fn candidates_are_near_the_peaks_of_the_definition(
            samples in prop::collection::vec(-9_000..9_000i16, 640..900),
            smoothing in 1..40usize,
        ) {
            let samples: Vec<i16> = samples
                .windows(smoothing)
                .map(|some| (some.iter().map(|it| i32::from(*it)).sum::<i32>() / smoothing as i32) as i16)
                .collect();
            let mut sound = Sound::default();
            sound.load(&samples);
            let mut track = PitchTrack::default();
            if PitchTracker::default().track(&sound, &mut track).is_err() {
                prop_assert!(samples.len() < 640);
                return Ok(());
            }
            for frame in 0..track.len() {
                let mut ours: Vec<Candidate> = track.candidates(frame).to_vec();
                ours.retain(|candidate| candidate.frequency_hz > 0.0);
                ours.sort_by(|a, b| b.frequency_hz.total_cmp(&a.frequency_hz));
                let expected = naive_peaks(&samples, track.time_s(frame));
                prop_assert_eq!(ours.len(), expected.len().min(14));
                if expected.len() > 14 {
                    continue;
                }
                for (ours, lag) in ours.iter().zip(expected) {
                    prop_assert!((16_000.0 / ours.frequency_hz - lag as f64).abs() <= 1.0 + 1e-9);
                }
            }
        }
    }

    #[test]
    fn pitch_between_frames() {
        let voiced = |frequency_hz| Candidate { frequency_hz, strength: 0.9 };
        let track = PitchTrack::of(vec![voiced(100.0), voiced(110.0), Candidate::default(), voiced(601.0)]);
        let at = |time_s: f64| track.hz_at(time_s).map(|hz| (hz * 1e6).round() / 1e6);
        assert_eq!(at(0.0225), Some(102.5));
        assert_eq!(at(0.0275), Some(107.5));
        assert_eq!(at(0.0175), Some(100.0));
        assert_eq!(at(0.0325), Some(110.0));
        assert_eq!([0.01, 0.0375, 0.05, 0.9, f64::INFINITY].map(at), [None; 5]);
        assert_eq!(track.mean_hz(), Some(105.0));
    }
}
