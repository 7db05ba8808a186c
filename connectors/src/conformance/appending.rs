//! Checks of appending: order, times, sizes, fences, reopening.

use std::time::Duration;

use bytes::Bytes;
use lsie_schemas::Topic;
use lsie_schemas::log::{Fetch, LogError, MAX_RECORD_BYTES, TimestampType, TopicPartition};
use lsie_schemas::topic::partition_of;

use super::Subject;
use super::support::*;
use crate::clock::wall_ms;

/// Per partition, offsets are contiguous in append order, and reading returns that order.
pub fn records_come_back_in_order(subject: &dyn Subject) {
    let log = subject.open();
    live(log.as_ref(), Topic::Events, 3);
    let mut expected = vec![Vec::new(); 3];
    for batch in 0..20 {
        let records: Vec<_> = (0..50)
            .map(|i| record(Topic::Events, &format!("key-{}", i % 17), format!("{batch}/{i}")))
            .collect();
        let appended = log.append(records.clone()).expect("an append");
        assert_eq!(appended.len(), records.len());
        for (record, place) in records.iter().zip(appended) {
            assert_eq!(place.at.partition, partition_of(&record.key, 3), "Kafka's default rule");
            let partition: &mut Vec<Bytes> = &mut expected[place.at.partition as usize];
            assert_eq!(place.offset, partition.len() as i64, "offsets are contiguous");
            partition.push(record.value.clone());
        }
    }
    let mut next = [0; 3];
    for record in read_topic(log.as_ref(), Topic::Events, 1000) {
        let partition = record.at.partition as usize;
        assert_eq!(record.offset, next[partition]);
        assert_eq!(record.value, expected[partition][record.offset as usize]);
        next[partition] += 1;
    }
}

/// Whatever bytes go in come out: empty ones, binary ones, repeated header names.
pub fn keys_values_and_headers_survive(subject: &dyn Subject) {
    let log = subject.open();
    live(log.as_ref(), Topic::Control, 1);
    let mut full = record(Topic::Control, "schlüssel", noise(1, 3000));
    full.headers = vec![
        ("seq".into(), Bytes::from_static(b"17")),
        ("seq".into(), Bytes::from_static(b"18")),
        ("empty".into(), Bytes::new()),
        ("binary".into(), noise(2, 999)),
    ];
    let empty = record(Topic::Control, "", Bytes::new());
    let compressible = record(Topic::Control, "k", vec![b'a'; 100_000]);
    let records = vec![full, empty, compressible];
    log.append(records.clone()).expect("an append");
    for (read, written) in read_topic(log.as_ref(), Topic::Control, 3).iter().zip(&records) {
        assert_eq!(read.key.as_ref(), Some(&written.key));
        assert_eq!(read.value, written.value);
        assert_eq!(read.headers, written.headers);
    }
}

/// Topics of kind `CreateTime` keep what they are given, in the answer and when read.
pub fn creation_times_are_kept(subject: &dyn Subject) {
    let log = subject.open();
    log.create_topics(&[spec(Topic::Events, 1, TimestampType::Create)]).expect("a topic");
    let times = [1_600_000_000_000, 1_700_000_000_123, 1_650_000_000_000];
    for time in times {
        let record = at_time(record(Topic::Events, "k", "v"), time);
        let appended = log.append(vec![record]).expect("an append");
        assert_eq!(appended[0].log_time.0, time);
    }
    let before = wall_ms();
    let now = log.append(vec![record(Topic::Events, "k", "v")]).expect("an append")[0].log_time.0;
    assert!((before..=wall_ms()).contains(&now), "without a creation time it is now");
    let read: Vec<u64> = read_topic(log.as_ref(), Topic::Events, 4).iter().map(|r| r.log_time.0).collect();
    assert_eq!(read, [times[0], times[1], times[2], now]);
}

/// Topics of kind `LogAppendTime` get the log's own time, which never falls; the answer says it.
pub fn append_times_never_fall(subject: &dyn Subject) {
    let log = subject.open();
    live(log.as_ref(), Topic::Events, 2);
    let mut answered = Vec::new();
    let before = wall_ms();
    for i in 0..50 {
        let records = vec![
            at_time(record(Topic::Events, &key_for(0, 2), format!("{i}")), 5),
            record(Topic::Events, &key_for(1, 2), format!("{i}")),
        ];
        answered.extend(log.append(records).expect("an append"));
    }
    let after = wall_ms();
    let mut last = [0; 2];
    for place in &answered {
        let (partition, time) = (place.at.partition as usize, place.log_time.0);
        assert!(time >= last[partition], "append times never fall");
        assert!((before..=after).contains(&time), "{time} is the wall clock, not the creation time");
        last[partition] = time;
    }
    for read in read_topic(log.as_ref(), Topic::Events, 100) {
        let place = answered.iter().find(|p| p.at == read.at && p.offset == read.offset);
        assert_eq!(place.map(|p| p.log_time), Some(read.log_time), "answer and record agree");
    }
}

