//! Values by key, in order: maps that are read from a file, and added to others, in one go.

use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Values by key, sorted by it. A start reads millions of them before it does anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sorted<V>(Vec<(Bytes, V)>);

impl<V> Default for Sorted<V> {
    fn default() -> Sorted<V> {
        Sorted(Vec::new())
    }
}

impl<V> Sorted<V> {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keys and values, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = (&Bytes, &V)> {
        self.into_iter()
    }

    /// Puts later ones behind, to be [settled](Sorted::settle).
    pub(super) fn put_behind(&mut self, later: impl IntoIterator<Item = (Bytes, V)>) {
        self.0.extend(later);
    }

    /// Keeps those whose value is as wanted.
    pub(super) fn retain(&mut self, wanted: impl Fn(&V) -> bool) {
        self.0.retain(|(_, value)| wanted(value));
        self.0.shrink_to_fit();
    }

    /// In parts that follow each other; a part ends before an entry that does not go `with` those before it.
    pub(super) fn split(self, mut with: impl FnMut((&Bytes, &V)) -> bool) -> Vec<Sorted<V>> {
        let (mut parts, mut last) = (Vec::new(), Sorted::default());
        for (key, value) in self.0 {
            if !with((&key, &value)) {
                parts.push(std::mem::take(&mut last));
            }
            last.0.push((key, value));
        }
        parts.push(last);
        parts
    }

    /// Sorts again after some were put behind; of values of one key `join` makes one, in the order in which they came.
    pub(super) fn settle(&mut self, join: impl Fn(&mut V, V)) {
        // Made of sorted runs, which this sort finds.
        self.0.sort_by(|(a, _), (b, _)| a.cmp(b));
        let entries = std::mem::take(&mut self.0);
        self.0.reserve_exact(entries.len());
        for (key, value) in entries {
            match self.0.last_mut().filter(|(last, _)| *last == key) {
                Some((_, known)) => join(known, value),
                None => self.0.push((key, value)),
            }
        }
    }
}

/// Each key once.
impl<V> FromIterator<(Bytes, V)> for Sorted<V> {
    fn from_iter<I: IntoIterator<Item = (Bytes, V)>>(entries: I) -> Sorted<V> {
        let mut sorted = Sorted(entries.into_iter().collect());
        sorted.settle(|_, _| debug_assert!(false, "a key twice"));
        sorted
    }
}

impl<V> IntoIterator for Sorted<V> {
    type Item = (Bytes, V);
    type IntoIter = std::vec::IntoIter<(Bytes, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a, V> IntoIterator for &'a Sorted<V> {
    type Item = (&'a Bytes, &'a V);
    type IntoIter = std::iter::Map<std::slice::Iter<'a, (Bytes, V)>, fn(&(Bytes, V)) -> (&Bytes, &V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter().map(|(key, value)| (key, value))
    }
}

impl<V: Serialize> Serialize for Sorted<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self)
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Sorted<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Sorted<V>, D::Error> {
        deserializer.deserialize_map(Entries(PhantomData))
    }
}

/// Reads the entries of a map.
struct Entries<V>(PhantomData<V>);

impl<'de, V: Deserialize<'de>> Visitor<'de> for Entries<V> {
    type Value = Sorted<V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map by bytes")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Sorted<V>, A::Error> {
        // A length is not believed before that much has come.
        let mut entries = Vec::with_capacity(map.size_hint().unwrap_or(0).min(1 << 16));
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        if !entries.is_sorted_by(|(a, _): &(Bytes, V), (b, _)| a < b) {
            return Err(serde::de::Error::custom("keys out of order"));
        }
        Ok(Sorted(entries))
    }
}

#[cfg(test)]
mod tests {
    use crate::checkpoint::state_file::{Rows, decode};

    #[test]
    fn what_is_out_of_order_is_not_a_file() {
        // A map of two in MessagePack, each a string of one byte and a number.
        let map = |first, second| [0x82, 0xc4, 1, first, 1, 0xc4, 1, second, 1];
        assert!(decode::<Rows>(&map(b'a', b'b')).is_ok());
        for (first, second) in [(b'b', b'a'), (b'a', b'a')] {
            let why = decode::<Rows>(&map(first, second)).expect_err("it is out of order");
            assert!(why.to_string().contains("out of order"), "{why}");
        }
    }
}
