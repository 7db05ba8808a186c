//! Checks of readers: positions, ends, byte limits, pausing, tailing.

use std::sync::Arc;
use std::time::Duration;

use lsie_schemas::Topic;
use lsie_schemas::log::{Fetch, LogError, TopicPartition};

use super::Subject;
use super::support::*;
use crate::clock::now;

const AT: TopicPartition = TopicPartition { topic: Topic::Events, partition: 0 };

/// A reader begins exactly where it is told to, and its position is the next offset it returns.
pub fn positions_follow_reading(subject: &dyn Subject) {
    let log = subject.open();
    live(log.as_ref(), Topic::Events, 1);
    for batch in 0..10 {
        let records = (0..10).map(|i| record(Topic::Events, "k", format!("{}", batch * 10 + i))).collect();
        log.append(records).expect("an append");
    }
    for from in [0, 1, 37, 99] {
        let mut reader = log.reader(&[(AT, from)], Fetch::default()).expect("a reader");
        assert_eq!(reader.position(AT), Some(from), "before the first poll");
        assert_eq!(reader.position(TopicPartition { partition: 1, ..AT }), None, "not assigned");
        let mut next = from;
        while next < 100 {
            for record in reader.poll(Duration::from_secs(5)).expect("a poll") {
                assert_eq!(record.offset, next);
                assert_eq!(record.value, next.to_string().as_str());
                next += 1;
            }
            assert_eq!(reader.position(AT), Some(next), "after a poll");
        }
    }
}

/// At the end a poll waits its time out and returns nothing; the position stands at the end offset.
pub fn the_end_is_quiet(subject: &dyn Subject) {
    let log = subject.open();
    live(log.as_ref(), Topic::Events, 1);
    assert_eq!(log.bounds(AT).expect("bounds"), (0, 0));
    let mut reader = log.reader(&[(AT, 0)], Fetch::default()).expect("a reader");
    assert!(reader.poll(Duration::ZERO).expect("a poll").is_empty());
    log.append(vec![record(Topic::Events, "k", "1"), record(Topic::Events, "k", "2")]).expect("an append");
    assert_eq!(log.bounds(AT).expect("bounds"), (0, 2));
    read(reader.as_mut(), 2);
    let start = now();
    assert!(reader.poll(Duration::from_millis(150)).expect("a poll").is_empty());
    assert!(start.elapsed() >= Duration::from_millis(140), "the poll came back early");
    assert!(start.elapsed() < Duration::from_secs(5), "the poll came back late");
    assert_eq!(reader.position(AT), Some(2));
}

/// An offset past the end means that records which were read before are gone: never a silent restart.
pub fn past_the_end_is_damage(subject: &dyn Subject) {
    let log = subject.open();
    live(log.as_ref(), Topic::Events, 1);
    log.append(vec![record(Topic::Events, "k", "v")]).expect("an append");
    let deadline = now() + Duration::from_secs(30);
    let failed = loop {
        let polled = match log.reader(&[(AT, 500)], Fetch::default()) {
            Ok(mut reader) => reader.poll(Duration::from_secs(10)),
            Err(e) => Err(e),
        };
        match polled {
            Err(e) => break e,
            Ok(records) => assert!(records.is_empty(), "nothing is there to read"),
        }
        assert!(now() < deadline, "the missing records are not noticed");
    };
    assert!(matches!(failed, LogError::Corrupt(_)), "{failed}");
}

/// A poll returns at most its bytes, and at least one record if there is any.
pub fn polls_stay_within_their_bytes(subject: &dyn Subject) {
    let log = subject.open();
    live(log.as_ref(), Topic::AvAudio, 2);
    let record = |i: u64| record(Topic::AvAudio, &format!("key-{i}"), noise(i, 10_000));
    log.append((0..200).map(record).collect()).expect("an append");
    for poll_bytes in [1, 25_000, 100_000] {
        let fetch = Fetch { poll_bytes, ..Fetch::default() };
        let mut reader = log.reader(&all_of(log.as_ref(), Topic::AvAudio), fetch).expect("a reader");
        let (mut count, mut quiet) = (0, 0);
        while count < 200 {
            let records = reader.poll(Duration::from_secs(1)).expect("a poll");
            let bytes: usize = records.iter().map(|record| record.size()).sum();
            assert!(bytes <= poll_bytes || records.len() == 1, "{bytes} bytes, limit {poll_bytes}");
            quiet = if records.is_empty() { quiet + 1 } else { 0 };
            assert!(quiet < 30, "{count} of 200 records");
            count += records.len();
        }
    }
}

