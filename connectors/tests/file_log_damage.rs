//! What files can suffer: torn tails, flipped bits, lost segments, a second writer, retention.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use lsie_connectors::file_log::{FileLog, FileLogOptions};
use lsie_schemas::log::{
    AppendRecord, Fetch, Log, LogError, LogRecord, NewRecord, TimestampType, TopicPartition, TopicSpec,
};
use lsie_schemas::{LogTime, Topic};

const AT: TopicPartition = TopicPartition { topic: Topic::Events, partition: 0 };

fn open(dir: &Path) -> FileLog {
    FileLog::open(dir, FileLogOptions::default()).expect("a log")
}

fn with_segments_of(dir: &Path, segment_bytes: u64) -> FileLog {
    FileLog::open(dir, FileLogOptions { segment_bytes, ..FileLogOptions::default() }).expect("a log")
}

fn create(log: &FileLog, timestamps: TimestampType, retention_ms: Option<u64>) {
    let spec = TopicSpec { topic: Topic::Events, partitions: 1, timestamps, retention_ms };
    log.create_topics(&[spec]).expect("a topic");
}

fn event(value: impl Into<Bytes>) -> NewRecord {
    let (key, headers) = (Bytes::from_static(b"k"), vec![]);
    NewRecord { topic: Topic::Events, key, value: value.into(), headers, timestamp: None }
}

/// A log of five single-record frames, and the positions at which they begin and end.
fn five_frames(dir: &Path) -> (PathBuf, Vec<u64>) {
    let log = open(dir);
    create(&log, TimestampType::LogAppend, None);
    let file = dir.join("events/0/00000000000000000000.log");
    let mut ends = vec![0];
    for i in 0..5 {
        log.append(vec![event(format!("record {i}"))]).expect("an append");
        ends.push(fs::metadata(&file).expect("the segment").len());
    }
    (file, ends)
}

/// Everything up to the end or the first error, in one pass.
fn read_all(log: &FileLog) -> (Vec<LogRecord>, Option<LogError>) {
    let fetch = Fetch { poll_bytes: 1, ..Fetch::default() };
    let mut reader = match log.reader(&[(AT, 0)], fetch) {
        Ok(reader) => reader,
        Err(e) => return (vec![], Some(e)),
    };
    let mut all = Vec::new();
    loop {
        match reader.poll(Duration::ZERO) {
            Ok(records) if records.is_empty() => return (all, None),
            Ok(records) => all.extend(records),
            Err(e) => return (all, Some(e)),
        }
    }
}

fn values(records: &[LogRecord]) -> Vec<String> {
    records.iter().map(|r| String::from_utf8_lossy(&r.value).into_owned()).collect()
}

/// A process may die after any byte of a write: what was complete stays, the rest is cut, appends go on.
#[test]
fn a_tail_torn_at_any_byte_is_cut() {
    let dir = tempfile::tempdir().expect("a directory");
    let (file, ends) = five_frames(dir.path());
    let whole = fs::read(&file).expect("the segment");
    for cut in ends[3]..ends[5] {
        fs::write(&file, &whole[..cut as usize]).expect("a torn segment");
        let complete = ends.iter().filter(|end| **end <= cut).count() - 1;
        let (records, error) = read_all(&open(dir.path()));
        assert!(error.is_none(), "cut at {cut}: {error:?}");
        assert_eq!(records.len(), complete, "cut at {cut}");
        let log = open(dir.path());
        let mut tailing = log.reader(&[(AT, complete as i64)], Fetch::default()).expect("a reader");
        assert!(tailing.poll(Duration::ZERO).expect("a poll").is_empty());
        let appended = log.append(vec![event("after")]).expect("an append");
        assert_eq!(appended[0].offset, complete as i64);
        assert_eq!(values(&tailing.poll(Duration::from_secs(5)).expect("a poll")), ["after"]);
        let (records, error) = read_all(&log);
        assert!(error.is_none() && records.len() == complete + 1, "cut at {cut}");
    }
}

/// A power failure may leave zeros or rubbish behind the last complete frame.
#[test]
fn rubbish_behind_the_last_frame_is_cut() {
    let dir = tempfile::tempdir().expect("a directory");
    let (file, _) = five_frames(dir.path());
    let whole = fs::read(&file).expect("the segment");
    for rubbish in [vec![0; 1], vec![0; 4096], vec![0xff; 100], b"LSLF".to_vec(), b"LSLF nonsense".repeat(50)]
    {
        fs::write(&file, [whole.clone(), rubbish].concat()).expect("a segment with a tail");
        assert_eq!(read_all(&open(dir.path())).0.len(), 5, "a reader stops in front of it");
        let log = open(dir.path());
        assert_eq!(log.append(vec![event("after")]).expect("an append")[0].offset, 5);
        let (records, error) = read_all(&log);
        assert!(error.is_none());
        assert_eq!(records.len(), 6);
    }
}

