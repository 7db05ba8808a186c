//! Physiological snapshots: the vector of the mathematics page, edges, hostile chunks.

use proptest::prelude::*;

use lsie_schemas::record::ChunkPayload;

use super::*;

const MINUTE: i64 = 60_000_000;
const NOW: EventTime = EventTime(1_777_024_800_000_000);

/// A chunk of intervals of the streamer that ended `age_s` before [`NOW`] and lasted a minute.
fn intervals(id: u128, age_s: i64, ibi_ms: &[f64]) -> PhysiologicalChunk {
    let end = seconds_before(NOW, age_s);
    PhysiologicalChunk {
        unique_id: Uuid::from_u128(id),
        provider: Provider::Oura,
        subject_role: SubjectRole::Streamer,
        source_kind: SourceKind::Ibi,
        window_start_utc: end.plus_us(-MINUTE),
        window_end_utc: end,
        ingest_timestamp_utc: end,
        payload: ChunkPayload {
            sample_interval_s: 1,
            valid_sample_count: ibi_ms.len() as i64,
            expected_sample_count: ibi_ms.len() as i64,
            derivation_method: DerivationMethod::Provider,
            ibi_ms_items: Some(ibi_ms.to_vec()),
            rmssd_items_ms: None,
            heart_rate_items_bpm: None,
            motion_items: None,
        },
    }
}

fn session(id: u128, age_s: i64, rmssd_ms: &[f64]) -> PhysiologicalChunk {
    let mut chunk = intervals(id, age_s, rmssd_ms);
    chunk.source_kind = SourceKind::Session;
    chunk.payload.rmssd_items_ms = chunk.payload.ibi_ms_items.take();
    chunk
}

fn of(chunks: &[PhysiologicalChunk]) -> PhysiologicalSnapshot {
    let chunks: Vec<&PhysiologicalChunk> = chunks.iter().collect();
    snapshot(&chunks, NOW, &Parameters::default()).expect("chunks within the retention")
}

#[test]
fn vector_of_the_mathematics_page() {
    let mut chunk = intervals(1, 10, &[800.0, 810.0, 790.0, 805.0]);
    chunk.payload.heart_rate_items_bpm = Some(vec![72, 75]);
    let ours = of(&[chunk]);
    assert_eq!((ours.rmssd_ms, ours.heart_rate_bpm), (Some(15.546), Some(74)));
    assert_eq!((ours.validity_ratio, ours.is_valid), (1.0, true));
    assert_eq!((ours.freshness_s, ours.is_stale, ours.window_s), (10.0, false, 300));
    assert_eq!(ours.derivation_method, DerivationMethod::Server);
}

#[test]
fn ages_on_the_edges() {
    let at = |age_s: i64, further_us: i64| {
        let mut chunk = intervals(1, age_s, &[800.0, 810.0]);
        chunk.window_end_utc = chunk.window_end_utc.plus_us(-further_us);
        snapshot(&[&chunk], NOW, &Parameters::default())
    };
    let fresh = at(300, 0).expect("a snapshot");
    assert_eq!((fresh.rmssd_ms, fresh.is_valid), (Some(10.0), true));
    let between = at(300, 1).expect("a snapshot");
    assert_eq!((between.rmssd_ms, between.validity_ratio, between.is_stale), (None, 0.0, false));
    assert!(!at(600, 0).expect("a snapshot").is_stale);
    assert!(at(600, 1).expect("a snapshot").is_stale);
    assert!(at(900, 0).is_some());
    assert_eq!(at(900, 1), None);
    // No upper test: what ends in the future is of age 0.
    assert_eq!(at(-3600, 0).map(|ours| (ours.freshness_s, ours.rmssd_ms)), Some((0.0, Some(10.0))));
}

#[test]
fn kinds_are_never_mixed_and_intervals_come_first() {
    let rmssds = session(2, 10, &[40.0, 43.0]);
    assert_eq!(of(std::slice::from_ref(&rmssds)).rmssd_ms, Some(41.5));
    let empty = intervals(1, 20, &[]);
    let ours = of(&[empty, rmssds.clone()]);
    assert_eq!((ours.source_kind, ours.rmssd_ms), (SourceKind::Ibi, None));
    assert_eq!(ours.derivation_method, DerivationMethod::Provider);
    // Intervals that do not overlap the window do not count.
    assert_eq!(of(&[intervals(1, 400, &[800.0, 900.0]), rmssds]).rmssd_ms, Some(41.5));
}

#[test]
fn validity_is_a_share_of_sums_and_at_most_one() {
    let with_counts = |valid, expected| {
        let mut chunk = intervals(1, 10, &[800.0, 810.0]);
        (chunk.payload.valid_sample_count, chunk.payload.expected_sample_count) = (valid, expected);
        of(&[chunk])
    };
    assert_eq!(with_counts(8, 10).rmssd_ms, Some(10.0));
    let invalid = with_counts(7999, 10_000);
    assert_eq!((invalid.rmssd_ms, invalid.is_valid, invalid.source_kind), (None, false, SourceKind::Ibi));
    assert_eq!(with_counts(30, 10).validity_ratio, 1.0);
    assert_eq!(with_counts(0, 0).validity_ratio, 0.0);
    assert_eq!(with_counts(i64::MAX, i64::MAX).validity_ratio, 1.0);
}

#[test]
fn heart_rates_round_half_to_even() {
    for (rates, expected) in [(vec![72, 73], 72), (vec![73, 74], 74), (vec![70, 70, 71], 70)] {
        let mut chunk = intervals(1, 10, &[800.0]);
        chunk.payload.heart_rate_items_bpm = Some(rates);
        assert_eq!(of(&[chunk]).heart_rate_bpm, Some(expected));
    }
}

