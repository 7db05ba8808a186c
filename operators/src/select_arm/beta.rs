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

#[cfg(test)]
mod tests {
    use super::*;

    /// One stream through every branch, drawn with numpy 2.4 (`Generator(PCG64(7)).beta`); golden vectors of
    /// the original cover larger parameters.
    #[test]
    fn draws_are_numpys() {
        let draws = [
            (1.0, 1.0, 0.006370652818501594),
            (0.5, 0.5, 0.743687779336579),
            (0.3, 0.9, 0.07182106651693246),
            (1e-05, 1e-05, 0.0),
            (0.5, 1.5, 0.30566189454457793),
            (1.0, 2.5, 0.03025762536682366),
            (2.5, 1.0, 0.6396633914962289),
            (1.2, 1.7, 0.44231440382989956),
            (33.0, 29.359, 0.4535417540503708),
            (1000000.0, 2000000.0, 0.3332984518227775),
        ];
        let mut generator = Generator::from_seed(7);
        for (alpha, beta, numpys) in draws {
            let ours = draw_beta(&mut generator, &Posterior { alpha, beta });
            // Last bits of exp, ln and pow, and of numpy's edges (`ziggurat`).
            assert!((ours - numpys).abs() <= 1e-12 * numpys, "Beta({alpha}, {beta}): {ours} is not {numpys}");
        }
    }

    #[test]
    fn draws_have_the_distributions_mean_and_variance() {
        let mut generator = Generator::from_seed(1);
        for posterior in
            [(1.0, 1.0), (0.5, 3.0), (5.85, 3.15), (40.0, 2.0)].map(|(a, b)| Posterior { alpha: a, beta: b })
        {
            let draws: Vec<f64> = (0..100_000).map(|_| draw_beta(&mut generator, &posterior)).collect();
            let mean = draws.iter().sum::<f64>() / draws.len() as f64;
            let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / draws.len() as f64;
            let expected = posterior.alpha / (posterior.alpha + posterior.beta);
            // Five standard errors of the mean; the stream is fixed, so this never flickers.
            let bound = 5.0 * (posterior.evaluation_variance() / draws.len() as f64).sqrt();
            assert!((mean - expected).abs() < bound, "{posterior:?}: mean {mean}");
            assert!(
                (variance / posterior.evaluation_variance() - 1.0).abs() < 0.03,
                "{posterior:?}: {variance}"
            );
        }
    }
}
