//! Segment files: their names, and a source that walks the frames of one with bounded memory.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use lsie_schemas::log::LogError;

use super::frame::{FrameHeader, HEADER, MAGIC, NoFrame};

const EXTENSION: &str = "log";
/// Bytes read at a time while only headers are wanted or damage is inspected.
const SCAN_CHUNK: usize = 64 * 1024;

/// The file of the segment whose first record has offset `base`.
pub(super) fn path(dir: &Path, base: i64) -> PathBuf {
    dir.join(format!("{base:020}.{EXTENSION}"))
}

/// Base offsets of the segments of a partition directory, ascending; empty if it does not exist.
pub(super) fn list(dir: &Path) -> Result<Vec<i64>, LogError> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(io_error("list", dir, e)),
    };
    let mut bases = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| io_error("list", dir, e))?.path();
        if path.extension().is_some_and(|e| e == EXTENSION) {
            let base = path.file_stem().and_then(|s| s.to_str()).and_then(|s| s.parse::<i64>().ok());
            bases.push(base.ok_or_else(|| damaged(&path, 0, "a segment's name is its base offset"))?);
        }
    }
    bases.sort_unstable();
    Ok(bases)
}

/// The error for a failed file operation, by what the caller can do about it.
pub(super) fn io_error(doing: &str, path: &Path, e: io::Error) -> LogError {
    let text = format!("cannot {doing} {}: {e}", path.display());
    match e.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => LogError::Refused(text),
        io::ErrorKind::NotFound => LogError::Missing(text),
        _ => LogError::Unavailable(text),
    }
}

/// The error for bytes that are not what was written.
pub(super) fn damaged(path: &Path, position: u64, why: &str) -> LogError {
    LogError::Corrupt(format!("{} at byte {position}: {why}", path.display()))
}

/// A frame with its checked payload.
pub(super) struct Frame {
    pub(super) header: FrameHeader,
    pub(super) stored: Bytes,
    /// Where it begins in the file.
    pub(super) position: u64,
}

/// What stands at the position of a source.
pub(super) enum Step<T> {
    /// A complete frame; the source moved past it.
    Frame(T),
    /// No complete frame (yet): the end of the file, or a tail that was never completely written.
    End,
}

/// Walks the frames of one segment from a position, and can go on when the file grows.
pub(super) struct FrameSource {
    file: File,
    path: PathBuf,
    base: i64,
    /// Where `buffer` begins in the file: the start of a frame.
    position: u64,
    buffer: Bytes,
    chunk: usize,
}

impl FrameSource {
    /// Opens a segment at its start. `chunk` bytes are read at a time, or a whole frame if it is larger.
    pub(super) fn open(dir: &Path, base: i64, chunk: usize) -> Result<FrameSource, LogError> {
        let path = path(dir, base);
        let file = File::open(&path).map_err(|e| io_error("open", &path, e))?;
        Ok(FrameSource { file, path, base, position: 0, buffer: Bytes::new(), chunk })
    }

    /// The position of the next frame.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The offset of the segment's first record.
    pub(super) fn base(&self) -> i64 {
        self.base
    }

    /// The file's path, for messages.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Length of the file now.
    pub(super) fn file_len(&self) -> Result<u64, LogError> {
        Ok(self.file.metadata().map_err(|e| io_error("inspect", &self.path, e))?.len())
    }

    /// Whether retention has removed the file meanwhile.
    pub(super) fn is_removed(&self) -> Result<bool, LogError> {
        let metadata = self.file.metadata().map_err(|e| io_error("inspect", &self.path, e))?;
        Ok(metadata.nlink() == 0)
    }

    /// Goes to the start of a frame and forgets what was read ahead.
    pub(super) fn seek(&mut self, position: u64) {
        self.position = position;
        self.buffer = Bytes::new();
    }

    /// Frees what was read ahead.
    pub(super) fn release(&mut self) {
        self.buffer = Bytes::new();
    }

