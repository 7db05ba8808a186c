//! Co-modulation: whether the RMSSDs of streamer and operator rise and fall together (mathematics §9).
//!
//! Observational only: nothing of it reaches reward, gate, posterior or selection.

use std::collections::BTreeMap;

use lsie_schemas::record::SubjectRole;
use lsie_schemas::row::ComodulationRow;
use lsie_schemas::{EventTime, LogTime, Real};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::attribution::lag_scan::{LagScan, SyncPeak, consecutive};
use crate::logic::Logic;
use crate::pearson::{correlation, mean, null_reason};
use crate::physiology::{PhysiologicalSnapshot, SegmentSnapshots};

/// Length of the window in minutes, which are also its bins.
pub const WINDOW_MINUTES: i64 = 10;

const MINUTE_US: i64 = 60_000_000;

/// One evaluation of a session; contracts §12.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comodulation {
    /// Window start, exclusive.
    pub window_start: EventTime,
    /// Window end, inclusive.
    pub window_end: EventTime,
    /// Pearson r of the paired bins, in [−1, 1]; none for fewer than [`MIN_PAIRS`](crate::pearson::MIN_PAIRS)
    /// pairs, a series without two distinct values, or a value that is not finite.
    pub co_modulation_index: Option<f64>,
    /// Minutes in which both roles have a value.
    pub n_paired_observations: usize,
    /// Paired minutes over the greater number of minutes of a role, in [0, 1].
    pub coverage_ratio: f64,
    /// Mean of the streamer's bins, paired or not, ms.
    pub streamer_rmssd_mean: Option<f64>,
    /// Mean of the operator's bins, paired or not, ms.
    pub operator_rmssd_mean: Option<f64>,
    /// Why there is no index: a bounded code.
    pub null_reason: Option<&'static str>,
    /// The lag scan of attribution over the same bins.
    pub sync_peak: Option<SyncPeak>,
}

impl Comodulation {
    /// The row of this evaluation.
    pub fn row(&self, session_id: Uuid) -> ComodulationRow {
        ComodulationRow {
            session_id,
            window_start_utc: self.window_start,
            window_end_utc: self.window_end,
            window_minutes: WINDOW_MINUTES,
            co_modulation_index: self.co_modulation_index.and_then(Real::finite),
            n_paired_observations: self.n_paired_observations as i64,
            coverage_ratio: Real(self.coverage_ratio),
            streamer_rmssd_mean: self.streamer_rmssd_mean.and_then(Real::finite),
            operator_rmssd_mean: self.operator_rmssd_mean.and_then(Real::finite),
            null_reason: self.null_reason.map(str::to_owned),
        }
    }
}

/// The eligible RMSSDs of one session in minute bins, kept up to date one value at a time.
///
/// A new value costs one insertion into its bin; an evaluation the means of the bins that changed, and at most
/// 11 bins for each role. The result is the same bits as for all values at once, in any order.
#[derive(Clone, Debug, Default)]
pub struct ComodulationWindow {
    streamer: Bins,
    operator: Bins,
}

/// By minutes since the epoch.
type Bins = BTreeMap<i64, Bin>;

/// The values of one role in one minute.
#[derive(Clone, Debug, Default)]
struct Bin {
    /// Source instant and RMSSD, ascending: the order of the sum.
    values: Vec<(EventTime, Real)>,
    /// The mean of all values, once asked for.
    mean: Option<f64>,
}

impl ComodulationWindow {
    /// Takes a value: RMSSD in ms of a snapshot's source instant. One that is negative or not finite is none.
    pub fn push(&mut self, role: SubjectRole, source: EventTime, rmssd_ms: f64) {
        if !(rmssd_ms.is_finite() && rmssd_ms >= 0.0) {
            return;
        }
        let value = (source, Real(rmssd_ms));
        let bin = self.bins(role).entry(minute_of(source)).or_default();
        let at = bin.values.partition_point(|other| *other <= value);
        bin.values.insert(at, value);
        bin.mean = None;
    }

