//! The reading end: walks assigned partitions in turn and tails them, in any process.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use lsie_schemas::log::{Fetch, LogError, LogReader, LogRecord, TopicPartition};

use super::Shared;
use super::frame;
use super::segment::{self, FrameSource, Step};
use crate::clock::now;

/// How often growth is looked for when another process writes.
const FOREIGN_WRITER_POLL: Duration = Duration::from_millis(10);
const SMALLEST_CHUNK: usize = 16 << 10;
const LARGEST_CHUNK: usize = 512 << 10;

/// Reads a set of partitions. Holds at most one decoded frame, and per partition what one read from
/// its file brought; both within the prefetch budget unless a single record is larger.
pub(super) struct FileReader {
    shared: Arc<Shared>,
    parts: Vec<Part>,
    /// The partition whose turn it is.
    turn: usize,
    poll_bytes: usize,
}

impl FileReader {
    pub(super) fn new(
        shared: Arc<Shared>,
        from: &[(TopicPartition, i64)],
        fetch: Fetch,
    ) -> Result<FileReader, LogError> {
        let share = fetch.prefetch_bytes / (2 * from.len().max(1));
        let chunk = share.clamp(SMALLEST_CHUNK, LARGEST_CHUNK);
        let mut parts = Vec::with_capacity(from.len());
        for (at, offset) in from {
            if parts.iter().any(|part: &Part| part.at == *at) {
                return Err(LogError::Refused(format!("{at} is assigned twice")));
            }
            shared.require(*at)?;
            parts.push(Part::open(&shared, *at, *offset, chunk)?);
        }
        Ok(FileReader { shared, parts, turn: 0, poll_bytes: fetch.poll_bytes })
    }

    /// One pass over the partitions, a frame of each at a time, until the byte limit or the ends.
    fn collect(&mut self) -> Result<Vec<LogRecord>, LogError> {
        let mut out = Vec::new();
        let mut bytes = 0;
        let mut at_end = 0;
        while at_end < self.parts.len() {
            let part = &mut self.parts[self.turn];
            let before = out.len();
            let taken = part.take(&self.shared, &mut out, &mut bytes, self.poll_bytes);
            let more_fits = match taken {
                // What was read before the damage is returned first; the next poll meets it again.
                Err(_) if !out.is_empty() => break,
                taken => taken?,
            };
            if !more_fits {
                break;
            }
            at_end = if out.len() > before { 0 } else { at_end + 1 };
            self.turn = (self.turn + 1) % self.parts.len();
        }
        Ok(out)
    }
}

impl LogReader for FileReader {
    fn poll(&mut self, timeout: Duration) -> Result<Vec<LogRecord>, LogError> {
        let deadline = now() + timeout;
        loop {
            let seen = self.shared.signal.version();
            let records = self.collect()?;
            let left = deadline.saturating_duration_since(now());
            if !records.is_empty() || left.is_zero() {
                return Ok(records);
            }
            let wait = if self.shared.is_writer() { left } else { left.min(FOREIGN_WRITER_POLL) };
            self.shared.signal.wait(seen, wait);
        }
    }

    fn pause(&mut self, at: TopicPartition, paused: bool) -> Result<(), LogError> {
        let part = self.parts.iter_mut().find(|part| part.at == at);
        let part = part.ok_or_else(|| LogError::Missing(format!("{at} is not assigned to this reader")))?;
        part.pause(paused);
        Ok(())
    }

    fn position(&self, at: TopicPartition) -> Option<i64> {
        self.parts.iter().find(|part| part.at == at).map(|part| part.position)
    }
}

/// One assigned partition.
struct Part {
    at: TopicPartition,
    dir: std::path::PathBuf,
    chunk: usize,
    paused: bool,
    /// The next offset to hand out.
    position: i64,
    /// The segment being read; `None` until the partition has one.
    source: Option<FrameSource>,
    /// Decoded records of the current frame, and where that frame begins.
    pending: VecDeque<LogRecord>,
    pending_frame: u64,
    /// The end that this process's writer publishes.
    end: Arc<AtomicI64>,
    /// The position at which the directory was last looked through for later segments.
    listed_at: Option<i64>,
    /// The published end at which the file had nothing more; spares looking again until it moves.
    exhausted_at: Option<i64>,
}

impl Part {
    fn open(shared: &Shared, at: TopicPartition, offset: i64, chunk: usize) -> Result<Part, LogError> {
        let mut part = Part {
            at,
            dir: shared.partition_dir(at),
            chunk,
            paused: false,
            position: offset.max(0),
            source: None,
            pending: VecDeque::new(),
            pending_frame: 0,
            end: shared.end(at),
            listed_at: None,
            exhausted_at: None,
        };
        part.seek()?;
        Ok(part)
    }

