//! A state file: what changed in the state of a run from one checkpoint to the next.
//!
//! State is of three kinds. Operators have keyed *pieces*, of which a file holds those that are other than
//! before, and the keys that are gone. Views, and some of their inputs, have *rows* with a number of copies, of which a file
//! holds what was added, that of the checkpoint's own epoch apart. What a view holds of a subject that nothing has
//! touched for a while is *at rest*: one piece in place of its rows. All are opaque bytes here, so that files
//! can be merged without knowing what is in them. All files of a manifest, in order, make the state.

use std::collections::BTreeMap;
use std::io::{BufReader, BufWriter, IntoInnerError, Read};

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::sorted::Sorted;

/// The layout of a file. What is in it has versions of its own, in the manifest.
const FORMAT: u32 = 1;
/// The folder of state files in a store.
pub const FOLDER: &str = "state";
/// Fast, and a third of the size.
const COMPRESSION: i32 = 1;
/// What is asked of the decoder at once: a block.
const AT_ONCE: usize = 1 << 17;

/// Rows of an input and how many copies were added.
pub type Rows = Sorted<i64>;

/// The pieces of an operator by key; `None`: gone.
pub type Pieces = Sorted<Option<Bytes>>;

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

    /// The state that files make, in their order.
    pub fn of(files: impl IntoIterator<Item = StateFile>) -> StateFile {
        let mut all = StateFile::default();
        for file in files {
            for (known, later) in [(&mut all.pieces, file.pieces), (&mut all.resting, file.resting)] {
                for (station, pieces) in later {
                    known.entry(station).or_default().put_behind(pieces);
                }
            }
            // What was added at the epoch of one checkpoint was there before that of the next.
            for added in all.rows.values_mut() {
                added.before.put_behind(std::mem::take(&mut added.last));
            }
            for (input, added) in file.rows {
                let known = all.rows.entry(input).or_default();
                known.before.put_behind(added.before);
                known.last = added.last;
            }
        }
        for pieces in all.pieces.values_mut().chain(all.resting.values_mut()) {
            pieces.settle(|known, later| *known = later);
            pieces.retain(Option::is_some);
        }
        for added in all.rows.values_mut() {
            added.before.add_up();
        }
        all
    }

    /// The same state as files that weigh at most so much, unless one entry weighs more: they are read side by side. The last
    /// one has all that was added at the checkpoint's epoch as well.
    pub fn apart(self, most: u64) -> Vec<StateFile> {
        let mut filled = 0;
        let mut with = |weight: u64| {
            let fits = filled == 0 || filled + weight <= most;
            filled = if fits { filled + weight } else { weight };
            fits
        };
        let mut files = Files::default();
        for (station, pieces) in self.pieces {
            files.put(pieces.split(|piece| with(weight_of_piece(piece))), |file, part| {
                file.pieces.insert(station.clone(), part);
            });
        }
        for (view, resting) in self.resting {
            files.put(resting.split(|piece| with(weight_of_piece(piece))), |file, part| {
                file.resting.insert(view.clone(), part);
            });
        }
        let mut last = BTreeMap::new();
        for (input, added) in self.rows {
            files.put(added.before.split(|(row, _)| with(weight_of_row(row))), |file, part| {
                file.rows.insert(input.clone(), Added { before: part, last: Rows::default() });
            });
            last.insert(input, added.last);
        }
        // Of a file that is not the last it would count as before.
        for (input, last) in last {
            files.last.rows.entry(input).or_default().last = last;
        }
        files.full.push(files.last);
        files.full
    }

    /// About how many bytes it takes before it is compressed: what it costs to read.
    pub fn weight(&self) -> u64 {
        let pieces: u64 = self.pieces.values().flatten().map(weight_of_piece).sum();
        pieces + self.held().map(|(weight, _)| weight).sum::<u64>()
    }

    /// By how much the weight of all rows and of what rests is more with it.
    pub fn growth(&self) -> i64 {
        let signed = |(weight, comes): (u64, bool)| if comes { weight as i64 } else { -(weight as i64) };
        self.held().map(signed).sum()
    }

    /// The weights of rows and of what rests, and whether each comes. What is touched again and so rests no more is not known
    /// by its weight; its rows come in its place.
    fn held(&self) -> impl Iterator<Item = (u64, bool)> {
        let resting = self.resting.values().flatten().map(|piece| (weight_of_piece(piece), true));
        let rows = self.rows.values().flat_map(|added| added.before.iter().chain(&added.last));
        rows.map(|(row, copies)| (weight_of_row(row), *copies > 0)).chain(resting)
    }
}