    /// Takes a snapshot, if it is eligible: a valid RMSSD that is not stale.
    pub fn push_snapshot(&mut self, role: SubjectRole, snapshot: &PhysiologicalSnapshot) {
        if let (Some(rmssd_ms), true, false) = (snapshot.rmssd_ms, snapshot.is_valid, snapshot.is_stale) {
            self.push(role, snapshot.source_timestamp, rmssd_ms);
        }
    }

    /// The evaluation of `(window_end − 10 min, window_end]`. Values at or before its start are forgotten, so
    /// window ends of one session must not go back.
    pub fn evaluate(&mut self, window_end: EventTime) -> Comodulation {
        let window_start = window_end.plus_us(-WINDOW_MINUTES * MINUTE_US);
        let streamer = means_within(&mut self.streamer, window_start, window_end);
        let operator = means_within(&mut self.operator, window_start, window_end);
        let paired: Vec<(f64, f64)> =
            streamer.iter().filter_map(|(minute, x)| operator.get(minute).map(|y| (*x, *y))).collect();
        let most = streamer.len().max(operator.len()).max(1);
        let role_mean = |bins: &BTreeMap<i64, f64>| mean(bins.values().copied()).filter(|m| m.is_finite());
        let index = correlation(paired.iter().copied());
        Comodulation {
            window_start,
            window_end,
            co_modulation_index: index,
            n_paired_observations: paired.len(),
            coverage_ratio: paired.len() as f64 / most as f64,
            streamer_rmssd_mean: role_mean(&streamer),
            operator_rmssd_mean: role_mean(&operator),
            null_reason: index.is_none().then(|| null_reason(paired.iter().copied())),
            sync_peak: sync_peak(&operator, &streamer),
        }
    }

    fn bins(&mut self, role: SubjectRole) -> &mut Bins {
        match role {
            SubjectRole::Streamer => &mut self.streamer,
            SubjectRole::Operator => &mut self.operator,
        }
    }
}

/// The scan of the longest run of paired minutes (mathematics §13.2).
fn sync_peak(operator: &BTreeMap<i64, f64>, streamer: &BTreeMap<i64, f64>) -> Option<SyncPeak> {
    let (x, y) = consecutive(operator, streamer);
    LagScan::default().peak(&x, &y)
}

/// The whole UTC minute of an instant: its bin begins with it.
fn minute_of(at: EventTime) -> i64 {
    at.0.div_euclid(MINUTE_US)
}

/// Bin means of the values in `(start, end]`; values up to `start` are removed.
fn means_within(bins: &mut Bins, start: EventTime, end: EventTime) -> BTreeMap<i64, f64> {
    while let Some(mut first) = bins.first_entry() {
        if *first.key() > minute_of(start) {
            break;
        }
        let bin = first.get_mut();
        let before = bin.values.partition_point(|(at, _)| *at <= start);
        if before == 0 {
            break;
        }
        bin.values.drain(..before);
        bin.mean = None;
        if bin.values.is_empty() {
            first.remove();
        }
    }
    let within = bins.range_mut(..=minute_of(end)).filter_map(|(minute, bin)| {
        let until = bin.values.partition_point(|(at, _)| *at <= end);
        let mean = if until == bin.values.len() {
            *bin.mean.get_or_insert_with(|| mean_of_values(&bin.values))
        } else {
            mean_of_values(bin.values.get(..until)?)
        };
        (until > 0).then_some((*minute, mean))
    });
    within.collect()
}

fn mean_of_values(values: &[(EventTime, Real)]) -> f64 {
    mean(values.iter().map(|(_, value)| value.0)).unwrap_or(f64::NAN)
}

/// The co-modulation of one session: evaluated once for each segment in which both roles have a snapshot that is
/// not stale, at the segment's `timestamp_utc`.
#[derive(Clone, Debug, Default)]
pub struct SessionComodulation {
    window: ComodulationWindow,
    /// `timestamp_utc` of the newest segment.
    closed_to: Option<EventTime>,
}

