//! What of an erased session's rows goes, and what stays (behaviour §3). One rule for rows that are there and rows that come:
//! tables from which a session was erased are those that a run makes which knows of the erasure.

use std::collections::BTreeSet;

use lsie_schemas::row::{AttributionEventRow, SessionRow};
use lsie_schemas::{Cell, Change, Table, TableRow, Uuid, row};

/// Tables whose rows stay: that a session was there and which arm it drew, how many records it had and what became of them,
/// who acted, and what its rewards did to posteriors. All others lose what names the session, a new table too.
pub const STAYS: [&str; 5] =
    ["actions", "dead_letters", "decisions", "record_classes", SessionRow::TABLE.name];

/// What stands in the place of an erased session's source.
pub const ERASED: &str = "erased:";

/// The sessions that are erased.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    sessions: BTreeSet<Uuid>,
    /// Their attribution events: links and scores name these, and not the session.
    events: BTreeSet<Uuid>,
}

impl Erased {
    /// Adds a session and its attribution events.
    pub fn add(&mut self, session: Uuid, events: impl IntoIterator<Item = Uuid>) {
        self.sessions.insert(session);
        self.events.extend(events);
    }

    /// Whether nothing is erased.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// The sessions.
    pub fn sessions(&self) -> &BTreeSet<Uuid> {
        &self.sessions
    }

    /// Their attribution events.
    pub fn events(&self) -> &BTreeSet<Uuid> {
        &self.events
    }

    /// What is left of the changes of an epoch.
    pub fn apply(&mut self, changes: Vec<Change>) -> Vec<Change> {
        if self.is_empty() {
            return changes;
        }
        for change in changes.iter().filter(|change| change.table == AttributionEventRow::TABLE.name) {
            let of = |column| id(&AttributionEventRow::TABLE, &change.row, column);
            if of("session_id").is_some_and(|session| self.sessions.contains(&session)) {
                self.events.extend(of("event_id"));
            }
        }
        changes.into_iter().filter_map(|change| self.keep(change)).collect()
    }

    /// What is left of a change.
    pub fn keep(&self, mut change: Change) -> Option<Change> {
        let Some(table) = row::table(&change.table) else { return Some(change) };
        if !self.concerns(table, &change.row) {
            return Some(change);
        }
        if !STAYS.contains(&table.name) {
            return None;
        }
        if table.name == SessionRow::TABLE.name
            && let Some(source) = position(table, "stream_url").and_then(|at| change.row.get_mut(at))
        {
            *source = Cell::Text(ERASED.into());
        }
        Some(change)
    }

    fn concerns(&self, table: &Table, row: &[Cell]) -> bool {
        id(table, row, "session_id").is_some_and(|session| self.sessions.contains(&session))
            || id(table, row, "event_id").is_some_and(|event| self.events.contains(&event))
    }
}

fn position(table: &Table, column: &str) -> Option<usize> {
    table.columns.iter().position(|known| known.name == column)
}

fn id(table: &Table, row: &[Cell], column: &str) -> Option<Uuid> {
    match row.get(position(table, column)?) {
        Some(Cell::Uuid(id)) => Some(*id),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every table says by a column of its own whose rows they are, or has a place here with its reason.
    #[test]
    fn of_each_table_it_is_known_whose_rows_it_has() {
        let nobodys = [
            // Of arms: sums over all sessions.
            "arm_summaries",
            "experiments",
            "posterior_history",
            // Of the engine itself.
            "health",
            "operators",
            // Of what runs now: gone a quarter of an hour later.
            "sources",
        ];
        for table in row::tables().iter().chain(row::transient()) {
            let named = ["session_id", "event_id"].iter().any(|column| position(table, column).is_some());
            let known = named || STAYS.contains(&table.name) || nobodys.contains(&table.name);
            assert!(known, "whose are the rows of {}?", table.name);
        }
    }
}
