//! The writing end of one partition: recovery at open, appends, new segments, retention.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use lsie_schemas::LogTime;
use lsie_schemas::log::{Appended, LogError, NewRecord, TopicPartition};

use super::frame::FrameBuilder;
use super::meta::sync_dir;
use super::segment::{self, FrameSource, Step, io_error};

const RECOVERY_CHUNK: usize = 1 << 20;
/// Sealed frames are written when they reach this, so that an append of any size needs bounded memory.
const WRITE_BYTES: usize = 4 << 20;

/// Appends to the newest segment of a partition; exists only under the directory's writer lock.
pub(super) struct PartitionWriter {
    at: TopicPartition,
    dir: PathBuf,
    file: File,
    path: PathBuf,
    /// Bytes in the segment.
    len: u64,
    /// Timestamp of the segment's first frame, if it has one.
    since: Option<u64>,
    /// Offset of the next record.
    next: i64,
    /// Largest timestamp of the partition so far.
    running_max: u64,
    /// Whether something was written that is not yet known to be on the disk.
    dirty: bool,
    /// The offsets before `next` hold no record.
    gap: bool,
    builder: FrameBuilder,
    out: Vec<u8>,
}

impl PartitionWriter {
    /// Opens the partition for writing and cuts a tail that was never completely written. One that has no records
    /// begins at the offset `first`.
    pub(super) fn open(at: TopicPartition, dir: PathBuf, first: i64) -> Result<PartitionWriter, LogError> {
        let base = segment::list(&dir)?.last().copied();
        let Some(base) = base else { return PartitionWriter::begin(at, dir, first, 0) };
        let path = segment::path(&dir, base);
        let file = OpenOptions::new().append(true).open(&path).map_err(|e| io_error("open", &path, e))?;
        let end = scan(&dir, base)?;
        let len = file.metadata().map_err(|e| io_error("inspect", &path, e))?.len();
        if end.position < len {
            let cut = len - end.position;
            tracing::warn!(
                file = %path.display(), position = end.position, bytes = cut, next_offset = end.next,
                "cut a torn tail: its records were never acknowledged"
            );
            let truncated = file.set_len(end.position).and_then(|()| file.sync_all());
            truncated.map_err(|e| io_error("truncate", &path, e))?;
        }
        let running_max = match end.running_max {
            Some(max) => max,
            None => running_max_before(&dir, base)?,
        };
        Ok(PartitionWriter {
            at,
            dir,
            file,
            path,
            len: end.position,
            since: end.since,
            next: end.next,
            running_max,
            dirty: true,
            gap: false,
            builder: FrameBuilder::default(),
            out: Vec::new(),
        })
    }

    fn begin(at: TopicPartition, dir: PathBuf, next: i64, running_max: u64) -> Result<Self, LogError> {
        let (file, path) = create(&dir, next)?;
        let (builder, out) = (FrameBuilder::default(), Vec::new());
        Ok(PartitionWriter {
            at,
            dir,
            file,
            path,
            len: 0,
            since: None,
            next,
            running_max,
            dirty: false,
            gap: false,
            builder,
            out,
        })
    }

    /// Offset of the next record.
    pub(super) fn next(&self) -> i64 {
        self.next
    }

    /// Largest timestamp of the partition so far.
    pub(super) fn running_max(&self) -> u64 {
        self.running_max
    }

    /// Appends records with their timestamps. After an error it is unknown what was written, and the
    /// writer must be opened again.
    pub(super) fn append<'a>(
        &mut self,
        records: impl Iterator<Item = (u64, &'a NewRecord)>,
        segment_bytes: u64,
        mut zstd: Option<&mut zstd::bulk::Compressor<'static>>,
        mut appended: impl FnMut(Appended),
    ) -> Result<(), LogError> {
        for (timestamp, record) in records {
            let offset = self.next + i64::from(self.builder.count());
            self.builder.push(record, timestamp);
            self.since = self.since.or(Some(timestamp));
            appended(Appended { at: self.at, offset, log_time: LogTime(timestamp) });
            if self.builder.is_full() {
                self.seal(zstd.as_deref_mut());
                if self.out.len() >= WRITE_BYTES {
                    self.write(segment_bytes)?;
                }
            }
        }
        if self.builder.count() > 0 {
            self.seal(zstd);
        }
        self.write(segment_bytes)
    }

