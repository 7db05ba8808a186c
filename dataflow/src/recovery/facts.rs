//! Finds out what recovery decides on: reads manifests, state files, and a record of each partition.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use lsie_schemas::log::{Fetch, Log, TopicPartition};

use super::{Facts, Witnessed};
use crate::checkpoint::manifest::{FOLDER, Manifest};
use crate::checkpoint::state_file::{StateFile, sha256};
use crate::checkpoint::store::Store;
use crate::checkpoint::{Restored, STATIONS};

/// A few records are read; none of them is used.
const FETCH: Fetch = Fetch { prefetch_bytes: 1 << 20, poll_bytes: 1 << 16 };
/// How long one poll for them waits.
const WAIT: Duration = Duration::from_millis(50);

/// What a checkpoint store holds.
pub struct Found {
    /// The state files by name.
    contents: BTreeMap<String, Bytes>,
}

/// Completes the facts with what the store and the log say.
pub fn gather(store: &Store, log: &dyn Log, facts: &mut Facts) -> anyhow::Result<Found> {
    store.sweep()?;
    let mut contents = BTreeMap::new();
    for name in store.list(FOLDER)?.into_iter().rev() {
        let Some(content) = store.get(&name)?.filter(|_| name.ends_with(".json")) else { continue };
        let manifest = Manifest::decode(&content);
        for file in manifest.iter().flat_map(|manifest| &manifest.files) {
            if !contents.contains_key(&file.name)
                && let Some(content) = store.get(&file.name)?
            {
                facts.files.insert(file.name.clone(), (content.len() as u64, sha256(&content)));
                contents.insert(file.name.clone(), content);
            }
        }
        facts.manifests.push((name, manifest));
    }
    let newest = facts.manifests.iter().find_map(|(_, manifest)| manifest.as_ref().ok());
    if let Some(newest) = newest {
        facts.witnesses = witnesses(log, newest, &facts.bounds)?;
    }
    facts.stations = STATIONS.iter().map(|(name, version)| (name.to_string(), *version)).collect();
    Ok(Found { contents })
}

impl Found {
    /// The state of a manifest whose files were found whole.
    pub fn state(&self, manifest: &Manifest) -> anyhow::Result<Restored> {
        let mut state = StateFile::default();
        for file in &manifest.files {
            let content = self.contents.get(&file.name).with_context(|| format!("{} is gone", file.name))?;
            state.then(StateFile::decode(content).with_context(|| file.name.clone())?);
        }
        // What an earlier version kept, and this one or an earlier one has made its own state of.
        state.rows.retain(|name, _| manifest.stations.contains_key(name));
        Ok(Restored { epoch: manifest.epoch.0, state })
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
