//! Voice acoustics of one segment: pitch, jitter and shimmer before and after a stimulus, with the numbers
//! of Praat 6.1.38 (mathematics §12).
//!
//! Pitch is the autocorrelation method of P. Boersma, "Accurate short-term analysis of the fundamental
//! frequency and the harmonics-to-noise ratio of a sampled sound", IFA Proceedings 17 (1993). Everything here
//! is a pure function of the samples.

mod autocorrelation;
mod brent;
mod path;
mod perturbation;
mod pitch;
mod pulses;
mod sinc;
mod sound;
mod voicing;

pub use perturbation::{Perturbation, perturbation};
pub use pitch::{Candidate, PitchTrack};
pub use sound::{SAMPLE_HZ, Sound};
pub use voicing::{Island, MIN_COVERAGE_S, MIN_ISLAND_S, MIN_PULSES, VOICING_THRESHOLD};

use crate::reward::{BASELINE_S, MEASURE_S};
use pitch::PitchTracker;
use voicing::WindowVoice;

/// The acoustic fields of a segment (contracts §7) and its three legacy scalars (contracts §3).
///
/// The default value is the payload of a segment without stimulus, audio or timing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Acoustics {
    /// Legacy: mean pitch of the whole segment, Hz; `None` where Praat has it undefined (DM-20).
    pub pitch_f0: Option<f64>,
    /// Legacy: jitter (local) of the whole segment, a ratio.
    pub jitter: Option<f64>,
    /// Legacy: shimmer (local) of the whole segment, a ratio.
    pub shimmer: Option<f64>,
    /// The measurement window has enough voice for a pitch.
    pub f0_valid_measure: bool,
    /// The baseline window has enough voice for a pitch.
    pub f0_valid_baseline: bool,
    /// An island of the measurement window has jitter and shimmer.
    pub perturbation_valid_measure: bool,
    /// An island of the baseline window has jitter and shimmer.
    pub perturbation_valid_baseline: bool,
    /// Voiced time in the measurement window, s.
    pub voiced_coverage_measure_s: f64,
    /// Voiced time in the baseline window, s.
    pub voiced_coverage_baseline_s: f64,
    /// Mean pitch of the measurement window, Hz.
    pub f0_mean_measure_hz: Option<f64>,
    /// Mean pitch of the baseline window, Hz.
    pub f0_mean_baseline_hz: Option<f64>,
    /// Pitch of the measurement window above the baseline, semitones.
    pub f0_delta_semitones: Option<f64>,
    /// Jitter of the measurement window, a ratio.
    pub jitter_mean_measure: Option<f64>,
    /// Jitter of the baseline window, a ratio.
    pub jitter_mean_baseline: Option<f64>,
    /// Measurement minus baseline.
    pub jitter_delta: Option<f64>,
    /// Shimmer of the measurement window, a ratio.
    pub shimmer_mean_measure: Option<f64>,
    /// Shimmer of the baseline window, a ratio.
    pub shimmer_mean_baseline: Option<f64>,
    /// Measurement minus baseline.
    pub shimmer_delta: Option<f64>,
}

/// Shorter than one analysis window (0.04 s): Praat refuses such a sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{samples} samples are shorter than a pitch window")]
pub struct TooShort {
    /// Samples given.
    pub samples: usize,
}

/// What the windows are cut from: the analysis of a whole sound, which does not know the stimulus.
#[derive(Clone, Copy, Debug)]
pub struct Voice<'a> {
    /// The samples.
    pub sound: &'a Sound,
    /// Pitch frames.
    pub pitch: &'a PitchTrack,
    /// Glottal pulses, s from the start of the sound, ascending.
    pub pulses: &'a [f64],
}

/// Analyses one segment after the other with the same buffers.
///
/// ```
/// use lsie_operators::acoustics::{Acoustics, Analyzer};
/// let mut analyzer = Analyzer::default();
/// assert_eq!(analyzer.analyze(&[0; 480_000], 0.0, None), Acoustics::default());
/// assert!(analyzer.voice(&[0; 639]).is_err());
/// ```
#[derive(Default)]
pub struct Analyzer {
    tracker: PitchTracker,
    sound: Sound,
    pitch: PitchTrack,
    pulses: Vec<f64>,
}

impl Analyzer {
    /// The fields of a segment: 16 kHz samples, its start and its stimulus on one clock, s.
    ///
    /// Without a stimulus, with a time that is not finite or with a sound too short to analyse: the default.
    pub fn analyze(&mut self, samples: &[i16], segment_start_s: f64, stimulus_s: Option<f64>) -> Acoustics {
        let Some(stimulus_s) = stimulus_s.filter(|time| time.is_finite() && segment_start_s.is_finite())
        else {
            return Acoustics::default();
        };
        match self.voice(samples) {
            Ok(voice) => voice.acoustics(segment_start_s, stimulus_s),
            Err(TooShort { .. }) => Acoustics::default(),
        }
    }

