//! Finds out what recovery decides on, and has it decided: reads manifests, state files, and a record of each partition.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::available_parallelism;
use std::time::Duration;

use anyhow::{Context, anyhow};
use lsie_schemas::log::{Fetch, Log, TopicPartition};

use super::{Facts, Plan, Witnessed, plan};
use crate::checkpoint::manifest::{FOLDER, FileEntry, Manifest};
use crate::checkpoint::state_file::{StateError, StateFile, sha256};
use crate::checkpoint::store::Store;
use crate::checkpoint::{Restored, STATIONS};

/// A few records are read; none of them is used.
const FETCH: Fetch = Fetch { prefetch_bytes: 1 << 20, poll_bytes: 1 << 16 };
/// How long one poll for them waits.
const WAIT: Duration = Duration::from_millis(50);

/// The state files that were looked at, by name.
pub struct Found {
    files: BTreeMap<String, Result<StateFile, StateError>>,
}

/// The newest manifest, if it can be read.
pub fn newest(store: &Store) -> anyhow::Result<Option<Manifest>> {
    let names = store.list(FOLDER)?;
    let newest = names.iter().rev().find(|name| name.ends_with(".json"));
    let content = newest.map(|name| store.get(name)).transpose()?.flatten();
    Ok(content.and_then(|content| Manifest::decode(&content).ok()))
}

/// Finds out and decides: completes the facts with what this version, the log and the store say, as far as it matters. Of
/// checkpoints the newest come first, and older ones are not read once one will do.
pub fn decide(store: &Store, log: &dyn Log, facts: &mut Facts) -> anyhow::Result<(Plan, Found)> {
    store.sweep()?;
    facts.stations = STATIONS.iter().map(|(name, version)| (name.to_string(), *version)).collect();
    let mut found = Found { files: BTreeMap::new() };
    let mut knows_newest = false;
    for name in store.list(FOLDER)?.into_iter().rev() {
        let Some(content) = store.get(&name)?.filter(|_| name.ends_with(".json")) else { continue };
        let manifest = Manifest::decode(&content);
        found.look(store, manifest.iter().flat_map(|manifest| &manifest.files), facts)?;
        if let Ok(newest) = manifest.as_ref()
            && !std::mem::replace(&mut knows_newest, true)
        {
            facts.witnesses = witnesses(log, newest, &facts.bounds)?;
        }
        facts.manifests.push((name, manifest));
        // A manifest that will do, will do whatever older ones there are.
        let plan = plan(facts);
        if matches!(plan, Plan::Resume { .. }) {
            return Ok((plan, found));
        }
    }
    Ok((plan(facts), found))
}

impl Found {
    /// Reads files that were not looked at, on all processors: nothing else is done meanwhile.
    fn look<'a>(
        &mut self,
        store: &Store,
        files: impl Iterator<Item = &'a FileEntry>,
        facts: &mut Facts,
    ) -> anyhow::Result<()> {
        // Changes that are equal are in one file, which a manifest may name again and again.
        let new: BTreeSet<&str> =
            files.map(|file| file.name.as_str()).filter(|name| !self.files.contains_key(*name)).collect();
        let new: Vec<&str> = new.into_iter().collect();
        let next = AtomicUsize::new(0);
        let read = || {
            let mut read = Vec::new();
            while let Some(name) = new.get(next.fetch_add(1, Ordering::Relaxed)) {
                let Some(content) = store.get(name)? else { continue };
                let fact = (content.len() as u64, sha256(&content));
                read.push((*name, fact, StateFile::decode(&content)));
            }
            anyhow::Ok(read)
        };
        let threads = available_parallelism().map_or(1, NonZero::get).min(new.len());
        let read: Vec<_> = std::thread::scope(|scope| {
            let reading: Vec<_> = (0..threads).map(|_| scope.spawn(read)).collect();
            let read =
                reading.into_iter().map(|read| read.join().map_err(|_| anyhow!("reading panicked"))?);
            read.collect::<anyhow::Result<_>>()
        })?;
        for (name, fact, file) in read.into_iter().flatten() {
            facts.files.insert(name.into(), fact);
            self.files.insert(name.into(), file);
        }
        Ok(())
    }

    /// The state of a manifest whose files were found whole.
    pub fn state(mut self, manifest: &Manifest) -> anyhow::Result<Restored> {
        let mut files = Vec::new();
        for (at, FileEntry { name, .. }) in manifest.files.iter().enumerate() {
            let is_named_again = manifest.files[at + 1..].iter().any(|later| later.name == *name);
            let file = match self.files.remove(name).with_context(|| format!("{name} is gone"))? {
                Ok(file) if is_named_again => {
                    self.files.insert(name.clone(), Ok(file.clone()));
                    file
                }
                file => file.with_context(|| name.clone())?,
            };
            files.push(file);
        }
        let weight = files.iter().map(StateFile::weight).sum();
        let mut state = StateFile::of(files);
        // What an earlier version kept, and this one or an earlier one has made its own state of.
        state.rows.retain(|name, _| manifest.stations.contains_key(name));
        Ok(Restored { epoch: manifest.epoch.0, state, weight })
    }
}

