//! The orders in which routes show rows. Of each the store keeps an index, moved on by every change, so that a page
//! costs as many steps as it has rows, however many there are.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

use lsie_schemas::{Cell, Table};

use crate::views::state::Entry;

/// An order of a table's rows: the newest first, and rows that are equally new by key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) table: &'static str,
    /// The columns that may be asked for by value.
    pub(crate) groups: &'static [&'static str],
    /// What says which row is newer; nothing: all are in key order.
    pub(crate) newest: &'static [By],
}

/// What says which row is newer: the greater one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// The epoch at which its key came.
    Created,
    /// A column.
    Column(&'static str),
}

/// The rows of each session in key order; for tables whose key does not begin with the session.
pub(crate) const fn by_session(table: &'static str) -> Order {
    Order { table, groups: &["session_id"], newest: &[] }
}

/// Where the columns of an order stand in a row.
#[derive(Debug)]
pub(crate) struct Places {
    groups: Vec<usize>,
    /// `None` for the epoch.
    newest: Vec<Option<usize>>,
    key: Vec<usize>,
}

impl Places {
    fn of(order: &Order, table: &Table) -> Places {
        let place = |by: &By| match by {
            By::Created => Some(None),
            By::Column(column) => table.position(column).map(Some),
        };
        Places {
            groups: order.groups.iter().filter_map(|column| table.position(column)).collect(),
            newest: order.newest.iter().filter_map(place).collect(),
            key: table.key_positions(),
        }
    }

    /// Which of two rows comes first.
    pub(crate) fn compare(&self, a: &Entry, b: &Entry) -> Ordering {
        let newer = self.newest.iter().map(|place| match place {
            None => b.created.cmp(&a.created),
            Some(at) => b.row.get(*at).cmp(&a.row.get(*at)),
        });
        let before = self.key.iter().map(|at| a.row.get(*at).cmp(&b.row.get(*at)));
        newer.chain(before).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    }

    fn group(&self, entry: &Entry) -> Vec<Cell> {
        self.groups.iter().filter_map(|at| entry.row.get(*at).cloned()).collect()
    }
}

/// A row at its place in an order.
#[derive(Clone, Debug)]
struct Ranked {
    places: Arc<Places>,
    entry: Entry,
}

impl Ord for Ranked {
    fn cmp(&self, other: &Ranked) -> Ordering {
        self.places.compare(&self.entry, &other.entry)
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Ranked) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Ranked) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ranked {}

/// Of some of the columns of an order, the value that is asked for.
pub(crate) type Filter<'a> = &'a [(&'a str, Cell)];

/// The rows of a table in one order.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    pub(crate) order: Order,
    pub(crate) places: Arc<Places>,
    /// By the values of the order's columns.
    groups: BTreeMap<Vec<Cell>, BTreeSet<Ranked>>,
}

impl Index {
    pub(crate) fn new(order: Order, table: &Table) -> Index {
        Index { order, places: Arc::new(Places::of(&order, table)), groups: BTreeMap::new() }
    }

    /// Replaces a row by another one of the same key.
    pub(crate) fn edit(&mut self, old: Option<&Entry>, new: Option<&Entry>) {
        if let Some(old) = old {
            let group = self.places.group(old);
            if let Some(rows) = self.groups.get_mut(&group) {
                rows.remove(&Ranked { places: self.places.clone(), entry: old.clone() });
                if rows.is_empty() {
                    self.groups.remove(&group);
                }
            }
        }
        if let Some(new) = new {
            let ranked = Ranked { places: self.places.clone(), entry: new.clone() };
            self.groups.entry(self.places.group(new)).or_default().insert(ranked);
        }
    }

    /// The rows that a filter lets through, in order.
    pub(crate) fn rows<'a>(&'a self, filter: Filter<'_>) -> impl Iterator<Item = &'a Entry> + use<'a> {
        let mut groups: Vec<_> = self.matching(filter).into_iter().map(BTreeSet::iter).collect();
        let next = groups.iter_mut().enumerate().filter_map(|(at, rows)| Some(Reverse((rows.next()?, at))));
        let mut heads: BinaryHeap<Reverse<(&Ranked, usize)>> = next.collect();
        std::iter::from_fn(move || {
            let Reverse((ranked, at)) = heads.pop()?;
            heads.extend(groups.get_mut(at).and_then(Iterator::next).map(|next| Reverse((next, at))));
            Some(&ranked.entry)
        })
    }

    /// The number of rows that a filter lets through.
    pub(crate) fn count(&self, filter: Filter<'_>) -> usize {
        self.matching(filter).into_iter().map(BTreeSet::len).sum()
    }

    fn matching(&self, filter: Filter<'_>) -> Vec<&BTreeSet<Ranked>> {
        let value = |column: &&str| filter.iter().find(|(name, _)| name == column).map(|(_, value)| value);
        let wanted: Vec<Option<&Cell>> = self.order.groups.iter().map(value).collect();
        if let Some(whole) = wanted.iter().map(|value| value.cloned()).collect::<Option<Vec<Cell>>>() {
            return self.groups.get(&whole).into_iter().collect();
        }
        let fits = |group: &Vec<Cell>| {
            group.iter().zip(&wanted).all(|(cell, wanted)| wanted.is_none_or(|wanted| wanted == cell))
        };
        self.groups.iter().filter(|(group, _)| fits(group)).map(|(_, rows)| rows).collect()
    }

    /// Whether a filter lets a row through.
    pub(crate) fn lets_through(&self, entry: &Entry, filter: Filter<'_>) -> bool {
        self.order.groups.iter().zip(&self.places.groups).all(|(column, at)| {
            let wanted = filter.iter().find(|(name, _)| name == column);
            wanted.is_none_or(|(_, value)| entry.row.get(*at) == Some(value))
        })
    }
}