/// Derived state of [`SessionComodulation`]: the eligible values of the window.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ComodulationState {
    values: Vec<(SubjectRole, EventTime, Real)>,
    closed_to: Option<EventTime>,
}

/// Segments in order of their `timestamp_utc`, as a session closes them; one that is not after the newest was
/// there before.
impl Logic for SessionComodulation {
    type Record = SegmentSnapshots;
    type Output = Comodulation;
    type Snapshot = ComodulationState;

    fn on_epoch(&mut self, _: LogTime, mut segments: Vec<SegmentSnapshots>, out: &mut Vec<Comodulation>) {
        segments.sort_by(|a, b| (a.timestamp_utc, &a.segment_id).cmp(&(b.timestamp_utc, &b.segment_id)));
        for segment in segments {
            if self.closed_to.is_some_and(|newest| segment.timestamp_utc <= newest) {
                continue;
            }
            self.closed_to = Some(segment.timestamp_utc);
            let roles =
                [(SubjectRole::Streamer, &segment.streamer), (SubjectRole::Operator, &segment.operator)];
            for (role, snapshot) in roles {
                if let Some(snapshot) = snapshot {
                    self.window.push_snapshot(role, snapshot);
                }
            }
            let is_fresh = |snapshot: &Option<PhysiologicalSnapshot>| {
                snapshot.is_some_and(|snapshot| !snapshot.is_stale)
            };
            // Evaluated in any case, so that old values go also while one role is silent.
            let evaluated = self.window.evaluate(segment.timestamp_utc);
            if is_fresh(&segment.streamer) && is_fresh(&segment.operator) {
                out.push(evaluated);
            }
        }
    }

    fn snapshot(&self) -> ComodulationState {
        let of_role = |role, bins: &Bins| -> Vec<(SubjectRole, EventTime, Real)> {
            bins.values().flat_map(|bin| &bin.values).map(|(at, value)| (role, *at, *value)).collect()
        };
        let values = [
            of_role(SubjectRole::Streamer, &self.window.streamer),
            of_role(SubjectRole::Operator, &self.window.operator),
        ];
        ComodulationState { values: values.concat(), closed_to: self.closed_to }
    }

    fn restore(&mut self, snapshot: ComodulationState) {
        self.window = ComodulationWindow::default();
        for (role, at, value) in snapshot.values {
            self.window.push(role, at, value.0);
        }
        self.closed_to = snapshot.closed_to;
    }
}

#[cfg(test)]
mod tests {
    use lsie_schemas::canonical::parse;
    use proptest::prelude::*;

    use super::*;

    const ROLES: [SubjectRole; 2] = SubjectRole::ALL;

    type Value = (SubjectRole, EventTime, f64);

    fn at(text: &str) -> EventTime {
        EventTime(parse(&format!("2026-04-24T{text}Z")).expect("a time"))
    }

    fn evaluate(values: &[Value], window_end: EventTime) -> Comodulation {
        let mut window = ComodulationWindow::default();
        values.iter().for_each(|(role, at, value)| window.push(*role, *at, *value));
        window.evaluate(window_end)
    }

    fn roles(streamer: &[(&str, f64)], operator: &[(&str, f64)]) -> Vec<Value> {
        let of = |role, values: &[(&str, f64)]| -> Vec<Value> {
            values.iter().map(|(time, value)| (role, at(time), *value)).collect()
        };
        [of(SubjectRole::Streamer, streamer), of(SubjectRole::Operator, operator)].concat()
    }

    #[test]
    fn vector_a_of_the_mathematics_page() {
        let values = roles(
            &[("12:00:00", 10.0), ("12:01:05", 12.0), ("12:02:05", 14.0), ("12:03:05", 16.0)],
            &[("12:00:30", 7.0), ("12:01:35", 8.0), ("12:02:35", 9.0), ("12:03:35", 10.0)],
        );
        let ours = evaluate(&values, at("12:10:00"));
        assert_eq!((ours.n_paired_observations, ours.coverage_ratio), (3, 0.75));
        assert_eq!((ours.streamer_rmssd_mean, ours.operator_rmssd_mean), (Some(14.0), Some(8.5)));
        assert_eq!(ours.co_modulation_index, None);
        assert_eq!((ours.window_start, ours.window_end), (at("12:00:00"), at("12:10:00")));
    }