/// Files that are filled one after the other.
#[derive(Default)]
struct Files {
    full: Vec<StateFile>,
    last: StateFile,
}

impl Files {
    /// Puts parts into files: the first into the last file there is, each other into a new one.
    fn put<T>(&mut self, parts: Vec<T>, put: impl Fn(&mut StateFile, T)) {
        for (nth, part) in parts.into_iter().enumerate() {
            if nth > 0 {
                self.full.push(std::mem::take(&mut self.last));
            }
            put(&mut self.last, part);
        }
    }
}

fn weight_of_row(row: &Bytes) -> u64 {
    row.len() as u64 + BESIDE
}

/// About how many bytes a piece and its key take.
pub(super) fn weight_of_piece((key, piece): (&Bytes, &Option<Bytes>)) -> u64 {
    (key.len() + piece.as_ref().map_or(0, Bytes::len)) as u64 + BESIDE
}

/// What an entry takes beside its bytes: their length, and the number of copies.
const BESIDE: u64 = 4;

impl Pieces {
    /// Takes in later ones, each in the place of the earlier one of its key.
    pub fn then(&mut self, later: Pieces) {
        self.put_behind(later);
        self.settle(|known, later| *known = later);
    }
}

impl Rows {
    /// Adds up copies; rows of which none is left go.
    pub fn add(&mut self, rows: Rows) {
        self.put_behind(rows);
        self.add_up();
    }

    /// The sum of rows that may come more than once.
    pub fn summed(rows: impl Iterator<Item = Result<(Bytes, i64), StateError>>) -> Result<Rows, StateError> {
        let mut sum = Rows::default();
        sum.put_behind(rows.collect::<Result<Vec<_>, _>>()?);
        sum.add_up();
        Ok(sum)
    }

