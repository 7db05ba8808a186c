//! Ingest without media work, beside a bare consumer of the same topic on the same real Kafka.
//!
//! `tests/run.sh with cargo bench --locked --workspace --bench ingest`; `LSIE_BENCH_RECORDS` sets how many.
#![allow(clippy::disallowed_methods, reason = "a benchmark measures time")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::watched::{Eye, Watched};
use common::{Busy, Meter, Threads, Used};
use lsie_connectors::feed::session_id;
use lsie_dataflow::config::Config;
use lsie_dataflow::ingest::Shared;
use lsie_dataflow::{Range, Run, faces};
use lsie_schemas::log::{Log, NewRecord, TimestampType, TopicPartition};
use lsie_schemas::record::{Control, EndSession, Stream, VideoUnit};
use lsie_schemas::{Change, LogTime, Topic};
use lsie_sinks::Sink;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

const RECORD_BYTES: usize = 64 * 1024;
const PARTITIONS: i32 = 4;
const SESSIONS: u64 = 8;
const FPS: u64 = 30;
/// Records of one append.
const BATCH: usize = 64;
/// Times that each way of reading is measured, in turn; the best counts.
const ROUNDS: usize = 2;
/// When the made sessions began: 2026-01-05T10:00:00Z.
const BASE: LogTime = LogTime(1_767_607_200_000);

fn main() {
    common::print_machine();
    let records = common::setting("LSIE_BENCH_RECORDS", 20_000) / SESSIONS * SESSIONS;
    let prefix = common::fresh_prefix("ingest");
    let log = common::connect(&prefix);
    common::create_topics(&*log, PARTITIONS, TimestampType::Create, BASE);
    let broker = common::broker_pid(&common::bootstrap());
    println!("{records} records of {RECORD_BYTES} bytes, {SESSIONS} sessions, {PARTITIONS} partitions");
    produce(&*log, records);
    // The first run makes the epoch table, for which it reads everything an extra time.
    let (made, _, _) = measured(&broker, || engine(log.clone(), records));
    println!("epoch table made and run through once: {:.1} s", made.wall);

    let mut best: BTreeMap<&str, f64> = BTreeMap::new();
    println!("\n{:<14} {:>10} {:>8} {:>7} {:>8} {:>8}", "", "records/s", "MB/s", "own", "broker", "others");
    for _ in 0..ROUNDS {
        for (what, read) in [("bare consumer", 0), ("its log reader", 1), ("engine", 2)] {
            let (used, threads, busy) = measured(&broker, || match read {
                0 => bare(&prefix, records),
                1 => reader(&*log, records),
                _ => engine(log.clone(), records),
            });
            let rate = records as f64 / busy.unwrap_or(used.wall);
            best.entry(what).and_modify(|best| *best = best.max(rate)).or_insert(rate);
            print_row(what, rate, &used);
            if read == 2 {
                common::print_threads(&threads);
            }
        }
    }
    println!("own, broker, others: cores that each kept busy meanwhile");
    let share = |what: &str| 100.0 * best[what] / best["bare consumer"];
    println!("\nbest of {ROUNDS}: log reader alone {:.0} % of the bare consumer", share("its log reader"));
    println!("best of {ROUNDS}: engine {:.0} % of the bare consumer (bar: at least 70 %)", share("engine"));
}

fn print_row(what: &str, rate: f64, used: &Used) {
    let mb = rate * RECORD_BYTES as f64 / 1e6;
    let [own, broker] = [used.own, used.broker].map(|s| s / used.wall);
    println!("{what:<14} {rate:>10.0} {mb:>8.0} {own:>7.2} {broker:>8.2} {:>8.2}", used.other_cores());
}

/// Runs `work`, which says how long it took if that is not the whole time.
fn measured(
    broker: &Option<String>,
    work: impl FnOnce() -> Option<f64>,
) -> (Used, BTreeMap<String, Busy>, Option<f64>) {
    let threads = Threads::start();
    let meter = Meter::start(broker.clone());
    let busy = work();
    (meter.used(), threads.stop(), busy)
}

