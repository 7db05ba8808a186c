//! How fast a log takes and gives records: `cargo bench -p lsie-connectors --bench log [-- kafka:HOST:PORT]`.
//!
//! Without an address the file log in a temporary folder is measured. With Kafka's, a bare `rdkafka`
//! consumer reads the same topic for comparison.

#![allow(clippy::disallowed_methods, reason = "a bench measures")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lsie_connectors::open;
use lsie_schemas::Topic;
use lsie_schemas::log::{Fetch, Log, NewRecord, TimestampType, TopicPartition, TopicSpec};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

/// Record sizes, and how many bytes of each are appended.
const SIZES: [(usize, usize); 4] =
    [(200, 64 << 20), (9_600, 256 << 20), (64 << 10, 512 << 20), (1 << 20, 512 << 20)];
const BATCH_BYTES: usize = 1 << 20;

fn main() {
    let address = std::env::args().skip(1).find(|arg| arg.contains(':'));
    let dir = tempfile::tempdir().expect("a folder");
    for (size, total) in SIZES {
        let prefix = format!("bench-{}-{size}.", std::process::id());
        let own = format!("file:{}", dir.path().join(&prefix).display());
        let address = address.as_deref().unwrap_or(&own);
        let log = open(address, &prefix, &BTreeMap::new()).expect("a log");
        let count = append(log.as_ref(), size, total);
        read(log.as_ref(), size, count);
        if let Some(bootstrap) = address.strip_prefix("kafka:") {
            bare(bootstrap, &prefix, size, count);
        }
    }
}

fn append(log: &dyn Log, size: usize, total: usize) -> usize {
    let (topic, timestamps) = (Topic::AvVideo, TimestampType::LogAppend);
    log.create_topics(&[TopicSpec { topic, partitions: 1, timestamps, retention_ms: None }])
        .expect("a topic");
    let mut state = 1_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    })
    .take(size)
    .collect();
    let headers =
        vec![("seq".to_owned(), Bytes::from_static(b"1")), ("codec".to_owned(), Bytes::from_static(b"h264"))];
    let key = Bytes::from_static(b"6b1d1b0e-7a2a-4a52-8a3e-6a2c51c7de01");
    let record = NewRecord { topic, key, value: noise.into(), headers, timestamp: None };
    let (count, batch) = (total / size, (BATCH_BYTES / size).max(1));
    let start = Instant::now();
    for from in (0..count).step_by(batch) {
        log.append(vec![record.clone(); batch.min(count - from)]).expect("an append");
    }
    report("append", size, count, start.elapsed());
    count
}

fn read(log: &dyn Log, size: usize, count: usize) {
    let at = TopicPartition { topic: Topic::AvVideo, partition: 0 };
    let start = Instant::now();
    let mut reader = log.reader(&[(at, 0)], Fetch::default()).expect("a reader");
    let mut seen = 0;
    while seen < count {
        seen += reader.poll(Duration::from_secs(10)).expect("a poll").len();
    }
    report("read", size, count, start.elapsed());
}

fn bare(bootstrap: &str, prefix: &str, size: usize, count: usize) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("group.id", "bare").set("enable.auto.commit", "false");
    let start = Instant::now();
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&format!("{prefix}av.video"), 0, Offset::Beginning).expect("a partition");
    consumer.assign(&list).expect("an assignment");
    let mut bytes = 0;
    for _ in 0..count {
        let message = consumer.poll(Duration::from_secs(10)).expect("a message").expect("no error");
        bytes += message.payload().map_or(0, <[u8]>::len);
    }
    assert_eq!(bytes, count * size);
    report("bare rdkafka consumer", size, count, start.elapsed());
}

fn report(what: &str, size: usize, count: usize, took: Duration) {
    let (seconds, megabytes) = (took.as_secs_f64(), (size * count) as f64 / 1e6);
    println!(
        "{size:>8} B  {what:<22} {:>10.0} records/s  {:>7.0} MB/s",
        count as f64 / seconds,
        megabytes / seconds
    );
}
