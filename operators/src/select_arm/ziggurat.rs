//! Standard normal and exponential draws by the ziggurat method of Marsaglia and Tsang, 256 layers, with the
//! bit layout of numpy's generator.
//!
//! Almost every draw is one multiplication of a mantissa with a layer's edge, so its bits do not depend on
//! the machine; `exp` and `ln` only decide the rare comparison at a curved edge. numpy's edges of the normal
//! layers are up to 1e-14 off the exact ones used here, which is the whole difference of the draws.

use std::sync::LazyLock;

use super::edges;
use super::pcg64::Generator;

static NORMAL: LazyLock<Layers> =
    LazyLock::new(|| Layers::new(&edges::NORMAL, 4_503_599_627_370_496.0, |x| (-0.5 * x * x).exp()));

static EXPONENTIAL: LazyLock<Layers> =
    LazyLock::new(|| Layers::new(&edges::EXPONENTIAL, 9_007_199_254_740_992.0, |x| (-x).exp()));

/// Layers of equal area under a decreasing density; layer 0 is the base with the tail.
struct Layers {
    /// A mantissa below it lies inside the layer for certain.
    accept_below: [u64; 256],
    /// Mantissa to x.
    width: [f64; 256],
    /// Density at the layer's right edge.
    density: [f64; 256],
}

impl Layers {
    /// `mantissas` is the number of mantissas, a power of two, so that widths are exact.
    fn new(edges: &[f64; 256], mantissas: f64, density: impl Fn(f64) -> f64) -> Self {
        // What lies left of the layer's edge and under the layer above: up to the edge before; for the base,
        // up to where the tail starts; nothing in layer 1, the cap.
        let inner_edge = |i: usize| match i {
            0 => edges[255],
            1 => 0.0,
            _ => edges[i - 1],
        };
        Layers {
            accept_below: std::array::from_fn(|i| (inner_edge(i) / edges[i] * mantissas) as u64),
            width: edges.map(|edge| edge / mantissas),
            density: std::array::from_fn(|i| if i == 0 { 1.0 } else { density(edges[i]) }),
        }
    }

    /// Density at a random height of layer `i` (1..=255), for the comparison at its curved edge.
    fn height(&self, i: usize, uniform: f64) -> f64 {
        (self.density[i - 1] - self.density[i]) * uniform + self.density[i]
    }
}

/// A draw from N(0, 1).
pub(super) fn standard_normal(generator: &mut Generator) -> f64 {
    loop {
        // Layer in bits 0..8, sign in bit 8, mantissa in bits 9..61.
        let bits = generator.next_u64();
        let i = (bits & 0xff) as usize;
        let is_negative = (bits >> 8) & 1 == 1;
        let mantissa = (bits >> 9) & 0x000f_ffff_ffff_ffff;
        let size = mantissa as f64 * NORMAL.width[i];
        let x = if is_negative { -size } else { size };
        if mantissa < NORMAL.accept_below[i] {
            return x;
        }
        if i == 0 {
            return normal_tail(generator, (mantissa >> 8) & 1 == 1);
        }
        if NORMAL.height(i, generator.next_f64()) < (-0.5 * x * x).exp() {
            return x;
        }
    }
}

/// A draw from the tail beyond the last layer.
fn normal_tail(generator: &mut Generator, is_negative: bool) -> f64 {
    loop {
        let xx = -(1.0 / edges::NORMAL[255]) * (-generator.next_f64()).ln_1p();
        let yy = -(-generator.next_f64()).ln_1p();
        if yy + yy > xx * xx {
            let x = edges::NORMAL[255] + xx;
            return if is_negative { -x } else { x };
        }
    }
}

/// A draw from Exp(1).
pub(super) fn standard_exponential(generator: &mut Generator) -> f64 {
    loop {
        // Layer in bits 3..11, mantissa in bits 11..64.
        let bits = generator.next_u64() >> 3;
        let i = (bits & 0xff) as usize;
        let mantissa = bits >> 8;
        let x = mantissa as f64 * EXPONENTIAL.width[i];
        if mantissa < EXPONENTIAL.accept_below[i] {
            return x;
        }
        if i == 0 {
            return edges::EXPONENTIAL[255] - (-generator.next_f64()).ln_1p();
        }
        if EXPONENTIAL.height(i, generator.next_f64()) < (-x).exp() {
            return x;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every layer has the area of the base, the top one included: then the table is the right one.
    fn check_areas(edges: &[f64; 256], density: impl Fn(f64) -> f64) {
        let area = edges[0] * density(edges[255]);
        for i in 1..256 {
            let above = if i == 1 { 1.0 } else { density(edges[i - 1]) };
            let layer = edges[i] * (above - density(edges[i]));
            assert!((layer / area - 1.0).abs() < 1e-12, "layer {i}: {layer} is not {area}");
        }
    }

    #[test]
    fn layers_have_equal_area() {
        check_areas(&edges::NORMAL, |x| (-0.5 * x * x).exp());
        check_areas(&edges::EXPONENTIAL, |x| (-x).exp());
        // The base of the exponential: rectangle and tail, (R + 1)·exp(−R).
        let tail = edges::EXPONENTIAL[255];
        assert!((edges::EXPONENTIAL[0] / (tail + 1.0) - 1.0).abs() < 1e-15);
    }
}
