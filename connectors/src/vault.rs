//! The Ephemeral Vault: media that were kept to find out what went wrong, sealed, and shredded within a day
//! (behaviour §4).
//!
//! The key is made when the vault is opened and lives in memory only: what an earlier process left is unreadable,
//! and shredded. Overwriting is the second line: on a disk that writes elsewhere what is overwritten, and on
//! snapshots, the lost key is what counts.

mod session;

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lsie_schemas::log::LogError;
use uuid::Uuid;

use crate::clock::now;
use crate::health::State;
use crate::seal::{Key, NotOpened};
use crate::{Health, Stop};
pub use session::{Settings, keep_media};

/// Nothing may lie in a vault for longer.
pub const CEILING: Duration = Duration::from_secs(24 * 3_600);
/// Passes over a file with other bytes each; one with zeros follows.
const PASSES: usize = 3;
/// How often the age of files is looked at.
const LOOK: Duration = Duration::from_secs(60);
/// Bytes of one write.
const BLOCK: usize = 64 << 10;

/// Why something could not be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The disk.
    #[error("the vault: {0}")]
    Disk(#[from] io::Error),
    /// Another process's, or changed since.
    #[error(transparent)]
    NotOpened(#[from] NotOpened),
    /// The log that media are taken from.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A name that is no plain file name.
    #[error("{0:?} is no name of a file")]
    Name(String),
}

/// A vault that this process can write to and read from.
#[derive(Debug)]
pub struct Vault {
    dir: PathBuf,
    key: Key,
}

/// What was shredded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shredded {
    /// Files that are gone.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Vault {
    /// Opens a vault with a key of its own; what lies there is shredded.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Vault, VaultError> {
        let dir = dir.into();
        DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        shred(&dir)?;
        Ok(Vault { dir, key: Key::random().0 })
    }

    /// Keeps media of a session under a name; only sealed bytes reach the disk.
    pub fn store(&self, session: Uuid, name: &str, media: &[u8]) -> Result<(), VaultError> {
        let path = self.path(session, name)?;
        if let Some(folder) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let sealed = self.key.seal(&place(session, name), media);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(&sealed)?;
        Ok(())
    }

    /// The media that this process kept there.
    pub fn read(&self, session: Uuid, name: &str) -> Result<Vec<u8>, VaultError> {
        let sealed = fs::read(self.path(session, name)?)?;
        Ok(self.key.open(&place(session, name), &sealed)?)
    }

    /// What is kept, as `SESSION/NAME`, sorted.
    pub fn list(&self) -> Result<Vec<String>, VaultError> {
        let mut names = Vec::new();
        for folder in fs::read_dir(&self.dir)? {
            let folder = folder?;
            for file in fs::read_dir(folder.path())? {
                let (session, name) = (folder.file_name(), file?.file_name());
                names.push(format!("{}/{}", session.display(), name.display()));
            }
        }
        names.sort();
        Ok(names)
    }

    fn path(&self, session: Uuid, name: &str) -> Result<PathBuf, VaultError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let good = !name.is_empty() && name.len() <= 200 && !name.starts_with('.') && name.bytes().all(plain);
        if !good {
            return Err(VaultError::Name(name.to_owned()));
        }
        Ok(self.dir.join(session.to_string()).join(name))
    }
}

fn place(session: Uuid, name: &str) -> Vec<u8> {
    format!("{session}/{name}").into_bytes()
}

/// Overwrites every file below a folder three times and once with zeros, and removes it, whatever its permissions.
/// Links are removed and not followed; the folder itself stays. Goes on after a fault, and reports the first.
pub fn shred(dir: &Path) -> io::Result<Shredded> {
    let (mut shredded, mut fault) = (Shredded::default(), None);
    for entry in fs::read_dir(dir)? {
        let result = entry.and_then(|entry| shred_entry(&entry.path(), &mut shredded));
        fault = fault.or(result.err());
    }
    fault.map_or(Ok(shredded), Err)
}

