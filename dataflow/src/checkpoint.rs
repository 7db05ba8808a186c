//! Checkpoints: what operators hand over at a chosen epoch, and take back at the next start.
//!
//! An operator with state is a *station*. When the frontier has passed a chosen epoch, and before it works on
//! a later one, it hands over its state as of exactly that epoch; a thread of its own encodes and writes it
//! ([`keeper`]). Completed epochs are the consistent cut: no barrier travels with the records.

pub mod gate;
pub mod keeper;
pub mod manifest;
pub mod sorted;
pub mod state_file;
pub mod store;
pub mod writer;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use crossbeam_channel::Sender;
use lsie_operators::logic::Keyed;
use lsie_schemas::Topic;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::adapter::Time;
use crate::commit::Message;
use crate::ingest::Shared;
use gate::Gate;
use state_file::{Added, Shelved, StateError, StateFile, decode, encode};

/// Every station of the graph, sorted, with the version of the encoding of its state. Whoever changes what a
/// station's state looks like raises its version; a checkpoint with another one is not used. Rows that come and go are told
/// by their bytes, so for a view even one more optional field is another version.
pub const STATIONS: [(&str, u32); 26] = [
    ("administered", 1),
    ("align", 2),
    ("asked", 1),
    ("classes", 1),
    ("context", 1),
    ("credited", 1),
    ("evaluations", 1),
    ("gray_band", 1),
    ("infer", 1),
    ("issued", 1),
    ("judging", 1),
    ("leaves", 1),
    ("ledger", 1),
    ("measure", 1),
    ("met", 1),
    ("posterior_history", 1),
    ("rewards", 1),
    ("roots", 1),
    ("scanned", 1),
    ("select_arm", 1),
    ("sessions", 1),
    ("summaries", 1),
    ("telemetry", 1),
    ("transcribe", 1),
    ("twigs", 1),
    ("watch", 1),
];

/// Stations that came after the first format and have no state until they are used: a checkpoint that does not
/// know one yet is gone on from, and the station begins empty.
pub const BEGIN_EMPTY: [&str; 2] = ["context", "gray_band"];

/// Views that hold their state since they no longer make it of the inputs that were kept [`FORMERLY`]: a checkpoint has
/// either all of these or all of those.
pub const VIEWS: [&str; 12] = [
    "asked",
    "credited",
    "evaluations",
    "issued",
    "leaves",
    "met",
    "rewards",
    "roots",
    "scanned",
    "sessions",
    "summaries",
    "twigs",
];

/// Inputs of views that the first format kept, instead of what views hold. They are there again at the checkpoint's
/// epoch, so that the views make their state of them once more.
pub const FORMERLY: [(&str, u32); 8] = [
    ("actions", 1),
    ("decisions", 1),
    ("evaluated", 1),
    ("measured", 1),
    ("parts", 1),
    ("scans", 1),
    ("session_facts", 1),
    ("stimuli", 1),
];

/// Topics that became inputs after the first format: a checkpoint that does not know one yet is gone on from, and
/// what it holds is read from its beginning.
pub const READ_LATER: [Topic; 1] = [Topic::Answers];

/// State as bytes, made on the thread that writes it.
type Encoding<T> = Box<dyn FnOnce() -> Result<T, StateError> + Send>;

/// Pieces of a station's state by key.
pub type Encoded = BTreeMap<Bytes, Bytes>;

/// What a station hands over.
pub enum Content {
    /// The state of an operator.
    Pieces(Encoding<Encoded>),
    /// What was added to an input of views since the last checkpoint.
    Rows(Encoding<Added>),
    /// What changed in what a view holds.
    Shelf(Encoding<Shelved>),
}

/// One hand-over.
pub struct Part {
    /// The chosen epoch.
    pub epoch: Time,
    /// The station.
    pub station: &'static str,
    /// The oldest epoch that must be seen again because of it.
    pub rewind: Option<Time>,
    /// How many further parts of this station and worker come by other ways; `None` for one of those.
    pub further: Option<usize>,
    /// The state.
    pub content: Content,
}

/// The state that a run resumes from.
#[derive(Debug)]
pub struct Restored {
    /// The checkpoint's epoch.
    pub epoch: Time,
    /// All of its state.
    pub state: StateFile,
    /// What the files weigh that it is of.
    pub weight: u64,
}

