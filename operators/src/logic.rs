//! The one shape of everything stateful here, so that a script can drive any of it and put a restart at any line.
//!
//! A logic is a pure function of the records of completed epochs. It is handed an epoch at a time, sorts the
//! records itself into its canonical order, and emits what they cause. Configuration is given to its
//! constructor and is no part of a snapshot. `tests/laws` holds every logic to the laws that follow from this.

use std::collections::BTreeMap;

use lsie_schemas::LogTime;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A map as a list of its pairs, for snapshots: not every format has keys that are no texts.
pub(crate) mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<K, V, S>(map: &BTreeMap<K, V>, to: S) -> Result<S::Ok, S::Error>
    where
        K: Serialize,
        V: Serialize,
        S: Serializer,
    {
        to.collect_seq(map)
    }

    pub(crate) fn deserialize<'de, K, V, D>(from: D) -> Result<BTreeMap<K, V>, D::Error>
    where
        K: Deserialize<'de> + Ord,
        V: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        Ok(Vec::<(K, V)>::deserialize(from)?.into_iter().collect())
    }
}

/// A stateful piece of the mathematics.
///
/// Laws, for any sequence of epochs:
/// - the order of the records within an epoch changes nothing;
/// - a record that comes again changes nothing but its own class;
/// - restoring a snapshot into a new value, and rebuilding from [`Logic::rewind`] on, changes nothing.
pub trait Logic {
    /// What it takes.
    type Record;
    /// What it emits, at the epoch that caused it.
    type Output;
    /// Its derived state between two epochs: what a checkpoint may hold, so neither media nor provider bodies.
    type Snapshot: Serialize + DeserializeOwned;

    /// Takes all records of the next completed epoch, in any order, and emits what they cause. Epochs without
    /// records are handed over too when time itself has an effect.
    fn on_epoch(&mut self, epoch: LogTime, records: Vec<Self::Record>, out: &mut Vec<Self::Output>);

    /// The derived state after the last epoch.
    fn snapshot(&self) -> Self::Snapshot;

    /// Takes the place of another value of the same configuration, as that was when `snapshot` was taken.
    fn restore(&mut self, snapshot: Self::Snapshot);

    /// The oldest epoch whose records must be seen again after a restore, because a snapshot must not hold
    /// what they carry; none when a snapshot is enough.
    fn rewind(&self) -> Option<LogTime> {
        None
    }

    /// Takes again the records of an epoch from [`Logic::rewind`] up to the snapshot. Emits only what a logic
    /// behind this one must take again, too.
    fn rebuild(&mut self, epoch: LogTime, records: Vec<Self::Record>, again: &mut Vec<Self::Output>) {
        let _ = (epoch, records, again);
    }
}

/// A snapshot that comes apart by key, so that any number of workers can take over what any other number left.
pub trait Keyed: Default {
    /// What decides on which worker a piece belongs.
    type Key: Ord + Serialize + DeserializeOwned;

    /// Its pieces, one for each key. One without a key belongs on every worker.
    fn apart(self) -> Vec<(Option<Self::Key>, Self)>;

    /// Takes in a piece of another key, in time of the piece: there are as many as there are sessions.
    fn join(&mut self, piece: Self);
}

/// The pieces of a map by key, each of which is made a snapshot.
pub(crate) fn apart<K, V, S>(map: BTreeMap<K, V>, piece: impl Fn(BTreeMap<K, V>) -> S) -> Vec<(Option<K>, S)>
where
    K: Clone + Ord,
{
    map.into_iter().map(|(key, value)| (Some(key.clone()), piece(BTreeMap::from([(key, value)])))).collect()
}
