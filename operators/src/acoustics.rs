//! Voice acoustics of one segment: pitch, jitter and shimmer before and after a stimulus, with the numbers
//! of Praat 6.1.38 (mathematics §12).
//!
//! Pitch is the autocorrelation method of P. Boersma, "Accurate short-term analysis of the fundamental
//! frequency and the harmonics-to-noise ratio of a sampled sound", IFA Proceedings 17 (1993). Everything here
//! is a pure function of the samples; the numbers do not depend on the machine's vector width.

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
