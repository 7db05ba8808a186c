//! An archive: a copy of a topic set in a directory, record by record with offset, time, key and headers, in the
//! format of the file log; and a page that says what it holds.
//!
//! Copying goes on where it was interrupted. The epoch table is copied last, so that it never names a record that
//! is not there, and only then the page calls the archive complete. Media go in sealed, or where their topic was
//! named (behaviour §3); wrapped keys never do.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lsie_schemas::Topic;
use lsie_schemas::log::{Fetch, Log, LogError, LogRecord, TopicPartition, TopicSpec};
use lsie_schemas::record::HEADER_KEY_ID;
use serde::{Deserialize, Serialize};

use crate::FileLog;
use crate::file_log::FileLogOptions;

/// The page of an archive.
const PAGE: &str = "archive.json";
const FORMAT: &str = "lsie-archive";
const VERSION: u32 = 1;
/// How long one poll waits.
const POLL: Duration = Duration::from_millis(100);

/// What an archive says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Page {
    format: String,
    version: u32,
    /// Everything that was asked for is there.
    pub complete: bool,
    /// Topics of the set that are empty here.
    pub left_out: BTreeSet<Topic>,
}

/// What goes into an archive.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The topics.
    pub topics: BTreeSet<Topic>,
    /// Media topics whose records may go in as they are, although they are not sealed.
    pub raw: BTreeSet<Topic>,
    /// Up to where, for every partition: one past the last offset.
    pub ends: BTreeMap<TopicPartition, i64>,
}

/// How far copying is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Records that were copied, not counting those of an earlier try.
    pub records: u64,
    /// Their bytes: values, keys and headers.
    pub bytes: u64,
    /// Offsets that are done.
    pub done: u64,
    /// Offsets there are to do.
    pub total: u64,
}

/// Why there is no archive, or not yet.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// A log failed: try again, copying goes on.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A media record that is not sealed.
    #[error(
        "{at} holds media at offset {offset} that are not sealed; raw media go into an archive only if their topic is named"
    )]
    Raw {
        /// The partition.
        at: TopicPartition,
        /// The offset.
        offset: i64,
    },
    /// The directory is no archive, or one of something else: choose another.
    #[error("{}: {why}", dir.display())]
    Refused {
        /// The directory.
        dir: PathBuf,
        /// Why.
        why: String,
    },
}

/// Whether a topic goes into an archive without being named (DESIGN §6).
pub fn by_default(topic: Topic) -> bool {
    !matches!(topic, Topic::Physio | Topic::Requests | Topic::Keys)
}

/// Whether a topic may go into an archive when it is named.
pub fn by_name(topic: Topic) -> bool {
    by_default(topic) || topic == Topic::Physio
}

/// Reads the page of an archive.
pub fn page(dir: &Path) -> Result<Page, ArchiveError> {
    let refused = |why: String| ArchiveError::Refused { dir: dir.to_owned(), why };
    let text = fs::read(dir.join(PAGE)).map_err(|e| refused(format!("no archive: {PAGE}: {e}")))?;
    let page: Page = serde_json::from_slice(&text).map_err(|e| refused(format!("{PAGE}: {e}")))?;
    if page.format != FORMAT || page.version != VERSION {
        return Err(refused(format!("{PAGE} is of a format that this program does not know")));
    }
    Ok(page)
}

/// Copies what is wanted and not there yet, and tells of its progress.
pub fn copy(
    source: &dyn Log,
    dir: &Path,
    wanted: &Wanted,
    mut tell: impl FnMut(Copied),
) -> Result<Copied, ArchiveError> {
    let mut topics = Vec::new();
    for topic in Topic::ALL {
        topics.extend(source.topic(topic)?.map(|state| (topic, state)));
    }
    let left_out = topics.iter().map(|(topic, _)| *topic).filter(|topic| !wanted.topics.contains(topic));
    let page =
        Page { format: FORMAT.into(), version: VERSION, complete: false, left_out: left_out.collect() };
    begin(dir, &page)?;
    let archive = FileLog::open(dir, FileLogOptions::default())?;
    let spec = |(topic, state): &(Topic, lsie_schemas::log::TopicState)| TopicSpec {
        topic: *topic,
        partitions: state.partitions,
        timestamps: state.timestamps,
        // What is kept on purpose does not expire.
        retention_ms: None,
    };
    archive.create_topics(&topics.iter().map(spec).collect::<Vec<_>>())?;

    let (mut open, mut table) = (Vec::new(), Vec::new());
    let mut copied = Copied::default();
    for (topic, state) in topics.iter().filter(|(topic, _)| wanted.topics.contains(topic)) {
        for partition in 0..state.partitions {
            let at = TopicPartition { topic: *topic, partition };
            let Some(to) = wanted.ends.get(&at).copied() else { continue };
            let from = resume(source, &archive, at, dir)?;
            copied.total += u64::try_from(to - from).unwrap_or(0);
            let rest = if *topic == Topic::Epochs { &mut table } else { &mut open };
            rest.extend((from < to).then_some((at, from, to)));
        }
    }
    for part in [open, table] {
        stretch(source, &archive, &part, &wanted.raw, &mut copied, &mut tell)?;
        archive.sync()?;
    }
    write(dir, &Page { complete: true, ..page })?;
    Ok(copied)
}

