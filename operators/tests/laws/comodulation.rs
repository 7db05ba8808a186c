//! Co-modulation under the laws.

use lsie_operators::comodulation::SessionComodulation;
use lsie_operators::physiology::{PhysiologicalSnapshot, SegmentSnapshots};
use lsie_schemas::record::{DerivationMethod, Provider, SourceKind};
use lsie_schemas::{EventTime, LogTime};
use proptest::option;
use proptest::prelude::*;

use crate::laws::{Script, order_changes_nothing, restarts_change_nothing, run};

const START_US: i64 = 1_777_024_800_000_000;

/// RMSSD (in tenths), age of the source in s, valid.
type Draw = (Option<u16>, i64, bool);

fn draw() -> impl Strategy<Value = Option<Draw>> {
    let measured = (option::weighted(0.9, 200..600u16), -40..700i64, prop::bool::weighted(0.9));
    option::weighted(0.9, measured)
}

fn snapshot(now: EventTime, (rmssd, age_s, is_valid): Draw) -> PhysiologicalSnapshot {
    PhysiologicalSnapshot {
        rmssd_ms: rmssd.map(|rmssd| f64::from(rmssd) / 10.0),
        heart_rate_bpm: None,
        source_timestamp: now.plus_us(-age_s * 1_000_000),
        freshness_s: age_s.max(0) as f64,
        is_stale: age_s > 600,
        provider: Provider::Oura,
        source_kind: SourceKind::Ibi,
        derivation_method: DerivationMethod::Server,
        window_s: 300,
        validity_ratio: 1.0,
        is_valid,
    }
}

/// The snapshots of both roles at one segment.
type Pair = (Option<Draw>, Option<Draw>);

prop_compose! {
    /// Up to three segments close in an epoch, as when a stalled stream is given up.
    fn script()(
        lines in prop::collection::vec(prop::collection::vec((draw(), draw()), 0..4), 1..24),
        step_s in prop_oneof![Just(30), Just(97)],
    ) -> Script<SegmentSnapshots> {
        let mut timestamp_utc = EventTime(START_US + 7_000_000);
        let line = |(index, segments): (usize, Vec<Pair>)| {
            let segments = segments.into_iter().map(|(streamer, operator)| {
                timestamp_utc = timestamp_utc.plus_us(step_s * 1_000_000);
                SegmentSnapshots {
                    segment_id: format!("{timestamp_utc:?}"),
                    timestamp_utc,
                    streamer: streamer.map(|draw| snapshot(timestamp_utc, draw)),
                    operator: operator.map(|draw| snapshot(timestamp_utc, draw)),
                }
            });
            (LogTime(index as u64 * 30_000), segments.collect())
        };
        lines.into_iter().enumerate().map(line).collect()
    }
}

proptest! {
    #[test]
    fn restarts(script in script()) {
        restarts_change_nothing(SessionComodulation::default, &script);
    }

    #[test]
    fn order(script in script(), turns in prop::collection::vec(0usize..8, 1..5)) {
        order_changes_nothing(SessionComodulation::default, &script, &turns);
    }

    /// A segment that comes again, in its epoch or a later one, changes nothing.
    #[test]
    fn duplicates(script in script(), again in prop::collection::vec(0usize..64, 1..6)) {
        let mut repeated = script.clone();
        for pick in again {
            let from = pick % script.len();
            let to = (from + pick / 8).min(script.len() - 1);
            repeated[to].1.extend(script[from].1.get(pick % 3).cloned());
        }
        let make = SessionComodulation::default;
        prop_assert_eq!(run(make(), &repeated), run(make(), &script));
    }

    /// A row for each segment in which both roles have a snapshot that is not stale, and for no other.
    #[test]
    fn one_row_for_each_fresh_pair(script in script()) {
        let ends: Vec<EventTime> =
            run(SessionComodulation::default(), &script).into_iter().flatten().map(|row| row.window_end).collect();
        let fresh = |snapshot: Option<PhysiologicalSnapshot>| snapshot.is_some_and(|snapshot| !snapshot.is_stale);
        let expected: Vec<EventTime> = script
            .iter()
            .flat_map(|(_, segments)| segments)
            .filter(|segment| fresh(segment.streamer) && fresh(segment.operator))
            .map(|segment| segment.timestamp_utc)
            .collect();
        prop_assert_eq!(ends, expected);
    }
}
