//! What an answer is made from: the tables as of one epoch, by their names.

use std::collections::{BTreeMap, BTreeSet};

use lsie_schemas::row::{ActionRow, AlertRow};
use lsie_schemas::{Cell, LogTime, Table, TableRow, Uuid};

use crate::follower::Status;
use crate::views::ranked::{By, Filter, Order, by_session};
use crate::views::reply::{Fault, Problem};
use crate::views::row::Row;
use crate::views::state::{Entry, State, TableState, Views};

/// The sessions that run, as routes that start from the active session need them.
pub(crate) const RUNNING: Order =
    Order { table: "sessions", groups: &["ended_at"], newest: &[By::Column("started_at")] };

/// The state of one epoch: the newest, or an earlier one within the retained window.
pub(crate) struct Reading<'a> {
    views: &'a Views,
    state: &'a State,
    as_of: Option<LogTime>,
}

impl<'a> Reading<'a> {
    /// The state as of a log time, or the newest; 503 while there is none, 422 outside the retained window.
    pub(crate) fn new(
        views: &'a Views,
        state: &'a State,
        as_of: Option<LogTime>,
    ) -> Result<Reading<'a>, Fault> {
        if !state.serving {
            return Err(Fault::unavailable());
        }
        let (oldest, newest) = (state.ring.oldest(), state.epoch().unwrap_or_default());
        match as_of.filter(|at| !(oldest..=newest).contains(at)) {
            None => Ok(Reading { as_of, ..Reading::of(views, state) }),
            Some(_) => Err(Fault::Invalid(vec![Problem {
                location: ["query".into(), "as_of".into()],
                message: format!("not from {} to {}", oldest.0, newest.0),
                kind: "range",
            }])),
        }
    }

    /// The newest state, whether it is served or not.
    pub(crate) fn of(views: &'a Views, state: &'a State) -> Reading<'a> {
        Reading { views, state, as_of: None }
    }

    /// The state as of an epoch that is not forgotten, whether it is served or not.
    pub(crate) fn at(views: &'a Views, state: &'a State, epoch: LogTime) -> Reading<'a> {
        let as_of = Some(epoch).filter(|epoch| Some(*epoch) < state.epoch());
        Reading { views, state, as_of }
    }

    /// Its epoch: the time that ages are taken against.
    pub(crate) fn epoch(&self) -> LogTime {
        self.as_of.or(self.state.epoch()).unwrap_or_default()
    }

    /// How far the database is, now, if there is one.
    pub(crate) fn follower(&self) -> Option<Status> {
        self.views.follower()
    }

    /// The alerts of how the database did, newest first.
    pub(crate) fn database_alerts(&self) -> impl Iterator<Item = &'a AlertRow> + use<'a> {
        self.state.database.alerts(self.epoch())
    }

    /// The tables that there are.
    pub(crate) fn tables(&self) -> &'a [Table] {
        self.views.catalog().tables()
    }

    /// A session; 404 if there is none.
    pub(crate) fn session(&self, id: Uuid) -> Result<Row<'a>, Fault> {
        let found = self.table("sessions")?.get(&[Cell::Uuid(id)]);
        found.ok_or_else(|| Fault::NotFound(format!("no session {id}")))
    }

    /// The arms of an experiment, sorted; none if there is no such experiment.
    pub(crate) fn arms(&self, experiment: &str) -> Result<impl Iterator<Item = Row<'a>>, Fault> {
        self.table("experiments").map(|arms| arms.starting_with(Cell::Text(experiment.to_owned())))
    }

    /// Sessions that have not ended, newest first.
    pub(crate) fn running(&self) -> Result<Vec<Uuid>, Fault> {
        let running = self.newest(&RUNNING, &[("ended_at", Cell::Null)])?;
        Ok(running.filter_map(|row| row.uuid("session_id")).collect())
    }

    /// The rows that a filter lets through, newest first.
    pub(crate) fn newest(
        &self,
        order: &Order,
        filter: Filter<'_>,
    ) -> Result<Box<dyn Iterator<Item = Row<'a>> + 'a>, Fault> {
        self.table(order.table).map(|view| view.newest(order, filter))
    }

    /// The active session: the newest that has not ended.
    pub(crate) fn newest_running(&self) -> Result<Option<Uuid>, Fault> {
        self.running().map(|running| running.first().copied())
    }

    /// The audit line of an action that was accepted before; refused if its identity is another action's.
    pub(crate) fn done(
        &self,
        id: Uuid,
        action: &str,
        session: Option<Uuid>,
    ) -> Result<Option<ActionRow>, Fault> {
        let row = self.table("actions")?.get(&[Cell::Uuid(id)]);
        let Some(known) = row.and_then(|row| ActionRow::from_cells(&row.entry.row)) else { return Ok(None) };
        match known.action == action && (session.is_none() || known.session_id == session) {
            true => Ok(Some(known)),
            false => Err(Fault::Conflict("this identity belongs to another action".into())),
        }
    }

    /// The table of a name; 404 if there is none.
    pub(crate) fn table(&self, name: &str) -> Result<View<'a>, Fault> {
        let catalog = self.views.catalog();
        let found = catalog
            .position(name)
            .and_then(|at| Some((at, catalog.tables().get(at)?, self.state.table(at)?)));
        let (at, table, state) = found.ok_or_else(|| Fault::NotFound(format!("no view {name}")))?;
        let earlier = self.as_of.map_or_else(BTreeMap::new, |as_of| self.state.ring.undone(as_of, at, table));
        Ok(View { table, state, earlier })
    }
}

