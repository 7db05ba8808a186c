//! Beta draws in the order and form of numpy's `Generator.beta`: Jöhnk's method for small parameters, else
//! a ratio of two gamma draws (Marsaglia and Tsang).

use super::pcg64::Generator;
use super::ziggurat::{standard_exponential, standard_normal};
use crate::posterior::Posterior;

/// One draw in [0, 1] for finite positive parameters.
pub(super) fn draw_beta(generator: &mut Generator, posterior: &Posterior) -> f64 {
    let Posterior { alpha, beta } = *posterior;
    if alpha <= 1.0 && beta <= 1.0 {
        return johnk(generator, alpha, beta);
    }
    let a = standard_gamma(generator, alpha);
    let b = standard_gamma(generator, beta);
    a / (a + b)
}

fn johnk(generator: &mut Generator, alpha: f64, beta: f64) -> f64 {
    loop {
        let (u, v) = (generator.next_f64(), generator.next_f64());
        let (x, y) = (u.powf(1.0 / alpha), v.powf(1.0 / beta));
        if x + y > 1.0 || u + v <= 0.0 {
            continue;
        }
        if x + y > 0.0 {
            return x / (x + y);
        }
        // Both underflowed: the same ratio in logarithms.
        let (log_x, log_y) = (u.ln() / alpha, v.ln() / beta);
        let largest = log_x.max(log_y);
        let (log_x, log_y) = (log_x - largest, log_y - largest);
        return (log_x - (log_x.exp() + log_y.exp()).ln()).exp();
    }
}

fn standard_gamma(generator: &mut Generator, shape: f64) -> f64 {
    if shape == 1.0 {
        standard_exponential(generator)
    } else if shape < 1.0 {
        gamma_below_one(generator, shape)
    } else {
        gamma_above_one(generator, shape)
    }
}

fn gamma_below_one(generator: &mut Generator, shape: f64) -> f64 {
    loop {
        let u = generator.next_f64();
        let v = standard_exponential(generator);
        if u <= 1.0 - shape {
            let x = u.powf(1.0 / shape);
            if x <= v {
                return x;
            }
        } else {
            let y = -((1.0 - u) / shape).ln();
            let x = (1.0 - shape + shape * y).powf(1.0 / shape);
            if x <= v + y {
                return x;
            }
        }
    }
}

fn gamma_above_one(generator: &mut Generator, shape: f64) -> f64 {
    let b = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * b).sqrt();
    loop {
        let x = standard_normal(generator);
        let root = 1.0 + c * x;
        if root <= 0.0 {
            continue;
        }
        let v = root * root * root;
        let u = generator.next_f64();
        if u < 1.0 - 0.0331 * (x * x) * (x * x) || u.ln() < 0.5 * x * x + b * (1.0 - v + v.ln()) {
            return b * v;
        }
    }
}
