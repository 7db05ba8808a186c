//! The state that the API serves: per table the current rows by natural key, as of one complete epoch.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use lsie_schemas::{Cell, LogTime, Table};
use tokio::sync::watch;

use crate::Catalog;
use crate::follower::{Status, Watch};
use crate::views::database::Transitions;
use crate::views::ranked::{Index, Order, by_session};
use crate::views::ring::{EpochChanges, Ring};
use crate::views::router;
use crate::views::sink::ViewsSink;

/// A row with the epochs that decide its `created_at` and `updated_at`. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The `id` of its key.
    pub id: i64,
    /// The row.
    pub row: Arc<[Cell]>,
    /// The epoch at which its key was inserted.
    pub created: LogTime,
    /// The epoch of its last change.
    pub updated: LogTime,
}

/// The current rows of one table.
#[derive(Clone, Debug, Default)]
pub struct TableState {
    pub(crate) rows: BTreeMap<Vec<Cell>, Entry>,
    /// The same rows in the orders in which routes show them.
    pub(crate) indexes: Vec<Index>,
}

/// All tables as of one epoch.
#[derive(Debug)]
pub struct State {
    pub(crate) epoch: Option<LogTime>,
    pub(crate) serving: bool,
    /// The epoch before which nothing is served.
    awaits: Option<LogTime>,
    pub(crate) tables: Vec<TableState>,
    pub(crate) ring: Ring,
    pub(crate) database: Transitions,
}

/// The served state, shared by one writer and any number of readers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Views {
    catalog: Catalog,
    state: Arc<RwLock<State>>,
    follower: Arc<OnceLock<Watch>>,
    signal: watch::Sender<Option<LogTime>>,
}

/// The edit of one key by an epoch.
#[derive(Debug)]
pub(crate) struct Edit {
    pub(crate) key: Vec<Cell>,
    /// The row that goes.
    pub(crate) old: Option<Entry>,
    /// The row that comes.
    pub(crate) new: Option<Entry>,
}

impl Views {
    /// Views of these tables, with no rows. They answer 503 until the first commit, or
    /// [`serve`](Self::serve).
    pub fn new(catalog: Catalog) -> Views {
        let tables = catalog.tables().iter().map(TableState::of).collect();
        let (ring, database) = (Ring::default(), Transitions::default());
        let state = State { epoch: None, serving: false, awaits: None, tables, ring, database };
        let (state, signal) = (Arc::new(RwLock::new(state)), watch::Sender::new(None));
        Views { catalog, state, follower: Arc::default(), signal }
    }

    /// The tables.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The writer. One at a time; a new one goes on after the newest applied epoch.
    pub fn sink(&self) -> ViewsSink {
        ViewsSink::new(self.clone())
    }

    /// The state as of the newest complete epoch; hold it briefly, the writer waits for it.
    pub fn read(&self) -> RwLockReadGuard<'_, State> {
        // The writer checks an epoch before it takes the lock, and nothing under it can panic.
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on queries are answered; for a run whose first epoch may be far.
    pub fn serve(&self) {
        self.write().serving = true;
    }

    /// Queries are answered from this epoch on: up to it the views are filled with what was known before.
    pub fn serve_from(&self, epoch: LogTime) {
        self.write().awaits = Some(epoch);
    }

    /// From now on queries are answered with 503; for when the engine behind the views has failed.
    pub fn suspend(&self) {
        self.write().serving = false;
    }

    /// From now on health tells how far this database is, too. There is one of a run.
    pub fn watch(&self, follower: Watch) {
        let _ = self.follower.set(follower);
    }

    /// How far the database is, if there is one.
    pub(crate) fn follower(&self) -> Option<Status> {
        self.follower.get().map(Watch::status)
    }

    /// Sees every newly applied epoch.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Option<LogTime>> {
        self.signal.subscribe()
    }

    /// Applies an epoch: the edits of each table, by its position in the catalog.
    pub(crate) fn apply(&self, epoch: LogTime, edits: Vec<Vec<Edit>>) {
        let changes = EpochChanges::of(epoch, &edits);
        let database = self.follower();
        let mut state = self.write();
        for (table, edits) in state.tables.iter_mut().zip(edits) {
            for edit in edits {
                table.apply(edit);
            }
        }
        state.epoch = Some(epoch);
        state.serving |= state.awaits <= Some(epoch);
        if let Some(changes) = changes {
            state.ring.push(Arc::new(changes));
        }
        if let Some(status) = database.filter(|_| state.serving) {
            state.database.look(epoch, &status);
        }
        drop(state);
        self.signal.send_replace(Some(epoch));
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The newest complete epoch.
    pub fn epoch(&self) -> Option<LogTime> {
        self.epoch
    }

    /// A table by its position in the catalog.
    pub fn table(&self, position: usize) -> Option<&TableState> {
        self.tables.get(position)
    }
}

impl TableState {
    /// No rows yet, to be kept in the orders that routes describe.
    fn of(table: &Table) -> TableState {
        let mut orders: Vec<Order> = router::orders().filter(|order| order.table == table.name).collect();
        if table.position("session_id").is_some() && table.key.first() != Some(&"session_id") {
            orders.push(by_session(table.name));
        }
        orders.dedup();
        let indexes = orders.into_iter().map(|order| Index::new(order, table)).collect();
        TableState { rows: BTreeMap::new(), indexes }
    }

    fn apply(&mut self, edit: Edit) {
        for index in &mut self.indexes {
            index.edit(edit.old.as_ref(), edit.new.as_ref());
        }
        match edit.new {
            Some(entry) => self.rows.insert(edit.key, entry),
            None => self.rows.remove(&edit.key),
        };
    }

    /// The rows in an order, if a route describes it.
    pub(crate) fn index(&self, order: &Order) -> Option<&Index> {
        self.indexes.iter().find(|index| index.order == *order)
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The rows in key order.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.rows.values()
    }

    /// The row of a natural key.
    pub fn get(&self, key: &[Cell]) -> Option<&Entry> {
        self.rows.get(key)
    }
}
