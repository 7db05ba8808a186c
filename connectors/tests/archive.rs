//! Archives: a copy is the original, goes on after an interruption, and holds no raw media that nobody named.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lsie_connectors::archive::{self, ArchiveError, Wanted};
use lsie_connectors::file_log::FileLogOptions;
use lsie_connectors::seal::Key;
use lsie_connectors::{FileLog, SealedLog};
use lsie_schemas::log::{
    AppendRecord, Fetch, Log, LogRecord, NewRecord, TimestampType, TopicPartition, TopicSpec,
};
use lsie_schemas::record::AudioChunk;
use lsie_schemas::{LogTime, Topic};
use uuid::Uuid;

const TOPICS: [Topic; 5] = [Topic::Control, Topic::Physio, Topic::AvAudio, Topic::Epochs, Topic::Keys];
const SESSION: Uuid = Uuid::from_u128(0x0b1f_8f5e_6f0e_4c55_9d3c_6d1d_5bb0_a001);

fn open(dir: &Path) -> FileLog {
    FileLog::open(dir, FileLogOptions { segment_bytes: 4_000, ..FileLogOptions::default() }).expect("a log")
}

/// A topic set of two partitions.
fn source(dir: &Path) -> FileLog {
    let log = open(dir);
    let (timestamps, retention_ms) = (TimestampType::Create, None);
    let specs = TOPICS.map(|topic| TopicSpec { topic, partitions: 2, timestamps, retention_ms });
    log.create_topics(&specs).expect("topics");
    log
}

fn at(topic: Topic, partition: i32) -> TopicPartition {
    TopicPartition { topic, partition }
}

fn record(topic: Topic, partition: i32, offset: i64) -> LogRecord {
    let headers = vec![("h".to_string(), Bytes::from(vec![offset as u8; 3]))];
    let value = Bytes::from(format!("{topic} {offset} ").repeat(20));
    let key = Some(Bytes::from(format!("key {}", offset % 3)));
    LogRecord {
        at: at(topic, partition),
        offset,
        log_time: LogTime(1_000 + offset as u64),
        key,
        value,
        headers,
    }
}

/// All records of some topics, in order.
fn records(log: &dyn Log, topics: &[Topic]) -> Vec<LogRecord> {
    let mut records = Vec::new();
    for at in topics.iter().flat_map(|topic| [at(*topic, 0), at(*topic, 1)]) {
        let (from, to) = log.bounds(at).expect("the log");
        let mut reader = log.reader(&[(at, from)], Fetch::default()).expect("a reader");
        while reader.position(at).is_none_or(|position| position < to) {
            records.extend(reader.poll(Duration::from_millis(20)).expect("records"));
        }
    }
    records
}

fn wanted(log: &dyn Log, topics: &[Topic], raw: &[Topic]) -> Wanted {
    let partitions = topics.iter().flat_map(|topic| [at(*topic, 0), at(*topic, 1)]);
    let ends = partitions.map(|at| (at, log.bounds(at).expect("the log").1)).collect::<BTreeMap<_, _>>();
    Wanted { topics: topics.iter().copied().collect(), raw: raw.iter().copied().collect(), ends }
}