    /// The next record will have this offset; those between hold none.
    pub(super) fn skip_to(&mut self, offset: i64) -> Result<(), LogError> {
        if offset < self.next {
            let (at, next) = (self.at, self.next);
            return Err(LogError::Refused(format!("{at} has come to offset {next}, {offset} is before it")));
        }
        self.gap = offset > self.next;
        self.next = offset;
        Ok(())
    }

    fn seal(&mut self, zstd: Option<&mut zstd::bulk::Compressor<'static>>) {
        let count = i64::from(self.builder.count());
        let base = (self.next, std::mem::take(&mut self.gap));
        self.running_max = self.builder.seal(base, self.running_max, zstd, &mut self.out);
        self.next += count;
    }

    /// Hands sealed frames to the operating system, and begins a new segment when this one has its size.
    fn write(&mut self, segment_bytes: u64) -> Result<(), LogError> {
        self.file.write_all(&self.out).map_err(|e| io_error("append to", &self.path, e))?;
        self.len += self.out.len() as u64;
        self.dirty = true;
        self.out.clear();
        self.out.shrink_to(WRITE_BYTES);
        if self.len >= segment_bytes { self.roll() } else { Ok(()) }
    }

    /// Makes everything appended so far durable.
    pub(super) fn sync(&mut self) -> Result<(), LogError> {
        if std::mem::take(&mut self.dirty) {
            self.file.sync_data().map_err(|e| io_error("sync", &self.path, e))?;
        }
        Ok(())
    }

    /// Removes segments whose records are all older than `oldest`. The newest segment is closed first
    /// when it began before `close_before`, so that a slow partition expires too.
    pub(super) fn expire(&mut self, oldest: u64, close_before: u64) -> Result<(), LogError> {
        if self.since.is_some_and(|since| since < close_before) {
            self.roll()?;
        }
        let bases = segment::list(&self.dir)?;
        for pair in bases.windows(2) {
            let newest_in_first = if pair[1] == self.next && self.len == 0 {
                Some(self.running_max)
            } else {
                first_header_max_before(&self.dir, pair[1])?
            };
            if newest_in_first.is_none_or(|max| max >= oldest) {
                break;
            }
            let path = segment::path(&self.dir, pair[0]);
            fs::remove_file(&path).map_err(|e| io_error("remove", &path, e))?;
            tracing::info!(file = %path.display(), "removed an expired segment");
        }
        Ok(())
    }

    /// Closes the segment, durably, and begins the next.
    fn roll(&mut self) -> Result<(), LogError> {
        self.dirty = true;
        self.sync()?;
        (self.file, self.path) = create(&self.dir, self.next)?;
        self.len = 0;
        self.since = None;
        Ok(())
    }
}

/// The largest timestamp before a segment, by its first frame; `None` if it has no frame.
pub(super) fn first_header_max_before(dir: &Path, base: i64) -> Result<Option<u64>, LogError> {
    let mut source = FrameSource::open(dir, base, 0)?;
    match source.peek()? {
        Step::Frame(header) => Ok(Some(header.max_before)),
        Step::End => Ok(None),
    }
}

/// Where the complete frames of a segment end.
struct End {
    position: u64,
    next: i64,
    since: Option<u64>,
    /// `None`: the segment has no frame.
    running_max: Option<u64>,
}

/// Reads a whole segment and verifies it.
fn scan(dir: &Path, base: i64) -> Result<End, LogError> {
    let mut source = FrameSource::open(dir, base, RECOVERY_CHUNK)?;
    let mut end = End { position: 0, next: base, since: None, running_max: None };
    while let Step::Frame(frame) = source.next_frame()? {
        if !frame.header.follows(end.next) {
            return Err(segment::damaged(source.path(), frame.position, "offsets are not contiguous"));
        }
        end.next = frame.header.next();
        end.since = end.since.or(Some(frame.header.max));
        end.running_max = Some(frame.header.running_max());
    }
    end.position = source.position();
    Ok(end)
}

/// The running maximum at the start of an empty newest segment: read from the one before.
fn running_max_before(dir: &Path, base: i64) -> Result<u64, LogError> {
    let bases = segment::list(dir)?;
    let Some(before) = bases.iter().rev().find(|b| **b < base) else { return Ok(0) };
    let end = scan(dir, *before)?;
    Ok(end.running_max.unwrap_or(0))
}

fn create(dir: &Path, base: i64) -> Result<(File, PathBuf), LogError> {
    let path = segment::path(dir, base);
    let file = OpenOptions::new().append(true).create(true).open(&path);
    let file = file.map_err(|e| io_error("create", &path, e))?;
    sync_dir(dir)?;
    Ok((file, path))
}
