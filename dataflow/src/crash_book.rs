//! Which record each thread works on, in a file that outlives the process: so that a record over which it dies
//! again and again is found, and filed instead ([`QuarantineRecord`]).
//!
//! A crash leaves the notes of the records that were being worked on; the next start counts them. While any
//! record is under suspicion, it is worked on alone, so that crashes near it never add to another's count. A
//! suspicion ends when all that was there at the start is committed.
//!
//! [`QuarantineRecord`]: lsie_schemas::record::QuarantineRecord

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use anyhow::Context;
use lsie_schemas::Topic;
use lsie_schemas::log::TopicPartition;

/// So many crashes over a record are enough.
pub const CRASHES: u32 = 3;
/// A record that is worked on for longer hangs: the process dies over it. The slowest takes a fraction of a second.
const HANG: Duration = Duration::from_secs(60);
/// How often hanging threads are looked for.
const LOOK: Duration = Duration::from_millis(250);
/// Bytes of a note; the longest topic name, partition and offset fit.
const NOTE: usize = 64;

/// A record's place.
pub type Place = (TopicPartition, i64);

/// The notes of all threads of a process, and what crashes before it have left.
#[derive(Debug)]
pub struct CrashBook {
    /// None: nothing is noted.
    folder: Option<PathBuf>,
    notes: Option<File>,
    suspects: BTreeMap<Place, u32>,
    /// The process before this one did not end in an orderly way, and not all it had is committed yet.
    careful: AtomicBool,
    alone: RwLock<()>,
    /// The process ends through no fault of its records: nothing is noted any more.
    left: AtomicBool,
    started: Instant,
    pages: Mutex<Vec<Arc<AtomicU64>>>,
}

impl CrashBook {
    /// A book in which nothing is noted.
    pub fn blank() -> CrashBook {
        CrashBook::new(None, None, BTreeMap::new(), false)
    }

    /// Opens the book in a folder, and counts what the process before this one has left.
    pub fn open(folder: &Path) -> anyhow::Result<CrashBook> {
        let opened = || -> std::io::Result<CrashBook> {
            fs::create_dir_all(folder)?;
            let mut suspects: BTreeMap<Place, u32> = BTreeMap::new();
            for line in read(&folder.join("suspects"))?.lines() {
                suspects.extend(parse_suspect(line));
            }
            for note in read(&folder.join("notes"))?.lines() {
                if let Some(place) = parse(note) {
                    *suspects.entry(place).or_default() += 1;
                }
            }
            let crashed = folder.join("running").exists();
            write_suspects(folder, &suspects)?;
            let notes = File::create(folder.join("notes"))?;
            File::create(folder.join("running"))?.sync_all()?;
            let careful = crashed || !suspects.is_empty();
            Ok(CrashBook::new(Some(folder.to_owned()), Some(notes), suspects, careful))
        };
        opened().with_context(|| format!("the notes for crashes in {}", folder.display()))
    }

    #[allow(clippy::disallowed_methods, reason = "how long a thread hangs is about the process itself")]
    fn new(
        folder: Option<PathBuf>,
        notes: Option<File>,
        suspects: BTreeMap<Place, u32>,
        careful: bool,
    ) -> CrashBook {
        CrashBook {
            folder,
            notes,
            suspects,
            careful: AtomicBool::new(careful),
            alone: RwLock::default(),
            left: AtomicBool::new(false),
            started: Instant::now(),
            pages: Mutex::default(),
        }
    }

    /// The records that enough crashes have found being worked on.
    pub fn guilty(&self) -> impl Iterator<Item = (Place, u32)> {
        self.suspects
            .iter()
            .filter(|(_, crashes)| **crashes >= CRASHES)
            .map(|(place, crashes)| (*place, *crashes))
    }

    /// A page for one thread. What it does is noted `always`, or only as long as the process is careful.
    pub fn page(self: &Arc<Self>, always: bool) -> Page {
        let mut pages = lock(&self.pages);
        let since = Arc::new(AtomicU64::new(0));
        pages.push(since.clone());
        Page { book: self.clone(), number: pages.len() as u64 - 1, always, since }
    }