    fn add_up(&mut self) {
        self.settle(|known, copies| *known += copies);
        self.retain(|copies| *copies != 0);
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

/// The value of compressed bytes, without a copy of all of it in between.
pub fn unpack<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StateError> {
    let unpacked = BufReader::with_capacity(AT_ONCE, zstd::Decoder::with_buffer(bytes)?);
    Ok(rmp_serde::from_read(unpacked)?)
}

/// What was compressed.
pub fn decompress(bytes: &[u8]) -> Result<Vec<u8>, StateError> {
    let mut unpacked = Vec::new();
    zstd::Decoder::with_buffer(bytes)?.read_to_end(&mut unpacked)?;
    Ok(unpacked)
}

/// The name of a file with this content.
pub fn name_of(content: &[u8]) -> String {
    format!("{FOLDER}/{}", sha256(content))
}

/// SHA-256, lowercase hex.
pub fn sha256(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Small maps by small keys; a value is told by a number.
    fn entries<V: std::fmt::Debug>(
        value: impl Strategy<Value = V>,
    ) -> impl Strategy<Value = BTreeMap<Bytes, V>> {
        let key = prop::collection::vec(0..3u8, 0..3).prop_map(Bytes::from);
        prop::collection::btree_map(key, value, 0..6)
    }

    fn of_station<V: std::fmt::Debug>(
        value: impl Strategy<Value = V>,
    ) -> impl Strategy<Value = BTreeMap<String, V>> {
        prop::collection::btree_map("[ab]", value, 0..3)
    }

    type ByKey = BTreeMap<Bytes, Option<Bytes>>;
    type Counted = BTreeMap<Bytes, i64>;

    /// A file as maps.
    #[derive(Clone, Debug, Default)]
    struct Plain {
        pieces: BTreeMap<String, ByKey>,
        rows: BTreeMap<String, (Counted, Counted)>,
        resting: BTreeMap<String, ByKey>,
    }

    fn plain() -> impl Strategy<Value = Plain> {
        let piece = || prop::option::of((0..9u8).prop_map(|byte| Bytes::from(vec![byte; 4])));
        let copies = || prop_oneof![-2..0i64, 1..3i64];
        let rows = || (entries(copies()), entries(copies()));
        (of_station(entries(piece())), of_station(rows()), of_station(entries(piece())))
            .prop_map(|(pieces, rows, resting)| Plain { pieces, rows, resting })
    }

    impl Plain {
        fn file(&self) -> StateFile {
            let sorted = |pieces: &BTreeMap<String, ByKey>| {
                pieces.iter().map(|(name, all)| (name.clone(), all.clone().into_iter().collect())).collect()
            };
            let rows = |(before, last): &(Counted, Counted)| Added {
                before: before.clone().into_iter().collect(),
                last: last.clone().into_iter().collect(),
            };
            StateFile {
                format: FORMAT,
                pieces: sorted(&self.pieces),
                rows: self.rows.iter().map(|(name, all)| (name.clone(), rows(all))).collect(),
                resting: sorted(&self.resting),
            }
        }

        /// Takes in a later file, entry by entry.
        fn then(&mut self, later: Plain) {
            for (known, later) in [(&mut self.pieces, later.pieces), (&mut self.resting, later.resting)] {
                for (name, pieces) in later {
                    let known = known.entry(name).or_default();
                    for (key, piece) in pieces {
                        match piece {
                            Some(piece) => drop(known.insert(key, Some(piece))),
                            None => drop(known.remove(&key)),
                        }
                    }
                }
            }
            let add = |to: &mut Counted, rows: Counted| {
                rows.into_iter().for_each(|(row, copies)| *to.entry(row).or_default() += copies);
                to.retain(|_, copies| *copies != 0);
            };
            for (before, last) in self.rows.values_mut() {
                add(before, std::mem::take(last));
            }
            for (name, (before, last)) in later.rows {
                let known = self.rows.entry(name).or_default();
                add(&mut known.0, before);
                known.1 = last;
            }
        }
    }

    proptest! {
        /// What files make together is what they make one after the other, and what has passed through bytes is as before.
        #[test]
        fn files_make_what_each_changes(files in prop::collection::vec(plain(), 0..6)) {
            let mut known = Plain::default();
            let read = |file: &Plain| {
                let file = file.file();
                let again = StateFile::decode(&file.encode().expect("bytes")).expect("a file");
                assert_eq!(again, file);
                again
            };
            let made = StateFile::of(files.iter().map(read));
            files.iter().cloned().for_each(|file| known.then(file));
            prop_assert_eq!(made, known.file());
        }
    }

    proptest! {
        /// Cut apart it is the same state, and no file but the last, which has what is of its epoch, weighs too much.
        #[test]
        fn what_is_cut_apart_makes_the_same(files in prop::collection::vec(plain(), 0..4), most in 1..60u64) {
            let whole = StateFile::of(files.iter().map(Plain::file));
            let parts = whole.clone().apart(most);
            for part in &parts[..parts.len() - 1] {
                let pieces = part.pieces.values().chain(part.resting.values()).flatten().count();
                let rows: usize = part.rows.values().map(|added| added.before.iter().count()).sum();
                prop_assert!(part.weight() <= most || pieces + rows == 1, "{} of {most}", part.weight());
            }
            prop_assert_eq!(StateFile::of(parts), whole);
        }
    }

    #[test]
    fn a_file_weighs_what_it_holds() {
        let mut file = StateFile::default();
        assert_eq!(file.weight(), 0);
        let row = Bytes::from(vec![1; 100]);
        file.rows.entry("a".into()).or_default().before = [(row.clone(), -1)].into_iter().collect();
        file.resting.entry("a".into()).or_default().then([(row.clone(), Some(row))].into_iter().collect());
        assert!((300..320).contains(&file.weight()), "{}", file.weight());
        assert!((90..110).contains(&file.growth()), "a row that goes: {}", file.growth());
    }
}
