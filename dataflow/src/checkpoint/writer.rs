//! Writes checkpoints: gathers the parts of an epoch, and when all are there and the sinks hold the epoch,
//! writes state files and then the manifest that names them. Off the data path ([`super::keeper`]).
//!
//! A state file holds what changed since the last checkpoint; when all files together weigh more than twice what there
//! is, they are merged. So a million rows of history are not written again each time, and a start reads little
//! more than twice what there is. They are weighed as they are read, not as they are stored: rows that come and go compress well.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use lsie_schemas::{LogTime, Topic};

use super::gate::Gate;
use super::manifest::{FOLDER, FileEntry, Manifest};
use super::state_file::{
    Added, FOLDER as STATE_FOLDER, Pieces, Shelved, StateError, StateFile, name_of, sha256, weight_of_piece,
};
use super::store::{Store, StoreError};
use super::{Content, Encoded, Part, Restored, STATIONS};
use crate::adapter::Time;
use crate::epochs::Told;
use crate::fault;

/// Files of a manifest above which they are merged, whatever their size; more of one that holds much.
const MAX_FILES: usize = 64;
/// What is merged is cut into files of this weight, which a start reads side by side: some tenths of a second each.
const PART: u64 = 32 << 20;

/// Why a checkpoint cannot be written. The run goes on: the next one may succeed.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The store fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A state has no encoding, or an earlier file cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// A manifest has no text.
    #[error("the manifest cannot be encoded: {0}")]
    Manifest(#[from] serde_json::Error),
    /// A file that the last manifest names is gone.
    #[error("{0} is gone from the checkpoint store")]
    Gone(String),
}

/// What every manifest of a run says.
#[derive(Clone, Debug)]
pub struct Identity {
    /// What writes it.
    pub engine: String,
    /// The hash of every setting that a result depends on.
    pub config: String,
    /// Partitions of each input topic.
    pub partitions: BTreeMap<Topic, i32>,
    /// Workers of each process.
    pub workers: usize,
    /// Processes of the run; each has the same stations.
    pub processes: usize,
    /// What topic `epochs` says besides epochs; while a run has the fence nobody adds to it. `None` if it is not known.
    pub told: Option<Told>,
}

/// Writes the checkpoints of a run.
pub struct Writer {
    store: Store,
    gate: Arc<Gate>,
    stations: Arc<AtomicUsize>,
    identity: Identity,
    /// Manifests to keep.
    keep: usize,
    /// What a file of merged state weighs at most.
    part: u64,
    open: BTreeMap<Time, Gathered>,
    /// The manifests that this run resumed from and wrote, oldest first.
    manifests: Vec<String>,
    /// The files of the newest.
    files: Vec<FileEntry>,
    /// What they weigh together.
    weight: u64,
    /// What the rows and what rests weigh that are there.
    held: i64,
    /// A hash of each piece in them.
    pieces: BTreeMap<String, BTreeMap<Bytes, String>>,
    /// What changed up to checkpoints that were chosen and could not be written.
    unwritten: Changed,
}

/// The parts of one checkpoint so far.
#[derive(Default)]
struct Gathered {
    /// Stations and workers that have handed over.
    announced: usize,
    /// Parts that are still to come by other ways.
    further: i64,
    rewind: Option<Time>,
    pieces: BTreeMap<String, Encoded>,
    changed: Changed,
}

/// What stations hand over as changes.
#[derive(Clone, Default)]
struct Changed {
    rows: BTreeMap<String, Added>,
    resting: BTreeMap<String, Pieces>,
}

impl Writer {
    /// Writes into a store, after what a run resumed from, if it did.
    pub fn new(
        store: Store,
        gate: Arc<Gate>,
        stations: Arc<AtomicUsize>,
        identity: Identity,
        keep: usize,
    ) -> Writer {
        Writer {
            store,
            gate,
            stations,
            identity,
            keep: keep.max(1),
            part: PART,
            open: BTreeMap::new(),
            manifests: Vec::new(),
            files: Vec::new(),
            weight: 0,
            held: 0,
            pieces: BTreeMap::new(),
            unwritten: Changed::default(),
        }
    }