fn shred_entry(path: &Path, shredded: &mut Shredded) -> io::Result<()> {
    let found = fs::symlink_metadata(path)?;
    if found.is_dir() {
        let inner = shred(path)?;
        shredded.files += inner.files;
        shredded.bytes += inner.bytes;
        return fs::remove_dir(path);
    }
    if found.is_file() {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        overwrite(path, found.len())?;
        shredded.bytes += found.len();
    }
    fs::remove_file(path)?;
    shredded.files += 1;
    Ok(())
}

fn overwrite(path: &Path, length: u64) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    for pass in 0..=PASSES {
        // Sealed zeros are bytes that nobody can foresee.
        let random = Key::random().0.seal(b"", &vec![0; BLOCK]);
        let block = if pass < PASSES { random } else { vec![0; BLOCK] };
        file.seek(SeekFrom::Start(0))?;
        let mut left = length;
        while left > 0 {
            let part = block.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            file.write_all(&block[..part])?;
            left -= part as u64;
        }
        file.sync_all()?;
    }
    Ok(())
}

/// How many files below a folder are older than [`CEILING`]: each is a violation.
#[allow(clippy::disallowed_methods, reason = "a file's age is against the machine's clock")]
pub fn overdue(dir: &Path) -> io::Result<u64> {
    overdue_at(dir, std::time::SystemTime::now())
}

fn overdue_at(dir: &Path, now: std::time::SystemTime) -> io::Result<u64> {
    let mut count = 0;
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        // Gone in between: no violation.
        let Ok(found) = fs::symlink_metadata(&path) else { continue };
        if found.is_dir() {
            count += overdue_at(&path, now)?;
        } else {
            let age = found.modified().ok().and_then(|at| now.duration_since(at).ok()).unwrap_or_default();
            count += u64::from(age > CEILING);
        }
    }
    Ok(count)
}

/// Shreds folders when it is due, and watches the age of what lies in them. A folder that is not there is empty.
struct Shredder<'d> {
    dirs: &'d [PathBuf],
    every: Duration,
    due: Instant,
}

impl<'d> Shredder<'d> {
    /// Due at once, and then from time to time.
    fn new(dirs: &'d [PathBuf], every: Duration) -> Shredder<'d> {
        Shredder { dirs, every, due: now() }
    }

    /// How often it wants to be asked.
    fn look(&self) -> Duration {
        self.every.min(LOOK)
    }

    /// Does what is due; whether everything was shredded.
    fn tend(&mut self, health: &Health) -> bool {
        let due = now() >= self.due;
        if due {
            self.due += self.every;
            let results: Vec<_> = self.dirs.iter().map(|dir| of_existing(shred(dir))).collect();
            match results.iter().find_map(|result| result.as_ref().err()) {
                Some(why) => health.set("shredder", State::Error, why.to_string()),
                None => health.set("shredder", State::Ok, ""),
            }
            for shredded in results.into_iter().flatten() {
                health.count("files_shredded", shredded.files);
                health.count("bytes_shredded", shredded.bytes);
            }
        }
        let overdue: io::Result<u64> = self.dirs.iter().map(|dir| of_existing(overdue(dir))).sum();
        match overdue {
            Ok(0) => health.set("age", State::Ok, ""),
            Ok(files) => health.set("age", State::Error, format!("{files} files are older than 24 h")),
            Err(why) => health.set("age", State::Error, why.to_string()),
        }
        due
    }
}

/// Shreds these folders now and from time to time, and watches the age of what lies in them, until the wish to
/// stop.
pub fn keep(dirs: &[PathBuf], every: Duration, health: &Health, stop: &Stop) {
    let mut shredder = Shredder::new(dirs, every);
    loop {
        shredder.tend(health);
        if stop.wait(shredder.look()) {
            return;
        }
    }
}

fn of_existing<T: Default>(result: io::Result<T>) -> io::Result<T> {
    match result {
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(T::default()),
        other => other,
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "ages of files are against the machine's clock")]
mod tests {
    use std::time::SystemTime;

    use super::*;

    const SESSION: Uuid = Uuid::from_u128(0x0b1f_8f5e_6f0e_4c55_9d3c_6d1d_5bb0_a001);
    const MEDIA: &[u8] = b"marker of raw media, marker of raw media";

    fn files(dir: &Path) -> Vec<PathBuf> {
        let mut all = Vec::new();
        for entry in fs::read_dir(dir).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() { all.extend(files(&path)) } else { all.push(path) }
        }
        all
    }

