//! Reading a database: its marker and its rows, all as of one moment.

use std::collections::BTreeMap;

use lsie_schemas::{Cell, ColumnType, LogTime, Table, shape};
use tokio_postgres::Row;

use super::codec::Received;
use super::connection::{Connection, classified};
use super::migrate::ahead;
use super::{Database, marker};
use crate::Error;

/// A row as the database holds it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Held {
    /// The row.
    pub row: Vec<Cell>,
    /// Its `id`.
    pub id: Cell,
    /// Its derived times, those that its table has.
    pub times: Vec<Cell>,
}

/// A database as of the moment at which it was opened.
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
    committed: Option<LogTime>,
    ahead: BTreeMap<String, LogTime>,
}

impl Reader {
    /// Opens a database for reading.
    pub fn open(database: &Database) -> Result<Reader, Error> {
        let mut connection = Connection::open(database)?;
        let (committed, ahead) = connection.run(async |client| {
            let begin = "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY; \
                         SET LOCAL idle_in_transaction_session_timeout = 0";
            client.batch_execute(begin).await.map_err(|error| classified(&error))?;
            let ours = client.query_one("SELECT to_regclass('lsie_sink') IS NOT NULL", &[]).await;
            match ours.and_then(|row| row.try_get(0)).map_err(|error| classified(&error))? {
                true => {
                    let committed = marker(client).await.map_err(|error| classified(&error))?;
                    Ok((committed, ahead(client).await.map_err(|error| classified(&error))?))
                }
                false => Ok((None, BTreeMap::new())),
            }
        })?;
        Ok(Reader { connection, committed, ahead })
    }

    /// The epoch that it holds; none before the first, or if the engine's tables are not there yet.
    pub fn committed(&self) -> Option<LogTime> {
        self.committed
    }

    /// The epoch that a table of it holds: a later one while tables that a migration has changed are filled again.
    pub fn holds(&self, table: &Table) -> Option<LogTime> {
        self.ahead.get(table.name).copied().max(self.committed)
    }

    /// Whether the server takes the connection for encrypted.
    pub fn is_encrypted(&mut self) -> Result<bool, Error> {
        self.connection.run(async |client| {
            let own = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
            client
                .query_one(own, &[])
                .await
                .and_then(|row| row.try_get(0))
                .map_err(|error| classified(&error))
        })
    }

    /// All rows of a table.
    pub fn rows(&mut self, table: &Table) -> Result<Vec<Held>, Error> {
        let times: Vec<&str> = shape::derived_times(table).map(|(name, _)| name).collect();
        let names = ["id"].into_iter().chain(table.columns.iter().map(|c| c.name)).chain(times);
        let names: Vec<String> = names.map(|name| format!("\"{name}\"")).collect();
        let select = format!("SELECT {} FROM \"{}\"", names.join(", "), table.name);
        let rows = self
            .connection
            .run(async |client| client.query(&select, &[]).await.map_err(|error| classified(&error)))?;
        rows.iter().map(|row| held(table, row)).collect()
    }
}

fn held(table: &Table, row: &Row) -> Result<Held, Error> {
    let cell = |at: usize, ty: ColumnType| -> Result<Cell, Error> {
        let received: Option<Received<'_>> = row.try_get(at).map_err(|error| classified(&error))?;
        let Some(received) = received else { return Ok(Cell::Null) };
        received.cell(ty).ok_or_else(|| {
            Error::Database(format!(
                "table {}: a column {} of another type",
                table.name,
                row.columns()[at].name()
            ))
        })
    };
    let columns = table.columns.iter().enumerate().map(|(at, column)| cell(at + 1, column.ty));
    let first_time = table.columns.len() + 1;
    Ok(Held {
        row: columns.collect::<Result<_, _>>()?,
        id: cell(0, ColumnType::Int)?,
        times: (first_time..row.len()).map(|at| cell(at, ColumnType::Time)).collect::<Result<_, _>>()?,
    })
}