    /// Goes on after this manifest, whose state is this.
    pub fn after(mut self, manifest: &Manifest, restored: &Restored) -> Writer {
        self.manifests = vec![manifest.name()];
        self.files = manifest.files.clone();
        (self.weight, self.held) = (restored.weight, restored.state.growth());
        for (station, pieces) in &restored.state.pieces {
            let hashes =
                pieces.iter().filter_map(|(key, piece)| Some((key.clone(), sha256(piece.as_ref()?))));
            self.pieces.insert(station.clone(), hashes.collect());
        }
        self
    }

    /// Takes a part.
    pub fn take(&mut self, part: Part) -> Result<(), WriteError> {
        let gathered = self.open.entry(part.epoch).or_default();
        gathered.rewind = [gathered.rewind, part.rewind].into_iter().flatten().min();
        match part.further {
            Some(further) => {
                gathered.announced += 1;
                gathered.further += further as i64;
            }
            None => gathered.further -= 1,
        }
        match part.content {
            Content::Pieces(encode) => {
                gathered.pieces.entry(part.station.to_string()).or_default().extend(encode()?);
            }
            Content::Rows(encode) => {
                let Added { before, last } = encode()?;
                let known = gathered.changed.rows.entry(part.station.to_string()).or_default();
                known.before.add(before);
                known.last.add(last);
            }
            Content::Shelf(encode) => {
                let Shelved { rows, resting } = encode()?;
                let Changed { rows: known, resting: at_rest } = &mut gathered.changed;
                known.entry(part.station.to_string()).or_default().before.add(rows);
                // A subject is on one worker.
                at_rest.entry(part.station.to_string()).or_default().then(resting);
            }
        }
        Ok(())
    }

    /// The size of the newest checkpoint's state files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// The next checkpoint to write, if all of its parts are there.
    pub fn ready(&self) -> Option<LogTime> {
        let (epoch, gathered) = self.open.first_key_value()?;
        let stations = self.stations.load(Ordering::SeqCst) * self.identity.processes;
        let all = gathered.announced == stations && gathered.further == 0;
        all.then_some(LogTime(*epoch))
    }

    /// Writes the next checkpoint, whose epoch every sink holds.
    pub fn write(&mut self) -> Result<(), WriteError> {
        let Some((epoch, gathered)) = self.open.pop_first() else { return Ok(()) };
        let rewind = gathered.rewind;
        let mut changed = std::mem::take(&mut self.unwritten);
        changed.then(gathered.changed);
        let written = self.write_files(epoch, rewind, &gathered.pieces, &changed);
        if let Err(error) = written {
            // Nothing of it is in a file yet.
            self.unwritten = changed;
            self.gate.written(epoch, Some(rewind.unwrap_or(epoch)));
            return Err(error);
        }
        self.gate.written(epoch, rewind);
        self.collect()
    }

    fn write_files(
        &mut self,
        epoch: Time,
        rewind: Option<Time>,
        pieces: &BTreeMap<String, Encoded>,
        changed: &Changed,
    ) -> Result<(), WriteError> {
        let (mut file, hashes) = self.changed(pieces);
        let Changed { rows, resting } = changed.clone();
        (file.rows, file.resting) = (rows, resting);
        let mut files = self.files.clone();
        let (mut weight, mut held) = (self.weight + file.weight(), self.held + file.growth());
        // One also where nothing has changed: what was last at the checkpoint before is not at this one.
        let mut parts = vec![file];
        if self.is_merge_due(weight, held.max(0) as u64 + weight_of(pieces)) {
            let all = read_all(&self.store, &files)?.into_iter().chain(parts);
            let mut all = StateFile::of(all);
            all.rows.retain(|name, _| STATIONS.iter().any(|(known, _)| known == name));
            files.clear();
            (weight, held) = (all.weight(), all.growth());
            parts = all.apart(self.part);
        }
        files.extend(self.put(parts)?);
        let manifest = Manifest {
            epoch: LogTime(epoch),
            engine: self.identity.engine.clone(),
            workers: self.identity.workers * self.identity.processes,
            config: self.identity.config.clone(),
            rewind: rewind.map(LogTime),
            partitions: self.identity.partitions.clone(),
            positions: self.gate.positions(epoch, rewind),
            stations: STATIONS.iter().map(|(name, version)| (name.to_string(), *version)).collect(),
            files,
            told: self.identity.told.clone(),
        };
        fault::point("checkpoint.manifest");
        self.store.put(&manifest.name(), &manifest.encode()?)?;
        fault::point("checkpoint.written");
        self.manifests.push(manifest.name());
        (self.files, self.weight, self.held) = (manifest.files, weight, held);
        self.pieces = hashes;
        Ok(())
    }

