//! What a view holds, by subject, kept in checkpoints.
//!
//! A subject is mostly a session. While things happen to it, its rows are in memory as they are used, and a checkpoint
//! gets those that came and went. When nothing has touched it for a while it is put to rest: all of its rows as one piece
//! of compressed bytes, which a checkpoint gets once. So a start after a million rows of history neither computes them
//! again nor looks at them; a subject that is touched after all, by an outcome days later, is taken off the shelf as it was.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use differential_dataflow::AsCollection;
use serde::Serialize;
use timely::ExchangeData;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::Operator;
use uuid::Uuid;

use super::Rows;
use crate::adapter::{Time, Updates};
use crate::board::Place;
use crate::checkpoint::state_file::{Pieces, Rows as Counted, Shelved, StateError, encode, pack, unpack};
use crate::checkpoint::{Content, Station};
use crate::metrics::instant;

/// How long nothing has touched what is put to rest, ms of log time.
const REST_AFTER: Time = 120_000;
/// How many rows are put to rest at once, at most a subject more, each of which costs as much as so many rows: some ms of
/// work.
const AT_ONCE: usize = 5_000;
const SUBJECT: usize = 50;

/// What rows are held by.
pub(crate) trait Subject: ExchangeData + Ord + Clone {
    /// What decides, modulo the number of workers, where it belongs.
    fn route(&self) -> u64;
}

impl Subject for Uuid {
    fn route(&self) -> u64 {
        self.as_u64_pair().0
    }
}

/// What is held of one subject: rows, each with its number of copies.
pub(crate) trait Contents: Default + 'static {
    /// A row.
    type Row: ExchangeData + Ord + Clone;

    /// So many copies more of a row, of which there are some then.
    fn add(&mut self, row: Self::Row, copies: isize);

    /// All rows.
    fn rows(self) -> Vec<(Self::Row, isize)>;

    /// Whether there is none.
    fn is_empty(&self) -> bool;
}

/// Runs a step for every subject that updates of a complete time are of: with what is held of it, and with these updates,
/// sorted. The step adds them to what is held, and says what that changes.
pub(crate) fn shelved<'scope, S, C, R>(
    updates: Rows<'scope, (S, C::Row)>,
    mut station: Station,
    step: impl Fn(&S, &mut C, Vec<(C::Row, isize)>, &mut Vec<(R, isize)>) + 'static,
) -> Rows<'scope, R>
where
    S: Subject,
    C: Contents,
    R: Clone + 'static,
{
    let mut shelf = Shelf::<S, C>::restored(&mut station);
    let place = Place::of(station.name());
    let by_subject = Exchange::new(|((subject, _), _, _): &((S, C::Row), Time, isize)| subject.route());
    let changes = updates.inner.unary_frontier(by_subject, station.name(), move |_capability, _info| {
        let mut open = Updates::default();
        move |(input, frontier), output| {
            let began = instant();
            open.take(input, output.output_index());
            while let Some((capability, mut updates)) = open.next(frontier) {
                let time = *capability.time();
                shelf.hand_over(&mut station, &|chosen| chosen < time);
                let mut changes = Vec::new();
                updates.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
                let mut updates = updates.into_iter().peekable();
                while let Some(((subject, first), diff)) = updates.next() {
                    let mut news = vec![(first, diff)];
                    while let Some(((_, row), diff)) = updates.next_if(|((other, _), _)| *other == subject) {
                        news.push((row, diff));
                    }
                    shelf.note(&subject, &news);
                    match shelf.touched(&subject, time) {
                        Ok(contents) => step(&subject, contents, news, &mut changes),
                        Err(why) => station.keep().shared.fail(format!("{}: {why}", station.name())),
                    }
                }
                let changes = changes.into_iter().map(|(row, diff)| (row, time, diff));
                output.session(&capability).give_iterator(changes);
            }
            // What is handed over later is as of a later epoch, and at rest or not is no difference then.
            if let Some(now) = frontier.frontier().first()
                && let Err(why) = shelf.put_to_rest(*now)
            {
                station.keep().shared.fail(format!("{}: {why}", station.name()));
            }
            shelf.hand_over(&mut station, &|chosen| !frontier.less_equal(&chosen));
            place.stands(frontier.frontier().first().copied(), open.waiting());
            place.worked(began);
        }
    });
    changes.as_collection()
}

/// What one worker holds.
struct Shelf<S, C: Contents> {
    /// What is used, and when it was touched last.
    awake: BTreeMap<S, (C, Time)>,
    /// When to look whether a subject may rest; each that is awake, once.
    looks: BTreeSet<(Time, S)>,
    /// What rests.
    resting: BTreeMap<S, Bytes>,
    /// Rows that came and went since the last checkpoint.
    rows: Vec<((S, C::Row), i64)>,
    /// What was put to rest and what was taken off since then.
    moved: BTreeMap<S, Option<Bytes>>,
    /// Whether there are checkpoints.
    is_kept: bool,
}

