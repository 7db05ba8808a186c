//! Random appends, reopenings, readings and questions against a plain list that is obviously right.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use lsie_connectors::file_log::{FileLog, FileLogOptions};
use lsie_schemas::log::{AppendRecord, Fetch, Log, NewRecord, TimestampType, TopicPartition, TopicSpec};
use lsie_schemas::{LogTime, Topic};
use proptest::prelude::*;

const PARTITIONS: i32 = 3;

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<(u8, u64, usize)>),
    Reopen,
    OffsetAt { partition: i32, time: u64 },
    Read { share: f64, poll_bytes: usize, prefetch_bytes: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let record = (0u8..20, 0u64..1_000, prop_oneof![0usize..100, 0usize..5_000]);
    let step = prop_oneof![
        4 => prop::collection::vec(record, 1..12).prop_map(Step::Append),
        1 => Just(Step::Reopen),
        2 => (0..PARTITIONS, 0u64..1_100).prop_map(|(partition, time)| Step::OffsetAt { partition, time }),
        2 => (0.0..1.0, 1usize..20_000, 0usize..100_000)
            .prop_map(|(share, poll_bytes, prefetch_bytes)| Step::Read { share, poll_bytes, prefetch_bytes }),
    ];
    prop::collection::vec(step, 1..40)
}

type Model = BTreeMap<i32, Vec<(u64, Bytes)>>;

fn at(partition: i32) -> TopicPartition {
    TopicPartition { topic: Topic::Events, partition }
}

fn append(log: &FileLog, model: &mut Model, records: &[(u8, u64, usize)]) {
    let new = |(key, time, len): &(u8, u64, usize)| {
        let value = (0..*len).map(|i| (i as u64 * time) as u8).collect::<Vec<_>>();
        let (key, headers) = (Bytes::from(vec![*key]), vec![("len".into(), len.to_string().into())]);
        NewRecord { topic: Topic::Events, key, value: value.into(), headers, timestamp: Some(LogTime(*time)) }
    };
    let records: Vec<_> = records.iter().map(new).collect();
    for (place, record) in log.append(records.clone()).expect("an append").iter().zip(records) {
        let partition = model.entry(place.at.partition).or_default();
        assert_eq!(place.offset, partition.len() as i64);
        partition.push((place.log_time.0, record.value));
    }
}

fn read(log: &FileLog, model: &Model, share: f64, fetch: Fetch) {
    let start = |partition| (model.get(&partition).map_or(0, Vec::len) as f64 * share) as i64;
    let from: Vec<_> = (0..PARTITIONS).map(|partition| (at(partition), start(partition))).collect();
    let mut reader = log.reader(&from, fetch).expect("a reader");
    loop {
        let before: Vec<_> = (0..PARTITIONS).map(|partition| reader.position(at(partition))).collect();
        let records = reader.poll(Duration::ZERO).expect("a poll");
        let bytes: usize = records.iter().map(|record| record.size()).sum();
        assert!(bytes <= fetch.poll_bytes || records.len() == 1);
        let mut next: BTreeMap<i32, i64> = BTreeMap::new();
        for record in &records {
            let partition = record.at.partition;
            let expected = next.entry(partition).or_insert(before[partition as usize].expect("assigned"));
            assert_eq!(record.offset, *expected);
            let (time, value) = &model[&partition][record.offset as usize];
            assert_eq!((record.log_time.0, &record.value), (*time, value));
            *expected += 1;
        }
        if records.is_empty() {
            break;
        }
    }
    for partition in 0..PARTITIONS {
        let end = model.get(&partition).map_or(0, Vec::len) as i64;
        assert_eq!(reader.position(at(partition)), Some(end));
        assert_eq!(log.bounds(at(partition)).expect("bounds"), (0, end));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]
    #[test]
    fn the_log_is_a_list_per_partition(steps in steps(), segment_bytes in 100u64..20_000, compress in any::<bool>()) {
        let dir = tempfile::tempdir().expect("a directory");
        let options = FileLogOptions { segment_bytes, compress, ..FileLogOptions::default() };
        let mut log = FileLog::open(dir.path(), options).expect("a log");
        let (topic, timestamps) = (Topic::Events, TimestampType::Create);
        let spec = TopicSpec { topic, partitions: PARTITIONS, timestamps, retention_ms: None };
        log.create_topics(&[spec]).expect("a topic");
        let mut model = Model::new();
        for step in &steps {
            match step {
                Step::Append(records) => append(&log, &mut model, records),
                Step::Reopen => {
                    drop(log);
                    log = FileLog::open(dir.path(), options).expect("a log");
                }
                Step::OffsetAt { partition, time } => {
                    let found = log.offset_at(at(*partition), LogTime(*time)).expect("an answer");
                    let records = model.get(partition).map_or(&[][..], Vec::as_slice);
                    let expected = records.iter().position(|(t, _)| t >= time);
                    prop_assert_eq!(found, expected.map(|i| i as i64));
                }
                Step::Read { share, poll_bytes, prefetch_bytes } => {
                    let fetch = Fetch { poll_bytes: *poll_bytes, prefetch_bytes: *prefetch_bytes };
                    read(&log, &model, *share, fetch);
                }
            }
        }
        read(&log, &model, 0.0, Fetch::default());
    }
}