    /// The next frame with its payload, checksums verified.
    pub(super) fn next_frame(&mut self) -> Result<Step<Frame>, LogError> {
        let Step::Frame(header) = self.peek()? else { return Ok(Step::End) };
        if !self.fill(header.len())? {
            return Ok(Step::End);
        }
        if !header.holds(&self.buffer[HEADER..header.len()]) {
            return self.torn_or_damaged("payload checksum");
        }
        let mut frame = self.buffer.split_to(header.len());
        let position = self.position;
        self.position += header.len() as u64;
        let stored = frame.split_off(HEADER);
        Ok(Step::Frame(Frame { header, stored, position }))
    }

    /// The next frame's header; its payload is skipped unread and unchecked.
    pub(super) fn next_header(&mut self) -> Result<Step<FrameHeader>, LogError> {
        let Step::Frame(header) = self.peek()? else { return Ok(Step::End) };
        let end = self.position + header.len() as u64;
        if header.len() <= self.buffer.len() {
            let _skipped = self.buffer.split_to(header.len());
            self.position = end;
        } else if end <= self.file_len()? {
            self.seek(end);
        } else {
            self.release();
            return Ok(Step::End);
        }
        Ok(Step::Frame(header))
    }

    /// The header at the position, without moving.
    pub(super) fn peek(&mut self) -> Result<Step<FrameHeader>, LogError> {
        if !self.fill(HEADER)? {
            return Ok(Step::End);
        }
        match FrameHeader::parse(&self.buffer) {
            Ok(header) => Ok(Step::Frame(header)),
            Err(NoFrame::Damaged(why)) => self.torn_or_damaged(why),
            Err(NoFrame::Version(version)) => Err(LogError::Refused(format!(
                "{} at byte {}: frame version {version} is newer than this program",
                self.path.display(),
                self.position
            ))),
        }
    }

    /// Makes `buffer` hold at least `wanted` bytes; false, with nothing buffered, if the file has fewer.
    fn fill(&mut self, wanted: usize) -> Result<bool, LogError> {
        if self.buffer.len() >= wanted {
            return Ok(true);
        }
        self.release();
        // No more than the file has: records keep their buffer alive, so it must not be larger than they.
        let available = self.file_len()?.saturating_sub(self.position);
        if available < wanted as u64 {
            return Ok(false);
        }
        let len = (wanted.max(self.chunk) as u64).min(available) as usize;
        let bytes = read_at(&self.file, &self.path, self.position, len)?;
        if bytes.len() >= wanted {
            self.buffer = bytes;
        }
        Ok(self.buffer.len() >= wanted)
    }

    /// A bad frame is a torn tail if no frame follows it in the file, and damage otherwise.
    fn torn_or_damaged<T>(&mut self, why: &str) -> Result<Step<T>, LogError> {
        let bad = self.position;
        self.release();
        if self.frame_follows(bad + 1)? { Err(damaged(&self.path, bad, why)) } else { Ok(Step::End) }
    }

    fn frame_follows(&self, from: u64) -> Result<bool, LogError> {
        let mut at = from;
        loop {
            let bytes = read_at(&self.file, &self.path, at, SCAN_CHUNK)?;
            if bytes.len() < HEADER {
                return Ok(false);
            }
            let candidates = bytes.len() - HEADER + 1;
            let starts = (0..candidates).filter(|i| bytes[*i..].starts_with(&MAGIC));
            for start in starts {
                if !matches!(FrameHeader::parse(&bytes[start..]), Err(NoFrame::Damaged(_))) {
                    return Ok(true);
                }
            }
            at += candidates as u64;
        }
    }
}

/// Up to `len` bytes from `position`; fewer only at the end of the file.
fn read_at(mut file: &File, path: &Path, position: u64, len: usize) -> Result<Bytes, LogError> {
    // Through `Take`, which reads into memory that nobody has filled with zeros before.
    let mut bytes = Vec::with_capacity(len);
    let read =
        file.seek(SeekFrom::Start(position)).and_then(|_| file.take(len as u64).read_to_end(&mut bytes));
    read.map_err(|e| io_error("read", path, e))?;
    Ok(Bytes::from(bytes))
}