    #[test]
    fn what_is_stored_can_be_read_by_this_process_only_and_lies_sealed() {
        let dir = tempfile::tempdir().expect("a folder");
        let vault = Vault::open(dir.path()).expect("a vault");
        vault.store(SESSION, "frame-1.raw", MEDIA).expect("a file");
        assert_eq!(vault.read(SESSION, "frame-1.raw").expect("readable"), MEDIA);
        let path = &files(dir.path())[0];
        let bytes = fs::read(path).expect("a file");
        assert!(!bytes.windows(6).any(|part| part == b"marker"));
        assert_eq!(fs::metadata(path).expect("a file").permissions().mode() & 0o777, 0o600);

        let elsewhere = path.with_file_name("frame-2.raw");
        fs::copy(path, &elsewhere).expect("a copy");
        assert!(
            matches!(vault.read(SESSION, "frame-2.raw"), Err(VaultError::NotOpened(_))),
            "bound to its name"
        );
        let other = Vault { dir: dir.path().to_owned(), key: Key::random().0 };
        assert!(matches!(other.read(SESSION, "frame-1.raw"), Err(VaultError::NotOpened(_))));
        for name in ["", ".", "..", "a/b", ".hidden", "a\0b"] {
            assert!(matches!(vault.store(SESSION, name, MEDIA), Err(VaultError::Name(_))), "{name:?}");
        }
        Vault::open(dir.path()).expect("another vault");
        assert!(files(dir.path()).is_empty(), "what an earlier process left is shredded");
    }

    #[test]
    fn shredding_reaches_everything_and_follows_no_link() {
        let (dir, outside) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("another"));
        let deep = dir.path().join("a/b");
        fs::create_dir_all(&deep).expect("folders");
        let long = vec![7; 2 * BLOCK + 1];
        fs::write(deep.join("long"), &long).expect("a file");
        fs::write(dir.path().join("empty"), b"").expect("a file");
        fs::set_permissions(deep.join("long"), fs::Permissions::from_mode(0o400)).expect("read-only");
        fs::write(outside.path().join("mine"), MEDIA).expect("a file");
        std::os::unix::fs::symlink(outside.path(), dir.path().join("link")).expect("a link");
        // A second name shows what is left of the bytes.
        fs::hard_link(deep.join("long"), outside.path().join("witness")).expect("a link");
        let shredded = shred(dir.path()).expect("shredded");
        assert_eq!(shredded, Shredded { files: 3, bytes: long.len() as u64 });
        assert!(fs::read_dir(dir.path()).expect("it stays").next().is_none());
        assert_eq!(fs::read(outside.path().join("mine")).expect("untouched"), MEDIA);
        assert!(fs::read(outside.path().join("witness")).expect("a file").iter().all(|byte| *byte == 0));
    }

    #[test]
    fn the_keeper_shreds_at_once_and_reports_what_is_too_old() {
        let (dir, health, stop) =
            (tempfile::tempdir().expect("a folder"), Health::new("vault"), Stop::default());
        fs::write(dir.path().join("left"), MEDIA).expect("a file");
        let dirs = [dir.path().to_owned(), dir.path().join("missing")];
        std::thread::scope(|scope| {
            scope.spawn(|| keep(&dirs, CEILING, &health, &stop));
            while !health.report().parts.contains_key("age") {
                std::thread::sleep(Duration::from_millis(5));
            }
            stop.stop();
        });
        let report = health.report();
        assert_eq!((report.state, report.counts["files_shredded"]), (State::Ok, 1));
        assert!(files(dir.path()).is_empty());
    }

    #[test]
    fn older_than_a_day_is_a_violation() {
        let dir = tempfile::tempdir().expect("a folder");
        Vault::open(dir.path()).and_then(|vault| vault.store(SESSION, "x", MEDIA)).expect("a file");
        let now = SystemTime::now();
        assert_eq!(overdue(dir.path()).expect("a count"), 0);
        assert_eq!(overdue_at(dir.path(), now + CEILING / 2).expect("a count"), 0);
        assert_eq!(overdue_at(dir.path(), now + CEILING + Duration::from_secs(60)).expect("a count"), 1);
    }
}
