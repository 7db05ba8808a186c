//! Debug media: sound and pictures of sessions that somebody names, taken from the topics into the vault, and read back through
//! the one process that has the key. Of a session that nobody names nothing is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Permissions;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lsie_schemas::log::{Fetch, Log, LogError, LogReader, LogRecord};
use lsie_schemas::record::HEADER_KEY_ID;
use lsie_schemas::{Topic, codec};
use uuid::Uuid;

use super::{Shredder, Vault, VaultError};
use crate::clock::now;
use crate::health::State;
use crate::retry::{log_is_lost, retry};
use crate::{Backoff, Health, Stop, reading};

/// How long is waited for records.
const POLL: Duration = Duration::from_millis(100);
/// Media of one file: about ten seconds of sound, or a few of pictures.
const FILE_BYTES: usize = 1 << 20;
/// How often it is looked whether somebody wants to read, and how long he may take to ask.
const LISTEN: Duration = Duration::from_millis(50);
const ASKED_WITHIN: Duration = Duration::from_secs(2);
/// The longest question.
const LINE_BYTES: u64 = 512;

/// Whose media are kept, and where.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The sessions.
    pub sessions: BTreeSet<Uuid>,
    /// The folders that are shredded; media go to the first.
    pub dirs: Vec<PathBuf>,
    /// How often they are shredded.
    pub every: Duration,
    /// Where to ask for what is kept: an empty line brings the list, a line of it that file.
    pub socket: PathBuf,
}

/// Keeps the media of the named sessions as [`super::keep`] keeps its folders: from their first record that the topics
/// have, until they are shredded or the wish to stop. The next process begins anew, with another key.
pub fn keep_media(
    log: &dyn Log,
    settings: &Settings,
    health: &Health,
    stop: &Stop,
) -> Result<(), VaultError> {
    let dir = settings.dirs.first().ok_or_else(|| io::Error::other("there is no folder to keep them in"))?;
    let listener = listen(&settings.socket)?;
    let vault = Mutex::new(None);
    let result = std::thread::scope(|scope| {
        scope.spawn(|| serve(&listener, &vault, stop));
        let mut keeper =
            Keeper { dir, sessions: &settings.sessions, vault: &vault, health, open: BTreeMap::new() };
        let result = keeper.run(log, Shredder::new(&settings.dirs, settings.every), stop);
        stop.stop();
        result
    });
    let _ = std::fs::remove_file(&settings.socket);
    result
}

fn lock(vault: &Mutex<Option<Vault>>) -> MutexGuard<'_, Option<Vault>> {
    vault.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Media of a session's topic that are in no file yet, with the offset of the first.
type Open = BTreeMap<(Uuid, Topic), (i64, Vec<u8>)>;

struct Keeper<'k> {
    dir: &'k Path,
    sessions: &'k BTreeSet<Uuid>,
    vault: &'k Mutex<Option<Vault>>,
    health: &'k Health,
    open: Open,
}

impl Keeper<'_> {
    fn run(&mut self, log: &dyn Log, mut shredder: Shredder, stop: &Stop) -> Result<(), VaultError> {
        let away = |error: &LogError| self.health.set("log", State::Recovering, error.to_string());
        let mut reader = match retry(Backoff::LOG, stop, log_is_lost, away, || open(log)) {
            Err(LogError::Unavailable(_)) => return Ok(()),
            reader => reader?,
        };
        let mut looked: Option<Instant> = None;
        while !stop.is_stopped() {
            if looked.is_none_or(|at| now().saturating_duration_since(at) >= shredder.look()) {
                looked = Some(now());
                if shredder.tend(self.health) {
                    *lock(self.vault) = Some(Vault::open(self.dir)?);
                }
            }
            let away = |error: &LogError| self.health.set("log", State::Recovering, error.to_string());
            let records = match retry(Backoff::LOG, stop, log_is_lost, away, || reader.poll(POLL)) {
                Err(LogError::Unavailable(_)) => break,
                records => records?,
            };
            self.health.set("log", State::Ok, "");
            let quiet = records.is_empty();
            records.iter().for_each(|record| self.take(record));
            self.store(if quiet { 1 } else { FILE_BYTES });
        }
        Ok(())
    }

    fn take(&mut self, record: &LogRecord) {
        let Some(session) = codec::session_of_key(record).filter(|id| self.sessions.contains(id)) else {
            return;
        };
        if record.header(HEADER_KEY_ID).is_some() {
            self.health.set("media", State::Degraded, "they are sealed, and log.key_file names no key");
            return self.health.count("records_sealed", 1);
        }
        let (_, bytes) = self.open.entry((session, record.at.topic)).or_insert((record.offset, Vec::new()));
        bytes.extend_from_slice(&record.value);
    }

    /// Makes a file of all that has so many bytes.
    fn store(&mut self, least: usize) {
        let full = self.open.extract_if(.., |_, (_, bytes)| bytes.len() >= least);
        for ((session, topic), (offset, bytes)) in full {
            let kind = if topic == Topic::AvAudio { "pcm" } else { "h264" };
            let name = format!("{topic}-{offset:012}.{kind}");
            let stored = lock(self.vault).as_ref().map(|vault| vault.store(session, &name, &bytes));
            match stored {
                Some(Ok(())) => {
                    self.health.set("media", State::Ok, "");
                    self.health.count("files_kept", 1);
                    self.health.count("bytes_kept", bytes.len() as u64);
                }
                Some(Err(why)) => {
                    self.health.set("media", State::Error, why.to_string());
                    self.health.count("files_not_kept", 1);
                }
                None => {}
            }
        }
    }
}

/// A reader of all media that there are and come.
fn open(log: &dyn Log) -> Result<Box<dyn LogReader>, LogError> {
    let mut from = Vec::new();
    for topic in [Topic::AvAudio, Topic::AvVideo] {
        from.extend(reading::whole(log, topic)?.into_iter().map(|stretch| (stretch.at, stretch.from)));
    }
    log.reader(&from, Fetch::default())
}

/// A socket that only its owner may open. One that an earlier process left goes.
fn listen(path: &Path) -> io::Result<UnixListener> {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    if is_socket && UnixStream::connect(path).is_err() {
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn serve(listener: &UnixListener, vault: &Mutex<Option<Vault>>, stop: &Stop) {
    while !stop.wait(LISTEN) {
        while let Ok((stream, _)) = listener.accept() {
            // Whoever went away does not want to know.
            let _ = answer(&stream, vault);
        }
    }
}

/// Answers one question; what is not there is nothing.
fn answer(mut stream: &UnixStream, vault: &Mutex<Option<Vault>>) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(ASKED_WITHIN))?;
    stream.set_write_timeout(Some(ASKED_WITHIN))?;
    let mut line = String::new();
    BufReader::new(stream.take(LINE_BYTES)).read_line(&mut line)?;
    let bytes = match (lock(vault).as_ref(), line.trim()) {
        (None, _) => Vec::new(),
        (Some(vault), "") => vault.list().unwrap_or_default().join("\n").into_bytes(),
        (Some(vault), wanted) => {
            let named = wanted.split_once('/').and_then(|(id, name)| Some((codec::session_id(id)?, name)));
            named.and_then(|(session, name)| vault.read(session, name).ok()).unwrap_or_default()
        }
    };
    stream.write_all(&bytes)
}
