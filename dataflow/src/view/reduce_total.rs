//! A reduction by key of a collection whose times are totally ordered, as all of ours are.
//!
//! Differential's `reduce` arranges its input and its output: every update with its time, in layers that are merged
//! as they grow, so that others can share them and times may be partially ordered. What a view says of a key needs
//! neither: the values that are there now are enough, as for `count_total`. The layers were a third of the views'
//! processor time (docs/BENCHMARKS.md), and could not be kept in checkpoints.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::iter::Peekable;

use timely::ExchangeData;

use super::Rows;
use super::shelf::{Contents, Subject, shelved};
use crate::checkpoint::Station;

/// The values of a key, sorted, each with its number of copies.
type Values<V> = Vec<(V, isize)>;

/// The rows that `rows` says of the values of each key, exact at every time; of a key without values nothing is asked.
/// `subject` is what the key is of: all of it is on one worker, and is put to rest together.
pub(crate) fn reduce_total<'scope, S, K, V, R>(
    values: Rows<'scope, (K, V)>,
    station: Station,
    subject: impl Fn(&K) -> S + 'static,
    rows: impl Fn(&K, &[(V, isize)], &mut Vec<R>) + 'static,
) -> Rows<'scope, R>
where
    S: Subject,
    K: ExchangeData + Ord + Clone,
    V: ExchangeData + Ord + Clone,
    R: Ord + Clone + 'static,
{
    let values = values.map(move |(key, value)| (subject(&key), (key, value)));
    shelved(values, station, move |_, Groups(groups): &mut Groups<K, V>, news, changes| {
        let mut news = news.into_iter().peekable();
        while let Some(((key, first), diff)) = news.next() {
            let mut of_key = vec![(first, diff)];
            while let Some(((_, value), diff)) = news.next_if(|((other, _), _)| *other == key) {
                of_key.push((value, diff));
            }
            let before = groups.remove(&key).unwrap_or_default();
            let now = change(&key, before, of_key, &rows, changes);
            if !now.is_empty() {
                groups.insert(key, now);
            }
        }
    })
}

/// The values of each key of a subject.
struct Groups<K, V>(BTreeMap<K, Values<V>>);

impl<K, V> Default for Groups<K, V> {
    fn default() -> Groups<K, V> {
        Groups(BTreeMap::new())
    }
}

impl<K: ExchangeData + Ord + Clone, V: ExchangeData + Ord + Clone> Contents for Groups<K, V> {
    type Row = (K, V);

    fn add(&mut self, (key, value): (K, V), copies: isize) {
        let values = self.0.entry(key).or_default();
        match values.binary_search_by(|(known, _)| known.cmp(&value)) {
            Ok(at) => values[at].1 += copies,
            Err(at) => values.insert(at, (value, copies)),
        }
    }

    fn rows(self) -> Vec<((K, V), isize)> {
        let of_key = |(key, values): (K, Values<V>)| {
            values.into_iter().map(move |(value, copies)| ((key.clone(), value), copies))
        };
        self.0.into_iter().flat_map(of_key).collect()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The values of a key after `news`, which are sorted; what that changes in its rows goes to `changes`.
fn change<K, V: Ord, R: Ord>(
    key: &K,
    before: Values<V>,
    news: Values<V>,
    rows: &impl Fn(&K, &[(V, isize)], &mut Vec<R>),
    changes: &mut Vec<(R, isize)>,
) -> Values<V> {
    let of = |values: &Values<V>| {
        let mut found = Vec::new();
        if !values.is_empty() {
            rows(key, values, &mut found);
            found.sort_unstable();
        }
        found
    };
    let gone = of(&before);
    let after = added_up(before, news);
    let mut come = of(&after).into_iter().peekable();
    for row in gone {
        while let Some(new) = come.next_if(|new| *new < row) {
            changes.push((new, 1));
        }
        if come.next_if(|new| *new == row).is_none() {
            changes.push((row, -1));
        }
    }
    changes.extend(come.map(|row| (row, 1)));
    after
}

/// Two sorted lists as one, without values of which no copy is left.
fn added_up<V: Ord>(one: Values<V>, other: Values<V>) -> Values<V> {
    let mut sum: Values<V> = Vec::with_capacity(one.len() + other.len());
    let (mut one, mut other) = (one.into_iter().peekable(), other.into_iter().peekable());
    while let Some((value, copies)) = least(&mut one, &mut other) {
        match sum.last_mut().filter(|(last, _)| *last == value) {
            Some((_, known)) => *known += copies,
            None => {
                sum.pop_if(|(_, copies)| *copies == 0);
                sum.push((value, copies));
            }
        }
    }
    sum.pop_if(|(_, copies)| *copies == 0);
    sum
}

/// The next of two sorted lists.
fn least<T: Ord, C>(
    one: &mut Peekable<impl Iterator<Item = (T, C)>>,
    other: &mut Peekable<impl Iterator<Item = (T, C)>>,
) -> Option<(T, C)> {
    match (one.peek(), other.peek()) {
        (Some((a, _)), Some((b, _))) if a.cmp(b) != Ordering::Greater => one.next(),
        (_, Some(_)) => other.next(),
        (_, None) => one.next(),
    }
}
