//! The Parquet target: a directory of changelog files per table, and one manifest that names them.
//!
//! ```text
//! DIR/manifest.json            the committed epoch and the live files of every table
//! DIR/<table>/00000001.parquet columns of the table, then `_epoch` (log time, ms) and `_diff`
//! ```
//!
//! Files are written under a temporary name, synced and renamed; then the manifest is replaced the same way.
//! What the manifest does not name does not exist: it is ignored by readers and removed at the next open.

mod codec;
mod epochs;
mod erase;
mod file;
mod manifest;
mod merge;
pub mod read;

use std::fs::File;
use std::path::{Path, PathBuf};

use lsie_schemas::{Change, LogTime};

pub use manifest::Run;
pub use read::Reader;

use crate::order::Order;
use crate::size::size;
use crate::{Catalog, Error, Sink};
use manifest::Manifest;

/// When buffered rows go to files, and how many files a table may have.
#[derive(Clone, Debug)]
pub struct Options {
    /// Flush at this many buffered rows.
    pub flush_rows: usize,
    /// Flush at about this many buffered bytes.
    pub flush_bytes: usize,
    /// Flush after this much log time.
    pub flush_epochs_ms: u64,
    /// Merge files of a table above this number.
    pub max_files: usize,
    /// What wrote the files; kept in the manifest for people.
    pub run: Run,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            flush_rows: 200_000,
            flush_bytes: 32 << 20,
            flush_epochs_ms: 10_000,
            max_files: 16,
            run: Run::default(),
        }
    }
}

/// A sink into a directory. One process at a time: the directory is locked while the sink lives.
#[derive(Debug)]
pub struct ParquetSink {
    dir: PathBuf,
    catalog: Catalog,
    options: Options,
    manifest: Manifest,
    order: Order,
    /// Rows per table of epochs not yet committed.
    pending: Vec<Vec<Change>>,
    /// Rows per table of committed epochs, not yet in a file.
    buffered: Vec<Vec<Change>>,
    buffered_rows: usize,
    buffered_bytes: usize,
    /// Merged files, kept for one more flush for the sake of readers of the last manifest.
    obsolete: Vec<PathBuf>,
    _lock: File,
}

impl ParquetSink {
    /// Opens a directory of an earlier run, or makes a new one where nothing is.
    ///
    /// Refused: a directory that holds anything else, one that another writer has open, and one whose
    /// tables have other columns than the catalog's.
    pub fn open(dir: &Path, catalog: Catalog, options: Options) -> Result<ParquetSink, Error> {
        let lock = file::claim(dir)?;
        let mut manifest = Manifest::read(dir)?.unwrap_or_default();
        manifest.adopt(dir, &catalog)?;
        manifest.run = options.run.clone();
        for table in catalog.tables() {
            file::make_dir(&dir.join(table.name))?;
        }
        manifest.write(dir)?;
        file::remove_unnamed(dir, &manifest)?;
        let empty = vec![Vec::new(); catalog.tables().len()];
        Ok(ParquetSink {
            dir: dir.to_owned(),
            order: Order::after(manifest.committed()),
            pending: empty.clone(),
            buffered: empty,
            buffered_rows: 0,
            buffered_bytes: 0,
            obsolete: Vec::new(),
            catalog,
            options,
            manifest,
            _lock: lock,
        })
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether the rows and epochs that are only in memory should go to disk.
    fn is_flush_due(&self) -> bool {
        let Some(committed) = self.order.committed() else { return false };
        let age_ms = self.manifest.committed().map(|durable| committed.0.saturating_sub(durable.0));
        self.buffered_rows >= self.options.flush_rows
            || self.buffered_bytes >= self.options.flush_bytes
            || age_ms.is_none_or(|age| age >= self.options.flush_epochs_ms)
    }

    /// Writes the buffered rows of each table into one new file each, and merges where there are too many.
    fn write_files(&mut self, manifest: &mut Manifest) -> Result<Vec<PathBuf>, Error> {
        let mut obsolete = Vec::new();
        for (table, changes) in self.catalog.tables().iter().zip(&self.buffered) {
            if changes.is_empty() {
                continue;
            }
            let number = manifest.take_number();
            let entry = file::write_changes(&self.dir, table, number, changes)?;
            manifest.add(table, entry);
            let files = manifest.files(table);
            if files.len() > self.options.max_files {
                let from = merge::first_to_merge(files);
                let replaced = files[from..].to_vec();
                let number = manifest.take_number();
                let merged = merge::merge(&self.dir, table, number, &replaced)?;
                manifest.replace(table, from, merged);
                obsolete.extend(replaced.iter().map(|entry| self.dir.join(&entry.name)));
            }
        }
        Ok(obsolete)
    }
}

impl Sink for ParquetSink {
    fn write(&mut self, epoch: LogTime, changes: &[Change]) -> Result<(), Error> {
        if !self.order.write(epoch)? {
            return Ok(());
        }
        for change in changes {
            let at = self.catalog.check(epoch, change)?;
            self.pending[at].push(change.clone());
        }
        Ok(())
    }

    fn commit(&mut self, epoch: LogTime) -> Result<(), Error> {
        if !self.order.commit(epoch)? {
            return Ok(());
        }
        for (pending, buffered) in self.pending.iter_mut().zip(&mut self.buffered) {
            self.buffered_rows += pending.len();
            self.buffered_bytes += pending.iter().map(size).sum::<usize>();
            buffered.append(pending);
        }
        if self.is_flush_due() { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Error> {
        if self.order.committed() == self.manifest.committed() {
            return Ok(());
        }
        let mut manifest = self.manifest.clone();
        let obsolete = self.write_files(&mut manifest)?;
        manifest.set_committed(self.order.committed());
        manifest.write(&self.dir)?;
        // From here on the rows are durable.
        self.manifest = manifest;
        for buffered in &mut self.buffered {
            buffered.clear();
        }
        (self.buffered_rows, self.buffered_bytes) = (0, 0);
        file::remove(&std::mem::replace(&mut self.obsolete, obsolete))
    }

    fn committed(&self) -> Option<LogTime> {
        self.manifest.committed()
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.flush()?;
        file::remove(&std::mem::take(&mut self.obsolete))
    }
}
