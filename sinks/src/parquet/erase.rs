//! Erasing sessions from the files of a directory: files that hold rows of theirs are written anew without them.

use std::collections::BTreeMap;

use lsie_schemas::Table;

use super::manifest::FileEntry;
use super::{ParquetSink, codec, file, read};
use crate::erase::Erased;
use crate::{Error, Sink};

/// What a file holds besides rows that go.
#[derive(Default)]
struct Left {
    rows: u64,
    /// Changes that go, or become others.
    touched: u64,
    first_epoch_ms: u64,
    last_epoch_ms: u64,
}

impl ParquetSink {
    /// Erases sessions. Gives for each table how many lines of its changelog went or became others. The new files are
    /// named all at once; what holds the old rows is removed then. After a crash the same call finishes.
    pub fn erase(&mut self, erased: &Erased) -> Result<BTreeMap<&'static str, u64>, Error> {
        self.flush()?;
        let (mut manifest, mut touched, mut old) = (self.manifest.clone(), BTreeMap::new(), Vec::new());
        for table in self.catalog.tables() {
            let mut files = Vec::new();
            for entry in self.manifest.files(table) {
                let left = self.left(table, entry, erased)?;
                if left.touched == 0 {
                    files.push(entry.clone());
                    continue;
                }
                *touched.entry(table.name).or_insert(0) += left.touched;
                old.push(self.dir.join(&entry.name));
                if left.rows > 0 {
                    let number = manifest.take_number();
                    let batches = self.rest(table, entry, erased);
                    let name = file::write_batches(&self.dir, table, number, batches)?;
                    let Left { rows, first_epoch_ms, last_epoch_ms, .. } = left;
                    files.push(FileEntry { name, rows, first_epoch_ms, last_epoch_ms });
                }
            }
            manifest.put(table, files);
        }
        manifest.write(&self.dir)?;
        self.manifest = manifest;
        old.append(&mut self.obsolete);
        file::remove(&old)?;
        Ok(touched)
    }

    /// Reads a file, and says what is left of it.
    fn left(&self, table: &Table, entry: &FileEntry, erased: &Erased) -> Result<Left, Error> {
        let mut left = Left::default();
        for batch in read::batches(&self.dir, entry) {
            for change in self.decode(table, entry, &batch?)? {
                let kept = erased.keep(change.clone());
                left.touched += u64::from(kept.as_ref() != Some(&change));
                let Some(kept) = kept else { continue };
                if left.rows == 0 {
                    left.first_epoch_ms = kept.epoch.0;
                }
                left.rows += 1;
                left.last_epoch_ms = kept.epoch.0;
            }
        }
        Ok(left)
    }

    /// The batches of a file without what goes.
    fn rest<'a>(
        &'a self,
        table: &'a Table,
        entry: &'a FileEntry,
        erased: &'a Erased,
    ) -> impl Iterator<Item = Result<arrow::record_batch::RecordBatch, Error>> + 'a {
        read::batches(&self.dir, entry).map(move |batch| {
            let changes = self.decode(table, entry, &batch?)?;
            let kept: Vec<_> = changes.into_iter().filter_map(|change| erased.keep(change)).collect();
            codec::encode(table, &kept)
        })
    }

    fn decode(
        &self,
        table: &Table,
        entry: &FileEntry,
        batch: &arrow::record_batch::RecordBatch,
    ) -> Result<Vec<lsie_schemas::Change>, Error> {
        codec::decode(table, batch).map_err(|why| Error::damaged(&self.dir.join(&entry.name), why))
    }
}