/// Makes the directory an archive, or sees that it is one of the same topics.
fn begin(dir: &Path, wanted: &Page) -> Result<(), ArchiveError> {
    let refused = |why: &str| ArchiveError::Refused { dir: dir.to_owned(), why: why.into() };
    let holds_something = fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some());
    if !holds_something {
        fs::create_dir_all(dir).map_err(|e| refused(&e.to_string()))?;
    } else if page(dir)?.left_out != wanted.left_out {
        return Err(refused(
            "the archive was begun with other topics; go on with the same, or name another directory",
        ));
    }
    write(dir, wanted)
}

fn write(dir: &Path, page: &Page) -> Result<(), ArchiveError> {
    let failed = |e: std::io::Error| ArchiveError::Refused { dir: dir.to_owned(), why: e.to_string() };
    let text = serde_json::to_vec_pretty(page).map_err(|e| failed(e.into()))?;
    let part = dir.join(format!("{PAGE}.part"));
    fs::write(&part, text).and_then(|()| fs::rename(&part, dir.join(PAGE))).map_err(failed)
}

/// The offset from which a partition is still to be copied.
fn resume(source: &dyn Log, archive: &FileLog, at: TopicPartition, dir: &Path) -> Result<i64, ArchiveError> {
    let (first, end) = source.bounds(at)?;
    let (held, next) = archive.bounds(at)?;
    if held == next {
        return Ok(first);
    }
    let refused = |why: String| Err(ArchiveError::Refused { dir: dir.to_owned(), why });
    if next < first {
        return refused(format!("it ends at offset {next} of {at}, and the topic now begins at {first}"));
    }
    let last = next - 1;
    if last >= first {
        let there = if last < end { one(source, at, last)? } else { None };
        if there.as_ref().map(identity) != one(archive, at, last)?.as_ref().map(identity) {
            return refused(format!(
                "it holds another record at offset {last} of {at}: it is of another topic set"
            ));
        }
    }
    Ok(next)
}

/// What tells a record from another: its time, key and value.
fn identity(record: &LogRecord) -> (u64, &[u8], &[u8]) {
    (record.log_time.0, record.key.as_deref().unwrap_or_default(), &record.value)
}

/// The record at an offset that both ends of a log include.
fn one(log: &dyn Log, at: TopicPartition, offset: i64) -> Result<Option<LogRecord>, LogError> {
    let mut reader = log.reader(&[(at, offset)], Fetch { prefetch_bytes: 1 << 20, poll_bytes: 1 })?;
    while reader.position(at).is_some_and(|position| position <= offset) {
        if let Some(record) = reader.poll(POLL)?.into_iter().next() {
            return Ok(Some(record).filter(|record| record.offset == offset));
        }
    }
    Ok(None)
}

/// Copies stretches of partitions.
fn stretch(
    source: &dyn Log,
    archive: &FileLog,
    stretches: &[(TopicPartition, i64, i64)],
    raw: &BTreeSet<Topic>,
    copied: &mut Copied,
    tell: &mut impl FnMut(Copied),
) -> Result<(), ArchiveError> {
    let ends: BTreeMap<TopicPartition, i64> = stretches.iter().map(|(at, _, to)| (*at, *to)).collect();
    let mut at: BTreeMap<TopicPartition, i64> = stretches.iter().map(|(at, from, _)| (*at, *from)).collect();
    let from: Vec<(TopicPartition, i64)> = at.iter().map(|(at, from)| (*at, *from)).collect();
    if from.is_empty() {
        return Ok(());
    }
    let mut reader = source.reader(&from, Fetch::default())?;
    while at.iter().any(|(at, position)| *position < ends[at]) {
        let mut records = reader.poll(POLL)?;
        records.retain(|record| ends.get(&record.at).is_some_and(|end| record.offset < *end));
        if let Some(LogRecord { at, offset, .. }) = records.iter().find(|record| is_raw(record, raw)) {
            return Err(ArchiveError::Raw { at: *at, offset: *offset });
        }
        archive.copy(&records)?;
        copied.records += records.len() as u64;
        copied.bytes += records.iter().map(|record| record.size() as u64).sum::<u64>();
        for (at, position) in &mut at {
            let reached = reader.position(*at).unwrap_or(*position).min(ends[at]);
            copied.done += u64::try_from(reached - *position).unwrap_or(0);
            *position = reached;
        }
        tell(*copied);
    }
    Ok(())
}

/// Whether a record is media that may not go in.
fn is_raw(record: &LogRecord, raw: &BTreeSet<Topic>) -> bool {
    let topic = record.at.topic;
    topic.is_media() && !raw.contains(&topic) && record.header(HEADER_KEY_ID).is_none()
}
