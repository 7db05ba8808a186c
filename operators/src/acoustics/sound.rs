//! The samples of a segment with their running sums, so that a mean or an energy is two look-ups.
//!
//! Samples stay whole numbers (Praat divides by 32768): all results are ratios, and a power of two cancels
//! without rounding. Sums of whole numbers are exact, so they are the same in any order.

/// Sampling rate, Hz (mathematics §4).
pub const SAMPLE_HZ: f64 = 16_000.0;
/// Sampling period, s.
const PERIOD_S: f64 = 1.0 / SAMPLE_HZ;
/// Time of sample 0, s: samples stand in the middle of their period.
const FIRST_S: f64 = 0.5 * PERIOD_S;

/// A mono sound of 16 kHz that begins at 0 s.
#[derive(Clone, Debug, Default)]
pub struct Sound {
    samples: Vec<f64>,
    /// Element `i` is the sum of the first `i` samples.
    sums: Vec<i64>,
    /// Element `i` is the sum of the squares of the first `i` samples.
    energies: Vec<i64>,
}

impl Sound {
    /// Takes the place of what was there.
    pub fn load(&mut self, samples: &[i16]) {
        self.samples.clear();
        self.samples.extend(samples.iter().map(|sample| f64::from(*sample)));
        running(&mut self.sums, samples.iter().map(|sample| i64::from(*sample)));
        running(&mut self.energies, samples.iter().map(|sample| i64::from(*sample).pow(2)));
    }

    /// The samples as whole numbers.
    pub fn samples(&self) -> &[f64] {
        &self.samples
    }

    /// Length, s.
    pub fn duration_s(&self) -> f64 {
        PERIOD_S * self.samples.len() as f64
    }

    /// Sum of the samples from `from` to before `to`; indices outside the sound contribute nothing.
    pub(super) fn sum(&self, from: i64, to: i64) -> f64 {
        difference(&self.sums, from, to)
    }

    /// Sum of their squares.
    pub(super) fn energy(&self, from: i64, to: i64) -> f64 {
        difference(&self.energies, from, to)
    }

    /// Largest magnitude of samples minus `offset`.
    pub(super) fn peak_around(&self, offset: f64) -> f64 {
        self.samples.iter().fold(0.0, |peak, sample| f64::max(peak, (sample - offset).abs()))
    }
}

/// The place of an instant between samples: `i` at the time of sample `i`. Rounded as Praat rounds it, which
/// counts from 1, since some instants lie on a sample.
pub(super) fn position(time_s: f64) -> f64 {
    (time_s - FIRST_S) / PERIOD_S + 1.0 - 1.0
}

/// The last sample at or before an instant.
pub(super) fn index_before(time_s: f64) -> i64 {
    position(time_s).floor() as i64
}

/// The first sample at or after an instant.
pub(super) fn index_after(time_s: f64) -> i64 {
    position(time_s).ceil() as i64
}

/// The sample nearest to an instant, the later one of two.
pub(super) fn index_nearest(time_s: f64) -> i64 {
    (position(time_s) + 0.5).floor() as i64
}

/// When a sample, or a place between two, is; s.
pub(super) fn time_of(position: f64) -> f64 {
    FIRST_S + position * PERIOD_S
}

/// Sampling periods as seconds.
pub(super) fn seconds(samples: f64) -> f64 {
    samples * PERIOD_S
}

fn running(sums: &mut Vec<i64>, values: impl Iterator<Item = i64>) {
    sums.clear();
    sums.push(0);
    let mut total = 0;
    sums.extend(values.map(|value| {
        total += value;
        total
    }));
}

fn difference(sums: &[i64], from: i64, to: i64) -> f64 {
    let at = |index: i64| {
        let last = sums.len().saturating_sub(1);
        let index = usize::try_from(index).unwrap_or(0).min(last);
        sums.get(index).copied().unwrap_or(0)
    };
    (at(to) - at(from)) as f64
}