    /// Writes files; all of them, or none that was not there: a disk that is nearly full is not filled by half a merge, time
    /// and again.
    fn put(&self, parts: Vec<StateFile>) -> Result<Vec<FileEntry>, WriteError> {
        let there = if parts.len() > 1 { self.store.list(STATE_FOLDER)? } else { Vec::new() };
        let mut files: Vec<FileEntry> = Vec::new();
        for part in parts {
            let content = part.encode()?;
            let (name, bytes) = (name_of(&content), content.len() as u64);
            fault::point("checkpoint.state");
            if let Err(error) = self.store.put(&name, &content) {
                for file in files.iter().filter(|file| !there.contains(&file.name)) {
                    // What cannot be deleted now goes with the next checkpoint.
                    let _ = self.store.delete(&file.name);
                }
                return Err(error.into());
            }
            files.push(FileEntry { name, bytes, sha256: sha256(&content) });
        }
        Ok(files)
    }

    /// The pieces that are other than in the last checkpoint, and the hashes of all.
    fn changed(
        &self,
        pieces: &BTreeMap<String, Encoded>,
    ) -> (StateFile, BTreeMap<String, BTreeMap<Bytes, String>>) {
        let mut file = StateFile::default();
        let mut hashes: BTreeMap<String, BTreeMap<Bytes, String>> = BTreeMap::new();
        let none = BTreeMap::new();
        for (station, pieces) in pieces {
            let known = self.pieces.get(station).unwrap_or(&none);
            let now = hashes.entry(station.clone()).or_default();
            let mut changed = Vec::new();
            for (key, piece) in pieces {
                let hash = sha256(piece);
                if known.get(key) != Some(&hash) {
                    changed.push((key.clone(), Some(piece.clone())));
                }
                now.insert(key.clone(), hash);
            }
            let gone = known.keys().filter(|key| !pieces.contains_key(*key));
            changed.extend(gone.map(|key| (key.clone(), None)));
            file.pieces.insert(station.clone(), changed.into_iter().collect());
        }
        (file, hashes)
    }

    fn is_merge_due(&self, read: u64, there: u64) -> bool {
        let most = MAX_FILES + (self.weight / self.part) as usize;
        !self.files.is_empty() && (read > 2 * there || self.files.len() >= most)
    }

    /// Deletes all manifests but the newest of this run, and then the state files that none of those names.
    fn collect(&mut self) -> Result<(), WriteError> {
        let old = self.manifests.len().saturating_sub(self.keep);
        self.manifests.drain(..old);
        for name in self.store.list(FOLDER)?.iter().filter(|name| !self.manifests.contains(*name)) {
            self.store.delete(name)?;
        }
        fault::point("checkpoint.collect");
        let mut live = BTreeSet::new();
        for name in &self.manifests {
            let content = self.store.get(name)?.ok_or_else(|| WriteError::Gone(name.clone()))?;
            match Manifest::decode(&content) {
                Ok(manifest) => live.extend(manifest.files.into_iter().map(|file| file.name)),
                Err(why) => {
                    tracing::warn!(%name, %why, "a manifest changed behind the run's back; no file is deleted");
                    return Ok(());
                }
            }
        }
        for name in self.store.list(STATE_FOLDER)?.iter().filter(|name| !live.contains(*name)) {
            self.store.delete(name)?;
        }
        Ok(())
    }
}

impl Changed {
    /// Takes in what has changed later.
    fn then(&mut self, later: Changed) {
        for (input, added) in later.rows {
            merge(self.rows.entry(input).or_default(), added);
        }
        for (view, resting) in later.resting {
            self.resting.entry(view).or_default().then(resting);
        }
    }
}

/// What pieces weigh.
fn weight_of(pieces: &BTreeMap<String, Encoded>) -> u64 {
    let weigh = |(key, piece): (&Bytes, &Bytes)| weight_of_piece((key, &Some(piece.clone())));
    pieces.values().flatten().map(weigh).sum()
}

/// Adds the rows of a later checkpoint to those of earlier ones.
fn merge(known: &mut Added, later: Added) {
    known.before.add(std::mem::take(&mut known.last));
    known.before.add(later.before);
    known.last = later.last;
}

