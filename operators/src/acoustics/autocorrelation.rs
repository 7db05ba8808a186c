//! Autocorrelation of one pitch frame by two real FFTs.

use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};

/// FFT length: holds a frame and the largest lag without wrapping round.
const FFT: usize = 1_024;

/// FFT plans and their buffers.
pub(super) struct Autocorrelation {
    forward: Arc<dyn RealToComplex<f64>>,
    inverse: Arc<dyn ComplexToReal<f64>>,
    signal: Vec<f64>,
    spectrum: Vec<Complex<f64>>,
    scratch: Vec<Complex<f64>>,
}

impl Default for Autocorrelation {
    fn default() -> Self {
        let mut planner = RealFftPlanner::new();
        let (forward, inverse) = (planner.plan_fft_forward(FFT), planner.plan_fft_inverse(FFT));
        let scratch = forward.get_scratch_len().max(inverse.get_scratch_len());
        Autocorrelation {
            signal: forward.make_input_vec(),
            spectrum: forward.make_output_vec(),
            scratch: vec![Complex::default(); scratch],
            forward,
            inverse,
        }
    }
}

impl Autocorrelation {
    /// Sums of products at each lag, times a constant, of at most 1,024 values; lags to which the values reach
    /// round the end of the transform are of no use.
    pub(super) fn of(&mut self, values: impl Iterator<Item = f64>) -> &[f64] {
        self.signal.fill(0.0);
        self.signal.iter_mut().zip(values).for_each(|(slot, value)| *slot = value);
        // The plans refuse buffers of other lengths only; these are their own.
        let _ = self.forward.process_with_scratch(&mut self.signal, &mut self.spectrum, &mut self.scratch);
        for bin in &mut self.spectrum {
            *bin = Complex::new(bin.norm_sqr(), 0.0);
        }
        let _ = self.inverse.process_with_scratch(&mut self.spectrum, &mut self.signal, &mut self.scratch);
        &self.signal
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn equals_the_sums_of_products(values in prop::collection::vec(-3e4..3e4f64, 1..600)) {
            let mut autocorrelation = Autocorrelation::default();
            for _ in 0..2 {
                let fast = autocorrelation.of(values.iter().copied());
                let scale = FFT as f64;
                let energy: f64 = values.iter().map(|value| value * value).sum();
                for lag in 0..values.len().min(320) {
                    let direct: f64 = values.iter().zip(&values[lag..]).map(|(a, b)| a * b).sum();
                    prop_assert!((fast[lag] / scale - direct).abs() <= 1e-13 * energy, "lag {}", lag);
                }
            }
        }
    }
}