    /// All that was there at the start is committed: nothing of it is under suspicion any longer.
    pub fn calm(&self) {
        if self.careful.swap(false, Ordering::SeqCst)
            && let Some(folder) = &self.folder
        {
            // Left there, it is read again at the next start, and its records are careful work once more.
            let _ = fs::remove_file(folder.join("suspects"));
        }
    }

    /// The process ends because another one has: what is being worked on now is under no suspicion.
    pub fn leave(&self) {
        self.left.store(true, Ordering::SeqCst);
        if let Some(notes) = &self.notes {
            // On a full disk a suspicion too many stays.
            let _ = notes.set_len(0);
        }
    }

    /// The process ends in an orderly way.
    pub fn close(&self) {
        if let Some(folder) = &self.folder {
            let _ = fs::remove_file(folder.join("running"));
        }
    }

    /// Ends the process when a thread hangs, on a thread that ends with the book.
    pub fn watch(self: &Arc<Self>) -> std::io::Result<()> {
        let book = Arc::downgrade(self);
        let look = move || {
            while let Some(book) = book.upgrade() {
                if book.hangs() {
                    tracing::error!(
                        "a record is worked on for {HANG:?}: the process ends, to be started again"
                    );
                    std::process::abort();
                }
                drop(book);
                std::thread::sleep(LOOK);
            }
        };
        std::thread::Builder::new().name("watchdog".into()).spawn(look).map(drop)
    }

    fn hangs(&self) -> bool {
        let now = self.now();
        lock(&self.pages).iter().any(|since| {
            let since = since.load(Ordering::SeqCst);
            since > 0 && now.saturating_sub(since) > HANG.as_millis() as u64
        })
    }

    #[allow(clippy::disallowed_methods, reason = "how long a thread hangs is about the process itself")]
    fn now(&self) -> u64 {
        1 + self.started.elapsed().as_millis() as u64
    }

    fn note(&self, page: u64, text: &str) {
        let Some(notes) = self.notes.as_ref().filter(|_| !self.left.load(Ordering::SeqCst)) else { return };
        let line = format!("{text:<width$}\n", width = NOTE - 1);
        // On a full disk a crash leaves no note; a suspicion comes a crash later.
        let _ = notes.write_all_at(line.as_bytes(), page * NOTE as u64);
    }
}

/// What one thread notes.
#[derive(Debug)]
pub struct Page {
    book: Arc<CrashBook>,
    number: u64,
    always: bool,
    since: Arc<AtomicU64>,
}

