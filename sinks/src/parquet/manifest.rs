//! The manifest of a Parquet directory: the one file that decides what exists.

use std::collections::BTreeMap;
use std::path::Path;

use lsie_schemas::{LogTime, Table, shape};
use serde::{Deserialize, Serialize};

use crate::parquet::file;
use crate::{Catalog, Error};

const NAME: &str = "manifest.json";
const FORMAT: &str = "lsie-changelog";
const VERSION: u32 = 1;

/// What wrote a directory; for people, never compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The engine and its version.
    pub engine: String,
    /// The hash of its configuration.
    pub config: String,
}

/// A file of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileEntry {
    /// The path below the directory, with `/`.
    pub(crate) name: String,
    pub(crate) rows: u64,
    pub(crate) first_epoch_ms: u64,
    pub(crate) last_epoch_ms: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TableEntry {
    /// `name type`, with `?` where null is allowed; decides whether a reader understands the files.
    columns: Vec<String>,
    files: Vec<FileEntry>,
}

/// The content of the manifest.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    format: String,
    version: u32,
    /// All epochs up to this one are here; null before the first.
    committed_ms: Option<u64>,
    next_file: u64,
    pub(crate) run: Run,
    tables: BTreeMap<String, TableEntry>,
}

impl Default for Manifest {
    fn default() -> Manifest {
        Manifest {
            format: FORMAT.to_owned(),
            version: VERSION,
            committed_ms: None,
            next_file: 1,
            run: Run::default(),
            tables: BTreeMap::new(),
        }
    }
}

impl Manifest {
    /// The manifest of a directory, or `None` if it has none.
    pub(crate) fn read(dir: &Path) -> Result<Option<Manifest>, Error> {
        let path = dir.join(NAME);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io(&path)(error)),
        };
        let value: serde_json::Value =
            serde_json::from_slice(&bytes).map_err(|e| Error::damaged(&path, e))?;
        if value["format"] != FORMAT {
            return Err(Error::refused(&path, "not a manifest of changelogs"));
        }
        if value["version"] != VERSION {
            return Err(Error::refused(
                &path,
                format!("format version {}, known is {VERSION}", value["version"]),
            ));
        }
        let manifest: Manifest = serde_json::from_value(value).map_err(|e| Error::damaged(&path, e))?;
        manifest.check(&path)?;
        Ok(Some(manifest))
    }

    /// Replaces the manifest of a directory.
    pub(crate) fn write(&self, dir: &Path) -> Result<(), Error> {
        let path = dir.join(NAME);
        self.check(&path)?;
        let mut text = serde_json::to_vec_pretty(self).map_err(|e| Error::damaged(&path, e))?;
        text.push(b'\n');
        file::write_atomically(&path, &text)
    }

    /// Adds tables that are new; refuses tables whose columns changed.
    pub(crate) fn adopt(&mut self, dir: &Path, catalog: &Catalog) -> Result<(), Error> {
        for table in catalog.tables() {
            let columns = columns(table);
            match self.tables.get(table.name) {
                Some(entry) if entry.columns != columns => return Err(other_columns(dir, table)),
                Some(_) => {}
                None => {
                    self.tables.insert(table.name.to_owned(), TableEntry { columns, files: Vec::new() });
                }
            }
        }
        Ok(())
    }

    /// The newest durable epoch.
    pub(crate) fn committed(&self) -> Option<LogTime> {
        self.committed_ms.map(LogTime)
    }

    pub(crate) fn set_committed(&mut self, epoch: Option<LogTime>) {
        self.committed_ms = epoch.map(|epoch| epoch.0);
    }

    /// The names of all tables.
    pub(crate) fn table_names(&self) -> impl Iterator<Item = &str> {
        self.tables.keys().map(String::as_str)
    }

    /// Whether a table is here, with the columns of its description.
    pub(crate) fn has(&self, dir: &Path, table: &Table) -> Result<bool, Error> {
        match self.tables.get(table.name) {
            Some(entry) if entry.columns != columns(table) => Err(other_columns(dir, table)),
            entry => Ok(entry.is_some()),
        }
    }

    /// The live files of a table, oldest rows first.
    pub(crate) fn files(&self, table: &Table) -> &[FileEntry] {
        self.tables.get(table.name).map_or(&[], |entry| &entry.files)
    }

    /// The names of the live files of all tables.
    pub(crate) fn file_names(&self) -> impl Iterator<Item = &str> {
        self.tables.values().flat_map(|entry| &entry.files).map(|file| file.name.as_str())
    }

    /// A number no file had before.
    pub(crate) fn take_number(&mut self) -> u64 {
        self.next_file += 1;
        self.next_file - 1
    }

    /// Adds a file with the newest rows of a table.
    pub(crate) fn add(&mut self, table: &Table, file: FileEntry) {
        if let Some(entry) = self.tables.get_mut(table.name) {
            entry.files.push(file);
        }
    }

    /// Puts one file in the place of those from position `from` on.
    pub(crate) fn replace(&mut self, table: &Table, from: usize, file: FileEntry) {
        if let Some(entry) = self.tables.get_mut(table.name) {
            entry.files.truncate(from);
            entry.files.push(file);
        }
    }

    /// Puts these files in the place of all files of a table.
    pub(crate) fn put(&mut self, table: &Table, files: Vec<FileEntry>) {
        if let Some(entry) = self.tables.get_mut(table.name) {
            entry.files = files;
        }
    }

    /// What must hold before writing and after reading.
    fn check(&self, path: &Path) -> Result<(), Error> {
        for (table, entry) in &self.tables {
            let mut last = None;
            for file in &entry.files {
                let below = file.name.strip_prefix(table.as_str()).is_some_and(|rest| rest.starts_with('/'));
                let ordered = last <= Some(file.first_epoch_ms) && file.first_epoch_ms <= file.last_epoch_ms;
                if !below || !ordered || Some(file.last_epoch_ms) > self.committed_ms {
                    return Err(Error::damaged(path, format!("entry of {} does not fit", file.name)));
                }
                last = Some(file.last_epoch_ms);
            }
        }
        Ok(())
    }
}

fn columns(table: &Table) -> Vec<String> {
    let null = |nullable| if nullable { "?" } else { "" };
    table
        .columns
        .iter()
        .map(|c| format!("{} {}{}", c.name, shape::type_name(c.ty), null(c.nullable)))
        .collect()
}

fn other_columns(dir: &Path, table: &Table) -> Error {
    Error::refused(
        dir,
        format!("table {} has other columns than this version's; use a fresh target", table.name),
    )
}