    #[test]
    fn vector_b_of_the_mathematics_page() {
        let minutes = 1..=6;
        let series = |values: [f64; 6], second: i64, role| {
            let place = |(minute, value): (i64, f64)| {
                (role, at("12:00:00").plus_us(minute * MINUTE_US + second * 1_000_000), value)
            };
            minutes.clone().zip(values).map(place).collect::<Vec<Value>>()
        };
        let mut values = series([40.0, 42.0, 41.0, 45.0, 47.0, 44.0], 5, SubjectRole::Streamer);
        values.push((SubjectRole::Streamer, at("12:01:59.999999"), 44.0));
        values.push((SubjectRole::Streamer, at("12:00:00"), 100.0));
        values.extend(series([30.0, 33.0, 31.0, 36.0, 35.0, 34.0], 50, SubjectRole::Operator));
        values.push((SubjectRole::Operator, at("12:10:00"), 50.0));
        let ours = evaluate(&values, at("12:10:00"));
        assert_eq!((ours.n_paired_observations, ours.coverage_ratio), (6, 6.0 / 7.0));
        assert_eq!(ours.streamer_rmssd_mean, Some(43.5));
        assert!((ours.operator_rmssd_mean.expect("a mean") - 35.57142857142857).abs() < 1e-12);
        assert!((ours.co_modulation_index.expect("an index") - 0.8219228548918059).abs() < 1e-12);
    }

    #[test]
    fn a_constant_stays_constant_however_many_values_a_bin_has() {
        let mut values = Vec::new();
        for minute in 0..8 {
            for second in 0..=minute {
                let at = at("12:00:01").plus_us(minute * MINUTE_US + second * 1_000_000);
                values.push((SubjectRole::Streamer, at, 0.1));
                values.push((SubjectRole::Operator, at, 33.3 + minute as f64));
            }
        }
        let ours = evaluate(&values, at("12:09:00"));
        assert_eq!((ours.n_paired_observations, ours.co_modulation_index), (8, None));
        assert_eq!(ours.streamer_rmssd_mean, Some(0.1));
    }

    #[test]
    fn extremes_give_null_and_never_nan() {
        for scale in
            [f64::MAX, 1e308, 1e200, 1e-200, f64::MIN_POSITIVE, 5e-324, f64::NAN, f64::INFINITY, -1.0]
        {
            let values: Vec<Value> = (0..8)
                .flat_map(|i| {
                    let at = at("12:00:01").plus_us(i * MINUTE_US);
                    let value = scale * (1 + i % 2) as f64 / 2.0;
                    [(SubjectRole::Streamer, at, value), (SubjectRole::Operator, at, value)]
                })
                .collect();
            let ours = evaluate(&values, at("12:09:00"));
            assert!(ours.co_modulation_index.is_none_or(|r| (-1.0..=1.0).contains(&r)), "{scale}: {ours:?}");
            assert!(ours.streamer_rmssd_mean.is_none_or(f64::is_finite), "{scale}: {ours:?}");
        }
    }

    #[test]
    fn a_million_values() {
        let mut values: Vec<Value> = Vec::new();
        for i in 0..1_000_000 {
            let at = at("12:00:01").plus_us(i * 500);
            values.push((ROLES[i as usize % 2], at, (i % 97) as f64));
        }
        let ours = evaluate(&values, at("12:10:00"));
        assert_eq!((ours.n_paired_observations, ours.coverage_ratio), (9, 1.0));
    }

