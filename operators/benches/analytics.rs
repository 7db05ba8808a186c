//! Time per unit of work of the analytics: `cargo bench --locked --workspace --bench analytics`.
//!
//! Prints one line per kernel, in processor time of this thread, so that busy neighbours count less.

use std::hint::black_box;

use lsie_operators::comodulation::ComodulationWindow;
use lsie_operators::physiology::{Parameters, snapshot};
use lsie_operators::reward::OrderedSeries;
use lsie_schemas::record::{
    ChunkPayload, DerivationMethod, PhysiologicalChunk, Provider, SourceKind, SubjectRole,
};
use lsie_schemas::{EventTime, Uuid};

const START: EventTime = EventTime(1_777_024_800_000_000);

fn main() {
    co_modulation();
    rewards();
    snapshots();
}

/// Four hours of a session: every 30 s a snapshot of each role, and an evaluation after each snapshot.
fn co_modulation() {
    let updates: Vec<(SubjectRole, EventTime, f64)> = (0..480i64)
        .flat_map(|segment| {
            let at = START.plus_us(segment * 30_000_000);
            SubjectRole::ALL.map(|role| (role, at, 30.0 + noise(segment as u64) * 20.0))
        })
        .collect();
    report("co-modulation, per new snapshot", "µs", updates.len(), || {
        let mut window = ComodulationWindow::default();
        for (role, at, rmssd_ms) in &updates {
            window.push(*role, *at, *rmssd_ms);
            black_box(window.evaluate(at.plus_us(5_000_000)));
        }
    });
}

/// Four hours at 30 frames per second with 500 stimuli.
fn rewards() {
    let start_s = START.seconds();
    let observations: Vec<(f64, f64)> =
        (0..4 * 3_600 * 30u64).map(|frame| (start_s + frame as f64 / 30.0, noise(frame))).collect();
    let series = OrderedSeries::new(observations.clone());
    let stimuli: Vec<f64> = (0..500).map(|i| start_s + 20.0 + i as f64 * 28.7).collect();
    let encounters = |series: &OrderedSeries| {
        for stimulus_s in &stimuli {
            black_box(series.reward(*stimulus_s, true));
        }
    };
    report("500 rewards of a 4-hour series, all", "ms", 1, || encounters(&series));
    report("copying and ordering the series, and then the same", "ms", 1, || {
        encounters(&OrderedSeries::new(observations.clone()));
    });
}

/// Five minutes of one role in chunks of a minute with an interval per heart beat.
fn snapshots() {
    let chunks: Vec<PhysiologicalChunk> = (0..5).map(chunk).collect();
    let chunks: Vec<&PhysiologicalChunk> = chunks.iter().collect();
    let now = START.plus_us(310_000_000);
    report("physiological snapshot of a role, per segment", "µs", 1_000, || {
        for _ in 0..1_000 {
            black_box(snapshot(black_box(&chunks), now, &Parameters::default()));
        }
    });
}

fn chunk(minute: i64) -> PhysiologicalChunk {
    let window_start_utc = START.plus_us(minute * 60_000_000);
    let intervals: Vec<f64> = (0..70).map(|i| 800.0 + 100.0 * noise(minute as u64 * 70 + i)).collect();
    PhysiologicalChunk {
        unique_id: Uuid::from_u128(minute as u128),
        provider: Provider::Oura,
        subject_role: SubjectRole::Streamer,
        source_kind: SourceKind::Ibi,
        window_start_utc,
        window_end_utc: window_start_utc.plus_us(60_000_000),
        ingest_timestamp_utc: window_start_utc,
        payload: ChunkPayload {
            sample_interval_s: 1,
            valid_sample_count: 60,
            expected_sample_count: 60,
            derivation_method: DerivationMethod::Provider,
            ibi_ms_items: Some(intervals),
            rmssd_items_ms: None,
            heart_rate_items_bpm: Some(vec![70; 60]),
            motion_items: None,
        },
    }
}

/// A value in [0, 1) that looks like chance and is the same in every run.
fn noise(i: u64) -> f64 {
    (i.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407) >> 11) as f64
        / (1u64 << 53) as f64
}

/// Prints the time of `work` divided by `parts`: the best of five runs, each so long (0.2 s) that the ticks in
/// which processor time is counted (4 ms) do not matter.
fn report(what: &str, unit: &str, parts: usize, mut work: impl FnMut()) {
    let mut best = f64::MAX;
    for _ in 0..5 {
        let (start, mut repeats, mut spent) = (processor_ns(), 0u32, 0);
        while spent < 200_000_000 {
            work();
            repeats += 1;
            spent = processor_ns() - start;
        }
        best = best.min(spent as f64 / f64::from(repeats));
    }
    let ns_per_unit = if unit == "ms" { 1e6 } else { 1e3 };
    println!("{:8.3} {unit}  {what}", best / ns_per_unit / parts as f64);
}

/// Time this thread has spent on a processor, as Linux counts it.
fn processor_ns() -> u64 {
    let line = std::fs::read_to_string("/proc/thread-self/schedstat").expect("a Linux system");
    line.split(' ').next().and_then(|ns| ns.parse().ok()).expect("a number")
}
