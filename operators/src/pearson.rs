//! Pearson's r, as co-modulation and the lag scan of attribution take it (mathematics §9, §13.2).

/// Fewest pairs for an r.
pub const MIN_PAIRS: usize = 4;

/// r of the pairs in the order given, clipped to [−1, 1]. None below [`MIN_PAIRS`] pairs, for a side with fewer
/// than two distinct values (DM-18), and where no finite value comes out.
///
/// ```
/// use lsie_operators::pearson::correlation;
/// let pairs = [(1.0, 2.0), (2.0, 4.0), (3.0, 6.0), (4.0, 8.0)];
/// assert!(correlation(pairs.into_iter()).is_some_and(|r| (r - 1.0).abs() < 1e-15));
/// assert_eq!(correlation(pairs.into_iter().take(3)), None);
/// ```
pub fn correlation(pairs: impl Iterator<Item = (f64, f64)> + Clone) -> Option<f64> {
    let (x0, y0) = pairs.clone().next()?;
    // Compared themselves: no rounding of a variance can hide that they are equal.
    let is_constant = pairs.clone().all(|(x, _)| x == x0) || pairs.clone().all(|(_, y)| y == y0);
    if is_constant || pairs.clone().count() < MIN_PAIRS {
        return None;
    }
    let x_mean = mean(pairs.clone().map(|(x, _)| x))?;
    let y_mean = mean(pairs.clone().map(|(_, y)| y))?;
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for (x, y) in pairs {
        let (dx, dy) = (x - x_mean, y - y_mean);
        xx += dx * dx;
        yy += dy * dy;
        xy += dx * dy;
    }
    // Two roots: the product of the sums could overflow where r does not.
    let r = xy / (xx.sqrt() * yy.sqrt());
    r.is_finite().then(|| r.clamp(-1.0, 1.0))
}

/// Why [`correlation`] of these pairs is none: a bounded code (console specification §6).
///
/// ```
/// use lsie_operators::pearson::null_reason;
/// assert_eq!(null_reason([(1.0, 2.0); 3].into_iter()), "insufficient_pairs");
/// assert_eq!(null_reason([(1.0, 2.0); 4].into_iter()), "zero_variance");
/// ```
pub fn null_reason(pairs: impl Iterator<Item = (f64, f64)> + Clone) -> &'static str {
    let constant = |side: fn((f64, f64)) -> f64| {
        let mut values = pairs.clone().map(side);
        values.next().is_none_or(|first| values.all(|value| value == first))
    };
    match pairs.clone().count() {
        0..MIN_PAIRS => "insufficient_pairs",
        _ if constant(|(x, _)| x) || constant(|(_, y)| y) => "zero_variance",
        _ => "undefined",
    }
}

/// The mean in the order given, held between the extremes: the mean of equal values is that value, to the bit,
/// so that a constant series stays constant. None without values; not finite when the sum is not.
pub(crate) fn mean(values: impl Iterator<Item = f64> + Clone) -> Option<f64> {
    let (low, high) = (values.clone().reduce(f64::min)?, values.clone().reduce(f64::max)?);
    let (sum, n) = values.fold((0.0, 0u64), |(sum, n), value| (sum + value, n + 1));
    let mean = sum / n as f64;
    Some(if mean.is_finite() && low <= high { mean.clamp(low, high) } else { mean })
}
