//! Where checkpoints lie: whole files by name, in a folder or in a bucket of an object store.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::prefix::PrefixStore;
use object_store::{Error, ObjectStore, ObjectStoreExt, RetryConfig};
use tokio::runtime::{Builder, Runtime};

/// How long a request to a store that does not answer is tried again.
const PATIENCE: Duration = Duration::from_secs(15);

/// A place for checkpoints, as it stands in a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A folder of this machine.
    Folder(PathBuf),
    /// A bucket of an S3-compatible store; the names of files begin with the prefix.
    Bucket {
        /// The bucket.
        bucket: String,
        /// What comes before every name; may be empty.
        prefix: String,
    },
}

/// A location that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither a folder nor s3://BUCKET/PREFIX")]
pub struct NoLocation(String);

impl FromStr for Location {
    type Err = NoLocation;

    fn from_str(text: &str) -> Result<Location, NoLocation> {
        let Some((scheme, rest)) = text.split_once("://") else { return Ok(Location::Folder(text.into())) };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if scheme != "s3" || bucket.is_empty() || object_store::path::Path::parse(prefix).is_err() {
            return Err(NoLocation(text.to_string()));
        }
        Ok(Location::Bucket { bucket: bucket.to_string(), prefix: prefix.to_string() })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Folder(folder) => write!(f, "{}", folder.display()),
            Location::Bucket { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

/// A store of whole files, each of which is there, durably, or not at all.
#[derive(Debug)]
pub struct Store {
    files: Arc<dyn ObjectStore>,
    place: Location,
    runtime: Runtime,
}

/// Why a file could not be written or read.
#[derive(Debug, thiserror::Error)]
#[error("checkpoint store {place}, {name}: {why}")]
pub struct StoreError {
    place: String,
    name: String,
    why: Error,
}

impl Store {
    /// The store at a location. A folder is made when it is not there; a bucket must be there, and what opens it
    /// (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT_URL`, …) stands in the environment.
    pub fn open(place: &Location) -> Result<Store, StoreError> {
        let failed = |why| StoreError { place: place.to_string(), name: "opening it".into(), why };
        let generic = |why: std::io::Error| failed(Error::Generic { store: "folder", source: why.into() });
        let files: Arc<dyn ObjectStore> = match place {
            Location::Folder(folder) => {
                fs::create_dir_all(folder).map_err(generic)?;
                Arc::new(LocalFileSystem::new_with_prefix(folder).map_err(failed)?.with_fsync(true))
            }
            Location::Bucket { bucket, prefix } => {
                // Whoever chose a provider before did so for the same reason.
                let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
                let retry = RetryConfig { retry_timeout: PATIENCE, ..RetryConfig::default() };
                let bucket = AmazonS3Builder::from_env().with_bucket_name(bucket).with_retry(retry);
                let bucket = bucket.build().map_err(failed)?;
                Arc::new(PrefixStore::new(bucket, prefix.as_str()))
            }
        };
        let runtime = Builder::new_current_thread().enable_all().build().map_err(generic)?;
        Ok(Store { files, place: place.clone(), runtime })
    }

    /// The store in a folder.
    pub fn in_folder(folder: &Path) -> Result<Store, StoreError> {
        Store::open(&Location::Folder(folder.to_owned()))
    }

    /// Writes a file whole, in the place of one of the same name.
    pub fn put(&self, name: &str, content: &Bytes) -> Result<(), StoreError> {
        let path = name.into();
        let put = self.files.put(&path, content.clone().into());
        self.runtime.block_on(put).map(|_| ()).map_err(|why| self.failed(name, why))
    }

    /// Reads a file; `None` if there is none of this name.
    pub fn get(&self, name: &str) -> Result<Option<Bytes>, StoreError> {
        let path = name.into();
        let get = async { self.files.get(&path).await?.bytes().await };
        match self.runtime.block_on(get) {
            Ok(content) => Ok(Some(content)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(why) => Err(self.failed(name, why)),
        }
    }

    /// The names below a folder of the store, sorted.
    pub fn list(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let path = folder.into();
        let listed = self.runtime.block_on(self.files.list_with_delimiter(Some(&path)));
        let listed = listed.map_err(|why| self.failed(folder, why))?;
        let mut names: Vec<String> = listed.objects.into_iter().map(|file| file.location.into()).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Deletes a file; one that is gone already is no error.
    pub fn delete(&self, name: &str) -> Result<(), StoreError> {
        let path = name.into();
        match self.runtime.block_on(self.files.delete(&path)) {
            Err(why) if !matches!(why, Error::NotFound { .. }) => Err(self.failed(name, why)),
            _ => Ok(()),
        }
    }

    /// Removes what a crash left of files that were being written. Only whoever writes here may do so.
    pub fn sweep(&self) -> Result<(), StoreError> {
        let Location::Folder(folder) = &self.place else { return Ok(()) };
        let swept = || -> std::io::Result<()> {
            for below in fs::read_dir(folder)? {
                let below = below?.path();
                for file in below.is_dir().then(|| fs::read_dir(below)).transpose()?.into_iter().flatten() {
                    let file = file?;
                    if file.file_name().to_string_lossy().contains('#') {
                        fs::remove_file(file.path())?;
                    }
                }
            }
            Ok(())
        };
        swept()
            .map_err(|why| self.failed("sweeping it", Error::Generic { store: "folder", source: why.into() }))
    }

    /// Takes the files that another store has in these folders in the place of its own: first what is new, folder
    /// by folder, then away with the rest.
    pub fn replace_by(&self, other: &Store, folders: &[&str]) -> Result<(), StoreError> {
        let mut gone = Vec::new();
        for folder in folders {
            let new = other.list(folder)?;
            gone.extend(self.list(folder)?.into_iter().filter(|name| !new.contains(name)));
            for name in new {
                if let Some(content) = other.get(&name)? {
                    self.put(&name, &content)?;
                }
            }
        }
        gone.iter().rev().try_for_each(|name| self.delete(name))
    }

    fn failed(&self, name: &str, why: Error) -> StoreError {
        StoreError { place: self.place.to_string(), name: name.to_string(), why }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_a_folder_or_a_bucket() {
        let bucket = |bucket: &str, prefix: &str| {
            Ok(Location::Bucket { bucket: bucket.into(), prefix: prefix.into() })
        };
        assert_eq!("/var/lib/lsie".parse(), Ok(Location::Folder("/var/lib/lsie".into())));
        assert_eq!("s3://states/one/two".parse(), bucket("states", "one/two"));
        assert_eq!("s3://states".parse(), bucket("states", ""));
        for none in ["s3://", "s3:///prefix", "gs://states/one", "s3://states/one//two"] {
            assert_eq!(none.parse::<Location>(), Err(NoLocation(none.into())));
        }
    }
}
