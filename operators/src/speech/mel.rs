//! The front end of Whisper, and of models trained on it: sound into the logarithm of its power in mel bands.
//!
//! Frames of 400 samples every 160, periodic Hann window, power spectrum, triangular bands of equal area on
//! Slaney's mel scale, log10. In double precision: the floor lies 80 dB under the loudest band, where single
//! precision has little left.

use std::f64::consts::PI;
use std::ops::Range;
use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};

use super::SAMPLE_HZ;

/// Samples from one frame to the next: 10 ms.
pub const FRAME_SAMPLES: usize = 160;
/// Length of the window, samples: 25 ms.
const WINDOW: usize = 400;
/// Samples mirrored before the first and after the last.
const MARGIN: usize = WINDOW / 2;
/// Frequencies of the spectrum.
const FREQUENCIES: usize = WINDOW / 2 + 1;
/// Smallest power that is told from silence.
const LEAST_POWER: f64 = 1e-10;
/// How far under the loudest band values are cut off, in powers of ten.
const RANGE: f64 = 8.0;

/// Width of a mel below [`LOG_FROM_HZ`], Hz.
const MEL_HZ: f64 = 200.0 / 3.0;
/// Where the scale turns logarithmic.
const LOG_FROM_HZ: f64 = 1_000.0;
/// There, 27 mels are a factor of 6.4.
const LOG_STEPS: f64 = 27.0;
/// That factor.
const LOG_FACTOR: f64 = 6.4;

/// Turns sound into log-mel frames; keeps its plan and memory from one sound to the next.
pub struct LogMel {
    bands: Vec<Band>,
    window: Vec<f64>,
    fft: Arc<dyn RealToComplex<f64>>,
    scratch: Vec<Complex<f64>>,
    frame: Vec<f64>,
    spectrum: Vec<Complex<f64>>,
    power: Vec<f64>,
}

/// The weights of one band over the frequencies where they are not zero.
struct Band {
    frequencies: Range<usize>,
    weights: Vec<f64>,
}

impl LogMel {
    /// A front end of so many bands: 80, or 128 for Whisper's third large model.
    pub fn new(bands: usize) -> LogMel {
        let fft = RealFftPlanner::new().plan_fft_forward(WINDOW);
        let window = (0..WINDOW).map(|i| 0.5 - 0.5 * (2.0 * PI * i as f64 / WINDOW as f64).cos()).collect();
        LogMel {
            bands: self::bands(bands),
            window,
            scratch: fft.make_scratch_vec(),
            frame: fft.make_input_vec(),
            spectrum: fft.make_output_vec(),
            fft,
            power: vec![0.0; FREQUENCIES],
        }
    }

    /// Number of bands.
    pub fn bands(&self) -> usize {
        self.bands.len()
    }

    /// The frames of `samples` followed by silence up to `length` samples, one after the other: `length` /
    /// [`FRAME_SAMPLES`] frames of [`LogMel::bands`] values each. Samples after `length` are not looked at.
    ///
    /// Values are cut off eight powers of ten under the largest, and scaled so that full scale comes near 1.
    /// Sound of less than half a window has no frames.
    pub fn frames(&mut self, samples: &[i16], length: usize) -> Vec<f32> {
        if length <= MARGIN {
            return Vec::new();
        }
        let samples = samples.get(..length).unwrap_or(samples);
        let frames = length / FRAME_SAMPLES;
        let mut logs = vec![LEAST_POWER.log10(); frames * self.bands.len()];
        for (index, out) in logs.chunks_exact_mut(self.bands.len()).enumerate() {
            if self.load(samples, length, index) {
                self.measure(out);
            }
        }
        let loudest = logs.iter().fold(f64::NEG_INFINITY, |loudest, log| loudest.max(*log));
        logs.iter().map(|log| ((log.max(loudest - RANGE) + 4.0) / 4.0) as f32).collect()
    }

    /// Takes the windowed samples of frame `index`; false when all of them are zero.
    fn load(&mut self, samples: &[i16], length: usize, index: usize) -> bool {
        let first = index * FRAME_SAMPLES;
        let inside = first.checked_sub(MARGIN).and_then(|from| samples.get(from..from + WINDOW));
        let mut any = 0;
        for (i, (value, weight)) in self.frame.iter_mut().zip(&self.window).enumerate() {
            let sample = match inside {
                Some(samples) => samples[i],
                None => mirrored(samples, length, first + i),
            };
            any |= sample;
            *value = f64::from(sample) / 32_768.0 * weight;
        }
        any != 0
    }

