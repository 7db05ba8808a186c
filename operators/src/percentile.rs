//! The percentile of mathematics §1: linear interpolation between order statistics, numpy's form.

/// Percentile `p` (0..=100) of finite values in ascending order; `None` when there are none, or when the result
/// is not finite.
///
/// The two forms of the interpolation are numpy's: each is the exact one near its own end (DM-17).
pub fn percentile_of_sorted(sorted: &[f64], p: f64) -> Option<f64> {
    let (i, t) = place(sorted.len(), p)?;
    let a = *sorted.get(i)?;
    between(a, sorted.get(i + 1).copied().unwrap_or(a), t)
}

/// The same of values in any order, which are moved; it takes time in proportion to their number.
pub fn percentile_in_place(values: &mut [f64], p: f64) -> Option<f64> {
    let (i, t) = place(values.len(), p)?;
    let (_, a, above) = values.select_nth_unstable_by(i, f64::total_cmp);
    let b = above.iter().copied().min_by(f64::total_cmp).unwrap_or(*a);
    between(*a, b, t)
}

/// The order statistic at or below the percentile, and how far the percentile lies towards the next.
fn place(n: usize, p: f64) -> Option<(usize, f64)> {
    let last = n.checked_sub(1)?;
    // The quotient first, as numpy does: 90/100 is one rounding for all lengths.
    let h = last as f64 * (p.clamp(0.0, 100.0) / 100.0);
    let i = (h.floor() as usize).min(last);
    Some((i, h - i as f64))
}

fn between(a: f64, b: f64, t: f64) -> Option<f64> {
    Some(if t < 0.5 { a + (b - a) * t } else { b - (b - a) * (1.0 - t) }).filter(|value| value.is_finite())
}

/// Percentile `p` of values in any order. Those that are not finite are left out.
///
/// ```
/// use lsie_operators::percentile::percentile;
/// assert_eq!(percentile(&[0.9, 0.8], 90.0), Some(0.89));
/// assert_eq!(percentile(&[], 90.0), None);
/// ```
pub fn percentile(values: &[f64], p: f64) -> Option<f64> {
    let mut finite: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    percentile_in_place(&mut finite, p)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn vectors_of_the_mathematics_page() {
        let repeated = |a: f64, n: usize, b: f64, m: usize| [vec![a; n], vec![b; m]].concat();
        let cases = [
            (vec![0.8, 0.9], 0.89),
            (vec![0.1, 0.2, 0.3, 0.4, 0.5], 0.46),
            (repeated(0.3, 99, 1.0, 1), 0.3),
            (repeated(0.1, 70, 0.8, 30), 0.8),
            (vec![0.42], 0.42),
        ];
        for (values, expected) in cases {
            assert_eq!(percentile(&values, 90.0), Some(expected), "{values:?}");
        }
    }

    proptest! {
        #[test]
        fn lies_between_the_extremes_and_ignores_order(
            values in prop::collection::vec(-1e6..1e6f64, 1..50),
            p in 0.0..=100.0f64,
        ) {
            let result = percentile(&values, p).expect("values");
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            prop_assert!(sorted[0] <= result && result <= sorted[sorted.len() - 1]);
            prop_assert_eq!(percentile_of_sorted(&sorted, p), Some(result));
            sorted.reverse();
            prop_assert_eq!(percentile(&sorted, p), Some(result));
            prop_assert_eq!(percentile(&values, 0.0), Some(sorted[sorted.len() - 1]));
            prop_assert_eq!(percentile(&values, 100.0), Some(sorted[0]));
        }

        #[test]
        fn any_numbers_give_none_or_a_finite_one(
            values in prop::collection::vec(prop::num::f64::ANY, 0..9),
            p in prop::num::f64::ANY,
        ) {
            let finite = || values.iter().copied().filter(|value| value.is_finite());
            match percentile(&values, p) {
                Some(result) => prop_assert!(finite().any(|x| x <= result) && finite().any(|x| x >= result)),
                // Nothing to take, no number asked for, or two neighbours further apart than a double can say.
                None => prop_assert!(
                    finite().count() == 0 || p.is_nan() || finite().any(|x| x.abs() > f64::MAX / 2.0)
                ),
            }
        }
    }
}