/// With a prefetch budget far below what the partitions hold, every partition still gets through.
pub fn a_small_budget_starves_nobody(subject: &dyn Subject) {
    let log = subject.open();
    live(log.as_ref(), Topic::AvVideo, 6);
    let keys: Vec<_> = (0..6).map(|partition| key_for(partition, 6)).collect();
    for round in 0..10 {
        let record = |key: &String| record(Topic::AvVideo, key, noise(round, 300_000));
        log.append(keys.iter().map(record).collect()).expect("an append");
    }
    let fetch = Fetch { prefetch_bytes: 64 << 10, poll_bytes: 400_000 };
    let mut reader = log.reader(&all_of(log.as_ref(), Topic::AvVideo), fetch).expect("a reader");
    let mut next = [0; 6];
    for record in read(reader.as_mut(), 60) {
        let partition = record.at.partition as usize;
        assert_eq!(record.offset, next[partition]);
        next[partition] += 1;
    }
    assert_eq!(next, [10; 6]);
}

/// While a partition is paused nothing of it is returned; resumed, it goes on at its position.
pub fn pause_loses_and_reorders_nothing(subject: &dyn Subject) {
    let log = subject.open();
    live(log.as_ref(), Topic::Events, 2);
    let keys = [key_for(0, 2), key_for(1, 2)];
    let append = |from: i64| {
        for i in from..from + 100 {
            let records = keys.iter().map(|key| record(Topic::Events, key, format!("{i}"))).collect();
            log.append(records).expect("an append");
        }
    };
    append(0);
    let fetch = Fetch { poll_bytes: 2_000, ..Fetch::default() };
    let mut reader = log.reader(&all_of(log.as_ref(), Topic::Events), fetch).expect("a reader");
    let mut next = [0_i64; 2];
    let mut take = |reader: &mut dyn lsie_schemas::log::LogReader, paused: Option<i32>| {
        let records = reader.poll(Duration::from_millis(100)).expect("a poll");
        for record in &records {
            let partition = record.at.partition;
            assert_ne!(Some(partition), paused, "a record of a paused partition");
            assert_eq!(record.offset, next[partition as usize]);
            next[partition as usize] += 1;
        }
        next
    };
    // Some of both, so that the reader has more at hand when it is told to pause.
    let deadline = now() + Duration::from_secs(30);
    while take(reader.as_mut(), None).contains(&0) {
        assert!(now() < deadline);
    }
    for partition in [0, 1, 0] {
        let at = TopicPartition { partition, ..AT };
        reader.pause(at, true).expect("pausing");
        let position = reader.position(at);
        for _ in 0..3 {
            take(reader.as_mut(), Some(partition));
        }
        assert_eq!(reader.position(at), position, "a paused partition does not move");
        reader.pause(at, false).expect("resuming");
    }
    reader.pause(AT, true).expect("pausing");
    append(100);
    while take(reader.as_mut(), Some(0))[1] < 200 {
        assert!(now() < deadline);
    }
    reader.pause(AT, false).expect("resuming");
    while take(reader.as_mut(), None)[0] < 200 {
        assert!(now() < deadline);
    }
    let unassigned = TopicPartition { topic: Topic::Control, partition: 0 };
    assert!(matches!(reader.pause(unassigned, true), Err(LogError::Missing(_))));
}

/// A reader at the end gets what another thread appends, in order, soon, and once.
pub fn tailing_while_appending(subject: &dyn Subject) {
    let log = subject.open();
    live(log.as_ref(), Topic::Events, 1);
    let mut reader = log.reader(&[(AT, 0)], Fetch::default()).expect("a reader");
    assert!(reader.poll(Duration::from_millis(50)).expect("a poll").is_empty());
    let appender = {
        let log = Arc::clone(&log);
        let thread = std::thread::Builder::new().name("appender".into());
        let appending = thread.spawn(move || {
            for batch in 0..100 {
                let records =
                    (0..5).map(|i| record(Topic::Events, "k", format!("{}", batch * 5 + i))).collect();
                log.append(records).expect("an append");
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        appending.expect("a thread")
    };
    let records = read(reader.as_mut(), 500);
    appender.join().expect("the appender");
    assert!(records.iter().enumerate().all(|(i, r)| r.offset == i as i64));
    assert!(records.iter().enumerate().all(|(i, r)| r.value == i.to_string().as_str()));
}

/// Fenced appends may leave marks that are no records; positions move past them, up to the end offset.
pub fn positions_pass_the_marks_of_fenced_appends(subject: &dyn Subject) {
    let log = subject.open();
    live(log.as_ref(), Topic::Epochs, 1);
    let at = TopicPartition { topic: Topic::Epochs, partition: 0 };
    let fenced = log.fenced("coordinator").expect("a fence");
    let mut reader = log.reader(&[(at, 0)], Fetch::default()).expect("a reader");
    for round in 0..5 {
        fenced.append(vec![record(Topic::Epochs, "e", format!("{round}"))]).expect("an append");
        let records = read(reader.as_mut(), 1);
        assert_eq!(records[0].value, round.to_string().as_str());
        let (first, end) = log.bounds(at).expect("bounds");
        assert!(first == 0 && end > records[0].offset);
        reach(reader.as_mut(), at, end);
    }
    let mut again = log.reader(&[(at, 0)], Fetch::default()).expect("a reader");
    assert_eq!(read(again.as_mut(), 5).len(), 5);
    reach(again.as_mut(), at, log.bounds(at).expect("bounds").1);
}