    /// Pitch and pulses of 16 kHz samples.
    pub fn voice(&mut self, samples: &[i16]) -> Result<Voice<'_>, TooShort> {
        self.sound.load(samples);
        self.tracker.track(&self.sound, &mut self.pitch)?;
        pulses::find(&self.sound, &self.pitch, &mut self.pulses);
        Ok(Voice { sound: &self.sound, pitch: &self.pitch, pulses: &self.pulses })
    }
}

impl Voice<'_> {
    /// The fields for a stimulus; both times on one clock, s.
    pub fn acoustics(&self, segment_start_s: f64, stimulus_s: f64) -> Acoustics {
        let window = |offsets_s: (f64, f64)| {
            WindowVoice::of(self, segment_start_s, (stimulus_s + offsets_s.0, stimulus_s + offsets_s.1))
        };
        let (measure, baseline) = (window(MEASURE_S), window(BASELINE_S));
        let difference = |field: fn(&Perturbation) -> f64| {
            Some(field(&measure.perturbation?) - field(&baseline.perturbation?))
        };
        let whole = perturbation(self.sound, self.pulses, (0.0, self.sound.duration_s()));
        Acoustics {
            pitch_f0: self.pitch.mean_hz(),
            jitter: whole.0,
            shimmer: whole.1,
            f0_valid_measure: measure.f0_valid,
            f0_valid_baseline: baseline.f0_valid,
            perturbation_valid_measure: measure.perturbation.is_some(),
            perturbation_valid_baseline: baseline.perturbation.is_some(),
            voiced_coverage_measure_s: measure.coverage_s,
            voiced_coverage_baseline_s: baseline.coverage_s,
            f0_mean_measure_hz: measure.f0_mean_hz,
            f0_mean_baseline_hz: baseline.f0_mean_hz,
            f0_delta_semitones: semitones(measure.f0_mean_hz, baseline.f0_mean_hz),
            jitter_mean_measure: measure.perturbation.map(|it| it.jitter),
            jitter_mean_baseline: baseline.perturbation.map(|it| it.jitter),
            jitter_delta: difference(|it| it.jitter),
            shimmer_mean_measure: measure.perturbation.map(|it| it.shimmer),
            shimmer_mean_baseline: baseline.perturbation.map(|it| it.shimmer),
            shimmer_delta: difference(|it| it.shimmer),
        }
    }
}

