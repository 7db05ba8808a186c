//! Standard normal and exponential draws by the ziggurat method of Marsaglia and Tsang, 256 layers, with the
//! bit layout of numpy's generator.
//!
//! The tables follow from three published constants per distribution: the start of the tail, the area of a
//! layer, and the number of mantissa bits. They are computed once.

use std::sync::LazyLock;

use super::pcg64::Generator;

const NORMAL_TAIL: f64 = 3.654_152_885_361_008_8;
const NORMAL_LAYER_AREA: f64 = 0.004_928_673_233_99;
const NORMAL_MANTISSA: f64 = 4_503_599_627_370_496.0;

const EXPONENTIAL_TAIL: f64 = 7.697_117_470_131_05;
const EXPONENTIAL_LAYER_AREA: f64 = 0.003_949_659_822_581_557;
const EXPONENTIAL_MANTISSA: f64 = 9_007_199_254_740_992.0;

static NORMAL: LazyLock<Layers> = LazyLock::new(|| {
    let density = |x: f64| (-0.5 * x * x).exp();
    let inverse = |y: f64| (-2.0 * y.ln()).sqrt();
    Layers::new(NORMAL_TAIL, NORMAL_LAYER_AREA, NORMAL_MANTISSA, density, inverse)
});

static EXPONENTIAL: LazyLock<Layers> = LazyLock::new(|| {
    let density = |x: f64| (-x).exp();
    let inverse = |y: f64| -y.ln();
    Layers::new(EXPONENTIAL_TAIL, EXPONENTIAL_LAYER_AREA, EXPONENTIAL_MANTISSA, density, inverse)
});

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
    fn new(
        tail: f64,
        area: f64,
        mantissa: f64,
        f: impl Fn(f64) -> f64,
        inverse: impl Fn(f64) -> f64,
    ) -> Self {
        let mut layers = Layers { accept_below: [0; 256], width: [0.0; 256], density: [0.0; 256] };
        let mut edge = tail;
        layers.width[255] = edge / mantissa;
        layers.density[255] = f(edge);
        // The base is widened to its area: x beyond the edge stands for the tail.
        layers.accept_below[0] = (edge * layers.density[255] / area * mantissa) as u64;
        layers.width[0] = area / layers.density[255] / mantissa;
        layers.density[0] = 1.0;
        for i in (1..255).rev() {
            let next_edge = inverse(area / edge + layers.density[i + 1]);
            layers.accept_below[i + 1] = (next_edge / edge * mantissa) as u64;
            layers.width[i] = next_edge / mantissa;
            layers.density[i] = f(next_edge);
            edge = next_edge;
        }
        layers
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
        let xx = -(1.0 / NORMAL_TAIL) * (-generator.next_f64()).ln_1p();
        let yy = -(-generator.next_f64()).ln_1p();
        if yy + yy > xx * xx {
            let x = NORMAL_TAIL + xx;
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
            return EXPONENTIAL_TAIL - (-generator.next_f64()).ln_1p();
        }
        if EXPONENTIAL.height(i, generator.next_f64()) < (-x).exp() {
            return x;
        }
    }
}