    /// Everything at once, as the page says it.
    fn naive(values: &[Value], window_end: EventTime) -> Comodulation {
        let window_start = EventTime(window_end.0 - 600_000_000);
        let bins = |role: SubjectRole| {
            let mut rows: Vec<(EventTime, Real)> = values
                .iter()
                .filter(|(r, at, _)| *r == role && window_start < *at && *at <= window_end)
                .map(|(_, at, value)| (*at, Real(*value)))
                .collect();
            rows.sort();
            let mut bins: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
            for (at, value) in rows {
                bins.entry(at.0.div_euclid(60_000_000)).or_default().push(value.0);
            }
            bins.into_iter().map(|(minute, rows)| (minute, plain_mean(&rows))).collect::<BTreeMap<i64, f64>>()
        };
        let (streamer, operator) = (bins(SubjectRole::Streamer), bins(SubjectRole::Operator));
        let pairs: Vec<(f64, f64)> =
            streamer.iter().filter_map(|(m, x)| Some((*x, *operator.get(m)?))).collect();
        let role_mean = |bins: &BTreeMap<i64, f64>| {
            (!bins.is_empty()).then(|| plain_mean(&bins.values().copied().collect::<Vec<f64>>()))
        };
        let distinct = |side: fn(&(f64, f64)) -> f64| {
            pairs.iter().map(|pair| Real(side(pair))).collect::<std::collections::BTreeSet<Real>>().len()
        };
        let index = plain_pearson(&pairs);
        let reason = match (pairs.len() < 4, distinct(|pair| pair.0).min(distinct(|pair| pair.1)) < 2) {
            (true, _) => "insufficient_pairs",
            (false, true) => "zero_variance",
            (false, false) => "undefined",
        };
        Comodulation {
            window_start,
            window_end,
            co_modulation_index: index,
            n_paired_observations: pairs.len(),
            coverage_ratio: pairs.len() as f64 / streamer.len().max(operator.len()).max(1) as f64,
            streamer_rmssd_mean: role_mean(&streamer),
            operator_rmssd_mean: role_mean(&operator),
            null_reason: index.is_none().then_some(reason),
            sync_peak: plain_scan(&streamer, &operator),
        }
    }

    /// The last of the longest runs of minutes, every lag of up to five, the best one.
    fn plain_scan(streamer: &BTreeMap<i64, f64>, operator: &BTreeMap<i64, f64>) -> Option<SyncPeak> {
        let mut best: Vec<(f64, f64)> = Vec::new();
        for first in operator.keys() {
            let run = (*first..).map_while(|m| Some((*operator.get(&m)?, *streamer.get(&m)?)));
            let run: Vec<(f64, f64)> = run.collect();
            if run.len() >= best.len() {
                best = run;
            }
        }
        let mut peak: Option<SyncPeak> = None;
        for lag in 0..=5.min(best.len()) {
            let pairs: Vec<(f64, f64)> =
                (lag..best.len()).map(|later| (best[later - lag].0, best[later].1)).collect();
            let Some(corr) = plain_pearson(&pairs) else { continue };
            if peak.is_none_or(|peak| corr > peak.corr + 1e-12) {
                peak = Some(SyncPeak { corr, lag });
            }
        }
        peak
    }

    fn plain_mean(values: &[f64]) -> f64 {
        if values.iter().all(|value| *value == values[0]) {
            return values[0];
        }
        values.iter().sum::<f64>() / values.len() as f64
    }

    fn plain_pearson(pairs: &[(f64, f64)]) -> Option<f64> {
        let (x, y): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
        let constant = |values: &[f64]| values.iter().all(|value| *value == values[0]);
        if pairs.len() < 4 || constant(&x) || constant(&y) {
            return None;
        }
        let (mx, my) = (plain_mean(&x), plain_mean(&y));
        let cov: f64 = pairs.iter().map(|(a, b)| (a - mx) * (b - my)).sum();
        let vx: f64 = x.iter().map(|a| (a - mx) * (a - mx)).sum();
        let vy: f64 = y.iter().map(|b| (b - my) * (b - my)).sum();
        Some((cov / (vx * vy).sqrt()).clamp(-1.0, 1.0))
    }

