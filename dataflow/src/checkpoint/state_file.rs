//! A state file: what changed in the state of a run from one checkpoint to the next.
//!
//! State is of three kinds. Operators have keyed *pieces*, of which a file holds those that are other than
//! before, and the keys that are gone. Views, and some of their inputs, have *rows* with a number of copies, of which a file
//! holds what was added, that of the checkpoint's own epoch apart. What a view holds of a subject that nothing has
//! touched for a while is *at rest*: one piece in place of its rows. All are opaque bytes here, so that files
//! can be merged without knowing what is in them. All files of a manifest, in order, make the state.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{BufReader, BufWriter, IntoInnerError};

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The layout of a file. What is in it has versions of its own, in the manifest.
const FORMAT: u32 = 1;
/// The folder of state files in a store.
pub const FOLDER: &str = "state";
/// Fast, and a third of the size.
const COMPRESSION: i32 = 1;

/// Rows of an input and how many copies were added.
pub type Rows = BTreeMap<Bytes, i64>;

/// The pieces of an operator by key; `None`: gone.
pub type Pieces = BTreeMap<Bytes, Option<Bytes>>;

/// What was added to an input.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Added {
    /// Before the epoch of the checkpoint.
    pub before: Rows,
    /// At it: what leaves the views at this epoch is still on its way through the feedback edge.
    pub last: Rows,
}

/// What changed on a shelf: its rows, and what has come to rest or is touched again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shelved {
    /// Rows that came, and those that went.
    pub rows: Rows,
    /// By subject; `None`: its rows are rows again.
    pub resting: Pieces,
}

/// What changed since the file before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateFile {
    format: u32,
    /// By operator.
    pub pieces: BTreeMap<String, Pieces>,
    /// By input or view.
    pub rows: BTreeMap<String, Added>,
    /// By view; earlier versions had nothing at rest.
    #[serde(default)]
    pub resting: BTreeMap<String, Pieces>,
}

impl Default for StateFile {
    fn default() -> StateFile {
        StateFile { format: FORMAT, pieces: BTreeMap::new(), rows: BTreeMap::new(), resting: BTreeMap::new() }
    }
}

/// Why state cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A value that has no encoding.
    #[error("state cannot be encoded: {0}")]
    Encode(#[from] rmp_serde::encode::Error),
    /// Other bytes than were written, or written by another version.
    #[error("state cannot be read: {0}")]
    Decode(#[from] rmp_serde::decode::Error),
    /// Damaged compression.
    #[error("state cannot be read: {0}")]
    Compression(#[from] std::io::Error),
    /// Another layout.
    #[error("state of format {0}; known is {FORMAT}")]
    Format(u32),
}

/// A value of state as bytes; equal values have equal bytes.
pub fn encode<T: Serialize>(value: &T) -> Result<Bytes, StateError> {
    Ok(rmp_serde::to_vec_named(value)?.into())
}

/// The value of these bytes.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StateError> {
    Ok(rmp_serde::from_slice(bytes)?)
}

impl StateFile {
    /// The file as bytes.
    pub fn encode(&self) -> Result<Bytes, StateError> {
        Ok(pack(self)?.into())
    }

    /// Reads a file.
    pub fn decode(bytes: &[u8]) -> Result<StateFile, StateError> {
        let file: StateFile = unpack(bytes)?;
        if file.format == FORMAT { Ok(file) } else { Err(StateError::Format(file.format)) }
    }

    /// Takes in the file of a later checkpoint.
    pub fn then(&mut self, later: StateFile) {
        for (known, later) in [(&mut self.pieces, later.pieces), (&mut self.resting, later.resting)] {
            for (station, pieces) in later {
                let known = known.entry(station).or_default();
                for (key, piece) in pieces {
                    match piece {
                        Some(piece) => known.insert(key, Some(piece)),
                        None => known.remove(&key),
                    };
                }
            }
        }
        for added in self.rows.values_mut() {
            let last = std::mem::take(&mut added.last);
            add(&mut added.before, last);
        }
        for (input, added) in later.rows {
            let known = self.rows.entry(input).or_default();
            add(&mut known.before, added.before);
            known.last = added.last;
        }
    }
}

/// A value as compressed bytes, without a copy of all of it in between.
pub fn pack<T: Serialize>(value: &T) -> Result<Vec<u8>, StateError> {
    let mut packed = BufWriter::new(zstd::Encoder::new(Vec::new(), COMPRESSION)?);
    value.serialize(&mut rmp_serde::Serializer::new(&mut packed).with_struct_map())?;
    let mut bytes = packed.into_inner().map_err(IntoInnerError::into_error)?.finish()?;
    // Much of it is held for long.
    bytes.shrink_to_fit();
    Ok(bytes)
}

/// The value of compressed bytes.
pub fn unpack<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StateError> {
    // Values are read a few bytes at a time.
    Ok(rmp_serde::from_read(BufReader::new(zstd::Decoder::with_buffer(bytes)?))?)
}

/// Adds up copies; rows of which none is left go.
pub fn add(to: &mut Rows, rows: Rows) {
    if to.is_empty() {
        *to = rows;
        return;
    }
    for (row, copies) in rows {
        match to.entry(row) {
            Entry::Vacant(entry) => drop(entry.insert(copies)),
            Entry::Occupied(mut entry) => {
                *entry.get_mut() += copies;
                if *entry.get() == 0 {
                    entry.remove();
                }
            }
        }
    }
}

/// The name of a file with this content.
pub fn name_of(content: &[u8]) -> String {
    format!("{FOLDER}/{}", sha256(content))
}

/// SHA-256, lowercase hex.
pub fn sha256(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}
