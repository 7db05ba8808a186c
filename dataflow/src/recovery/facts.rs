//! Finds out what recovery decides on, and has it decided: reads manifests, state files, and a record of each partition.

use std::collections::BTreeMap;
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
    /// Reads files that were not looked at, each on a thread of its own: nothing else is done meanwhile.
    fn look<'a>(
        &mut self,
        store: &Store,
        files: impl Iterator<Item = &'a FileEntry>,
        facts: &mut Facts,
    ) -> anyhow::Result<()> {
        let new: Vec<&str> =
            files.map(|file| file.name.as_str()).filter(|name| !self.files.contains_key(*name)).collect();
        let read = |name: &str| {
            let Some(content) = store.get(name)? else { return Ok(None) };
            let fact = (content.len() as u64, sha256(&content));
            anyhow::Ok(Some((fact, StateFile::decode(&content))))
        };
        std::thread::scope(|scope| {
            let reading: Vec<_> = new.iter().map(|name| (*name, scope.spawn(|| read(name)))).collect();
            for (name, reading) in reading {
                let Some((fact, file)) = reading.join().map_err(|_| anyhow!("{name}: it panicked"))?? else {
                    continue;
                };
                facts.files.insert(name.into(), fact);
                self.files.insert(name.into(), file);
            }
            Ok(())
        })
    }

    /// The state of a manifest whose files were found whole.
    pub fn state(mut self, manifest: &Manifest) -> anyhow::Result<Restored> {
        let (mut files, mut weights) = (Vec::new(), Vec::new());
        for FileEntry { name, .. } in &manifest.files {
            let file = self.files.remove(name).with_context(|| format!("{name} is gone"))?;
            let file = file.with_context(|| name.clone())?;
            weights.push(file.weight());
            files.push(file);
        }
        let mut state = StateFile::of(files);
        // What an earlier version kept, and this one or an earlier one has made its own state of.
        state.rows.retain(|name, _| manifest.stations.contains_key(name));
        Ok(Restored { epoch: manifest.epoch.0, state, weights })
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
