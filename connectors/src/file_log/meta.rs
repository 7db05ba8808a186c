//! A topic's shape on disk: `topic.json`, written atomically and never changed afterwards.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use lsie_schemas::log::{LogError, TimestampType, TopicState};
use serde::{Deserialize, Serialize};

use super::segment::{damaged, io_error};

const FILE: &str = "topic.json";
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Meta {
    version: u32,
    partitions: i32,
    timestamps: TimestampType,
    retention_ms: Option<u64>,
}

/// The shape of the topic in `dir`, or `None` if there is none.
pub(super) fn read(dir: &Path) -> Result<Option<TopicState>, LogError> {
    let path = dir.join(FILE);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io_error("read", &path, e)),
    };
    let meta: Meta = serde_json::from_slice(&text).map_err(|e| damaged(&path, 0, &e.to_string()))?;
    if meta.version != VERSION {
        let text = format!("{}: version {} is not known to this program", path.display(), meta.version);
        return Err(LogError::Refused(text));
    }
    let Meta { partitions, timestamps, retention_ms, .. } = meta;
    Ok(Some(TopicState { partitions, timestamps, retention_ms }))
}

/// Creates the topic: its partition directories first, so that a topic that can be read is complete.
pub(super) fn write(dir: &Path, state: TopicState) -> Result<(), LogError> {
    for partition in 0..state.partitions {
        let dir = dir.join(partition.to_string());
        fs::create_dir_all(&dir).map_err(|e| io_error("create", &dir, e))?;
    }
    let TopicState { partitions, timestamps, retention_ms } = state;
    let meta = Meta { version: VERSION, partitions, timestamps, retention_ms };
    let text = serde_json::to_vec(&meta).map_err(|e| LogError::Refused(e.to_string()))?;
    let path = dir.join(FILE);
    let part = dir.join(format!("{FILE}.part"));
    let written = File::create(&part).and_then(|mut file| {
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&part, &path)
    });
    written.map_err(|e| io_error("write", &path, e))?;
    sync_dir(dir)
}

/// Makes the names in a directory durable.
pub(super) fn sync_dir(dir: &Path) -> Result<(), LogError> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(|e| io_error("sync", dir, e))
}
