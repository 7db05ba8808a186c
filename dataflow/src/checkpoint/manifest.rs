//! The manifest of a checkpoint: the one small file that decides what exists, written last.

use std::collections::BTreeMap;

use bytes::Bytes;
use lsie_schemas::LogTime;
use lsie_schemas::Topic;
use lsie_schemas::log::TopicPartition;
use serde::{Deserialize, Serialize};

use super::state_file::sha256;
use crate::epochs::Told;

/// The layout of a manifest and of the state it names. One of the first, which did not say what it was told, can be read.
pub const FORMAT: u32 = 2;
/// The folder of manifests in a store.
pub const FOLDER: &str = "checkpoints";

/// A checkpoint: the state of a run between two epochs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The newest epoch whose records are in it, by its log time.
    pub epoch: LogTime,
    /// What wrote it; for people.
    pub engine: String,
    /// How many workers wrote it; for people.
    pub workers: usize,
    /// The hash of every setting that a result depends on.
    pub config: String,
    /// The oldest epoch whose records must be seen again, because no checkpoint may hold what they carry.
    pub rewind: Option<LogTime>,
    /// Partitions of each input topic.
    pub partitions: BTreeMap<Topic, i32>,
    /// Where each input partition stands, in canonical order.
    pub positions: Vec<Position>,
    /// The operators and inputs whose state is in it, with the version of its encoding.
    pub stations: BTreeMap<String, u32>,
    /// The state files, in the order in which they make the state.
    pub files: Vec<FileEntry>,
    /// What topic `epochs` had said by then besides epochs: a run that goes on reads that topic from `rewind` on. `None`
    /// where it is not known; then all of it is read, which for every day that there was a run are 345,600 epochs.
    #[serde(default)]
    pub told: Option<Told>,
}

/// Where a partition stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// The partition.
    pub at: TopicPartition,
    /// The offset after the last record of the checkpoint's epochs.
    pub next: i64,
    /// The offset from which to read, at most `next`.
    pub rewind: i64,
    /// A record by which to know the topic again.
    pub witness: Option<Witness>,
}

/// What is remembered of the last record of a partition: a topic that was made anew does not hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Witness {
    /// Its offset.
    pub offset: i64,
    /// Its log time.
    pub log_time: LogTime,
    /// The length of its value.
    pub bytes: u64,
}

/// A state file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Its name in the store.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of its content, lowercase hex.
    pub sha256: String,
}

/// Why a manifest cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Cut off or changed.
    #[error("torn: {0}")]
    Torn(String),
    /// Written by a version with another layout.
    #[error("format {0}, known is {FORMAT}")]
    Format(u64),
}

/// The first word of a manifest's file. Its first line is this, the format, and the hash of the rest.
const MAGIC: &str = "lsie-checkpoint";

impl Manifest {
    /// The name of its file.
    pub fn name(&self) -> String {
        format!("{FOLDER}/{:020}.json", self.epoch.0)
    }

    /// The manifest as the content of its file.
    pub fn encode(&self) -> Result<Bytes, serde_json::Error> {
        let body = serde_json::to_string_pretty(self)?;
        Ok(format!("{MAGIC} {FORMAT} {}\n{body}", sha256(body.as_bytes())).into())
    }

    /// Reads the content of a file.
    pub fn decode(content: &[u8]) -> Result<Manifest, ManifestError> {
        let torn = |why: &str| ManifestError::Torn(why.to_string());
        let text = std::str::from_utf8(content).map_err(|_| torn("no text"))?;
        let (first, body) = text.split_once('\n').ok_or_else(|| torn("one line"))?;
        let mut words = first.split(' ');
        if words.next() != Some(MAGIC) {
            return Err(torn("no manifest"));
        }
        let format = words.next().and_then(|word| word.parse().ok()).ok_or_else(|| torn("no format"))?;
        if !(1..=u64::from(FORMAT)).contains(&format) {
            return Err(ManifestError::Format(format));
        }
        if words.next() != Some(&sha256(body.as_bytes())) || words.next().is_some() {
            return Err(torn("its hash is another"));
        }
        serde_json::from_str(body).map_err(|why| ManifestError::Torn(why.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place() -> impl Strategy<Value = TopicPartition> {
        let topic = prop::sample::select(&crate::ingest::INPUTS);
        (topic, 0..8i32).prop_map(|(topic, partition)| TopicPartition { topic, partition })
    }

    prop_compose! {
        fn position()(
            at in place(),
            rewind in 0..i64::MAX / 2,
            more in 0..1_000i64,
            witness in prop::option::of((0..i64::MAX, any::<u64>(), any::<u64>())),
        ) -> Position {
            let witness =
                witness.map(|(offset, time, bytes)| Witness { offset, log_time: LogTime(time), bytes });
            Position { at, next: rewind + more, rewind, witness }
        }
    }

    prop_compose! {
        fn manifest()(
            epoch in any::<u64>(),
            rewind in prop::option::of(any::<u64>()),
            workers in 1..64usize,
            (engine, config) in (".*", "[0-9a-f]{64}"),
            positions in prop::collection::vec(position(), 0..20),
            stations in prop::collection::btree_map("[a-z_]{1,12}", 1..9u32, 0..20),
            files in prop::collection::vec(("[0-9a-f]{64}", any::<u64>()), 0..20),
            quarantined in prop::option::of(prop::collection::btree_set((place(), 0..i64::MAX), 0..3)),
        ) -> Manifest {
            let file = |(sha256, bytes): (String, u64)| FileEntry { name: format!("state/{sha256}"), bytes, sha256 };
            Manifest {
                epoch: LogTime(epoch),
                engine,
                workers,
                config,
                rewind: rewind.map(LogTime),
                partitions: crate::ingest::INPUTS.into_iter().map(|topic| (topic, 4)).collect(),
                positions,
                stations,
                files: files.into_iter().map(file).collect(),
                told: quarantined.map(|quarantined| Told { quarantined, ..Told::default() }),
            }
        }
    }

    proptest! {
        #[test]
        fn a_manifest_comes_back_as_it_was(manifest in manifest()) {
            let bytes = manifest.encode().expect("a manifest has a text");
            prop_assert_eq!(Manifest::decode(&bytes), Ok(manifest));
        }

        /// Whatever is cut off or changed in one place is noticed; no bytes make it panic.
        #[test]
        fn damage_is_noticed(manifest in manifest(), at in any::<prop::sample::Index>(), bit in 0..8u32) {
            let bytes = manifest.encode().expect("a manifest has a text").to_vec();
            let at = at.index(bytes.len());
            prop_assert!(Manifest::decode(&bytes[..at]).is_err());
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            prop_assert!(Manifest::decode(&changed).is_err());
        }

        #[test]
        fn any_bytes_are_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Manifest::decode(&bytes).is_err());
        }
    }

    #[test]
    fn another_format_says_so() {
        let known = format!("{MAGIC} 3 whatever\nnew things");
        assert_eq!(Manifest::decode(known.as_bytes()), Err(ManifestError::Format(3)));
    }
}