    /// Finds the segment and the frame of the position; again if retention removed what was found.
    fn seek(&mut self) -> Result<(), LogError> {
        let mut found = self.try_seek();
        for _ in 0..3 {
            if !matches!(found, Err(LogError::Missing(_))) {
                break;
            }
            found = self.try_seek();
        }
        found
    }

    fn try_seek(&mut self) -> Result<(), LogError> {
        let bases = segment::list(&self.dir)?;
        let Some(first) = bases.first() else { return self.nothing_before(0) };
        if self.position < *first {
            tracing::warn!(partition = %self.at, from = self.position, to = first, "records have expired");
            self.position = *first;
        }
        let holding = bases.iter().rev().find(|base| **base <= self.position).unwrap_or(first);
        let mut source = FrameSource::open(&self.dir, *holding, self.chunk)?;
        let mut end = *holding;
        while end < self.position {
            let Step::Frame(header) = source.peek()? else { break };
            if header.next() > self.position {
                end = self.position;
                break;
            }
            end = header.next();
            source.next_header()?;
        }
        self.source = Some(source);
        self.nothing_before(end)
    }

    /// Refuses a position past the end: what was read there before is gone.
    fn nothing_before(&self, end: i64) -> Result<(), LogError> {
        if self.position <= end {
            return Ok(());
        }
        let (at, wanted) = (self.at, self.position);
        Err(LogError::Corrupt(format!("{at} ends at {end}, but offset {wanted} was there before")))
    }

    fn pause(&mut self, paused: bool) {
        self.paused = paused;
        if let Some(source) = &mut self.source {
            if self.pending.is_empty() {
                source.release();
            } else {
                source.seek(self.pending_frame);
            }
        }
        self.pending.clear();
        self.exhausted_at = None;
    }

    /// Takes the rest of the current frame, or one frame; false if the next record does not fit.
    fn take(
        &mut self,
        shared: &Shared,
        out: &mut Vec<LogRecord>,
        bytes: &mut usize,
        most: usize,
    ) -> Result<bool, LogError> {
        if self.paused {
            return Ok(true);
        }
        if self.pending.is_empty() {
            self.load(shared)?;
        }
        while let Some(record) = self.pending.front() {
            let size = record.size();
            if !out.is_empty() && *bytes + size > most {
                return Ok(false);
            }
            *bytes += size;
            self.position = record.offset + 1;
            out.extend(self.pending.pop_front());
        }
        Ok(true)
    }

    /// Decodes the next frame, if there is one.
    fn load(&mut self, shared: &Shared) -> Result<(), LogError> {
        let published = shared.is_writer().then(|| self.end.load(Ordering::Acquire));
        if published.is_some() && published == self.exhausted_at {
            return Ok(());
        }
        loop {
            if self.source.is_none() {
                self.seek()?;
            }
            let Some(source) = &mut self.source else { break };
            if let Step::Frame(frame) = source.next_frame()? {
                if frame.header.next() <= self.position {
                    continue;
                }
                if frame.header.base > self.position {
                    if !frame.header.gap {
                        let why = "offsets are not contiguous";
                        return Err(segment::damaged(source.path(), frame.position, why));
                    }
                    self.position = frame.header.base;
                }
                self.pending_frame = frame.position;
                let records = &mut self.pending;
                let decoded = frame::decode(&frame.header, frame.stored, self.at, self.position, records);
                return decoded.map_err(|why| {
                    self.pending.clear();
                    source.seek(frame.position);
                    segment::damaged(source.path(), frame.position, &why)
                });
            }
            if !self.next_segment()? {
                break;
            }
        }
        self.exhausted_at = published;
        Ok(())
    }

    /// Goes to the segment after an exhausted one; false if this is the newest.
    fn next_segment(&mut self) -> Result<bool, LogError> {
        let Some(source) = &mut self.source else { return Ok(false) };
        let next = segment::path(&self.dir, self.position);
        let base = if next != source.path() && next.exists() {
            self.position
        } else if self.listed_at == Some(self.position) && !source.is_removed()? {
            return Ok(false);
        } else {
            let bases = segment::list(&self.dir)?;
            let later = bases.into_iter().find(|base| *base >= self.position && *base != source.base());
            let Some(base) = later else {
                self.listed_at = Some(self.position);
                return Ok(false);
            };
            base
        };
        // The newer segment was made after this one was closed, so this one is complete: look once more.
        if let Step::Frame(_) = source.peek()? {
            return Ok(true);
        }
        let position = source.position();
        if source.file_len()? > position {
            return Err(segment::damaged(source.path(), position, "an incomplete frame in a closed segment"));
        }
        if base > self.position && !source.is_removed()? {
            let why = format!("the segments from offset {} up to {base} are missing after it", self.position);
            return Err(segment::damaged(source.path(), position, &why));
        }
        self.source = Some(FrameSource::open(&self.dir, base, self.chunk)?);
        self.position = base;
        Ok(true)
    }
}
