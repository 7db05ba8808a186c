//! A join by subject of two collections whose times are totally ordered: what each side holds now is enough.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use timely::ExchangeData;

use super::Rows;
use super::shelf::{Contents, Subject, shelved};
use crate::checkpoint::Station;

/// What `logic` makes of every pair of one subject, exact at every time.
pub(crate) fn join_total<'scope, S, L, R, O>(
    left: Rows<'scope, (S, L)>,
    right: Rows<'scope, (S, R)>,
    station: Station,
    logic: impl Fn(&S, &L, &R) -> Option<O> + 'static,
) -> Rows<'scope, O>
where
    S: Subject,
    L: ExchangeData + Ord + Clone,
    R: ExchangeData + Ord + Clone,
    O: Clone + 'static,
{
    let left = left.map(|(subject, row)| (subject, Side::Left(row)));
    let sides = left.concat(right.map(|(subject, row)| (subject, Side::Right(row))));
    shelved(sides, station, move |subject, held: &mut Sides<L, R>, news, changes| {
        for (row, diff) in news {
            match &row {
                Side::Left(left) => {
                    let pairs =
                        held.right.iter().filter_map(|(right, n)| Some((logic(subject, left, right)?, n)));
                    changes.extend(pairs.map(|(row, copies)| (row, diff * copies)));
                }
                Side::Right(right) => {
                    let pairs =
                        held.left.iter().filter_map(|(left, n)| Some((logic(subject, left, right)?, n)));
                    changes.extend(pairs.map(|(row, copies)| (row, diff * copies)));
                }
            }
            held.add(row, diff);
        }
    })
}

/// A row of one of the two.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Side<L, R> {
    Left(L),
    Right(R),
}

/// The rows of a subject on both sides.
struct Sides<L, R> {
    left: BTreeMap<L, isize>,
    right: BTreeMap<R, isize>,
}

impl<L, R> Default for Sides<L, R> {
    fn default() -> Sides<L, R> {
        Sides { left: BTreeMap::new(), right: BTreeMap::new() }
    }
}

impl<L: ExchangeData + Ord + Clone, R: ExchangeData + Ord + Clone> Contents for Sides<L, R> {
    type Row = Side<L, R>;

    fn add(&mut self, row: Side<L, R>, copies: isize) {
        match row {
            Side::Left(row) => add(&mut self.left, row, copies),
            Side::Right(row) => add(&mut self.right, row, copies),
        }
    }

    fn rows(self) -> Vec<(Side<L, R>, isize)> {
        let left = self.left.into_iter().map(|(row, copies)| (Side::Left(row), copies));
        left.chain(self.right.into_iter().map(|(row, copies)| (Side::Right(row), copies))).collect()
    }

    fn is_empty(&self) -> bool {
        self.left.is_empty() && self.right.is_empty()
    }
}

fn add<T: Ord + Clone>(rows: &mut BTreeMap<T, isize>, row: T, copies: isize) {
    let known = rows.entry(row.clone()).or_default();
    *known += copies;
    if *known == 0 {
        rows.remove(&row);
    }
}
