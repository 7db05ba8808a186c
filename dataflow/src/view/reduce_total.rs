//! A reduction by key of a collection whose times are totally ordered, as all of ours are.
//!
//! Differential's `reduce` arranges its input and its output: every update with its time, in layers that are merged
//! as they grow, so that others can share them and times may be partially ordered. What a view says of a key needs
//! neither: the values that are there now are enough, as for `count_total`. The layers were a third of the views'
//! processor time (docs/BENCHMARKS.md).

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::iter::Peekable;

use differential_dataflow::AsCollection;
use timely::ExchangeData;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;

use super::Rows;
use crate::adapter::Time;
use crate::board::Place;
use crate::metrics::instant;

/// Updates of one time.
type Updates<K, V> = Vec<((K, V), isize)>;

/// The values of a key, sorted, each with its number of copies.
type Values<V> = Vec<(V, isize)>;

/// The rows that `rows` says of the values of each key, exact at every time; of a key without values nothing is asked.
/// `route` decides, modulo the number of workers, where a key belongs. What follows from updates up to `known` is known:
/// nothing is said of it.
pub(crate) fn reduce_total<'scope, K, V, R>(
    values: Rows<'scope, (K, V)>,
    name: &str,
    known: Time,
    route: impl Fn(&K) -> u64 + 'static,
    rows: impl Fn(&K, &[(V, isize)], &mut Vec<R>) + 'static,
) -> Rows<'scope, R>
where
    K: ExchangeData + Ord,
    V: ExchangeData + Ord,
    R: Ord + Clone + 'static,
{
    let place = Place::of(name);
    let by_key = Exchange::new(move |((key, _), _, _): &((K, V), Time, isize)| route(key));
    let reduced = values.inner.unary_frontier(by_key, name, move |_capability, _info| {
        let mut groups: BTreeMap<K, Values<V>> = BTreeMap::new();
        let mut open: BTreeMap<Time, Updates<K, V>> = BTreeMap::new();
        // Of the earliest open time or before: an update may be later than the message it comes with.
        let mut held: Option<Capability<Time>> = None;
        move |(input, frontier), output| {
            let began = instant();
            input.for_each(|capability, batch| {
                if let Some(kept) = capability.retain_least(output.output_index())
                    && held.as_ref().is_none_or(|held| kept.time() < held.time())
                {
                    held = Some(kept);
                }
                for (update, time, diff) in batch.drain(..) {
                    open.entry(time).or_default().push((update, diff));
                }
            });
            while let Some(entry) = open.first_entry().filter(|entry| !frontier.less_equal(entry.key()))
                && let Some(capability) = &held
            {
                let (time, mut updates) = entry.remove_entry();
                let mut changes = Vec::new();
                let next = |key: &K, before, news, changes: &mut Vec<(R, isize)>| match time <= known {
                    true => added_up(before, news),
                    false => change(key, before, news, &rows, changes),
                };
                updates.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
                let mut updates = updates.into_iter().peekable();
                while let Some(((key, first), diff)) = updates.next() {
                    let mut news = vec![(first, diff)];
                    while let Some(((_, value), diff)) = updates.next_if(|((other, _), _)| *other == key) {
                        news.push((value, diff));
                    }
                    match groups.entry(key) {
                        Entry::Vacant(group) => {
                            let now = next(group.key(), Values::new(), news, &mut changes);
                            if !now.is_empty() {
                                group.insert(now);
                            }
                        }
                        Entry::Occupied(mut group) => {
                            let before = std::mem::take(group.get_mut());
                            *group.get_mut() = next(group.key(), before, news, &mut changes);
                            if group.get().is_empty() {
                                group.remove();
                            }
                        }
                    }
                }
                let capability = capability.delayed(&time);
                let changes = changes.into_iter().map(|(row, diff)| (row, time, diff));
                output.session(&capability).give_iterator(changes);
            }
            match (open.first_key_value(), &mut held) {
                (Some((time, _)), Some(held)) => held.downgrade(time),
                (None, held) => *held = None,
                (Some(_), None) => {}
            }
            place.stands(frontier.frontier().first().copied(), open.len());
            place.worked(began);
        }
    });
    reduced.as_collection()
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
