//! One made session through the whole pipeline with the real models: how much of a core it needs, and
//! for what.
//!
//! `cargo bench --locked --workspace --bench pipeline`
#![allow(clippy::disallowed_methods, reason = "a benchmark measures time")]

mod common;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::{Meter, Threads};
use lsie_connectors::feed::{FeedOptions, Pace, Recording, TimedRecord, feed, session_id, timeline};
use lsie_connectors::file_log::{FileLog, FileLogOptions};
use lsie_dataflow::config::Config;
use lsie_dataflow::ingest::Shared;
use lsie_dataflow::pool::MeasurerFactory;
use lsie_dataflow::{Range, Run, faces};
use lsie_operators::decode::H264Decoder;
use lsie_operators::resample::Resampler;
use lsie_schemas::log::{Log, TimestampType};
use lsie_schemas::record::HEADER_KEY_FRAME;
use lsie_schemas::{LogTime, Topic};
use lsie_sinks::parquet::Options;
use lsie_sinks::{Catalog, ParquetSink, Selected, Sink, Views};

/// When the made session began: 2026-01-05T10:00:00Z.
const BASE: LogTime = LogTime(1_767_607_200_000);
/// Times that a kernel is measured; the best counts.
const ROUNDS: usize = 3;

fn main() {
    common::print_machine();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/sessions/demo");
    let recording = Arc::new(Recording::open(dir).expect("the made session"));
    let options = FeedOptions::new(BASE, session_id("bench-pipeline", 0));
    let records: Vec<TimedRecord> = timeline(recording.clone(), options).collect();
    let session_s = recording.duration_ms() as f64 / 1e3;

    let dir = tempfile::tempdir().expect("a temporary folder");
    let log = FileLog::open(dir.path().join("log"), FileLogOptions::default()).expect("a fresh log");
    let log: Arc<dyn Log> = Arc::new(log);
    common::create_topics(&*log, 1, TimestampType::Create, BASE);
    feed(&*log, records.iter().cloned(), Pace::Max, |_| ControlFlow::Continue(())).expect("a feed");
    // A run without models makes the epoch table.
    run(log.clone(), faces::without_models(), &dir.path().join("first"));

    let config = Config::parse("").expect("the default configuration");
    let models = faces::with_models(config.models_folder(), config.models.max_pixels);
    let loading = Arc::new(AtomicU64::new(0));
    let measurer: MeasurerFactory = Arc::new({
        let loading = loading.clone();
        move |thread| {
            let made = models(thread);
            loading.store((common::thread_s() * 1e9) as u64, Ordering::SeqCst);
            made
        }
    });
    let threads = Threads::start();
    let meter = Meter::start(None);
    run(log, measurer, &dir.path().join("second"));
    let used = meter.used();
    let threads = threads.stop();

    let loading = loading.load(Ordering::SeqCst) as f64 / 1e9;
    let total = used.own - loading - threads.get("sampler").map_or(0.0, |busy| busy.all);
    let inference = threads.get("infer").map_or(0.0, |busy| busy.all) - loading;
    let (decode, resample) = (decode_s(&records, config.models.max_pixels), resample_s(&records));
    let rest = total - inference - resample;
    println!("{} frames and {session_s:.0} s of audio: {total:.2} s of processor time", recording.frames());
    println!("{:.1} times real time on one core", session_s / total);
    let parts = [("decode", decode), ("faces", inference - decode), ("resample", resample), ("rest", rest)];
    for (what, seconds) in parts {
        println!("  {what:<9} {seconds:>7.3} s {:>6.1} %", 100.0 * seconds / total);
    }
    println!("bar: rest at most 5 %");
    println!("not counted: {loading:.2} s for loading and checking the models");
    println!("wall time {:.1} s; others kept {:.2} cores busy meanwhile", used.wall, used.other_cores());
    common::print_threads(&threads);
}

/// A bounded run as `lsie demo` makes it: Parquet tables and served views.
fn run(log: Arc<dyn Log>, measurer: MeasurerFactory, tables: &Path) {
    let views = Views::new(Catalog::all().without(&["au12", "faces"]));
    let parquet = ParquetSink::open(tables, Catalog::all(), Options::default()).expect("a fresh folder");
    let served = Selected::new(views.sink(), views.catalog().clone());
    let sinks: Vec<Box<dyn Sink>> = vec![Box::new(parquet), Box::new(served)];
    let engine = common::engine(log, measurer, 60_000);
    engine.run(Run::Bounded(Range::ALL), sinks, Arc::new(Shared::default())).expect("a run");
}

/// Processor time of decoding all units to RGB, and nothing else.
fn decode_s(records: &[TimedRecord], max_pixels: u32) -> f64 {
    best(|| {
        let mut decoder = H264Decoder::new(max_pixels).expect("libavcodec decodes H.264");
        let video = records.iter().map(|timed| &timed.record).filter(|record| record.topic == Topic::AvVideo);
        for (seq, record) in video.enumerate() {
            let key =
                record.headers.iter().any(|(name, value)| name == HEADER_KEY_FRAME && value[..] == *b"1");
            for frame in decoder.decode(&record.value, seq as i64, key).expect("a good stream") {
                decoder.recycle(frame);
            }
        }
        decoder.finish();
    })
}

/// Processor time of resampling all audio, and nothing else.
fn resample_s(records: &[TimedRecord]) -> f64 {
    let audio = records.iter().map(|timed| &timed.record).filter(|record| record.topic == Topic::AvAudio);
    let sample = |bytes: &[u8]| i16::from_le_bytes([bytes[0], bytes[1]]);
    let chunks: Vec<Vec<i16>> =
        audio.map(|record| record.value.chunks_exact(2).map(sample).collect()).collect();
    best(|| {
        let mut resampler = Resampler::default();
        let mut out = Vec::new();
        for chunk in &chunks {
            out.clear();
            resampler.push(chunk, &mut out);
        }
        resampler.finish(&mut out);
    })
}

fn best(mut work: impl FnMut()) -> f64 {
    let measured = (0..ROUNDS).map(|_| {
        let start = common::thread_s();
        work();
        common::thread_s() - start
    });
    measured.fold(f64::INFINITY, f64::min)
}
