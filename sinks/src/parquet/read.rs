//! Reading the changelogs of a Parquet directory back; also while a writer has it open.
//!
//! The files of a manifest stay for one flush after they were merged away. A reader that takes longer than
//! that beside a live writer meets an I/O error and has to be opened anew.

use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::record_batch::RecordBatch;
use lsie_schemas::{Change, LogTime, Table};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::parquet::codec;
use crate::parquet::manifest::{FileEntry, Manifest, Run};
use crate::{Catalog, Error};

/// The content of a directory as of its manifest at opening.
#[derive(Debug)]
pub struct Reader {
    dir: PathBuf,
    manifest: Manifest,
}

impl Reader {
    /// Opens a directory for reading.
    pub fn open(dir: &Path) -> Result<Reader, Error> {
        let manifest =
            Manifest::read(dir)?.ok_or_else(|| Error::refused(dir, "no manifest: not a result directory"))?;
        Ok(Reader { dir: dir.to_owned(), manifest })
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The newest epoch in it.
    pub fn committed(&self) -> Option<LogTime> {
        self.manifest.committed()
    }

    /// Looks whether every file that the manifest names is there and may be read; of what is in them nothing is read.
    pub fn is_whole(&self) -> Result<(), Error> {
        for name in self.manifest.file_names() {
            let path = self.dir.join(name);
            File::open(&path).map_err(Error::io(&path))?;
        }
        Ok(())
    }

    /// What wrote it.
    pub fn run(&self) -> &Run {
        &self.manifest.run
    }

    /// Whether it has a table, maybe without rows. Refused if the table has other columns there.
    pub fn has(&self, table: &Table) -> Result<bool, Error> {
        self.manifest.has(&self.dir, table)
    }

    /// The tables in it that a catalog does not know.
    pub fn unknown(&self, catalog: &Catalog) -> Vec<String> {
        self.manifest.table_names().filter(|name| catalog.table(name).is_none()).map(str::to_owned).collect()
    }

    /// All changes of a table, epochs ascending, in batches as they lie in the files.
    pub fn batches<'a>(&'a self, table: &'a Table) -> impl Iterator<Item = Result<Vec<Change>, Error>> + 'a {
        self.batches_after(table, None)
    }

    /// The same without the files that hold nothing later than `after`.
    fn batches_after<'a>(
        &'a self,
        table: &'a Table,
        after: Option<LogTime>,
    ) -> impl Iterator<Item = Result<Vec<Change>, Error>> + 'a {
        let files = self.manifest.files(table).iter();
        files.filter(move |file| Some(LogTime(file.last_epoch_ms)) > after).flat_map(move |file| {
            let path = self.dir.join(&file.name);
            let mut rows = 0;
            batches(&self.dir, file).map(move |batch| {
                let batch = batch?;
                rows += batch.num_rows() as u64;
                let changes = codec::decode(table, &batch).map_err(|e| Error::damaged(&path, e))?;
                let epochs = file.first_epoch_ms..=file.last_epoch_ms;
                match changes.iter().all(|change| epochs.contains(&change.epoch.0)) && rows <= file.rows {
                    true => Ok(changes),
                    false => Err(Error::damaged(&path, "not the rows that the manifest names")),
                }
            })
        })
    }

    /// All changes of a table, epochs ascending.
    pub fn changes<'a>(&'a self, table: &'a Table) -> impl Iterator<Item = Result<Change, Error>> + 'a {
        self.changes_after(table, None)
    }

    /// The changes of a table after an epoch, epochs ascending.
    pub(crate) fn changes_after<'a>(
        &'a self,
        table: &'a Table,
        after: Option<LogTime>,
    ) -> impl Iterator<Item = Result<Change, Error>> + 'a {
        self.batches_after(table, after).flat_map(move |batch| match batch {
            Ok(changes) => {
                let later = changes.into_iter().filter(|change| Some(change.epoch) > after);
                later.map(Ok).collect::<Vec<_>>()
            }
            Err(error) => vec![Err(error)],
        })
    }
}

/// The batches of a file; a file that cannot be opened gives one error.
pub(crate) fn batches(
    dir: &Path,
    file: &FileEntry,
) -> impl Iterator<Item = Result<RecordBatch, Error>> + use<> {
    let path = dir.join(&file.name);
    let opened = open(&path, file.rows);
    let (reader, error) = match opened {
        Ok(reader) => (Some(reader), None),
        Err(error) => (None, Some(Err(error))),
    };
    let batches = reader.into_iter().flatten().map(move |batch| batch.map_err(|e| Error::damaged(&path, e)));
    error.into_iter().chain(batches)
}

/// Opens a file and checks its number of rows.
fn open(
    path: &Path,
    rows: u64,
) -> Result<impl Iterator<Item = Result<RecordBatch, arrow::error::ArrowError>> + use<>, Error> {
    let file = File::open(path).map_err(Error::io(path))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| Error::damaged(path, e))?;
    let found = builder.metadata().file_metadata().num_rows();
    if u64::try_from(found) != Ok(rows) {
        return Err(Error::damaged(path, format!("{found} rows, the manifest says {rows}")));
    }
    builder.build().map_err(|e| Error::damaged(path, e))
}
