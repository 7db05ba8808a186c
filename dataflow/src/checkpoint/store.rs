//! Where checkpoints lie: whole files by name in a directory.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;

/// A store of whole files, each of which is there, synced, or not at all.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
}

/// Why a file could not be written or read.
#[derive(Debug, thiserror::Error)]
#[error("checkpoint store, {path}: {why}")]
pub struct StoreError {
    path: PathBuf,
    why: std::io::Error,
}

fn at(path: &Path) -> impl FnOnce(std::io::Error) -> StoreError {
    let path = path.to_owned();
    move |why| StoreError { path, why }
}

impl Store {
    /// The store in a directory, which is made when it is not there.
    pub fn in_folder(folder: &Path) -> Result<Store, StoreError> {
        fs::create_dir_all(folder).map_err(at(folder))?;
        Ok(Store { folder: folder.to_owned() })
    }

    /// Writes a file whole, in the place of one of the same name.
    pub fn put(&self, name: &str, content: &Bytes) -> Result<(), StoreError> {
        let path = self.folder.join(name);
        let parent = path.parent().unwrap_or(&self.folder);
        fs::create_dir_all(parent).map_err(at(parent))?;
        let temporary = path.with_extension("tmp");
        let mut file = File::create(&temporary).map_err(at(&temporary))?;
        file.write_all(content).and_then(|()| file.sync_all()).map_err(at(&temporary))?;
        fs::rename(&temporary, &path).map_err(at(&path))?;
        File::open(parent).and_then(|parent| parent.sync_all()).map_err(at(parent))
    }

    /// Reads a file; `None` if there is none of this name.
    pub fn get(&self, name: &str) -> Result<Option<Bytes>, StoreError> {
        let path = self.folder.join(name);
        match fs::read(&path) {
            Ok(content) => Ok(Some(content.into())),
            Err(why) if why.kind() == ErrorKind::NotFound => Ok(None),
            Err(why) => Err(at(&path)(why)),
        }
    }

    /// The names below a folder of the store, sorted.
    pub fn list(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let path = self.folder.join(folder);
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(why) if why.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(why) => return Err(at(&path)(why)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(at(&path))?.file_name();
            names.push(format!("{folder}/{}", name.to_string_lossy()));
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Deletes a file; one that is gone already is no error.
    pub fn delete(&self, name: &str) -> Result<(), StoreError> {
        let path = self.folder.join(name);
        match fs::remove_file(&path) {
            Err(why) if why.kind() != ErrorKind::NotFound => Err(at(&path)(why)),
            _ => Ok(()),
        }
    }
}
