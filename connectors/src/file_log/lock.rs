//! The writer's lock: one process writes to a directory, any number read.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use lsie_schemas::log::LogError;

use super::segment::io_error;

/// Held while this process may write; the operating system frees it when the process ends, however.
pub(super) struct WriterLock {
    _file: File,
}

impl WriterLock {
    /// Takes the lock of a directory, or says who has it.
    pub(super) fn take(dir: &Path) -> Result<WriterLock, LogError> {
        std::fs::create_dir_all(dir).map_err(|e| io_error("create", dir, e))?;
        let path = dir.join("lock");
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = options.map_err(|e| io_error("open", &path, e))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = file.read_to_string(&mut holder);
                return Err(LogError::Refused(format!(
                    "{} is being written by process {}: stop it, share its log, or take another directory",
                    dir.display(),
                    holder.trim()
                )));
            }
            Err(TryLockError::Error(e)) => return Err(io_error("lock", &path, e)),
        }
        let noted = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        noted.map_err(|e| io_error("write", &path, e))?;
        Ok(WriterLock { _file: file })
    }
}
