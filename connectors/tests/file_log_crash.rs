//! A writing process is killed with SIGKILL again and again: nothing acknowledged is ever lost.

#![allow(clippy::disallowed_methods, reason = "a test measures, spawns and reads its environment")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lsie_connectors::file_log::{FileLog, FileLogOptions};
use lsie_schemas::Topic;
use lsie_schemas::log::{
    AppendRecord, Fetch, Log, LogError, LogRecord, NewRecord, TimestampType, TopicPartition, TopicSpec,
};

/// Tells the child, which is this test binary again, where to write.
const VARIABLE: &str = "LSIE_TEST_FILE_LOG_CHILD";
const AT: TopicPartition = TopicPartition { topic: Topic::AvVideo, partition: 0 };

fn open(dir: &Path) -> FileLog {
    FileLog::open(dir, FileLogOptions { segment_bytes: 8 << 20, ..FileLogOptions::default() }).expect("a log")
}

/// Record `i`: its number, and up to 3 MB that follow from it.
fn record(i: i64) -> NewRecord {
    let len = 8 + (i as usize * 7_919_993) % 3_000_000 / (1 + i as usize % 5 * 100);
    let mut value = vec![i as u8; len];
    value[..8].copy_from_slice(&i.to_le_bytes());
    let key = Bytes::from_static(b"k");
    NewRecord { topic: Topic::AvVideo, key, value: value.into(), headers: vec![], timestamp: None }
}

fn check(read: &LogRecord) {
    let written = record(read.offset);
    assert!(read.value == written.value, "record {} is not what was written", read.offset);
}

/// Not a check by itself: the process that is killed. Without the variable it appends a little and ends.
#[test]
fn appends_until_it_is_killed() {
    let own = tempfile::tempdir().expect("a directory");
    let given = std::env::var_os(VARIABLE);
    let dir = given.as_ref().map_or(own.path(), Path::new);
    let log = open(dir);
    let (topic, timestamps) = (Topic::AvVideo, TimestampType::LogAppend);
    log.create_topics(&[TopicSpec { topic, partitions: 1, timestamps, retention_ms: None }])
        .expect("a topic");
    let mut next = log.bounds(AT).expect("bounds").1;
    let mut out = std::io::stdout();
    while given.is_some() || next < 20 {
        let batch: Vec<_> = (next..next + 3).map(record).collect();
        let appended = log.append(batch).expect("an append");
        next = appended[2].offset + 1;
        if given.is_some() {
            writeln!(out, "acknowledged {next}").and_then(|()| out.flush()).expect("the parent listens");
        }
    }
}

/// Starts the child; the receiver gets what it acknowledged.
fn start(dir: &Path) -> (Child, std::sync::mpsc::Receiver<i64>) {
    let mut child = Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", "appends_until_it_is_killed", "--nocapture"])
        .env(VARIABLE, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a child");
    let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            if let Some(next) = line.strip_prefix("acknowledged ") {
                let _ = send.send(next.parse().unwrap_or(-1));
            }
        }
    });
    (child, receive)
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut torn = 0;
    for round in 0..8_u64 {
        let (mut child, acknowledged) = start(dir.path());
        let first = acknowledged.recv_timeout(Duration::from_secs(60)).expect("the child appends");
        std::thread::sleep(Duration::from_millis(20 + round * 17));
        child.kill().expect("a kill");
        child.wait().expect("its end");
        let promised = acknowledged.iter().last().unwrap_or(first);
        let log = open(dir.path());
        let (_, end) = log.bounds(AT).expect("bounds");
        assert!(end >= promised, "offset {promised} was acknowledged, the log ends at {end}");
        torn += u64::from(end % 3 != 0);
        // A reader alone copes with the tail as it is, before any writer mends it.
        read_to(&log, end);
        drop(log);
        let log = open(dir.path());
        assert_eq!(log.append(vec![record(end)]).expect("an append")[0].offset, end);
        read_to(&log, end + 1);
    }
    println!("{torn} of 8 kills left part of a batch");
}

fn read_to(log: &FileLog, end: i64) {
    let mut reader = log.reader(&[(AT, 0)], Fetch::default()).expect("a reader");
    let mut next = 0;
    while next < end {
        let records = reader.poll(Duration::from_secs(10)).expect("a poll");
        assert!(!records.is_empty(), "the reader is stuck at {next}, the end is {end}");
        for record in records {
            assert_eq!(record.offset, next);
            check(&record);
            next += 1;
        }
    }
    assert!(reader.poll(Duration::ZERO).expect("a poll").is_empty());
}

/// Another process tails while one writes, over segment borders, and takes over when the writer is dead.
#[test]
fn other_processes_tail_and_take_over() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut child, acknowledged) = start(dir.path());
    let first = acknowledged.recv_timeout(Duration::from_secs(60)).expect("the child appends");
    let log = open(dir.path());
    let mut reader = log.reader(&[(AT, 0)], Fetch::default()).expect("a reader");
    let mut next = 0;
    let deadline = Instant::now() + Duration::from_secs(60);
    while next < first + 60 {
        assert!(Instant::now() < deadline, "{next} records");
        for record in reader.poll(Duration::from_millis(500)).expect("a poll") {
            assert_eq!(record.offset, next);
            check(&record);
            next += 1;
        }
    }
    let refused = log.append(vec![record(0)]).expect_err("the child writes");
    assert!(matches!(refused, LogError::Refused(_)), "{refused}");
    child.kill().expect("a kill");
    child.wait().expect("its end");
    let (_, end) = log.bounds(AT).expect("bounds");
    assert_eq!(log.append(vec![record(end)]).expect("an append")[0].offset, end);
    while next <= end {
        assert!(Instant::now() < deadline, "{next} records");
        for record in reader.poll(Duration::from_millis(500)).expect("a poll") {
            assert_eq!(record.offset, next);
            check(&record);
            next += 1;
        }
    }
    assert_eq!(reader.position(AT), Some(end + 1));
}
