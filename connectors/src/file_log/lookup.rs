//! Questions about a partition's files: where it begins and ends, and which offset stands at a time.

use std::collections::VecDeque;
use std::path::Path;

use lsie_schemas::LogTime;
use lsie_schemas::log::{LogError, TopicPartition};

use super::frame;
use super::segment::{self, FrameSource, Step};
use super::writer::first_header_max_before;

const SCAN_CHUNK: usize = 64 << 10;

/// Where a partition's complete frames end; remembered, so that asking again reads only what is new.
#[derive(Default)]
pub(super) struct TailCursor {
    segment: Option<i64>,
    position: u64,
    next: i64,
}

impl TailCursor {
    /// The offset after the last complete frame.
    pub(super) fn end(&mut self, dir: &Path) -> Result<i64, LogError> {
        let Some(base) = segment::list(dir)?.last().copied() else { return Ok(0) };
        let mut source = FrameSource::open(dir, base, SCAN_CHUNK)?;
        if self.segment == Some(base) {
            source.seek(self.position);
        } else {
            self.next = base;
        }
        while let Step::Frame(header) = source.next_header()? {
            self.next = header.next();
        }
        self.position = source.position();
        self.segment = Some(base);
        Ok(self.next)
    }
}

/// The first retained offset.
pub(super) fn first(dir: &Path) -> Result<i64, LogError> {
    Ok(segment::list(dir)?.first().copied().unwrap_or(0))
}

/// The first offset whose timestamp is at or after `time`.
///
/// Frames carry the running maximum of timestamps, which never falls. So the first record at or after
/// `time` lies in the first frame whose running maximum reaches it: a binary search over segments, then
/// headers of one segment, then one frame.
pub(super) fn offset_at(dir: &Path, at: TopicPartition, time: LogTime) -> Result<Option<i64>, LogError> {
    let bases = segment::list(dir)?;
    let mut failed = None;
    let reached = bases.partition_point(|base| match first_header_max_before(dir, *base) {
        Ok(before) => before.is_some_and(|max| max < time.0),
        Err(e) => {
            failed.get_or_insert(e);
            false
        }
    });
    if let Some(e) = failed {
        return Err(e);
    }
    // The segment before the first that begins past `time`; after retention also the ones that follow,
    // since what reached `time` first may have expired.
    for base in &bases[reached.saturating_sub(1)..] {
        if let Some(offset) = first_in_segment(dir, *base, at, time)? {
            return Ok(Some(offset));
        }
    }
    Ok(None)
}

fn first_in_segment(
    dir: &Path,
    base: i64,
    at: TopicPartition,
    time: LogTime,
) -> Result<Option<i64>, LogError> {
    let mut source = FrameSource::open(dir, base, SCAN_CHUNK)?;
    while let Step::Frame(header) = source.peek()? {
        if header.max < time.0 {
            if let Step::End = source.next_header()? {
                break;
            }
            continue;
        }
        let Step::Frame(frame) = source.next_frame()? else { break };
        let mut records = VecDeque::new();
        frame::decode(&frame.header, frame.stored, at, 0, &mut records)
            .map_err(|why| segment::damaged(source.path(), frame.position, &why))?;
        let found = records.iter().find(|record| record.log_time >= time);
        if let Some(record) = found {
            return Ok(Some(record.offset));
        }
    }
    Ok(None)
}
