//! What an inbox fetches, and what of it belongs to an epoch.

use bytes::Bytes;
use lsie_connectors::FileLog;
use lsie_connectors::file_log::FileLogOptions;
use lsie_schemas::log::{AppendRecord, NewRecord, TimestampType, TopicSpec};
use lsie_schemas::record::EpochRange;

use super::*;

const RECORDS: i64 = 20;
const SIZE: usize = 10_000;

fn audio(partition: i32) -> TopicPartition {
    TopicPartition { topic: Topic::AvAudio, partition }
}

/// A log whose two partitions hold as much each, one record every 100 ms.
fn log(dir: &std::path::Path) -> FileLog {
    let log = FileLog::open(dir, FileLogOptions::default()).expect("a log");
    let spec = TopicSpec {
        topic: Topic::AvAudio,
        partitions: 2,
        timestamps: TimestampType::Create,
        retention_ms: None,
    };
    log.create_topics(&[spec]).expect("a topic");
    for partition in 0..2 {
        let mut keys = (0..100u32).map(|key| Bytes::from(key.to_string()));
        let key = keys.find(|key| lsie_schemas::topic::partition_of(key, 2) == partition).expect("a key");
        let record = |at: i64| NewRecord {
            topic: Topic::AvAudio,
            key: key.clone(),
            value: vec![0; SIZE].into(),
            headers: Vec::new(),
            timestamp: Some(LogTime(1 + 100 * at as u64)),
        };
        log.append((0..RECORDS).map(record).collect()).expect("records");
    }
    log
}

fn epoch(log_time: u64, ranges: [(i32, i64, i64); 2]) -> EpochRecord {
    let ranges = ranges.into_iter().filter(|(_, from, to)| from < to);
    let ranges = ranges.map(|(partition, from, to)| EpochRange { at: audio(partition), from, to });
    EpochRecord { log_time: LogTime(log_time), ranges: ranges.collect() }
}

fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// How many records the next epoch has, once it is complete.
fn taken(inbox: &Inbox) -> i64 {
    loop {
        match inbox.take() {
            Taken::Epoch { records, .. } => return records.len() as i64,
            _ => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

#[test]
fn an_epoch_of_the_past_has_no_record_of_later() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = log(dir.path());
    let ends = BTreeMap::from([(audio(0), RECORDS), (audio(1), RECORDS)]);
    let inbox = Inbox::new(vec![(audio(0), 0), (audio(1), 0)], usize::MAX / 2, &ends);
    assert_eq!(inbox.behind(), Some(LogTime(0)), "nothing is here yet");
    let shared = Shared::default();
    std::thread::scope(|scope| {
        scope.spawn(|| inbox.fetch(&log, Fetch::default(), &shared));
        until(|| inbox.behind().is_none());
        shared.stop.store(true, Ordering::SeqCst);
    });
    // A record every 100 ms, from 1 on.
    assert_eq!(inbox.fetched(Some(LogTime(501))), BTreeMap::from([(audio(0), 6), (audio(1), 6)]));
    assert_eq!(inbox.fetched(None), ends);
}

/// Whatever the budget: an epoch of one partition's last record can be taken, and without an epoch that
/// needs them, not much more is fetched than the budget allows.
#[test]
fn a_full_inbox_fetches_only_what_the_next_epoch_needs() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = log(dir.path());
    let budget = 3 * SIZE;
    let inbox = Inbox::new(vec![(audio(0), 0), (audio(1), 0)], budget, &BTreeMap::new());
    let fetch = Fetch { prefetch_bytes: 1 << 20, poll_bytes: SIZE };
    let shared = Shared::default();
    std::thread::scope(|scope| {
        let fetching = scope.spawn(|| inbox.fetch(&log, fetch, &shared));
        until(|| lock(&inbox.state).bytes > budget);
        let full = lock(&inbox.state).bytes;
        assert!(full <= budget + SIZE + 200, "{full} bytes of {budget}");
        // All of one partition, nothing of the other.
        inbox.release(epoch(1, [(0, 0, 0), (1, 0, RECORDS)]));
        assert_eq!(taken(&inbox), RECORDS);
        assert!(lock(&inbox.state).bytes <= full, "the other partition was held back");
        inbox.release(epoch(2, [(0, 0, RECORDS), (1, RECORDS, RECORDS)]));
        assert_eq!(taken(&inbox), RECORDS);
        inbox.finish();
        fetching.join().expect("no panic").expect("no error");
    });
    assert!(matches!(inbox.take(), Taken::End));
}
