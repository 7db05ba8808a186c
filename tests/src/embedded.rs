//! Recorded sessions in the embedded log: for tests that need no Kafka.

use std::path::Path;

use lsie_connectors::FileLog;
use lsie_connectors::feed::{Pace, feed, merge, session_id};
use lsie_connectors::file_log::FileLogOptions;
use lsie_schemas::LogTime;
use lsie_schemas::log::{AppendRecord, Log, TimestampType};
use lsie_schemas::record::ExperimentRecord;

use crate::harness::specs;
use crate::sessions::{RECORDED_AT, recording, records};
use crate::telemetry::telemetry;

/// The log in a folder.
pub fn open(dir: &Path) -> FileLog {
    FileLog::open(dir, FileLogOptions::default()).expect("a log")
}

/// A new topic set of four partitions in a folder, with so many sessions, one starting after the other.
pub fn fed(dir: &Path, name: &str, sessions: u64) -> FileLog {
    let log = open(dir);
    log.create_topics(&specs(4, TimestampType::Create)).expect("topics");
    log.append(vec![ExperimentRecord::seed().encode(Some(LogTime(1)))]).expect("an experiment");
    let timelines = (0..sessions).map(|number| {
        let (id, start_ms) = (session_id(name, number), number * 4_100);
        let mut timeline = records(&recording("short"), id, RECORDED_AT, start_ms);
        timeline.extend(telemetry(id, RECORDED_AT, start_ms));
        timeline.sort_by_key(|timed| timed.at_ms);
        timeline.into_iter()
    });
    feed(&log, merge(timelines.collect()), Pace::Max, |_| std::ops::ControlFlow::Continue(()))
        .expect("a feed");
    log
}
