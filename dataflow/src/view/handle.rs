//! A value that is there once. What passes through many views is cloned for each of them; of a handle that is a count.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use lsie_schemas::{Cell, TableRow, table::Table};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A value behind a count; compared, hashed and encoded as the value.
#[derive(Clone, Debug)]
pub(crate) struct Handle<T>(Arc<T>);

impl<T> From<T> for Handle<T> {
    fn from(value: T) -> Handle<T> {
        Handle(Arc::new(value))
    }
}

impl<T> Deref for Handle<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: TableRow> TableRow for Handle<T> {
    const TABLE: Table = T::TABLE;

    fn cells(&self) -> Vec<Cell> {
        self.0.cells()
    }

    fn from_cells(cells: &[Cell]) -> Option<Handle<T>> {
        T::from_cells(cells).map(Handle::from)
    }
}

impl<T: Ord> Ord for Handle<T> {
    fn cmp(&self, other: &Handle<T>) -> Ordering {
        if Arc::ptr_eq(&self.0, &other.0) { Ordering::Equal } else { self.0.cmp(&other.0) }
    }
}

impl<T: Ord> PartialOrd for Handle<T> {
    fn partial_cmp(&self, other: &Handle<T>) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T: Ord> PartialEq for Handle<T> {
    fn eq(&self, other: &Handle<T>) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T: Ord> Eq for Handle<T> {}

impl<T: Hash> Hash for Handle<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl<T: Serialize> Serialize for Handle<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(to)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Handle<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Handle<T>, D::Error> {
        T::deserialize(from).map(Handle::from)
    }
}
