//! The lag scan: how many minutes the streamer's body follows the operator's, and how closely
//! (mathematics §13.2).
//!
//! Observational only, like co-modulation.

use std::collections::BTreeMap;

use crate::pearson::correlation;

/// Which scan was made; its version stands in the scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LagScan {
    /// Largest lag, in bins of a minute.
    pub max_lag: usize,
}

impl Default for LagScan {
    fn default() -> Self {
        LagScan { max_lag: 5 }
    }
}

/// The best lag of a scan.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SyncPeak {
    /// Pearson's r at that lag, in [−1, 1].
    pub corr: f64,
    /// How many points `y` comes after `x`.
    pub lag: usize,
}

impl LagScan {
    /// Version of the `sync_peak_*` scores that such a scan made: series and largest lag are no constants of
    /// the specification.
    pub fn method_version(&self) -> String {
        format!("7E.v1+operator-streamer-rmssd-60s-lag{}", self.max_lag)
    }

    /// The largest correlation over the lags, the smallest lag of equal ones; `None` when no lag has one.
    ///
    /// ```
    /// use lsie_operators::attribution::lag_scan::LagScan;
    /// let x = [1.0, 3.0, 2.0, 5.0, 4.0, 0.0];
    /// let y = [9.0, 1.0, 3.0, 2.0, 5.0, 4.0];
    /// assert_eq!(LagScan { max_lag: 2 }.peak(&x, &y).map(|peak| peak.lag), Some(1));
    /// ```
    pub fn peak(&self, x: &[f64], y: &[f64]) -> Option<SyncPeak> {
        let mut best: Option<SyncPeak> = None;
        for (lag, corr) in self.correlations(x, y).enumerate() {
            let Some(corr) = corr else { continue };
            if best.is_none_or(|best| corr > best.corr) {
                best = Some(SyncPeak { corr, lag });
            }
        }
        best
    }

    /// r for every lag from 0 to the largest: `x` without its last `lag` points against `y` without its first.
    /// Of series of unequal length the longer one's tail is left out.
    pub fn correlations<'a>(&self, x: &'a [f64], y: &'a [f64]) -> impl Iterator<Item = Option<f64>> + 'a {
        let n = x.len().min(y.len());
        (0..=self.max_lag).map(move |lag| {
            let pairs = n.checked_sub(lag)?;
            correlation(x.get(..pairs)?.iter().copied().zip(y.get(lag..n)?.iter().copied()))
        })
    }
}

/// The latest longest run of consecutive minutes in which both have a bin: the two series of a scan, operator
/// first. Bins are keyed by the minute since the epoch.
pub fn consecutive(operator: &BTreeMap<i64, f64>, streamer: &BTreeMap<i64, f64>) -> (Vec<f64>, Vec<f64>) {
    let both = operator.iter().filter_map(|(minute, x)| Some((*minute, *x, *streamer.get(minute)?)));
    let both: Vec<(i64, f64, f64)> = both.collect();
    let runs = both.chunk_by(|earlier, later| earlier.0.checked_add(1) == Some(later.0));
    // Of equally long ones `max_by_key` takes the last.
    let longest = runs.max_by_key(|run| run.len()).unwrap_or_default();
    longest.iter().map(|(_, x, y)| (*x, *y)).unzip()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn too_few_or_constant() {
        let scan = LagScan { max_lag: 3 };
        assert_eq!(scan.peak(&[], &[]), None);
        assert_eq!(scan.peak(&[1.0, 2.0, 3.0], &[1.0, 2.0, 3.0]), None);
        assert_eq!(scan.peak(&[0.1; 9], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]), None);
        let rising = [1.0, 2.0, 3.0, 4.0, 5.0];
        let correlations: Vec<_> = scan.correlations(&rising, &rising).map(|r| r.is_some()).collect();
        assert_eq!(correlations, [true, true, false, false]);
        assert_eq!(scan.peak(&rising, &rising).map(|peak| peak.lag), Some(0));
    }

    #[test]
    fn runs_of_minutes() {
        let bins = |minutes: &[i64]| minutes.iter().map(|m| (*m, *m as f64)).collect::<BTreeMap<_, _>>();
        let (x, y) = consecutive(&bins(&[1, 2, 3, 5, 6, 7, 9]), &bins(&[0, 1, 2, 3, 5, 6, 7, 8]));
        assert_eq!((x, y), (vec![5.0, 6.0, 7.0], vec![5.0, 6.0, 7.0]));
        assert_eq!(consecutive(&bins(&[1]), &bins(&[2])), (vec![], vec![]));
        assert_eq!(consecutive(&bins(&[i64::MIN, i64::MAX]), &bins(&[i64::MIN, i64::MAX])).0.len(), 1);
    }

    #[test]
    fn the_version_names_the_scan() {
        assert_eq!(LagScan::default().method_version(), "7E.v1+operator-streamer-rmssd-60s-lag5");
    }

    proptest! {
        /// A copy that is late by some minutes is found at that lag.
        #[test]
        fn a_delay_is_found(
            x in prop::collection::vec(0.0..100.0f64, 12..40),
            delay in 0usize..4,
        ) {
            let y: Vec<f64> = (0..x.len()).map(|i| i.checked_sub(delay).map_or(0.0, |i| x[i])).collect();
            let peak = LagScan { max_lag: 5 }.peak(&x, &y).expect("a peak");
            prop_assert!(peak.corr > 1.0 - 1e-9);
            prop_assert!((x[..x.len() - delay].windows(2).all(|p| p[0] == p[1])) || peak.lag <= delay);
        }

        #[test]
        fn nothing_panics_and_values_are_correlations(
            x in prop::collection::vec(any::<f64>(), 0..12),
            y in prop::collection::vec(any::<f64>(), 0..12),
            max_lag in 0usize..20,
        ) {
            let scan = LagScan { max_lag };
            for r in scan.correlations(&x, &y).flatten() {
                prop_assert!((-1.0..=1.0).contains(&r));
            }
        }
    }
}
