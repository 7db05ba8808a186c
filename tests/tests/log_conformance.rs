//! A real Kafka passes the suite that the file log passes, and what only a broker can do to a reader.

#![allow(clippy::disallowed_methods, reason = "a test measures, spawns and reads its environment")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use lsie_connectors::conformance::Subject;
use lsie_connectors::{KafkaConfig, KafkaLog};
use lsie_schemas::Topic;
use lsie_schemas::log::{
    AppendRecord, Fetch, Log, LogError, NewRecord, TimestampType, TopicPartition, TopicSpec,
};
use lsie_tests::broker;

struct KafkaSubject {
    prefix: String,
}

impl Subject for KafkaSubject {
    fn open(&self) -> Arc<dyn Log> {
        Arc::new(connect(&self.prefix))
    }
}

fn connect(prefix: &str) -> KafkaLog {
    KafkaLog::connect(KafkaConfig::new(broker::bootstrap(), prefix)).expect("the tests' Kafka")
}

lsie_connectors::conformance!(|name: &str| KafkaSubject { prefix: broker::fresh_prefix(name) });

const AT: TopicPartition = TopicPartition { topic: Topic::Events, partition: 0 };

fn event(value: &str) -> NewRecord {
    let (key, value, headers) = ("k".into(), value.to_owned().into(), vec![]);
    NewRecord { topic: Topic::Events, key, value, headers, timestamp: None }
}

fn create(log: &KafkaLog, timestamps: TimestampType, retention_ms: Option<u64>) {
    log.create_topics(&[TopicSpec { topic: Topic::Events, partitions: 1, timestamps, retention_ms }])
        .expect("a topic");
}

/// What its retention removed is jumped over: the position moves to what is left.
#[test]
fn expired_records_are_jumped_over() {
    let log = connect(&broker::fresh_prefix("expired"));
    create(&log, TimestampType::Create, Some(60_000));
    let mut old = event("old");
    old.timestamp = Some(lsie_schemas::LogTime(1_700_000_000_000));
    log.append(vec![old.clone(), old]).expect("an append");
    let mut reader = log.reader(&[(AT, 0)], Fetch::default()).expect("a reader");
    reader.pause(AT, true).expect("pausing");
    let deadline = Instant::now() + Duration::from_secs(60);
    while log.bounds(AT).expect("bounds").0 < 2 {
        assert!(Instant::now() < deadline, "the broker does not expire the records");
        std::thread::sleep(Duration::from_millis(200));
    }
    log.append(vec![event("new")]).expect("an append");
    reader.pause(AT, false).expect("resuming");
    let mut fresh = log.reader(&[(AT, 0)], Fetch::default()).expect("a reader");
    assert_eq!(fresh.position(AT), Some(2), "a new reader begins at what is left");
    for reader in [reader.as_mut(), fresh.as_mut()] {
        let mut records = Vec::new();
        while records.is_empty() {
            assert!(Instant::now() < deadline, "the reader does not get over the gap");
            records = reader.poll(Duration::from_millis(200)).expect("a poll");
        }
        assert_eq!((records[0].offset, records[0].value.as_ref()), (2, b"new".as_ref()));
    }
}

/// An address where nobody answers is said to be unavailable, soon, with the address.
#[test]
fn a_broker_that_is_away_is_named() {
    let start = Instant::now();
    let mut config = KafkaConfig::new("127.0.0.1:1", "away.");
    config.timeout = Duration::from_secs(2);
    let Err(away) = KafkaLog::connect(config) else { panic!("nobody listens on port 1") };
    assert!(matches!(away, LogError::Unavailable(_)), "{away}");
    let text = away.to_string();
    assert!(text.contains("127.0.0.1:1") && text.contains("refused"), "{text}");
    assert!(start.elapsed() < Duration::from_secs(10));
}

/// Another connection, as of another process, takes a fence over too.
#[test]
fn a_fence_holds_over_connections() {
    let prefix = broker::fresh_prefix("fence");
    let (here, there) = (connect(&prefix), connect(&prefix));
    create(&here, TimestampType::LogAppend, None);
    let first = here.fenced("coordinator").expect("a fence");
    first.append(vec![event("1")]).expect("an append");
    let second = there.fenced("coordinator").expect("the fence");
    assert!(matches!(first.append(vec![event("lost")]), Err(LogError::Fenced(_))));
    second.append(vec![event("2")]).expect("an append");
}

/// A setting that would break a promise, or that librdkafka does not know, stops the start and is named.
#[test]
fn a_bad_setting_is_named() {
    for (key, value) in [("acks", "0"), ("no.such.setting", "1"), ("security.protocol", "carrier-pigeon")] {
        let mut config = KafkaConfig::new(broker::bootstrap(), "bad.");
        config.properties.insert(key.into(), value.into());
        let Err(refused) = KafkaLog::connect(config) else { panic!("{key} = {value} is accepted") };
        assert!(matches!(refused, LogError::Refused(_)) && refused.to_string().contains(key), "{refused}");
    }
}
