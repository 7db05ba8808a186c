//! A log whose media are sealed: who has the master key sees no difference, who has not sees nothing.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lsie_connectors::SealedLog;
use lsie_connectors::file_log::{FileLog, FileLogOptions};
use lsie_connectors::seal::Key;
use lsie_schemas::log::{
    AppendRecord, Fetch, Log, LogRecord, NewRecord, TimestampType, TopicPartition, TopicSpec,
};
use lsie_schemas::record::{AudioChunk, Control, EndSession, HEADER_KEY_ID, HEADER_SEQ, Record, VideoUnit};
use lsie_schemas::{Topic, codec};
use uuid::Uuid;

const A: Uuid = Uuid::from_u128(0x0b1f_8f5e_6f0e_4c55_9d3c_6d1d_5bb0_a001);
const B: Uuid = Uuid::from_u128(0x0b1f_8f5e_6f0e_4c55_9d3c_6d1d_5bb0_a002);
const MARKER: &[u8] = b"marker of raw media!";
const TOPICS: [Topic; 4] = [Topic::Control, Topic::AvAudio, Topic::AvVideo, Topic::Keys];

fn open(dir: &std::path::Path) -> Arc<dyn Log> {
    let log = FileLog::open(dir, FileLogOptions::default()).expect("a log");
    Arc::new(log)
}

fn master(digit: u8) -> Key {
    Key::new(&[digit; 32])
}

fn audio(session_id: Uuid, seq: u64) -> NewRecord {
    AudioChunk { session_id, seq, capture_us: 5, pcm: Bytes::from_static(MARKER) }.encode(None)
}

fn video(session_id: Uuid, seq: u64) -> NewRecord {
    let unit = Bytes::from([&[0, 0, 0, 1, 0x65][..], MARKER].concat());
    VideoUnit { session_id, seq, capture_us: 5, key_frame: true, unit }.encode(None)
}

fn create(log: &dyn Log) {
    let spec =
        |topic| TopicSpec { topic, partitions: 2, timestamps: TimestampType::LogAppend, retention_ms: None };
    log.create_topics(&TOPICS.map(spec)).expect("topics");
}

fn records(log: &dyn Log, topic: Topic) -> Vec<LogRecord> {
    let mut records = Vec::new();
    for at in (0..2).map(|partition| TopicPartition { topic, partition }) {
        let (from, to) = log.bounds(at).expect("the log");
        let mut reader = log.reader(&[(at, from)], Fetch::default()).expect("a reader");
        while reader.position(at).is_none_or(|position| position < to) {
            records.extend(reader.poll(Duration::from_millis(20)).expect("records"));
        }
    }
    records
}

fn reasons(log: &dyn Log) -> Vec<String> {
    let media = [Topic::AvAudio, Topic::AvVideo].map(|topic| records(log, topic)).concat();
    media.iter().map(|record| codec::decode(record).expect_err("unreadable").reason).collect()
}

#[test]
fn with_the_master_key_nothing_is_different() {
    let dir = tempfile::tempdir().expect("a folder");
    let plain = open(dir.path());
    create(&*plain);
    let sealed = SealedLog::new(plain.clone(), master(1));
    let end = Control::End(EndSession { session_id: A, client_action_id: None });
    let all = vec![audio(A, 0), video(A, 0), audio(B, 0), end.encode(None), audio(A, 1)];
    let appended = sealed.append(all.clone()).expect("an append");
    assert_eq!(appended.len(), all.len());

    // Another process with the same master key, and the one that wrote.
    for log in [&SealedLog::new(plain.clone(), master(1)), &sealed] {
        let read: Vec<LogRecord> =
            [Topic::Control, Topic::AvAudio, Topic::AvVideo].map(|topic| records(log, topic)).concat();
        assert_eq!(read.len(), all.len());
        for record in &read {
            let written = all.iter().find(|new| {
                new.topic == record.at.topic
                    && Some(&new.key) == record.key.as_ref()
                    && new.headers == record.headers
            });
            assert_eq!(written.map(|new| &new.value), Some(&record.value));
            assert!(codec::decode(record).is_ok());
        }
    }
    assert_eq!(records(&*plain, Topic::Keys).len(), 2, "a key for each session");
}

#[test]
fn without_it_there_is_nothing_to_see_and_every_record_says_so() {
    let dir = tempfile::tempdir().expect("a folder");
    let plain = open(dir.path());
    create(&*plain);
    SealedLog::new(plain.clone(), master(1)).append(vec![audio(A, 0), video(A, 0)]).expect("an append");
    let stored = TOPICS.map(|topic| records(&*plain, topic)).concat();
    let seen = |record: &LogRecord| record.value.windows(6).any(|part| part == b"marker");
    assert!(!stored.iter().any(seen), "raw media in the log");
    assert_eq!(reasons(&*plain), ["sealed"; 2]);
    assert_eq!(reasons(&SealedLog::new(plain.clone(), master(2))), ["sealed"; 2]);

    // The same bytes, not sealed: the search can find them.
    plain.append(vec![audio(A, 1)]).expect("an append");
    assert!(records(&*plain, Topic::AvAudio).iter().any(seen));
    let sealed = SealedLog::new(plain.clone(), master(1));
    let mixed = records(&sealed, Topic::AvAudio);
    assert!(
        mixed.iter().all(|record| matches!(codec::decode(record), Ok(Record::Audio(_)))),
        "both are readable"
    );
}

#[test]
fn a_record_opens_only_where_it_was_put_and_as_it_was_written() {
    let dir = tempfile::tempdir().expect("a folder");
    let plain = open(dir.path());
    create(&*plain);
    let sealed = SealedLog::new(plain.clone(), master(1));
    sealed.append(vec![audio(A, 0)]).expect("an append");
    let stored = &records(&*plain, Topic::AvAudio)[0];
    let forge = |change: &dyn Fn(&mut NewRecord)| {
        let (key, value) = (stored.key.clone().expect("a key"), stored.value.clone());
        let mut record =
            NewRecord { topic: Topic::AvAudio, key, value, headers: stored.headers.clone(), timestamp: None };
        change(&mut record);
        plain.append(vec![record]).expect("an append");
    };
    let header = |record: &mut NewRecord, name: &str, value: &str| {
        let found = record.headers.iter_mut().find(|(header, _)| header == name).expect("the header");
        found.1 = value.to_owned().into();
    };
    forge(&|record| header(record, HEADER_SEQ, "1"));
    forge(&|record| record.key = B.to_string().into());
    forge(&|record| header(record, HEADER_KEY_ID, &A.to_string()));
    forge(&|record| record.value = Bytes::from([&record.value[..20], &[9], &record.value[21..]].concat()));
    forge(&|record| record.value = record.value.slice(..11));
    let read = records(&sealed, Topic::AvAudio);
    let good: Vec<bool> = read.iter().map(|record| codec::decode(record).is_ok()).collect();
    assert_eq!(good.iter().filter(|good| **good).count(), 1);
    assert_eq!(good.len(), 6);
}