#[test]
fn a_copy_is_the_original_also_with_gaps_and_in_pieces() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = source(&dir.path().join("log"));
    // As after retention and with marks of transactions: it begins at 40, and offsets are missing.
    let offsets = (40..400).filter(|offset| offset % 7 != 0 && !(100..150).contains(offset));
    let written: Vec<LogRecord> = offsets
        .flat_map(|offset| [record(Topic::Control, 0, offset), record(Topic::Epochs, 1, offset)])
        .collect();
    for piece in written.chunks(97) {
        log.copy(piece).expect("a source with gaps");
    }
    let topics = [Topic::Control, Topic::Epochs];
    let archived = dir.path().join("archive");

    let mut some = wanted(&log, &topics, &[]);
    some.ends.insert(at(Topic::Control, 0), 222);
    let first = archive::copy(&log, &archived, &some, |_| {}).expect("a copy");
    let all = wanted(&log, &topics, &[]);
    let mut seen = Vec::new();
    let rest = archive::copy(&log, &archived, &all, |copied| seen.push(copied)).expect("it goes on");
    assert_eq!(first.records + rest.records, written.len() as u64);
    assert!(first.records > 0 && rest.records > 0 && rest.done == rest.total, "{first:?} {rest:?}");
    assert_eq!(seen.last(), Some(&rest), "progress ends at what was copied");
    assert_eq!(archive::copy(&log, &archived, &all, |_| {}).expect("nothing is left").records, 0);

    let copy = open(&archived);
    assert_eq!(records(&copy, &topics), records(&log, &topics));
    assert_eq!(copy.offset_at(at(Topic::Control, 0), LogTime(1_100)).expect("the archive"), Some(150));
    // From within a gap on.
    let mut reader = copy.reader(&[(at(Topic::Control, 0), 120)], Fetch::default()).expect("a reader");
    assert_eq!(reader.poll(Duration::ZERO).expect("records")[0].offset, 150);
    let page = archive::page(&archived).expect("a page");
    assert!(page.complete);
    assert_eq!(page.left_out, BTreeSet::from([Topic::Physio, Topic::AvAudio, Topic::Keys]));
    assert_eq!(copy.topic(Topic::Physio).expect("the archive").map(|topic| topic.partitions), Some(2));
}

#[test]
fn an_archive_takes_no_other_topics_and_no_other_set() {
    let dir = tempfile::tempdir().expect("a folder");
    let (log, other) = (source(&dir.path().join("log")), source(&dir.path().join("other")));
    let archived = dir.path().join("archive");
    log.copy(&[record(Topic::Control, 0, 0), record(Topic::Control, 0, 1)]).expect("records");
    other.copy(&[record(Topic::Control, 0, 0), record(Topic::Control, 0, 2)]).expect("records");
    let control = [Topic::Control];
    archive::copy(&log, &archived, &wanted(&log, &control, &[]), |_| {}).expect("a copy");

    let refused = |result: Result<_, ArchiveError>, part: &str| {
        let why = result.expect_err("it is refused").to_string();
        assert!(why.contains(part), "{why}");
    };
    let more = wanted(&log, &[Topic::Control, Topic::Epochs], &[]);
    refused(archive::copy(&log, &archived, &more, |_| {}), "other topics");
    refused(archive::copy(&other, &archived, &wanted(&other, &control, &[]), |_| {}), "another topic set");
    refused(archive::copy(&log, dir.path(), &wanted(&log, &control, &[]), |_| {}), "no archive");
}

fn audio(seq: u64) -> NewRecord {
    let pcm = Bytes::from_static(b"marker of raw media!");
    AudioChunk { session_id: SESSION, seq, capture_us: 5, pcm }.encode(Some(LogTime(7)))
}

#[test]
fn raw_media_go_in_by_name_only_and_sealed_ones_are_opened_by_the_keys_of_the_log() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = Arc::new(source(&dir.path().join("log")));
    let sealed = SealedLog::new(log.clone(), Key::new(&[1; 32]));
    sealed.append(vec![audio(0), audio(1)]).expect("sealed media");
    let media = [Topic::AvAudio];
    let (archived, named) = (dir.path().join("archive"), dir.path().join("named"));
    archive::copy(&*log, &archived, &wanted(&*log, &media, &[]), |_| {}).expect("sealed media go in");
    let copy = Arc::new(open(&archived));
    let opened = SealedLog::with_keys_of(log.clone(), copy.clone(), Key::new(&[1; 32]));
    assert_eq!(records(&opened, &media), records(&sealed, &media));
    assert_ne!(records(&*copy, &media), records(&opened, &media), "in the archive they are sealed");
    drop((copy, opened));

    log.append(vec![audio(2)]).expect("media as they are");
    let refused = archive::copy(&*log, &archived, &wanted(&*log, &media, &[]), |_| {});
    assert!(matches!(refused, Err(ArchiveError::Raw { offset: 2, .. })), "{refused:?}");
    assert!(!archive::page(&archived).expect("a page").complete);
    let copied = archive::copy(&*log, &named, &wanted(&*log, &media, &media), |_| {}).expect("it was named");
    assert_eq!(copied.records, 3);
}