    fn assert_close(ours: &Comodulation, theirs: &Comodulation) {
        assert_eq!(ours.n_paired_observations, theirs.n_paired_observations);
        assert_eq!(ours.coverage_ratio, theirs.coverage_ratio);
        let pairs = [
            (ours.co_modulation_index, theirs.co_modulation_index, 1e-9),
            (ours.streamer_rmssd_mean, theirs.streamer_rmssd_mean, 1e-9),
            (ours.operator_rmssd_mean, theirs.operator_rmssd_mean, 1e-9),
            (ours.sync_peak.map(|peak| peak.corr), theirs.sync_peak.map(|peak| peak.corr), 1e-9),
        ];
        for (ours, theirs, tolerance) in pairs {
            match (ours, theirs) {
                (Some(ours), Some(theirs)) => assert!((ours - theirs).abs() < tolerance, "{ours} {theirs}"),
                (ours, theirs) => assert_eq!(ours, theirs),
            }
        }
    }

    prop_compose! {
        /// Values on a coarse grid of instants and few distinct RMSSDs, so that edges and ties are hit.
        fn value()(role in prop::sample::select(&ROLES[..]), step in 0..80i64, value in 0..6i64) -> Value {
            (role, at("12:00:00").plus_us(step * 15_000_000), 20.0 + value as f64 / 10.0)
        }
    }

    proptest! {
        /// Window ends go on, values come between them: each evaluation equals a recomputation of all, and is
        /// the same bits for any order of the values between two evaluations.
        #[test]
        fn incremental_equals_naive(
            steps in prop::collection::vec((prop::collection::vec(value(), 0..12), 0..200i64), 1..10),
        ) {
            let (mut window, mut turned) = (ComodulationWindow::default(), ComodulationWindow::default());
            let (mut all, mut window_end) = (Vec::new(), at("12:02:00"));
            for (values, later_s) in steps {
                values.iter().for_each(|(role, at, value)| window.push(*role, *at, *value));
                values.iter().rev().for_each(|(role, at, value)| turned.push(*role, *at, *value));
                all.extend(values);
                window_end = window_end.plus_us(later_s * 1_000_000);
                let ours = window.evaluate(window_end);
                prop_assert_eq!(ours, turned.evaluate(window_end));
                assert_close(&ours, &naive(&all, window_end));
            }
        }

        #[test]
        fn the_index_is_symmetric_and_does_not_see_shifts(
            xs in prop::collection::vec(10.0..90.0f64, 4..10),
            ys in prop::collection::vec(10.0..90.0f64, 10),
            shift in 0.0..50.0f64,
        ) {
            let place = |swap: bool, shift: f64| {
                let values: Vec<Value> = xs.iter().zip(&ys).enumerate().flat_map(|(i, (x, y))| {
                    let at = at("12:00:30").plus_us(i as i64 * MINUTE_US);
                    let (x, y) = if swap { (y, x) } else { (x, y) };
                    [(SubjectRole::Streamer, at, *x + shift), (SubjectRole::Operator, at, *y)]
                }).collect();
                evaluate(&values, at("12:10:00"))
            };
            let (plain, swapped, shifted) = (place(false, 0.0), place(true, 0.0), place(false, shift));
            let index = |of: &Comodulation| of.co_modulation_index.expect("varied values");
            prop_assert!((index(&plain) - index(&swapped)).abs() < 1e-12);
            prop_assert!((index(&plain) - index(&shifted)).abs() < 1e-9);
        }

        #[test]
        fn no_value_panics(values in prop::collection::vec(any::<(bool, i64, f64)>(), 0..20), end in any::<i64>()) {
            let role = |is_streamer| if is_streamer { SubjectRole::Streamer } else { SubjectRole::Operator };
            let values: Vec<Value> = values.into_iter().map(|(r, at, v)| (role(r), EventTime(at), v)).collect();
            for end in [end, values.first().map_or(0, |(_, at, _)| at.0)] {
                let ours = evaluate(&values, EventTime(end));
                prop_assert!(ours.co_modulation_index.is_none_or(|r| (-1.0..=1.0).contains(&r)));
                prop_assert!((0.0..=1.0).contains(&ours.coverage_ratio));
            }
        }
    }
}