/// 12 log2(measure / baseline).
fn semitones(measure_hz: Option<f64>, baseline_hz: Option<f64>) -> Option<f64> {
    let ratio = measure_hz? / baseline_hz.filter(|hz| *hz > 0.0)?;
    Some(12.0 * ratio.log2()).filter(|delta| delta.is_finite())
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use proptest::prelude::*;

    use super::*;

    /// A voice of 200 Hz before and 224 Hz after 5 s, 10 s long.
    fn voice() -> Vec<i16> {
        let hz = |i: u32| if i < 80_000 { 200.0 } else { 224.0 };
        let tone = |i: u32, n: f64| (TAU * hz(i) * n * f64::from(i) / 16_000.0).sin() / n;
        (0..160_000).map(|i| (6_000.0 * (tone(i, 1.0) + tone(i, 2.0) + tone(i, 3.0))) as i16).collect()
    }

    #[test]
    fn a_rising_voice() {
        let acoustics = Analyzer::default().analyze(&voice(), 100.0, Some(105.0));
        assert!(acoustics.f0_valid_measure && acoustics.f0_valid_baseline);
        assert!(acoustics.perturbation_valid_measure && acoustics.perturbation_valid_baseline);
        let semitones = acoustics.f0_delta_semitones.expect("both pitches");
        assert!((semitones - 12.0 * (224.0f64 / 200.0).log2()).abs() < 1e-3, "{semitones}");
        assert!(acoustics.jitter_mean_measure.expect("a jitter") < 1e-3);
        assert!((acoustics.voiced_coverage_baseline_s - 3.0).abs() < 0.02);
    }

    #[test]
    fn without_a_time_or_a_window_there_is_nothing() {
        let mut analyzer = Analyzer::default();
        for (start, stimulus) in
            [(0.0, None), (f64::NAN, Some(5.0)), (f64::INFINITY, Some(5.0)), (0.0, Some(f64::NAN))]
        {
            assert_eq!(analyzer.analyze(&voice(), start, stimulus), Acoustics::default());
        }
        for samples in [&[][..], &[i16::MAX], &[i16::MIN; 639]] {
            assert_eq!(analyzer.analyze(samples, 0.0, Some(0.0)), Acoustics::default());
            assert_eq!(analyzer.voice(samples).err(), Some(TooShort { samples: samples.len() }));
        }
        assert_eq!(analyzer.voice(&[0; 640]).expect("one frame").pitch.len(), 1);
        let outside = analyzer.analyze(&voice(), 0.0, Some(1e300));
        assert!(outside.pitch_f0.is_some() && !outside.f0_valid_measure);
    }

    #[test]
    fn silence_and_a_constant_are_unvoiced() {
        for level in [0, 1, i16::MIN, i16::MAX] {
            let mut analyzer = Analyzer::default();
            assert_eq!(analyzer.analyze(&[level; 160_000], 0.0, Some(5.0)), Acoustics::default());
            assert!(analyzer.voice(&[level; 160_000]).expect("long enough").pulses.is_empty());
        }
    }

    #[test]
    fn a_million_samples() {
        let noise: Vec<i16> =
            (0..1_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 16) as i16).collect();
        assert_finite(&Analyzer::default().analyze(&noise, 1.8e9, Some(1.8e9 + 30.0)));
    }

    fn assert_finite(it: &Acoustics) {
        let values = [
            (it.pitch_f0, it.jitter, it.shimmer),
            (it.f0_mean_measure_hz, it.f0_mean_baseline_hz, it.f0_delta_semitones),
            (it.jitter_mean_measure, it.jitter_mean_baseline, it.jitter_delta),
            (it.shimmer_mean_measure, it.shimmer_mean_baseline, it.shimmer_delta),
            (Some(it.voiced_coverage_measure_s), Some(it.voiced_coverage_baseline_s), None),
        ];
        let all = values.iter().flat_map(|(a, b, c)| [a, b, c]).flatten();
        assert!(all.clone().all(|value| value.is_finite()), "{it:?}");
        assert!(it.f0_mean_measure_hz.is_some() <= it.f0_valid_measure);
        assert!(it.perturbation_valid_baseline <= it.f0_valid_baseline);
    }

    /// Pieces of tone, square wave, noise and silence.
    fn sounds() -> impl Strategy<Value = Vec<i16>> {
        let piece = (0..4u32, 0..4_000u32, 2..400u32, 1..2_000i16);
        prop::collection::vec(piece, 0..6).prop_map(|pieces| {
            let value = |kind: u32, i: u32, period: u32| match kind {
                0 => (TAU * f64::from(i) / f64::from(period)).sin(),
                1 => f64::from(i % period * 2 / period) * 2.0 - 1.0,
                2 => f64::from(i.wrapping_mul(2_654_435_761) >> 16) / 32_768.0 - 1.0,
                _ => 0.0,
            };
            let piece = |(kind, length, period, level)| {
                (0..length).map(move |i| (f64::from(level) * value(kind, i, period)) as i16)
            };
            pieces.into_iter().flat_map(piece).collect()
        })
    }

    proptest! {
        #[test]
        fn a_gain_of_a_power_of_two_changes_no_bit(sound in sounds(), power in 0..5u32) {
            let louder: Vec<i16> = sound.iter().map(|sample| sample << power).collect();
            let mut analyzer = Analyzer::default();
            let before = analyzer.analyze(&sound, 0.0, Some(0.5));
            prop_assert_eq!(analyzer.analyze(&louder, 0.0, Some(0.5)), before);
        }

        #[test]
        fn what_an_analyzer_did_before_changes_nothing(first in sounds(), second in sounds()) {
            let mut used = Analyzer::default();
            used.analyze(&first, 0.0, Some(0.1));
            let (again, fresh) =
                (used.analyze(&second, 0.0, Some(0.1)), Analyzer::default().analyze(&second, 0.0, Some(0.1)));
            prop_assert_eq!(again, fresh);
        }

        #[test]
        fn every_sound_has_finite_numbers(
            sound in prop_oneof![sounds(), prop::collection::vec(any::<i16>(), 0..3_000)],
            start in any::<f64>(),
            stimulus in any::<f64>(),
        ) {
            let mut analyzer = Analyzer::default();
            assert_finite(&analyzer.analyze(&sound, start, Some(stimulus)));
            if let Ok(voice) = analyzer.voice(&sound) {
                let acoustics = voice.acoustics(0.0, 0.0);
                assert_finite(&acoustics);
                prop_assert!(voice.pulses.windows(2).all(|pair| pair[0] < pair[1]));
                for frame in 0..voice.pitch.len() {
                    let selected = voice.pitch.selected(frame);
                    prop_assert!((0.0..600.0).contains(&selected.frequency_hz));
                    prop_assert!((0.0..=1.0).contains(&selected.strength));
                }
            }
        }
    }
}