/// Appends what so many phones would have sent: video units in the order of their capture.
fn produce(log: &dyn Log, records: u64) {
    let sessions: Vec<_> = (0..SESSIONS).map(|i| session_id("bench-ingest", i)).collect();
    let frames = records / SESSIONS;
    let mut unit = vec![0x5a; RECORD_BYTES];
    unit[..5].copy_from_slice(&[0, 0, 0, 1, 0x65]);
    let unit = Bytes::from(unit);
    let begin = sessions.iter().flat_map(|id| common::start(*id, &[Stream::Video], BASE.as_event().0));
    log.append(begin.map(|control| control.encode(Some(BASE))).collect()).expect("starts");
    let records = (0..frames).flat_map(|seq| {
        let after_us = seq * 1_000_000 / FPS;
        let time = BASE.plus_ms(20 + after_us / 1_000);
        let capture_us = BASE.as_event().0 + after_us as i64;
        let unit = unit.clone();
        sessions.iter().map(move |session_id| {
            let (session_id, unit) = (*session_id, unit.clone());
            VideoUnit { session_id, seq, capture_us, key_frame: seq % FPS == 0, unit }.encode(Some(time))
        })
    });
    let mut batch: Vec<NewRecord> = Vec::new();
    for record in records {
        batch.push(record);
        if batch.len() == BATCH {
            log.append(std::mem::take(&mut batch)).expect("records");
        }
    }
    let over = BASE.plus_ms(frames * 1_000 / FPS + 100);
    let end = |id| Control::End(EndSession { session_id: id, client_action_id: None }).encode(Some(over));
    batch.extend(sessions.iter().copied().map(end));
    log.append(batch).expect("ends");
}

/// A consumer as the library's users write it, with the library's own settings.
fn bare(prefix: &str, records: u64) -> Option<f64> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", common::bootstrap())
        .set("group.id", "bench")
        .set("enable.auto.commit", "false")
        .create()
        .expect("a consumer");
    let mut assigned = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        let topic = format!("{prefix}{}", Topic::AvVideo);
        assigned.add_partition_offset(&topic, partition, Offset::Beginning).expect("an offset");
    }
    consumer.assign(&assigned).expect("partitions");
    let (mut count, mut bytes) = (0, 0);
    while count < records {
        let Some(message) = consumer.poll(Duration::from_secs(10)) else { panic!("records are missing") };
        bytes += message.expect("a record").payload().map_or(0, <[u8]>::len);
        count += 1;
    }
    assert_eq!(bytes as u64, records * RECORD_BYTES as u64);
    None
}

/// The log's own reader with the engine's settings, and nothing behind it.
fn reader(log: &dyn Log, records: u64) -> Option<f64> {
    let from: Vec<(TopicPartition, i64)> =
        (0..PARTITIONS).map(|partition| (TopicPartition { topic: Topic::AvVideo, partition }, 0)).collect();
    let fetch = Config::parse("").expect("the default configuration").fetch();
    let mut reader = log.reader(&from, fetch).expect("a reader");
    let mut count = 0;
    while count < records {
        count += reader.poll(Duration::from_secs(10)).expect("records").len() as u64;
    }
    None
}

/// The engine over the whole set, and how long it took from its start to the last record's epoch. What
/// follows is log time that is added so that timers fire, and the end of its threads.
fn engine(log: Arc<dyn Log>, records: u64) -> Option<f64> {
    let (measured, last) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
    let count = Count { start: Instant::now(), measured: measured.clone(), last: last.clone() };
    let sinks: Vec<Box<dyn Sink>> = vec![Box::new(Watched::alone(count))];
    let engine = common::engine(log, faces::without_models(), 60_000);
    engine.run(Run::Bounded(Range::ALL), sinks, Arc::new(Shared::default())).expect("a run");
    assert_eq!(measured.load(Ordering::SeqCst), records, "every unit went through the whole graph");
    Some(last.load(Ordering::SeqCst) as f64 / 1e6)
}

/// Counts measured frames.
struct Count {
    start: Instant,
    measured: Arc<AtomicU64>,
    /// Microseconds from the start to the epoch of the newest frame.
    last: Arc<AtomicU64>,
}

impl Eye for Count {
    fn wrote(&mut self, changes: &[Change]) {
        let frames = changes.iter().filter(|change| change.table == "faces").count() as u64;
        if frames > 0 {
            self.measured.fetch_add(frames, Ordering::SeqCst);
            self.last.store(self.start.elapsed().as_micros() as u64, Ordering::SeqCst);
        }
    }
}