/// Reads the remembered records that the log still holds.
fn witnesses(
    log: &dyn Log,
    manifest: &Manifest,
    bounds: &BTreeMap<TopicPartition, (i64, i64)>,
) -> anyhow::Result<BTreeMap<(TopicPartition, i64), Witnessed>> {
    let remembered = manifest.positions.iter().filter_map(|p| Some((p.at, p.witness?.offset)));
    let mut found: BTreeMap<_, _> = remembered.map(|key| (key, Witnessed::Gone)).collect();
    let held = |(at, offset): &(TopicPartition, i64)| {
        bounds.get(at).is_some_and(|(first, end)| (*first..*end).contains(offset))
    };
    let mut open: Vec<(TopicPartition, i64)> = found.keys().copied().filter(held).collect();
    if open.is_empty() {
        return Ok(found);
    }
    let mut reader = log.reader(&open, FETCH)?;
    while !open.is_empty() {
        for record in reader.poll(WAIT)? {
            if let Some(witnessed) = found.get_mut(&(record.at, record.offset)) {
                *witnessed = Witnessed::There(record.log_time, record.value.len() as u64);
            }
        }
        let past = |at, offset| reader.position(at).is_some_and(|position| position > offset);
        let done: Vec<_> = open.iter().copied().filter(|(at, offset)| past(*at, *offset)).collect();
        for (at, _) in &done {
            reader.pause(*at, true)?;
        }
        open.retain(|key| !done.contains(key));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use lsie_schemas::LogTime;

    use super::*;
    use crate::checkpoint::state_file::name_of;

    /// What changed, or did not, may be the same from one checkpoint to the next: one file, which counts each time.
    #[test]
    fn a_file_that_is_named_again_counts_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::in_folder(folder.path()).expect("a store");
        let put = |copies: Option<i64>| {
            let mut file = StateFile::default();
            let row = copies.map(|copies| (Bytes::from_static(b"row"), copies));
            file.rows.entry("roots".into()).or_default().before = row.into_iter().collect();
            let content = file.encode().expect("a file");
            let name = name_of(&content);
            store.put(&name, &content).expect("a put");
            FileEntry { name, bytes: content.len() as u64, sha256: sha256(&content) }
        };
        let (one, none) = (put(Some(1)), put(None));
        let manifest = Manifest {
            epoch: LogTime(1),
            engine: "test".into(),
            workers: 1,
            config: String::new(),
            rewind: None,
            partitions: BTreeMap::new(),
            positions: Vec::new(),
            stations: BTreeMap::from([("roots".into(), 1)]),
            files: vec![one.clone(), none.clone(), one.clone(), none.clone(), none.clone(), one.clone()],
            told: None,
        };
        let (mut found, mut facts) = (Found { files: BTreeMap::new() }, Facts::default());
        found.look(&store, manifest.files.iter(), &mut facts).expect("the store answers");
        assert_eq!(facts.files.len(), 2);
        for file in &manifest.files {
            assert_eq!(facts.files.get(&file.name), Some(&(file.bytes, file.sha256.clone())));
        }
        let restored = found.state(&manifest).expect("a state");
        let rows: Vec<_> = restored.state.rows["roots"].before.iter().collect();
        assert_eq!(rows, [(&Bytes::from_static(b"row"), &3)]);
        assert_eq!(restored.weight, 3 * (3 + 4), "what was read");
    }
}