impl Page {
    /// Works on a record. A crash meanwhile, or a panic, leaves the note.
    pub fn work<T>(&self, (at, offset): Place, work: impl FnOnce() -> T) -> T {
        let book = &*self.book;
        if !self.always && !book.careful.load(Ordering::Relaxed) {
            return work();
        }
        let suspicious = book.suspects.contains_key(&(at, offset));
        let (_alone, _beside) = match suspicious {
            true => (Some(book.alone.write().unwrap_or_else(PoisonError::into_inner)), None),
            false => (None, Some(book.alone.read().unwrap_or_else(PoisonError::into_inner))),
        };
        self.since.store(book.now(), Ordering::SeqCst);
        book.note(self.number, &format!("{} {} {offset}", at.topic.name(), at.partition));
        let done = work();
        book.note(self.number, "");
        self.since.store(0, Ordering::SeqCst);
        done
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    match fs::read_to_string(path) {
        Err(why) if why.kind() == ErrorKind::NotFound => Ok(String::new()),
        // Not text: written by nobody here.
        Err(why) if why.kind() == ErrorKind::InvalidData => Ok(String::new()),
        read => read,
    }
}

fn parse(note: &str) -> Option<Place> {
    let mut words = note.trim_matches('\0').split_whitespace();
    let topic = Topic::by_name(words.next()?)?;
    let at = TopicPartition { topic, partition: words.next()?.parse().ok()? };
    Some((at, words.next()?.parse().ok()?))
}

fn parse_suspect(line: &str) -> Option<(Place, u32)> {
    let (place, crashes) = line.rsplit_once(' ')?;
    Some((parse(place)?, crashes.parse().ok()?))
}

fn write_suspects(folder: &Path, suspects: &BTreeMap<Place, u32>) -> std::io::Result<()> {
    let lines = suspects
        .iter()
        .map(|((at, offset), crashes)| format!("{} {} {offset} {crashes}\n", at.topic.name(), at.partition));
    let (temporary, path) = (folder.join("suspects.tmp"), folder.join("suspects"));
    fs::write(&temporary, lines.collect::<String>())?;
    File::open(&temporary)?.sync_all()?;
    fs::rename(temporary, path)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Plain values.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIDEO: TopicPartition = TopicPartition { topic: Topic::AvVideo, partition: 1 };

    /// A process that dies while its threads work on these records.
    fn crash(folder: &Path, records: &[Place]) {
        let book = Arc::new(CrashBook::open(folder).expect("a book"));
        let pages: Vec<Page> = records.iter().map(|_| book.page(true)).collect();
        for (page, (at, offset)) in pages.iter().zip(records) {
            // As it stands within the work.
            book.note(page.number, &format!("{} {} {offset}", at.topic.name(), at.partition));
        }
    }

    fn guilty(folder: &Path) -> Vec<(Place, u32)> {
        CrashBook::open(folder).expect("a book").guilty().collect()
    }

    #[test]
    fn the_third_crash_over_a_record_is_one_too_many() {
        let dir = tempfile::tempdir().expect("a folder");
        crash(dir.path(), &[(VIDEO, 7), (VIDEO, 8)]);
        crash(dir.path(), &[(VIDEO, 7)]);
        assert_eq!(guilty(dir.path()), []);
        crash(dir.path(), &[(VIDEO, 7)]);
        assert_eq!(guilty(dir.path()), [((VIDEO, 7), 3)]);
    }

    #[test]
    fn who_leaves_suspects_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        for _ in 0..5 {
            let book = Arc::new(CrashBook::open(dir.path()).expect("a book"));
            book.page(true).work((VIDEO, 3), || book.leave());
            book.page(true).work((VIDEO, 4), || ());
        }
        assert_eq!(guilty(dir.path()), []);
    }

    #[test]
    fn what_is_done_leaves_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        for _ in 0..5 {
            let book = Arc::new(CrashBook::open(dir.path()).expect("a book"));
            assert_eq!(book.page(true).work((VIDEO, 3), || 5), 5);
        }
        assert_eq!(guilty(dir.path()), []);
    }

    #[test]
    fn a_panic_leaves_the_note() {
        let dir = tempfile::tempdir().expect("a folder");
        for _ in 0..3 {
            let book = Arc::new(CrashBook::open(dir.path()).expect("a book"));
            let page = book.page(true);
            let work = std::panic::AssertUnwindSafe(|| page.work((VIDEO, 3), || panic!("over this one")));
            assert!(std::panic::catch_unwind(work).is_err());
        }
        assert_eq!(guilty(dir.path()), [((VIDEO, 3), 3)]);
    }

    #[test]
    fn a_suspicion_ends_when_all_is_committed() {
        let dir = tempfile::tempdir().expect("a folder");
        crash(dir.path(), &[(VIDEO, 7)]);
        crash(dir.path(), &[(VIDEO, 7)]);
        CrashBook::open(dir.path()).expect("a book").calm();
        crash(dir.path(), &[(VIDEO, 7)]);
        assert_eq!(guilty(dir.path()), []);
    }

    #[test]
    fn a_suspect_is_worked_on_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        crash(dir.path(), &[(VIDEO, 7)]);
        let book = Arc::new(CrashBook::open(dir.path()).expect("a book"));
        let others = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                let (page, others) = (book.page(false), &others);
                scope.spawn(move || {
                    for offset in 100..400 {
                        page.work((VIDEO, offset), || {
                            others.fetch_add(1, Ordering::SeqCst);
                            std::thread::yield_now();
                            others.fetch_sub(1, Ordering::SeqCst);
                        });
                    }
                });
            }
            let page = book.page(false);
            for _ in 0..50 {
                page.work((VIDEO, 7), || {
                    std::thread::yield_now();
                    assert_eq!(others.load(Ordering::SeqCst), 0);
                });
            }
        });
    }
}
