//! Checks of what a log answers about its topics: shapes, bounds, offsets by time.

use std::time::Duration;

use lsie_schemas::log::{Bounds, Fetch, LogError, TimestampType, TopicPartition, TopicSpec};
use lsie_schemas::topic::DAY_MS;
use lsie_schemas::{LogTime, Topic};

use super::Subject;
use super::support::*;

/// Creating is idempotent for the same shape and refused for another.
pub fn topics_are_created_once(subject: &dyn Subject) {
    let log = subject.open();
    let (topic, partitions, timestamps) = (Topic::AvAudio, 3, TimestampType::LogAppend);
    let spec = TopicSpec { topic, partitions, timestamps, retention_ms: Some(DAY_MS) };
    assert_eq!(log.topic(topic).expect("an answer"), None);
    for _ in 0..2 {
        log.create_topics(&[spec]).expect("creating");
        let state = log.topic(topic).expect("an answer").expect("the topic");
        assert_eq!((state.partitions, state.timestamps), (3, TimestampType::LogAppend));
        assert_eq!(state.retention_ms, Some(DAY_MS));
    }
    for other in [
        TopicSpec { partitions: 4, ..spec },
        TopicSpec { timestamps: TimestampType::Create, ..spec },
        TopicSpec { retention_ms: None, ..spec },
    ] {
        let refused = log.create_topics(&[other]).expect_err("another shape");
        assert!(matches!(refused, LogError::Refused(_)), "{refused}");
    }
    let unbounded = TopicSpec { topic: Topic::Control, retention_ms: None, ..spec };
    log.create_topics(&[unbounded]).expect("creating");
    assert_eq!(log.topic(Topic::Control).expect("an answer").expect("the topic").retention_ms, None);
}

/// Topics and partitions that nobody created are reported as missing, whatever is asked of them.
pub fn what_does_not_exist_is_missing(subject: &dyn Subject) {
    let log = subject.open();
    live(log.as_ref(), Topic::Control, 2);
    for at in [
        TopicPartition { topic: Topic::Control, partition: 2 },
        TopicPartition { topic: Topic::Events, partition: 0 },
    ] {
        let missing = log.bounds(at).expect_err("missing");
        assert!(matches!(missing, LogError::Missing(_)), "{missing}");
        let missing = log.offset_at(at, LogTime(0)).expect_err("missing");
        assert!(matches!(missing, LogError::Missing(_)), "{missing}");
        let Err(missing) = log.reader(&[(at, 0)], Fetch::default()) else { panic!("{at} has no reader") };
        assert!(matches!(missing, LogError::Missing(_)), "{missing}");
    }
    let missing = log.append(vec![record(Topic::Events, "k", "v")]).expect_err("missing");
    assert!(matches!(missing, LogError::Missing(_)), "{missing}");
}

/// What is asked of many partitions together is what each says alone; one that does not exist fails the question.
pub fn many_are_asked_at_once(subject: &dyn Subject) {
    let log = subject.open();
    let topics = [(Topic::Control, 2), (Topic::Events, 3)];
    topics.iter().for_each(|(topic, partitions)| live(log.as_ref(), *topic, *partitions));
    for number in 0..20 {
        log.append(vec![record(Topic::Events, &format!("{number}"), "v")]).expect("an append");
    }
    let all: Vec<TopicPartition> = topics
        .iter()
        .flat_map(|(topic, partitions)| {
            (0..*partitions).map(|partition| TopicPartition { topic: *topic, partition })
        })
        .collect();
    let alone = all.iter().map(|at| (*at, log.bounds(*at).expect("bounds"))).collect();
    assert_eq!(log.bounds_of(&all).expect("bounds"), alone);
    assert_eq!(alone.values().map(|(_, end)| end).sum::<i64>(), 20);
    assert_eq!(log.bounds_within(&all, Duration::from_secs(30)).expect("bounds"), alone);
    assert_eq!(log.bounds_of(&[]).expect("nothing was asked"), Bounds::new());
    let with_another = [all, vec![TopicPartition { topic: Topic::Control, partition: 2 }]].concat();
    let missing = log.bounds_of(&with_another).expect_err("missing");
    assert!(matches!(missing, LogError::Missing(_)), "{missing}");
}

/// The first offset at or after a time, also when creation times are out of order.
pub fn offsets_are_found_by_time(subject: &dyn Subject) {
    let log = subject.open();
    log.create_topics(&[spec(Topic::Events, 1, TimestampType::Create)]).expect("a topic");
    let at = TopicPartition { topic: Topic::Events, partition: 0 };
    assert_eq!(log.offset_at(at, LogTime(0)).expect("an answer"), None, "an empty partition");
    const BASE: u64 = 1_700_000_000_000;
    let times = [100, 200, 200, 500, 300, 400, 900, 800];
    for (i, time) in times.iter().enumerate() {
        let record = record(Topic::Events, "k", format!("{i}"));
        log.append(vec![at_time(record, BASE + time)]).expect("an append");
    }
    let cases: [(u64, Option<i64>); 8] = [
        (0, Some(0)),
        (100, Some(0)),
        (101, Some(1)),
        (201, Some(3)),
        (500, Some(3)),
        (501, Some(6)),
        (900, Some(6)),
        (901, None),
    ];
    for (time, offset) in cases {
        assert_eq!(log.offset_at(at, LogTime(BASE + time)).expect("an answer"), offset, "time {time}");
    }
}
