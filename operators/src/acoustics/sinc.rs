//! Interpolation between samples by a sinc under a raised cosine (mathematics §12.1; Boersma 1993, eq. 22).
//!
//! Between two neighbouring samples the interpolation is a smooth function of one variable, and so is each
//! weight. A kernel holds the weights as polynomials; the interpolation in one such gap is then a polynomial
//! whose coefficients are sums over the samples, and a search in the gap needs no more sines.

use std::f64::consts::PI;

/// Coefficients of even (and of odd) powers. A weight has no faster part than half the sampling rate, and its
/// Chebyshev series falls like (π/4)^n / n!: below 1e-15 after sixteen. Powers cost some digits again: for
/// samples up to 1 the result is within 1e-11 of the definition.
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
        let series = Series::new();
        Kernel { weights: (0..depth).map(|k| series.polynomial(|t| weight(t, k, depth))).collect() }
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

/// Makes polynomials of smooth functions on [0, 1]: their Chebyshev series, rearranged by powers.
struct Series {
    nodes: [f64; NODES],
    /// At each node, what its value adds to the coefficient of each power.
    powers: [[f64; TERMS]; NODES],
}

impl Series {
    fn new() -> Self {
        let angles: [f64; NODES] = std::array::from_fn(|i| PI * (i as f64 + 0.5) / NODES as f64);
        let mut powers = [[0.0; TERMS]; NODES];
        // Chebyshev polynomials by powers: T(n + 1) = 2u T(n) - T(n - 1), from T(1) = u T(0).
        let (mut last, mut chebyshev) = ([0.0; TERMS], [0.0; TERMS]);
        chebyshev[0] = 1.0;
        for n in 0..TERMS {
            let scale = if n == 0 { 1.0 } else { 2.0 } / NODES as f64;
            for (angle, powers) in angles.iter().zip(&mut powers) {
                let value = scale * (n as f64 * angle).cos();
                powers.iter_mut().zip(chebyshev).for_each(|(power, c)| *power += value * c);
            }
            let factor = if n == 0 { 1.0 } else { 2.0 };
            let shifted = |power: usize| if power == 0 { 0.0 } else { factor * chebyshev[power - 1] };
            (last, chebyshev) = (chebyshev, std::array::from_fn(|power| shifted(power) - last[power]));
        }
        Series { nodes: angles.map(|angle| 0.5 + 0.5 * angle.cos()), powers }
    }

    fn polynomial(&self, f: impl Fn(f64) -> f64) -> Polynomial {
        let mut sum = Polynomial::default();
        for (node, powers) in self.nodes.iter().zip(&self.powers) {
            let value = f(*node);
            for i in 0..HALF {
                sum.even[i] += value * powers[2 * i];
                sum.odd[i] += value * powers[2 * i + 1];
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition: `depth` samples on either side, those missing on one side taking their partners along.
    fn interpolate(samples: &[f64], position: f64, depth: usize) -> f64 {
        let left = position.floor() as usize;
        let t = position - left as f64;
        let depth = depth.min(left + 1).min(samples.len() - left - 1);
        (0..depth)
            .map(|k| {
                samples[left - k] * weight(t, k, depth) + samples[left + 1 + k] * weight(1.0 - t, k, depth)
            })
            .sum()
    }

    proptest! {
        #[test]
        fn polynomials_equal_the_definition(
            samples in prop::collection::vec(-1.0..1.0f64, 200),
            depth in 1..=70usize,
            left in 69..=129usize,
            t in 0.0..1.0f64,
        ) {
            let fast = Kernel::new(depth).between(&samples, left).at(t);
            let direct = interpolate(&samples, left as f64 + t, depth);
            prop_assert!((fast - direct).abs() < 1e-11, "{} {}", fast, direct);
        }

        #[test]
        fn goes_through_the_samples(samples in prop::collection::vec(-1.0..1.0f64, 90), left in 29..59usize) {
            let gap = Kernel::new(30).between(&samples, left);
            prop_assert!((gap.at(0.0) - samples[left]).abs() < 1e-11);
            prop_assert!((gap.at(1.0) - samples[left + 1]).abs() < 1e-11);
        }

        #[test]
        fn missing_samples_count_as_zero(samples in prop::collection::vec(-1.0..1.0f64, 0..9), left in 0..20usize) {
            prop_assert!(Kernel::new(70).between(&samples, left).at(0.5).is_finite());
        }
    }
}
