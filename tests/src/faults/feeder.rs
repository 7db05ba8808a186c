//! The feeder: made sessions in real time, and a book of what the log has acknowledged.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lsie_connectors::feed::{Recording, TimedRecord, merge, session_id};
use lsie_schemas::log::{Appended, Log, LogError, NewRecord};
use lsie_schemas::{LogTime, Topic};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{Chance, Fault};
use crate::sessions::{recording, records};
use crate::telemetry::telemetry;

/// How much of the recorded session is fed: past its stimulus and its reaction.
const LENGTH_MS: u64 = 20_000;
/// When a session falls silent.
const SILENT_MS: u64 = 9_000;
/// Of so many records one is poison.
const POISON_EVERY: u64 = 17;
/// Records that are appended at once, if they are due.
const BATCH: usize = 64;

/// What the log has promised to keep.
#[derive(Clone, Debug)]
pub struct Promise {
    /// Where it is.
    pub appended: Appended,
    /// The hash of its value.
    pub sha256: [u8; 32],
}

/// The records of a round, in order of time.
pub fn script(seed: u64, sessions: u64, base: LogTime, faults: &[Fault]) -> Vec<TimedRecord> {
    let (mut chance, short) = (Chance(seed ^ 0xfeed), recording("short"));
    let has = |fault| faults.contains(&fault);
    let silent = has(Fault::Silence).then(|| chance.below(sessions));
    let timelines = (0..sessions).map(|number| {
        let id = session_id(&format!("faults-{seed}"), number);
        // In one round of four one session has pictures; the others have sound and telemetry only.
        let pictures = number == 0 && seed.is_multiple_of(4);
        let mut all = session(&short, id, base, number * 300, pictures);
        if silent == Some(number) {
            all.retain(|timed| timed.at_ms < SILENT_MS);
        }
        if has(Fault::MediaDisorder) {
            all = disorder(all, &mut chance);
        }
        all.into_iter()
    });
    let mut all: Vec<TimedRecord> = merge(timelines.collect()).collect();
    if has(Fault::Poison) {
        for timed in &mut all {
            if chance.below(POISON_EVERY) == 0 {
                poison(&mut timed.record, &mut chance);
            }
        }
    }
    all
}

/// The first seconds of the recorded session; its end comes then.
fn session(
    recording: &Arc<Recording>,
    id: Uuid,
    base: LogTime,
    start_ms: u64,
    pictures: bool,
) -> Vec<TimedRecord> {
    let end_ms = start_ms + LENGTH_MS;
    let mut all = records(recording, id, base, start_ms);
    for timed in all.iter_mut().filter(|timed| timed.record.topic == Topic::Control) {
        if is_end(&timed.record) {
            timed.at_ms = end_ms;
        }
        if !pictures {
            timed.record.value = replaced(&timed.record.value, r#"["audio","video"]"#, r#"["audio"]"#);
        }
    }
    all.retain(|timed| timed.at_ms <= end_ms && (pictures || timed.record.topic != Topic::AvVideo));
    let mut more = telemetry(id, base, start_ms);
    more.retain(|timed| timed.at_ms <= end_ms);
    all.extend(more);
    all.sort_by_key(|timed| timed.at_ms);
    all
}

fn is_end(record: &NewRecord) -> bool {
    let value: serde_json::Value = serde_json::from_slice(&record.value).unwrap_or_default();
    value["type"] == "end"
}

fn replaced(value: &Bytes, from: &str, to: &str) -> Bytes {
    String::from_utf8_lossy(value).replace(from, to).into_bytes().into()
}

/// Media come twice, change places with their successor, or are missing: one of eight each.
fn disorder(all: Vec<TimedRecord>, chance: &mut Chance) -> Vec<TimedRecord> {
    let mut out: Vec<TimedRecord> = Vec::with_capacity(all.len());
    for timed in all {
        if !matches!(timed.record.topic, Topic::AvAudio | Topic::AvVideo) {
            out.push(timed);
            continue;
        }
        match chance.below(24) {
            0 => {}
            1 => out.extend([timed.clone(), timed]),
            2 if !out.is_empty() => {
                let at = out.len() - 1;
                let early = TimedRecord { at_ms: out[at].at_ms, ..timed };
                out.insert(at, early);
            }
            _ => out.push(timed),
        }
    }
    out
}

/// Makes a record that nobody can use; its key stays, or goes too.
fn poison(record: &mut NewRecord, chance: &mut Chance) {
    match chance.below(4) {
        0 => record.value = Bytes::from_static(b"\x00\xff not a record"),
        1 => record.value = Bytes::new(),
        2 => record.headers.clear(),
        _ => record.key = Bytes::from_static(b"nobody"),
    }
}

/// Feeds in real time. A log that is away is tried again until it answers, as a producer with a spool would.
pub fn feed(log: &dyn Log, script: &[TimedRecord]) -> Vec<Promise> {
    let start = now();
    let mut promises = Vec::new();
    let mut rest = script;
    while let Some(first) = rest.first() {
        let due = Duration::from_millis(first.at_ms);
        std::thread::sleep(due.saturating_sub(start.elapsed()));
        let passed = start.elapsed().as_millis() as u64;
        let ready = rest.partition_point(|timed| timed.at_ms <= passed).clamp(1, BATCH);
        let batch: Vec<NewRecord> = rest[..ready].iter().map(|timed| timed.record.clone()).collect();
        promises.extend(append(log, &batch));
        rest = &rest[ready..];
    }
    promises
}

fn append(log: &dyn Log, batch: &[NewRecord]) -> Vec<Promise> {
    loop {
        match log.append(batch.to_vec()) {
            Ok(appended) => {
                let hash = |record: &NewRecord| Sha256::digest(&record.value).into();
                let promise = |(appended, record)| Promise { appended, sha256: hash(record) };
                return appended.into_iter().zip(batch).map(promise).collect();
            }
            Err(LogError::Unavailable(_)) => std::thread::sleep(Duration::from_millis(100)),
            Err(error) => panic!("the feeder: {error}"),
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "the harness feeds in real time")]
pub(super) fn now() -> Instant {
    Instant::now()
}
