//! Interpolation between samples by a sinc under a raised cosine (mathematics §12.1; Boersma 1993, eq. 22).
//!
//! Between two neighbouring samples the interpolation is a smooth function of one variable, and so is each
//! weight. A kernel holds the weights as polynomials; the interpolation in one such gap is then a polynomial
//! whose coefficients are sums over the samples, and a search in the gap needs no more sines.

use std::f64::consts::PI;

/// Coefficients of even (and of odd) powers. A weight has no faster part than half the sampling rate, and its
/// Chebyshev series falls like (π/4)^n / n!: below 1e-15 after sixteen.
const HALF: usize = 8;
const TERMS: usize = 2 * HALF;
/// Points at which a weight is sampled for its series.
const NODES: usize = 32;

/// Weights for `depth` samples on either side of a gap.
pub(super) struct Kernel {
    /// Of the samples at or below the gap, the nearest first; mirrored for those above.
    weights: Vec<Polynomial>,
}

/// A polynomial on one gap, whose ends are -1 and 1.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Polynomial {
    even: [f64; HALF],
    odd: [f64; HALF],
}

impl Polynomial {
    /// Value at `t`, 0 at the lower and 1 at the upper end of the gap.
    pub(super) fn at(&self, t: f64) -> f64 {
        let u = 2.0 * t - 1.0;
        let square = u * u;
        let horner = |terms: &[f64; HALF]| terms.iter().rev().fold(0.0, |sum, term| sum * square + term);
        horner(&self.even) + u * horner(&self.odd)
    }
}

impl Kernel {
    pub(super) fn new(depth: usize) -> Self {
        Kernel { weights: (0..depth).map(|k| polynomial(|t| weight(t, k, depth))).collect() }
    }

    /// The interpolation between samples `left` and `left + 1`. All samples that it needs must be there;
    /// those missing count as zero.
    pub(super) fn between(&self, samples: &[f64], left: usize) -> Polynomial {
        let (below, above) = samples.split_at((left + 1).min(samples.len()));
        let mut sum = Polynomial::default();
        for ((weight, below), above) in self.weights.iter().zip(below.iter().rev()).zip(above) {
            let (even, odd) = (below + above, below - above);
            for i in 0..HALF {
                sum.even[i] += weight.even[i] * even;
                sum.odd[i] += weight.odd[i] * odd;
            }
        }
        sum
    }
}

/// Weight of the sample at distance `t + k` below the place of interpolation.
fn weight(t: f64, k: usize, depth: usize) -> f64 {
    let distance = t + k as f64;
    let sinc = if distance == 0.0 { 1.0 } else { (PI * distance).sin() / (PI * distance) };
    sinc * (0.5 + 0.5 * (PI * distance / (t + depth as f64)).cos())
}

/// Interpolation at one place, `depth` samples on either side or as many as there are on both.
pub(super) fn interpolate(samples: &[f64], position: f64, depth: usize) -> f64 {
    let left = position.floor();
    let t = position - left;
    let (below, above) = samples.split_at((left as usize + 1).min(samples.len()));
    let depth = depth.min(below.len()).min(above.len());
    let sides = below.iter().rev().zip(above).take(depth).enumerate();
    sides.map(|(k, (below, above))| below * weight(t, k, depth) + above * weight(1.0 - t, k, depth)).sum()
}

/// A smooth function on [0, 1] as a polynomial: its Chebyshev series, rearranged by powers.
fn polynomial(f: impl Fn(f64) -> f64) -> Polynomial {
    let angles: Vec<f64> = (0..NODES).map(|i| PI * (i as f64 + 0.5) / NODES as f64).collect();
    let mut powers = [0.0; TERMS];
    // T(n) by powers, from T(n - 1) and T(n - 2).
    let (mut last, mut chebyshev) = ([0.0; TERMS], [0.0; TERMS]);
    chebyshev[0] = 1.0;
    for n in 0..TERMS {
        let sum: f64 = angles.iter().map(|a| f(0.5 + 0.5 * a.cos()) * (n as f64 * a).cos()).sum();
        let coefficient = sum * if n == 0 { 1.0 } else { 2.0 } / NODES as f64;
        powers.iter_mut().zip(chebyshev).for_each(|(power, c)| *power += coefficient * c);
        let mut next = [0.0; TERMS];
        for power in 0..TERMS {
            let shifted = if power == 0 { 0.0 } else { chebyshev[power - 1] };
            next[power] = if n == 0 { shifted } else { 2.0 * shifted - last[power] };
        }
        (last, chebyshev) = (chebyshev, next);
    }
    let mut result = Polynomial::default();
    for i in 0..HALF {
        (result.even[i], result.odd[i]) = (powers[2 * i], powers[2 * i + 1]);
    }
    result
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn polynomials_equal_the_definition(
            samples in prop::collection::vec(-1.0..1.0f64, 200),
            depth in 1..=70usize,
            left in 70..=120usize,
            t in 0.0..1.0f64,
        ) {
            let fast = Kernel::new(depth).between(&samples, left).at(t);
            let direct = interpolate(&samples, left as f64 + t, depth);
            prop_assert!((fast - direct).abs() < 1e-12, "{} {}", fast, direct);
        }

        #[test]
        fn goes_through_the_samples(samples in prop::collection::vec(-1.0..1.0f64, 150), left in 0..149usize) {
            prop_assert!((interpolate(&samples, left as f64, 30) - samples[left]).abs() < 1e-14);
        }
    }
}