/// Records of the largest size pass, several in one append.
pub fn large_records_pass(subject: &dyn Subject) {
    let log = subject.open();
    live(log.as_ref(), Topic::AvVideo, 1);
    let large: Vec<_> = (0..5).map(|i| record(Topic::AvVideo, "k", noise(i, MAX_RECORD_BYTES))).collect();
    log.append(large[..2].to_vec()).expect("an append of two large records");
    log.append(vec![record(Topic::AvVideo, "k", "small")]).expect("an append");
    log.append(large[2..].to_vec()).expect("an append of three large records");
    let read = read_topic(log.as_ref(), Topic::AvVideo, 6);
    let values = [&large[0], &large[1]].map(|r| &r.value);
    assert!(read[0].value == values[0] && read[1].value == values[1]);
    assert_eq!(read[2].value, "small");
    assert!(read[3..].iter().zip(&large[2..]).all(|(read, written)| read.value == written.value));
}

/// One byte more is refused, and nothing of that append is stored.
pub fn too_large_is_refused(subject: &dyn Subject) {
    let log = subject.open();
    live(log.as_ref(), Topic::AvVideo, 1);
    let too_large = record(Topic::AvVideo, "k", noise(1, MAX_RECORD_BYTES + 1));
    let refused = log.append(vec![record(Topic::AvVideo, "k", "before"), too_large]).expect_err("too large");
    assert!(
        matches!(refused, LogError::TooLarge { size, limit }
        if size == MAX_RECORD_BYTES + 1 && limit == MAX_RECORD_BYTES),
        "{refused}"
    );
    log.append(vec![record(Topic::AvVideo, "k", "after")]).expect("the log goes on");
    assert_eq!(read_topic(log.as_ref(), Topic::AvVideo, 1)[0].value, "after");
}

/// One append may carry records of several topics; each answer stands at its record's place.
pub fn a_batch_may_span_topics(subject: &dyn Subject) {
    let log = subject.open();
    live(log.as_ref(), Topic::AvAudio, 2);
    live(log.as_ref(), Topic::Control, 2);
    let topics = [Topic::AvAudio, Topic::Control];
    let records: Vec<_> =
        (0..40).map(|i| record(topics[i % 2], &format!("key-{}", i % 5), format!("{i}"))).collect();
    let appended = log.append(records.clone()).expect("an append");
    assert_eq!(log.append(Vec::new()).expect("an empty append"), []);
    for topic in topics {
        for read in read_topic(log.as_ref(), topic, 20) {
            let i = appended.iter().position(|p| p.at == read.at && p.offset == read.offset);
            assert_eq!(read.value, records[i.expect("an answer")].value);
        }
    }
}

/// Of two appenders with the same fence id the later one appends and the earlier one is told to stop.
pub fn the_later_holder_fences_the_earlier(subject: &dyn Subject) {
    let log = subject.open();
    live(log.as_ref(), Topic::Epochs, 1);
    let first = log.fenced("coordinator").expect("a fence");
    let other = log.fenced("somebody-else").expect("another fence");
    first.append(vec![record(Topic::Epochs, "e", "1")]).expect("the first holder appends");
    let second = log.fenced("coordinator").expect("the fence again");
    let fenced = first.append(vec![record(Topic::Epochs, "e", "lost")]).expect_err("the first is fenced");
    assert!(matches!(fenced, LogError::Fenced(_)), "{fenced}");
    second.append(vec![record(Topic::Epochs, "e", "2")]).expect("the second holder appends");
    other.append(vec![record(Topic::Epochs, "e", "3")]).expect("another id is untouched");
    let fenced = first.append(vec![record(Topic::Epochs, "e", "lost")]).expect_err("still fenced");
    assert!(matches!(fenced, LogError::Fenced(_)), "{fenced}");
    let values: Vec<_> = read_topic(log.as_ref(), Topic::Epochs, 3).into_iter().map(|r| r.value).collect();
    assert_eq!(values, ["1", "2", "3"]);
}

/// After the last handle is gone and the log is opened again, everything is there and offsets go on.
pub fn reopening_goes_on_where_it_ended(subject: &dyn Subject) {
    let at = TopicPartition { topic: Topic::Events, partition: 0 };
    for round in 0..3 {
        let log = subject.open();
        if round == 0 {
            live(log.as_ref(), Topic::Events, 1);
        }
        assert_eq!(log.bounds(at).expect("bounds"), (0, round * 10));
        let records = (0..10).map(|i| record(Topic::Events, "k", format!("{}", round * 10 + i))).collect();
        let appended = log.append(records).expect("an append");
        assert_eq!(appended[0].offset, round * 10);
        let mut reader = log.reader(&[(at, 0)], Fetch::default()).expect("a reader");
        let all = read(reader.as_mut(), (round as usize + 1) * 10);
        assert!(all.iter().enumerate().all(|(i, r)| r.value == i.to_string().as_str()));
        assert!(all.is_sorted_by_key(|r| r.log_time), "append times never fall, over restarts too");
        std::thread::sleep(Duration::from_millis(2));
    }
}
