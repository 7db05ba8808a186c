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
use lsie_tests::faults::servers::Servers;
use lsie_tests::harness::signal;

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

/// Tries until it is done, a few times; a log that is away is tried again.
fn a_few_times<T>(what: &str, mut attempt: impl FnMut() -> Result<T, LogError>) -> T {
    let mut said = String::new();
    for _ in 0..6 {
        match attempt() {
            Ok(done) => return done,
            Err(LogError::Unavailable(why)) => said = why,
            Err(why) => panic!("{what}: {why}"),
        }
    }
    panic!("{what}: {said}")
}

/// A broker that hung for too long, or whose heartbeats come late, is dead to its controller for a while, and says itself that
/// there is no broker. A client of librdkafka that hears this may never look for one again: all are asked, appended through
/// and read from again and again, before and after.
#[test]
fn a_broker_that_was_taken_for_dead_is_found_again_by_every_client() {
    // Dead for three of every six seconds.
    let servers = Servers::start_with(&[("BROKER_HEARTBEAT_MS", "6000")]);
    let broker = servers.broker_pid();
    let timeout = Duration::from_secs(4);
    let config = KafkaConfig { timeout, ..KafkaConfig::new(&servers.bootstrap, "dead.") };
    let logs: Vec<KafkaLog> =
        (0..6).map(|_| a_few_times("connect", || KafkaLog::connect(config.clone()))).collect();
    let spec = TopicSpec {
        topic: Topic::Events,
        partitions: 1,
        timestamps: TimestampType::LogAppend,
        retention_ms: None,
    };
    a_few_times("create", || logs[0].create_topics(&[spec]));
    let reader = |log: &KafkaLog| a_few_times("a reader", || log.reader(&[(AT, 0)], Fetch::default()));
    let mut readers: Vec<_> = logs.iter().map(reader).collect();
    for _ in 0..2 {
        signal(&broker, "STOP");
        let hasty = logs[0].bounds_within(&[AT], Duration::from_secs(1));
        assert!(matches!(hasty, Err(LogError::Unavailable(_))), "{hasty:?}");
        std::thread::sleep(Duration::from_secs(1));
        signal(&broker, "CONT");
        std::thread::scope(|scope| {
            for log in &logs {
                scope.spawn(|| {
                    // Through a whole death, whatever comes of it.
                    for _ in 0..12 {
                        let _ = log.bounds(AT);
                        std::thread::sleep(Duration::from_millis(500));
                    }
                    a_few_times("offsets", || log.bounds(AT));
                    a_few_times("an append", || log.append(vec![event("more")]));
                });
            }
        });
        let (_, end) = a_few_times("offsets", || logs[0].bounds(AT));
        std::thread::scope(|scope| {
            for reader in &mut readers {
                scope.spawn(move || {
                    let is_there = (0..300).any(|_| {
                        // Away is tried again.
                        let _ = reader.poll(Duration::from_millis(200));
                        reader.position(AT) >= Some(end)
                    });
                    assert!(is_there, "a reader comes to {:?} of {end}", reader.position(AT));
                });
            }
        });
    }
}