/// A flipped bit in front of intact frames is damage, wherever it is, and is named with its place.
#[test]
fn a_flipped_bit_in_the_middle_is_damage_with_file_and_position() {
    let dir = tempfile::tempdir().expect("a directory");
    let (file, ends) = five_frames(dir.path());
    let whole = fs::read(&file).expect("the segment");
    for at in ends[2]..ends[3] {
        let mut damaged = whole.clone();
        damaged[at as usize] ^= 1 << (at % 8);
        fs::write(&file, damaged).expect("a damaged segment");
        let (records, error) = read_all(&open(dir.path()));
        assert_eq!(values(&records), ["record 0", "record 1"], "what is before the damage");
        let refused = open(dir.path()).append(vec![event("after")]).expect_err("damage");
        for error in [error.expect("damage"), refused] {
            assert!(matches!(error, LogError::Corrupt(_)), "{error}");
            let text = error.to_string();
            assert!(
                text.contains("00000000000000000000.log") && text.contains(&format!("byte {}", ends[2])),
                "{text}"
            );
        }
    }
}

/// A segment that is missing between others is damage, not an end and not a jump.
#[test]
fn a_missing_segment_is_damage() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = with_segments_of(dir.path(), 200);
    create(&log, TimestampType::LogAppend, None);
    for i in 0..20 {
        log.append(vec![event(format!("record {i}"))]).expect("an append");
    }
    let mut segments: Vec<_> = fs::read_dir(dir.path().join("events/0"))
        .expect("a directory")
        .map(|e| e.expect("an entry").path())
        .collect();
    segments.sort();
    assert!(segments.len() > 5);
    fs::remove_file(&segments[2]).expect("a segment");
    let (records, error) = read_all(&log);
    let error = error.expect("damage");
    assert!(matches!(error, LogError::Corrupt(_)) && error.to_string().contains("missing"), "{error}");
    assert!(!records.is_empty());
}

#[test]
fn a_damaged_topic_file_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    five_frames(dir.path());
    fs::write(dir.path().join("events/topic.json"), "{}").expect("a topic file");
    let error = open(dir.path()).topic(Topic::Events).expect_err("damage");
    assert!(matches!(error, LogError::Corrupt(_)) && error.to_string().contains("topic.json"), "{error}");
}

/// One writer: a second one is refused and told who writes; reading is open to all.
#[test]
fn a_second_writer_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = open(dir.path());
    create(&first, TimestampType::LogAppend, None);
    first.append(vec![event("1")]).expect("the first writes");
    let second = open(dir.path());
    let refused = second.append(vec![event("2")]).expect_err("refused");
    let process = std::process::id().to_string();
    assert!(matches!(refused, LogError::Refused(_)) && refused.to_string().contains(&process), "{refused}");
    assert!(matches!(second.fenced("x"), Err(LogError::Refused(_))));
    assert_eq!(read_all(&second).0.len(), 1);
    drop(first);
    assert_eq!(second.append(vec![event("2")]).expect("the lock is free")[0].offset, 1);
}

/// Retention removes whole segments; a reader that stood in them goes on at what is left.
#[test]
fn expired_segments_are_removed_and_jumped_over() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = with_segments_of(dir.path(), 200);
    create(&log, TimestampType::Create, Some(3_600_000));
    let mut old = event("old");
    old.timestamp = Some(LogTime(1_700_000_000_000));
    for _ in 0..10 {
        log.append(vec![old.clone()]).expect("an append");
    }
    drop(log);
    let reading = with_segments_of(dir.path(), 200);
    let mut reader =
        reading.reader(&[(AT, 0)], Fetch { poll_bytes: 1, ..Fetch::default() }).expect("a reader");
    assert_eq!(reader.poll(Duration::ZERO).expect("a poll").len(), 1);
    // The first append of a new writer looks for what has expired.
    let writing = with_segments_of(dir.path(), 200);
    writing.append(vec![event("new")]).expect("an append");
    assert_eq!(writing.bounds(AT).expect("bounds"), (10, 11));
    let mut last = None;
    while last.as_ref().is_none_or(|r: &LogRecord| r.offset < 10) {
        let records = reader.poll(Duration::from_secs(5)).expect("a poll");
        assert!(!records.is_empty(), "the reader is stuck at {:?}", reader.position(AT));
        last = records.into_iter().next_back();
    }
    assert_eq!(last.map(|r| r.value), Some(Bytes::from_static(b"new")));
    let (records, error) = read_all(&writing);
    assert!(error.is_none());
    assert_eq!(values(&records), ["new"]);
}
