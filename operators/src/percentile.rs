//! The percentile of mathematics §1: linear interpolation between order statistics, numpy's form.

/// Percentile `p` (0..=100) of values in ascending order; `None` when there are none.
///
/// The two forms of the interpolation are numpy's: each is the exact one near its own end (DM-17).
pub fn percentile_of_sorted(sorted: &[f64], p: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    // The quotient first, as numpy does: 90/100 is one rounding for all lengths.
    let h = last as f64 * (p.clamp(0.0, 100.0) / 100.0);
    let i = (h.floor() as usize).min(last);
    let t = h - i as f64;
    let (a, b) = (sorted[i], sorted[(i + 1).min(last)]);
    Some(if t < 0.5 { a + (b - a) * t } else { b - (b - a) * (1.0 - t) })
}

/// Percentile `p` of values in any order.
///
/// ```
/// use lsie_operators::percentile::percentile;
/// assert_eq!(percentile(&[0.9, 0.8], 90.0), Some(0.89));
/// assert_eq!(percentile(&[], 90.0), None);
/// ```
pub fn percentile(values: &[f64], p: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    percentile_of_sorted(&sorted, p)
}