impl<S: Subject, C: Contents> Shelf<S, C> {
    /// This worker's share of what the station held.
    fn restored(station: &mut Station) -> Shelf<S, C> {
        let (worker, workers) = (station.keep().worker as u64, station.keep().workers as u64);
        let resumed = station.keep().resumed;
        let (rows, resting) = station.restored_shelf(|subject: &S| subject.route() % workers == worker);
        let mut shelf: Shelf<S, C> = Shelf {
            awake: BTreeMap::new(),
            looks: BTreeSet::new(),
            resting: resting.into_iter().collect(),
            rows: Vec::new(),
            moved: BTreeMap::new(),
            is_kept: station.keep().is_on(),
        };
        for (subject, row, copies) in rows {
            if copies <= 0 || shelf.resting.contains_key(&subject) {
                // Another encoding of a row that was there; see `STATIONS`.
                station
                    .keep()
                    .shared
                    .fail(format!("what a checkpoint holds of {} is at odds", station.name()));
            }
            shelf.awake(&subject, resumed).add(row, copies as isize);
        }
        shelf
    }

    /// The contents of a subject that does not rest.
    fn awake(&mut self, subject: &S, now: Time) -> &mut C {
        let looks = &mut self.looks;
        let (contents, touched) = self.awake.entry(subject.clone()).or_insert_with(|| {
            looks.insert((now + REST_AFTER, subject.clone()));
            (C::default(), now)
        });
        *touched = now;
        contents
    }

    /// Notes for the next checkpoint that these updates come to a subject.
    fn note(&mut self, subject: &S, news: &[(C::Row, isize)]) {
        if self.is_kept {
            let copies = |(row, copies): &(C::Row, isize)| ((subject.clone(), row.clone()), *copies as i64);
            self.rows.extend(news.iter().map(copies));
        }
    }

    /// The contents of a subject, taken off the shelf if it rests.
    fn touched(&mut self, subject: &S, now: Time) -> Result<&mut C, StateError> {
        let Some(bytes) = self.resting.remove(subject) else { return Ok(self.awake(subject, now)) };
        let rows: Vec<(C::Row, isize)> = unpack(&bytes)?;
        self.note(subject, &rows);
        if self.is_kept {
            self.moved.insert(subject.clone(), None);
        }
        let contents = self.awake(subject, now);
        rows.into_iter().for_each(|(row, copies)| contents.add(row, copies));
        Ok(contents)
    }

    /// Puts to rest what nothing has touched for long enough.
    fn put_to_rest(&mut self, now: Time) -> Result<(), StateError> {
        let mut done = 0;
        while done < AT_ONCE && self.looks.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, subject)) = self.looks.pop_first() else { break };
            let Some((contents, touched)) = self.awake.remove(&subject) else { continue };
            let rests_at = touched + REST_AFTER;
            if contents.is_empty() {
                continue;
            }
            if rests_at > now {
                self.looks.insert((rests_at, subject.clone()));
                self.awake.insert(subject, (contents, touched));
                continue;
            }
            let rows = contents.rows();
            done += SUBJECT + rows.len();
            let bytes = Bytes::from(pack(&rows)?);
            if self.is_kept {
                let gone = rows.into_iter().map(|(row, copies)| ((subject.clone(), row), -(copies as i64)));
                self.rows.extend(gone);
                self.moved.insert(subject.clone(), Some(bytes.clone()));
            }
            self.resting.insert(subject, bytes);
        }
        Ok(())
    }

    fn hand_over(&mut self, station: &mut Station, passed: &dyn Fn(Time) -> bool) {
        while let Some(epoch) = station.due(passed) {
            let (rows, moved) = (std::mem::take(&mut self.rows), std::mem::take(&mut self.moved));
            let changed = move || Ok(Shelved { rows: counted(rows)?, resting: pieces(moved)? });
            station.hand_over(epoch, None, Some(0), Content::Shelf(Box::new(changed)));
        }
    }
}

fn counted<R: Serialize>(rows: Vec<(R, i64)>) -> Result<Counted, StateError> {
    let counted = rows.into_iter().map(|(row, copies)| Ok((encode(&row)?, copies)));
    Counted::summed(counted)
}

fn pieces<S: Serialize>(moved: BTreeMap<S, Option<Bytes>>) -> Result<Pieces, StateError> {
    moved.into_iter().map(|(subject, piece)| Ok((encode(&subject)?, piece))).collect()
}
