//! Maximum of a function of one variable without derivatives: golden sections and parabolas
//! (R. P. Brent, "Algorithms for Minimization without Derivatives", 1973, chapter 5).

/// Smaller part of an interval in golden section.
const GOLDEN: f64 = 0.381_966_011_250_105_1;
/// Tolerance in relation to the abscissa: the root of the machine epsilon, below which a parabola has no more
/// digits.
const RELATIVE: f64 = 1.490_116_119_384_765_6e-8;
/// Absolute tolerance.
const ABSOLUTE: f64 = 1e-10 / 3.0;
/// Evaluations after which the best point so far is taken.
const MAX_EVALUATIONS: usize = 60;

/// A point of the graph.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) y: f64,
}

/// Local maximum of `f` between `low` and `high`.
///
/// The abscissa counts in the tolerance, so it is part of the definition of the result.
pub(super) fn maximum(mut low: f64, mut high: f64, mut f: impl FnMut(f64) -> f64) -> Point {
    let mut point = |x| Point { x, y: f(x) };
    let mut best = point(low + GOLDEN * (high - low));
    let (mut second, mut third) = (best, best);
    for _ in 0..MAX_EVALUATIONS {
        let middle = 0.5 * (low + high);
        let tolerance = RELATIVE * best.x.abs() + ABSOLUTE;
        if (best.x - middle).abs() + 0.5 * (high - low) <= 2.0 * tolerance {
            break;
        }
        let section = GOLDEN * if best.x < middle { high - best.x } else { low - best.x };
        let room = (low - best.x + 2.0 * tolerance, high - best.x - 2.0 * tolerance);
        let step = parabola(best, second, third)
            .filter(|step| (best.x - second.x).abs() >= tolerance && step.abs() < section.abs())
            .filter(|step| room.0 < *step && *step < room.1)
            .unwrap_or(section);
        let step = if step.abs() < tolerance { tolerance.copysign(step) } else { step };
        let next = point(best.x + step);
        if next.y >= best.y {
            *(if next.x < best.x { &mut high } else { &mut low }) = best.x;
            (best, second, third) = (next, best, second);
            continue;
        }
        *(if next.x < best.x { &mut low } else { &mut high }) = next.x;
        if next.y >= second.y || second.x == best.x {
            (second, third) = (next, second);
        } else if next.y >= third.y || third.x == best.x || third.x == second.x {
            third = next;
        }
    }
    best
}

/// Step from the best point to the vertex of the parabola through three points.
fn parabola(best: Point, second: Point, third: Point) -> Option<f64> {
    let t = (best.x - second.x) * (best.y - third.y);
    let q = (best.x - third.x) * (best.y - second.y);
    let p = (best.x - third.x) * q - (best.x - second.x) * t;
    Some(-p / (2.0 * (q - t))).filter(|step| step.is_finite())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn finds_the_vertex(vertex in 319.0..321.0f64, width in 0.1..100.0f64) {
            let found = maximum(319.0, 321.0, |x| 1.0 - ((x - vertex) / width).powi(2));
            prop_assert!((found.x - vertex).abs() < 2e-5, "{} {}", found.x, vertex);
        }

        #[test]
        fn ends_for_any_function(values in prop::collection::vec(any::<f64>(), 1..80)) {
            let mut values = values.into_iter().cycle();
            let found = maximum(1.0, 3.0, |_| values.next().unwrap_or(0.0));
            prop_assert!((1.0..=3.0).contains(&found.x));
        }
    }
}
