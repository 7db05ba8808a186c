//! Files of a Parquet directory: claimed, written atomically, removed when no manifest names them.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use lsie_schemas::{Change, Table, shape};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use crate::Error;
use crate::parquet::codec;
use crate::parquet::manifest::{FileEntry, Manifest};

const LOCK: &str = ".lock";
const TEMPORARY: &str = "tmp";
/// Rows that are turned into columns at a time.
const BATCH_ROWS: usize = 8_192;

/// Makes the directory if needed, and locks it until the file is dropped. Refuses what is not ours.
pub(crate) fn claim(dir: &Path) -> Result<File, Error> {
    // Before the lock: leave no trace in what is not ours.
    if dir.exists() && Manifest::read(dir)?.is_none() {
        check_new(dir)?;
    }
    make_dir(dir)?;
    let path = dir.join(LOCK);
    let lock = File::create(&path).map_err(Error::io(&path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(Error::refused(dir, "another process writes to it")),
        Err(TryLockError::Error(error)) => Err(Error::io(&path)(error)),
    }
}

/// Refuses a directory without manifest that holds more than a first start, cut short, leaves behind.
fn check_new(dir: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(dir).map_err(Error::io(dir))? {
        let entry = entry.map_err(Error::io(dir))?;
        let path = entry.path();
        let harmless = entry.file_name() == LOCK || is_temporary(&path) || is_empty_dir(&path);
        if !harmless {
            return Err(Error::refused(dir, "not empty, and not a target of this engine"));
        }
    }
    Ok(())
}

/// Makes a directory and those above it.
pub(crate) fn make_dir(dir: &Path) -> Result<(), Error> {
    fs::create_dir_all(dir).map_err(Error::io(dir))
}

/// Removes Parquet and temporary files that the manifest does not name.
pub(crate) fn remove_unnamed(dir: &Path, manifest: &Manifest) -> Result<(), Error> {
    let named: BTreeSet<PathBuf> = manifest.file_names().map(|name| dir.join(name)).collect();
    let mut unnamed = Vec::new();
    for table in manifest.table_names() {
        let folder = dir.join(table);
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(Error::io(&folder)(error)),
        };
        for entry in entries {
            let path = entry.map_err(Error::io(&folder))?.path();
            let ours = path.extension().is_some_and(|ext| ext == "parquet" || ext == TEMPORARY);
            if ours && !named.contains(&path) {
                unnamed.push(path);
            }
        }
    }
    remove(&unnamed)
}

/// Removes files; one that is gone already is no error.
pub(crate) fn remove(paths: &[PathBuf]) -> Result<(), Error> {
    for path in paths {
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(Error::io(path)(error)),
            _ => {}
        }
    }
    Ok(())
}

/// Writes changes of ascending epochs as file `number` of a table.
pub(crate) fn write_changes(
    dir: &Path,
    table: &Table,
    number: u64,
    changes: &[Change],
) -> Result<FileEntry, Error> {
    let batches = changes.chunks(BATCH_ROWS).map(|chunk| codec::encode(table, chunk));
    let name = write_batches(dir, table, number, batches)?;
    let epoch = |change: Option<&Change>| change.map_or(0, |change| change.epoch.0);
    Ok(FileEntry {
        name,
        rows: changes.len() as u64,
        first_epoch_ms: epoch(changes.first()),
        last_epoch_ms: epoch(changes.last()),
    })
}

/// Writes batches as file `number` of a table; gives its name below the directory.
pub(crate) fn write_batches(
    dir: &Path,
    table: &Table,
    number: u64,
    batches: impl Iterator<Item = Result<RecordBatch, Error>>,
) -> Result<String, Error> {
    let name = format!("{}/{number:08}.parquet", table.name);
    let path = dir.join(&name);
    write_renamed(&path, |file| {
        let schema = Arc::new(shape::arrow_schema(table, true));
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let failed = |e| Error::io(&path)(std::io::Error::other(e));
        let mut writer = ArrowWriter::try_new(file, schema, Some(properties)).map_err(failed)?;
        for batch in batches {
            writer.write(&batch?).map_err(failed)?;
        }
        writer.into_inner().map_err(failed)
    })?;
    Ok(name)
}

/// Replaces a file by these bytes, so that a crash leaves either the old or the new content.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    write_renamed(path, |mut file| {
        file.write_all(bytes).map_err(Error::io(path))?;
        Ok(file)
    })
}

/// Has a temporary file filled, syncs it, renames it to `path` and syncs the directory.
fn write_renamed(path: &Path, fill: impl FnOnce(File) -> Result<File, Error>) -> Result<(), Error> {
    let temporary = path.with_extension(TEMPORARY);
    let file = fill(File::create(&temporary).map_err(Error::io(&temporary))?)?;
    file.sync_all().map_err(Error::io(&temporary))?;
    fs::rename(&temporary, path).map_err(Error::io(path))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::io(folder))
}

fn is_temporary(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "manifest.tmp")
}

fn is_empty_dir(path: &Path) -> bool {
    path.is_dir() && fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}