/// A snapshot as pieces. What belongs on every worker is told apart by who had it.
pub fn encoded<S: Keyed + Serialize>(snapshot: S, worker: usize) -> Result<Encoded, StateError> {
    let pieces = snapshot.apart().into_iter().map(|(key, piece)| {
        let had = key.is_none().then_some(worker);
        Ok((encode(&(key, had))?, encode(&piece)?))
    });
    pieces.collect()
}

/// What the graph of one worker needs to keep its state.
#[derive(Clone)]
pub struct Keep {
    /// This worker.
    pub worker: usize,
    /// All workers.
    pub workers: usize,
    /// Which epochs are checkpoints.
    pub gate: Arc<Gate>,
    /// Stations of all workers.
    pub stations: Arc<AtomicUsize>,
    /// Where parts go; without, there are no checkpoints.
    pub parts: Option<Sender<Message>>,
    /// The checkpoint's epoch that the run resumes from: what comes up to it has been handed on before. 0 for
    /// a run that begins at its beginning.
    pub resumed: Time,
    /// The state of then, until every worker has taken its share.
    pub restored: Arc<Mutex<Option<Arc<Restored>>>>,
    /// Told when state cannot be read.
    pub shared: Arc<Shared>,
}

impl Keep {
    /// Without checkpoints, for a graph of so many workers of which this is one.
    pub fn nothing(worker: usize, workers: usize, shared: Arc<Shared>) -> Keep {
        Keep {
            worker,
            workers,
            gate: Arc::default(),
            stations: Arc::default(),
            parts: None,
            resumed: 0,
            restored: Arc::default(),
            shared,
        }
    }

    /// Every worker has taken its share of the restored state.
    pub fn forget_restored(&self) {
        lock(&self.restored).take();
    }

    /// Whether state shall be handed over.
    pub fn is_on(&self) -> bool {
        self.parts.is_some()
    }

    /// This worker's share of the rows of an input that earlier versions kept ([`FORMERLY`]).
    pub fn formerly<D: DeserializeOwned>(&self, name: &'static str) -> Option<[Vec<(D, i64)>; 2]> {
        debug_assert!(FORMERLY.iter().any(|(known, _)| *known == name), "{name} is not in FORMERLY");
        self.rows(name, lock(&self.restored).as_ref()?)
    }

    /// The rows of it that all workers have.
    pub fn all_formerly<D: DeserializeOwned>(&self, name: &'static str) -> Option<[Vec<(D, i64)>; 2]> {
        Keep { worker: 0, workers: 1, ..self.clone() }.formerly(name)
    }

    /// This worker's share of an input's rows: those of before the checkpoint's epoch, and those of it.
    fn rows<D: DeserializeOwned>(&self, name: &str, restored: &Restored) -> Option<[Vec<(D, i64)>; 2]> {
        let added = restored.state.rows.get(name)?;
        let share = |rows: &state_file::Rows| {
            // Whose share a row is makes no difference; that all copies of one are in the same does.
            let mine = rows.iter().enumerate().filter(|(at, _)| at % self.workers == self.worker);
            let decoded = mine.map(|(_, (row, copies))| Ok((decode(row)?, *copies)));
            decoded.collect::<Result<Vec<(D, i64)>, StateError>>()
        };
        match (share(&added.before), share(&added.last)) {
            (Ok(before), Ok(last)) => Some([before, last]),
            (Err(why), _) | (_, Err(why)) => {
                self.shared.fail(format!("checkpoint {}: {name}: {why}", restored.epoch));
                None
            }
        }
    }