/// A table with its rows as of the epoch.
pub(crate) struct View<'a> {
    pub(crate) table: &'a Table,
    /// The newest rows.
    state: &'a TableState,
    /// What the keys that have changed since the epoch had then.
    earlier: BTreeMap<Vec<Cell>, Option<&'a Entry>>,
}

impl<'a> View<'a> {
    /// The number of rows.
    pub(crate) fn len(&self) -> usize {
        let gone = self.earlier.keys().filter(|key| self.state.get(key).is_some()).count();
        self.state.len() - gone + self.earlier.values().flatten().count()
    }

    /// The row of a natural key.
    pub(crate) fn get(&self, key: &[Cell]) -> Option<Row<'a>> {
        let entry = match self.earlier.get(key) {
            Some(entry) => *entry,
            None => self.state.get(key),
        };
        entry.map(|entry| Row { table: self.table, entry })
    }

    /// The rows whose key begins with this cell, in key order.
    pub(crate) fn starting_with(&self, first: Cell) -> impl Iterator<Item = Row<'a>> + use<'a> {
        let column = self.table.key.first().copied().unwrap_or_default();
        self.from(vec![first.clone()]).take_while(move |row| *row.cell(column) == first)
    }

    /// The rows, of one session or of all, in key order.
    pub(crate) fn rows(&self, session: Option<Uuid>) -> Box<dyn Iterator<Item = Row<'a>> + 'a> {
        match session.map(Cell::Uuid) {
            None => Box::new(self.from(Vec::new())),
            Some(session) if self.table.key.first() == Some(&"session_id") => {
                Box::new(self.starting_with(session))
            }
            Some(session) => self.newest(&by_session(self.table.name), &[("session_id", session)]),
        }
    }

    /// The rows of [`rows`](Self::rows) that come after a key.
    pub(crate) fn rows_after(
        &self,
        session: Option<Uuid>,
        key: Vec<Cell>,
    ) -> Box<dyn Iterator<Item = Row<'a>> + 'a> {
        let table = self.table;
        let is_by_session = table.key.first() == Some(&"session_id");
        let rows: Box<dyn Iterator<Item = Row<'a>>> = match session {
            Some(session) if is_by_session => {
                let session = Cell::Uuid(session);
                Box::new(self.from(key.clone()).take_while(move |row| *row.cell("session_id") == session))
            }
            // Here those of one session are few.
            Some(_) => self.rows(session),
            None => Box::new(self.from(key.clone())),
        };
        Box::new(rows.filter(move |row| table.key_of(&row.entry.row) > key))
    }

    /// The rows that a filter lets through, newest first.
    pub(crate) fn newest(&self, order: &Order, filter: Filter<'_>) -> Box<dyn Iterator<Item = Row<'a>> + 'a> {
        let table = self.table;
        // The orders that are asked for are those that routes describe.
        let Some(index) = self.state.index(order) else { return Box::new(std::iter::empty()) };
        let changed: BTreeSet<Vec<Cell>> = self.earlier.keys().cloned().collect();
        let is_as_it_was =
            move |entry: &&'a Entry| changed.is_empty() || !changed.contains(&table.key_of(&entry.row));
        let mut then: Vec<&'a Entry> = self.earlier.values().flatten().copied().collect();
        then.retain(|entry| index.lets_through(entry, filter));
        then.sort_by(|a, b| index.places.compare(a, b));
        let (mut now, mut then) =
            (index.rows(filter).filter(is_as_it_was).peekable(), then.into_iter().peekable());
        Box::new(std::iter::from_fn(move || {
            let is_earlier = match (now.peek(), then.peek()) {
                (Some(now), Some(then)) => index.places.compare(then, now).is_lt(),
                (None, Some(_)) => true,
                (_, None) => false,
            };
            let entry = if is_earlier { then.next() } else { now.next() };
            entry.map(|entry| Row { table, entry })
        }))
    }

    /// The number of rows that a filter lets through.
    pub(crate) fn count(&self, order: &Order, filter: Filter<'_>) -> usize {
        let Some(index) = self.state.index(order) else { return 0 };
        let count = |entries: &mut dyn Iterator<Item = &'a Entry>| {
            entries.filter(|entry| index.lets_through(entry, filter)).count()
        };
        let gone = count(&mut self.earlier.keys().filter_map(|key| self.state.get(key)));
        index.count(filter) - gone + count(&mut self.earlier.values().flatten().copied())
    }

    /// The rows from a key on: the newest, but for those of which the epoch had others.
    fn from(&self, key: Vec<Cell>) -> impl Iterator<Item = Row<'a>> + use<'a> {
        let table = self.table;
        let earlier: Vec<_> =
            self.earlier.range(key.clone()..).map(|(k, entry)| (k.clone(), *entry)).collect();
        let mut now = self.state.rows.range(key..).peekable();
        let mut then = earlier.into_iter().peekable();
        std::iter::from_fn(move || {
            loop {
                let is_earlier = match (now.peek(), then.peek()) {
                    (_, None) => false,
                    (None, Some(_)) => true,
                    (Some((now, _)), Some((then, _))) => then <= *now,
                };
                if !is_earlier {
                    return now.next().map(|(_, entry)| Row { table, entry });
                }
                let (key, entry) = then.next()?;
                now.next_if(|(now, _)| **now == key);
                if let Some(entry) = entry {
                    return Some(Row { table, entry });
                }
            }
        })
    }
}

/// The mean of the values that are there, summed in their order.
pub(crate) fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0u64), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / count as f64)
}
