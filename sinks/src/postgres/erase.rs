//! Erasing sessions from a database, in one transaction.

use std::collections::BTreeMap;

use super::PostgresSink;
use super::connection::classified;
use crate::Error;
use crate::erase::{ERASED, Erased, STAYS};

impl PostgresSink {
    /// Erases sessions. Gives for each table how many rows went or became others. The marker stays where it is: the rows that
    /// are left are those of its epoch.
    pub fn erase(&mut self, erased: &Erased) -> Result<BTreeMap<&'static str, u64>, Error> {
        self.wait()?;
        let texts = |ids: &std::collections::BTreeSet<lsie_schemas::Uuid>| -> Vec<String> {
            ids.iter().map(|id| id.hyphenated().to_string()).collect()
        };
        let (sessions, events) = (texts(erased.sessions()), texts(erased.events()));
        let statements: Vec<_> = self.catalog.tables().iter().flat_map(statements).collect();
        self.connection.run(async |client| {
            let transaction = client.transaction().await.map_err(|error| classified(&error))?;
            let mut touched = BTreeMap::new();
            for (table, is_by_event, sql) in &statements {
                let ids = if *is_by_event { &events } else { &sessions };
                let rows = transaction.execute(sql, &[ids]).await.map_err(|error| classified(&error))?;
                *touched.entry(*table).or_insert(0) += rows;
            }
            transaction.commit().await.map_err(|error| classified(&error))?;
            touched.retain(|_, rows| *rows > 0);
            Ok(touched)
        })
    }
}

/// What is to be done in a table: whether by events, and how. Every name in it is a constant of the engine's.
fn statements(table: &lsie_schemas::Table) -> Vec<(&'static str, bool, String)> {
    let (name, has) = (table.name, |column| table.columns.iter().any(|known| known.name == column));
    if name == "sessions" {
        let sql = format!(
            "UPDATE \"{name}\" SET \"stream_url\" = '{ERASED}' \
             WHERE \"session_id\" = ANY($1::text[]::uuid[]) AND \"stream_url\" <> '{ERASED}'"
        );
        return vec![(name, false, sql)];
    }
    if STAYS.contains(&name) {
        return Vec::new();
    }
    let by = |column| format!("DELETE FROM \"{name}\" WHERE \"{column}\" = ANY($1::text[]::uuid[])");
    let of_sessions = has("session_id").then(|| (name, false, by("session_id")));
    let of_events = has("event_id").then(|| (name, true, by("event_id")));
    of_sessions.into_iter().chain(of_events).collect()
}