/// All files of a manifest.
fn read_all(store: &Store, files: &[FileEntry]) -> Result<Vec<StateFile>, WriteError> {
    let read = |file: &FileEntry| {
        let content = store.get(&file.name)?.ok_or_else(|| WriteError::Gone(file.name.clone()))?;
        Ok(StateFile::decode(&content)?)
    };
    files.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::state_file::Rows;

    const ROWS: u64 = 100;

    fn row(number: u64) -> Bytes {
        // Much alike, as rows of a table are: they compress to a fraction.
        format!("session_id: 00000000-0000-0000-0000-000000000000, value: 0.0, number: {number:08}").into()
    }

    /// A hundred rows come at each checkpoint, and those of two checkpoints before go and rest as one piece.
    fn part(epoch: Time) -> Part {
        let of = |epoch: u64| (epoch * ROWS..(epoch + 1) * ROWS).map(row);
        let mut rows: Vec<(Bytes, i64)> = of(epoch).map(|row| (row, 1)).collect();
        let mut resting = Vec::new();
        if let Some(past) = epoch.checked_sub(2).filter(|past| *past > 0) {
            rows.extend(of(past).map(|row| (row, -1)));
            resting.push((Bytes::from(format!("{past:08}")), Some(Bytes::from(vec![0; 64]))));
        }
        let changed =
            move || Ok(Shelved { rows: rows.into_iter().collect(), resting: resting.into_iter().collect() });
        let content = Content::Shelf(Box::new(changed));
        Part { epoch, station: "roots", rewind: None, further: Some(0), content }
    }

    fn identity() -> Identity {
        Identity {
            engine: "test".into(),
            config: String::new(),
            partitions: BTreeMap::new(),
            workers: 1,
            processes: 1,
            told: None,
        }
    }

    /// However much comes and goes, what a start reads is at most twice what is there.
    #[test]
    fn a_start_reads_little_more_than_there_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = || Store::in_folder(folder.path()).expect("a store");
        let stations = Arc::new(AtomicUsize::new(1));
        let mut writer = Writer::new(store(), Arc::default(), stations, identity(), 1);
        // Merged state is of several files, with those of later checkpoints behind.
        writer.part = 8_192;
        let (mut merges, mut parts) = (0, 0);
        for epoch in 1..=200 {
            let first = writer.files.first().cloned();
            writer.take(part(epoch)).expect("a part");
            assert_eq!(writer.ready(), Some(LogTime(epoch)));
            writer.write().expect("a checkpoint");
            if first.is_some_and(|first| first != writer.files[0]) {
                (merges, parts) = (merges + 1, writer.files.len());
            }
            let read = read_all(&store(), &writer.files).expect("its files");
            let read: u64 = read.iter().map(StateFile::weight).sum();
            let state = StateFile::of(read_all(&store(), &writer.files).expect("its files"));
            let there = state.rows["roots"].before.iter().count() as u64;
            assert_eq!(there, ROWS * epoch.min(2), "rows that are there");
            assert_eq!(state.resting["roots"].iter().count() as u64, epoch.saturating_sub(2));
            let there = state.weight();
            assert_eq!((writer.weight, writer.held), (read, there as i64), "what is known of them is true");
            assert!(read <= 2 * there, "{read} bytes are read of {there}");
        }
        assert!((10..=150).contains(&merges), "{merges} merges");
        assert!(parts > 3, "{parts} files");
    }

    /// Where one file cannot be written, none stays that was not there.
    #[test]
    fn half_a_merge_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = || Store::in_folder(folder.path()).expect("a store");
        let file = |number| {
            let rows = [(row(number), 1)].into_iter().collect();
            let mut file = StateFile::default();
            file.rows.insert("roots".into(), Added { before: rows, last: Rows::default() });
            file
        };
        let name = |number| name_of(&file(number).encode().expect("bytes"));
        let writer = Writer::new(store(), Arc::default(), Arc::default(), identity(), 1);
        writer.put(vec![file(1)]).expect("a file");
        // In the way of the third.
        std::fs::create_dir_all(folder.path().join(name(3)).join("a folder")).expect("a folder");
        writer.put([1, 2, 3, 4].map(file).into()).expect_err("no file in the place of a folder");
        let there = |number| store().get(&name(number)).is_ok_and(|found| found.is_some());
        assert_eq!([1, 2, 4].map(there), [true, false, false]);
    }
}