    /// A place with state. Each has a name of [`STATIONS`], once on each worker.
    pub fn station(&self, name: &'static str) -> Station {
        debug_assert!(STATIONS.iter().any(|(known, _)| *known == name), "{name} is not in STATIONS");
        if !STATIONS.iter().any(|(known, _)| *known == name) {
            self.shared.fail(format!("the state of {name} is in no checkpoint: it is not in STATIONS"));
        }
        self.stations.fetch_add(1, Ordering::SeqCst);
        Station { name, handed: self.resumed, restored: lock(&self.restored).clone(), keep: self.clone() }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A plain value.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A place with state in the graph of one worker.
pub struct Station {
    name: &'static str,
    /// The newest checkpoint that this station has handed over.
    handed: Time,
    restored: Option<Arc<Restored>>,
    keep: Keep,
}

impl Station {
    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What the graph knows.
    pub fn keep(&self) -> &Keep {
        &self.keep
    }

    /// The next chosen epoch that has `passed` and whose state is still to be handed over.
    pub fn due(&mut self, passed: impl Fn(Time) -> bool) -> Option<Time> {
        self.keep.parts.as_ref()?;
        let next = self.keep.gate.chosen_after(self.handed).filter(|epoch| passed(*epoch))?;
        self.handed = next;
        Some(next)
    }

    /// Hands over a part.
    pub fn hand_over(&self, epoch: Time, rewind: Option<Time>, further: Option<usize>, content: Content) {
        if let Some(parts) = &self.keep.parts {
            let part = Part { epoch, station: self.name, rewind, further, content };
            // The writer is gone only when it failed, and then it has stopped the run.
            let _ = parts.send(Message::Part(part));
        }
    }

    /// The way for parts that this station does not send itself.
    pub fn sender(&self) -> Option<(Sender<Message>, &'static str)> {
        Some((self.keep.parts.clone()?, self.name))
    }

    /// The pieces of a keyed snapshot as content.
    pub fn pieces<S>(&self, snapshot: S) -> Content
    where
        S: Keyed + Serialize + Send + 'static,
    {
        let worker = self.keep.worker;
        Content::Pieces(Box::new(move || encoded(snapshot, worker)))
    }

    /// The state that this worker takes over, once: the pieces whose key `owner` maps to it, and those of all.
    pub fn restored<S>(&mut self, owner: impl Fn(&S::Key) -> u64) -> Option<S>
    where
        S: Keyed + DeserializeOwned,
    {
        let restored = self.restored.take()?;
        let mut snapshot = S::default();
        for (key, piece) in restored.state.pieces.get(self.name).into_iter().flatten() {
            match self.read::<S>(key, piece.as_ref(), &owner) {
                Ok(piece) => piece.into_iter().for_each(|piece| snapshot.join(piece)),
                Err(why) => {
                    self.keep.shared.fail(format!("checkpoint {}: {}: {why}", restored.epoch, self.name))
                }
            }
        }
        Some(snapshot)
    }

    fn read<S>(
        &self,
        key: &[u8],
        piece: Option<&Bytes>,
        owner: &impl Fn(&S::Key) -> u64,
    ) -> Result<Option<S>, StateError>
    where
        S: Keyed + DeserializeOwned,
    {
        let (key, _): (Option<S::Key>, Option<usize>) = decode(key)?;
        let workers = self.keep.workers as u64;
        let mine = key.is_none_or(|key| owner(&key) % workers == self.keep.worker as u64);
        piece.filter(|_| mine).map(|piece| decode(piece)).transpose()
    }

    /// This worker's share of an input's rows, once: those of before the checkpoint's epoch, and those of it.
    pub fn restored_rows<D: DeserializeOwned>(&mut self) -> Option<[Vec<(D, i64)>; 2]> {
        self.keep.rows(self.name, &*self.restored.take()?)
    }

    /// What a view held, once: for each row its subject and its copies, and what is at rest, of the subjects that this
    /// worker has.
    pub fn restored_shelf<S, D>(&mut self, is_mine: impl Fn(&S) -> bool) -> Held<S, D>
    where
        S: DeserializeOwned,
        D: DeserializeOwned,
    {
        let Some(restored) = self.restored.take() else { return (Vec::new(), Vec::new()) };
        let read = || {
            let (mut rows, mut resting) = (Vec::new(), Vec::new());
            for (row, copies) in restored.state.rows.get(self.name).iter().flat_map(|added| &added.before) {
                let (subject, row): (S, D) = decode(row)?;
                if is_mine(&subject) {
                    rows.push((subject, row, *copies));
                }
            }
            for (subject, piece) in restored.state.resting.get(self.name).into_iter().flatten() {
                let subject: S = decode(subject)?;
                if is_mine(&subject) {
                    resting.extend(piece.clone().map(|piece| (subject, piece)));
                }
            }
            Ok((rows, resting))
        };
        read().unwrap_or_else(|why: StateError| {
            self.keep.shared.fail(format!("checkpoint {}: {}: {why}", restored.epoch, self.name));
            (Vec::new(), Vec::new())
        })
    }
}

/// What a view holds of its subjects: rows with their copies, and pieces at rest.
type Held<S, D> = (Vec<(S, D, i64)>, Vec<(S, Bytes)>);