    /// Writes the logarithms of the bands' powers of the frame that was loaded.
    fn measure(&mut self, out: &mut [f64]) {
        self.fft
            .process_with_scratch(&mut self.frame, &mut self.spectrum, &mut self.scratch)
            .expect("the plan's own buffers");
        for (power, value) in self.power.iter_mut().zip(&self.spectrum) {
            *power = value.re * value.re + value.im * value.im;
        }
        for (log, band) in out.iter_mut().zip(&self.bands) {
            let powers = &self.power[band.frequencies.clone()];
            let total: f64 = powers.iter().zip(&band.weights).map(|(power, weight)| power * weight).sum();
            *log = total.max(LEAST_POWER).log10();
        }
    }
}

/// Sample `at` − [`MARGIN`] of sound that is silent after its samples and mirrored at 0 and at `length`, which
/// is greater than the margin.
fn mirrored(samples: &[i16], length: usize, at: usize) -> i16 {
    let place = at.abs_diff(MARGIN);
    let place = if place < length { place } else { (2 * length - 2).saturating_sub(place) };
    samples.get(place).copied().unwrap_or(0)
}

/// Triangles between equally spaced mels from 0 Hz to half the sampling rate, each of area 1 over Hz.
fn bands(count: usize) -> Vec<Band> {
    let top = mel(SAMPLE_HZ as f64 / 2.0);
    let corner = |i: usize| hertz(top * i as f64 / (count + 1) as f64);
    (0..count).map(|i| band(corner(i), corner(i + 1), corner(i + 2))).collect()
}

fn band(low: f64, peak: f64, high: f64) -> Band {
    let weight = |k: usize| {
        let hz = (k * SAMPLE_HZ) as f64 / WINDOW as f64;
        let rising = (hz - low) / (peak - low);
        let falling = (high - hz) / (high - peak);
        rising.min(falling).max(0.0) * 2.0 / (high - low)
    };
    let first = (0..FREQUENCIES).find(|k| weight(*k) > 0.0).unwrap_or(0);
    let weights: Vec<f64> = (first..FREQUENCIES).map(weight).take_while(|weight| *weight > 0.0).collect();
    Band { frequencies: first..first + weights.len(), weights }
}

/// Slaney's scale: linear below 1 kHz, logarithmic above.
fn mel(hz: f64) -> f64 {
    if hz < LOG_FROM_HZ {
        hz / MEL_HZ
    } else {
        LOG_FROM_HZ / MEL_HZ + (hz / LOG_FROM_HZ).ln() * LOG_STEPS / LOG_FACTOR.ln()
    }
}

fn hertz(mel: f64) -> f64 {
    let from = LOG_FROM_HZ / MEL_HZ;
    if mel < from { mel * MEL_HZ } else { LOG_FROM_HZ * (LOG_FACTOR.ln() * (mel - from) / LOG_STEPS).exp() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_reads_back() {
        for hz in [0.0, 1.0, 440.0, 999.9, 1_000.0, 2_595.0, 8_000.0] {
            assert!((hertz(mel(hz)) - hz).abs() < 1e-9, "{hz}");
        }
    }

    /// 128 bands are narrower than the spectrum's grid at the bottom: a band there may hold one frequency.
    #[test]
    fn every_band_holds_a_frequency() {
        for count in [80, 128] {
            assert!(bands(count).iter().all(|band| !band.weights.is_empty()), "{count}");
        }
    }

    #[test]
    fn odd_lengths_and_extremes_stay_finite() {
        let mut mel = LogMel::new(80);
        for sound in [vec![], vec![7], vec![i16::MIN; 201], vec![i16::MAX; 399], vec![0; 16_000]] {
            let length = sound.len();
            let frames = mel.frames(&sound, length);
            let wanted = if length <= MARGIN { 0 } else { length / FRAME_SAMPLES * 80 };
            assert_eq!(frames.len(), wanted);
            assert!(frames.iter().all(|value| value.is_finite()));
        }
        assert_eq!(mel.frames(&[1; 500], 480_000).len(), 3_000 * 80);
    }
}