fn closes(logic: &mut Physiology, epoch: u64, after_s: i64) -> Option<SegmentSnapshots> {
    let timestamp_utc = NOW.plus_us(after_s * 1_000_000);
    let mut out = Vec::new();
    let record = PhysiologyRecord::SegmentClosed { segment_id: format!("{after_s}"), timestamp_utc };
    logic.on_epoch(LogTime(epoch), vec![record], &mut out);
    out.into_iter().find_map(|output| match output {
        PhysiologyOutput::Snapshots(snapshots) => Some(snapshots),
        PhysiologyOutput::Classified { .. } => None,
    })
}

fn comes(logic: &mut Physiology, epoch: u64, offset: i64, chunk: PhysiologicalChunk) -> Class {
    let mut out = Vec::new();
    logic.on_epoch(LogTime(epoch), vec![PhysiologyRecord::Chunk { offset, chunk }], &mut out);
    match out.as_slice() {
        [PhysiologyOutput::Classified { class, .. }] => *class,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_segment_takes_a_hundred_chunks_and_the_rest_waits() {
    let mut logic = Physiology::default();
    for i in 0..150 {
        comes(&mut logic, 1, i, intervals(i as u128, 10, &[800.0 + i as f64]));
    }
    let rmssd_and_count = |logic: &mut Physiology, after_s| {
        let of_streamer = closes(logic, 2, after_s).expect("snapshots").streamer.expect("a snapshot");
        (of_streamer.rmssd_ms, logic.taken_to)
    };
    assert_eq!(rmssd_and_count(&mut logic, 0), (Some(1.0), Some(99)));
    assert_eq!(rmssd_and_count(&mut logic, 30), (Some(1.0), Some(149)));
    assert_eq!(rmssd_and_count(&mut logic, 60), (Some(1.0), Some(149)));
    assert_eq!(comes(&mut logic, 3, 150, intervals(120, 10, &[1.0])), Class::Duplicate);
}

/// The rule of deduplication outlives the retention: an hour of log time, and as long as the chunk is held.
#[test]
fn identities_are_remembered_beyond_the_retention() {
    let mut logic = Physiology::default();
    let chunk = intervals(1, 10, &[800.0, 810.0]);
    assert_eq!(comes(&mut logic, 0, 0, chunk.clone()), Class::Used);
    assert!(closes(&mut logic, 1, 0).is_some());
    assert_eq!(closes(&mut logic, 2, 1_000), None);
    assert!(logic.held.is_empty());
    assert_eq!(logic.rewind(), None);
    assert_eq!(comes(&mut logic, REMEMBER_MS - 1, 1, chunk.clone()), Class::Duplicate);
    assert_eq!(comes(&mut logic, REMEMBER_MS, 2, chunk), Class::Late);
    let ahead = intervals(2, -100_000, &[800.0, 810.0]);
    assert_eq!(comes(&mut logic, REMEMBER_MS, 3, ahead.clone()), Class::Used);
    assert_eq!(comes(&mut logic, 9 * REMEMBER_MS, 4, ahead), Class::Duplicate);
    closes(&mut logic, 9 * REMEMBER_MS, 1_030);
    assert_eq!(logic.remembered.len(), 1);
}

#[test]
fn a_million_intervals() {
    let swing: Vec<f64> = (0..1_000_000).map(|i| if i % 2 == 0 { 800.0 } else { 850.0 }).collect();
    assert_eq!(of(&[intervals(1, 10, &swing)]).rmssd_ms, Some(50.0));
}

proptest! {
    #[test]
    fn hostile_numbers_make_neither_panic_nor_nan(
        items in prop::collection::vec(any::<f64>(), 0..6),
        rates in prop::collection::vec(any::<i64>(), 0..4),
        counts in any::<(i64, i64)>(),
        instants in any::<[i64; 3]>(),
        is_session in any::<bool>(),
    ) {
        let mut chunk = if is_session { session(1, 0, &items) } else { intervals(1, 0, &items) };
        chunk.payload.heart_rate_items_bpm = Some(rates);
        (chunk.payload.valid_sample_count, chunk.payload.expected_sample_count) = counts;
        chunk.window_end_utc = EventTime(instants[0]);
        chunk.window_start_utc = EventTime(instants[1]);
        for now in [EventTime(instants[2]), chunk.window_end_utc, NOW] {
            if let Some(ours) = snapshot(&[&chunk], now, &Parameters::default()) {
                prop_assert!(ours.rmssd_ms.is_none_or(f64::is_finite));
                prop_assert!(ours.freshness_s.is_finite() && ours.freshness_s >= 0.0);
                prop_assert!(ours.validity_ratio <= 1.0);
            }
        }
    }

    /// Squaring by hand, over chunks joined by hand.
    #[test]
    fn rmssd_equals_the_formula(parts in prop::collection::vec(prop::collection::vec(300.0..2000.0f64, 0..20), 1..5)) {
        let chunks: Vec<PhysiologicalChunk> =
            parts.iter().enumerate().map(|(i, part)| intervals(i as u128, 200 - i as i64, part)).collect();
        let joined = parts.concat();
        let mut sum = 0.0;
        for i in 1..joined.len() {
            sum += (joined[i] - joined[i - 1]).powi(2);
        }
        let ours = of(&chunks);
        if joined.len() < 2 {
            prop_assert_eq!(ours.rmssd_ms, None);
        } else {
            let expected = (sum / (joined.len() - 1) as f64).sqrt();
            prop_assert!((ours.rmssd_ms.expect("a value") - expected).abs() <= 0.000_500_1);
        }
    }
}
