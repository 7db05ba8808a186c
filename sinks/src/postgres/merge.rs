//! Putting the net effect of a run of epochs into one table: removals and changes by `id`, through binary COPY into
//! a staging table; then additions, by binary COPY into the table itself.

use std::pin::pin;

use lsie_schemas::{Cell, LogTime, Table, shape};
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::Type;
use tokio_postgres::{SimpleQueryMessage, Statement, Transaction};

use super::codec::{Sent, sql_type};
use super::connection::classified;
use super::net::{Dated, Net};
use crate::Error;

/// What is to be done with a staged row.
const REMOVE: i64 = 0;
const CHANGE: i64 = 1;

/// The statements for one table, prepared on one connection, and its staging table there.
pub(super) struct Merge {
    /// Those of a staged row: what is to be done with it, and then those of a row of the table.
    types: Vec<Type>,
    stage: Statement,
    add: Statement,
    /// Not prepared, so that they are planned for what the tables hold now, not for what they held at first.
    remove: String,
    change: String,
}

impl Merge {
    /// Makes the staging table and prepares the statements.
    pub(super) async fn prepare(
        transaction: &Transaction<'_>,
        table: &Table,
    ) -> Result<Merge, tokio_postgres::Error> {
        let sql = Sql::of(table);
        transaction.batch_execute(&sql.staging).await?;
        let mut types = vec![Type::INT8, Type::INT8];
        types.extend(table.columns.iter().map(|column| sql_type(column.ty)));
        types.extend(shape::derived_times(table).map(|_| Type::TIMESTAMPTZ));
        Ok(Merge {
            types,
            stage: transaction.prepare(&sql.stage).await?,
            add: transaction.prepare(&sql.add).await?,
            remove: sql.remove,
            change: sql.change,
        })
    }

    /// Applies a net effect. An error if the table does not hold what the effect builds on.
    pub(super) async fn apply(
        &self,
        transaction: &Transaction<'_>,
        table: &Table,
        net: &Net,
    ) -> Result<(), Error> {
        if !net.removed.is_empty() || !net.changed.is_empty() {
            self.stage(transaction, table, net).await.map_err(|error| classified(&error))?;
        }
        for (statement, rows, verb) in
            [(&self.remove, net.removed.len(), "removed"), (&self.change, net.changed.len(), "changed")]
        {
            if rows == 0 {
                continue;
            }
            let done = transaction.simple_query(statement).await.map_err(|error| classified(&error))?;
            let done = done.iter().find_map(|message| match message {
                SimpleQueryMessage::CommandComplete(rows) => Some(*rows),
                _ => None,
            });
            let done = done.unwrap_or_default();
            if done != rows as u64 {
                return Err(Error::Database(format!(
                    "table {}: {rows} rows were to be {verb}, {done} were; someone else has changed the table, \
                     so it has to be made anew from the changelog: empty the database",
                    table.name
                )));
            }
        }
        if !net.added.is_empty() {
            self.add(transaction, table, net).await.map_err(|error| classified(&error))?;
        }
        Ok(())
    }

    async fn stage(
        &self,
        transaction: &Transaction<'_>,
        table: &Table,
        net: &Net,
    ) -> Result<(), tokio_postgres::Error> {
        let sink = transaction.copy_in(&self.stage).await?;
        let mut writer = pin!(BinaryCopyInWriter::new(sink, &self.types));
        let (remove, change) = (Cell::Int(REMOVE), Cell::Int(CHANGE));
        let nulls = vec![Cell::Null; table.columns.len()];
        for row in &net.removed {
            let besides = Besides::new(table, row, None);
            writer.as_mut().write_raw(besides.cells(Some(&remove), &nulls)).await?;
        }
        for dated in &net.changed {
            let besides = Besides::new(table, &dated.row, Some(dated));
            writer.as_mut().write_raw(besides.cells(Some(&change), &dated.row)).await?;
        }
        writer.as_mut().finish().await?;
        Ok(())
    }

    async fn add(
        &self,
        transaction: &Transaction<'_>,
        table: &Table,
        net: &Net,
    ) -> Result<(), tokio_postgres::Error> {
        let sink = transaction.copy_in(&self.add).await?;
        let mut writer = pin!(BinaryCopyInWriter::new(sink, &self.types[1..]));
        for dated in &net.added {
            let besides = Besides::new(table, &dated.row, Some(dated));
            writer.as_mut().write_raw(besides.cells(None, &dated.row)).await?;
        }
        writer.as_mut().finish().await?;
        Ok(())
    }
}

/// What a row that is sent has besides its columns.
struct Besides {
    id: Cell,
    times: Vec<Cell>,
}

impl Besides {
    fn new(table: &Table, row: &[Cell], dated: Option<&Dated>) -> Besides {
        let time = |epoch: Option<LogTime>| epoch.map_or(Cell::Null, |epoch| Cell::Time(epoch.as_event()));
        let times = shape::derived_times(table).map(|(name, _)| match name {
            "created_at" => time(dated.and_then(|dated| dated.created)),
            _ => time(dated.map(|dated| dated.updated)),
        });
        Besides { id: Cell::Int(table.id_of(row)), times: times.collect() }
    }

    fn cells<'a>(&'a self, what: Option<&'a Cell>, row: &'a [Cell]) -> Vec<Sent<'a>> {
        what.into_iter().chain([&self.id]).chain(row).chain(&self.times).map(Sent).collect()
    }
}

/// The statements of a table. Every name in them is a constant of the engine's.
struct Sql {
    staging: String,
    stage: String,
    remove: String,
    change: String,
    add: String,
}

impl Sql {
    fn of(table: &Table) -> Sql {
        let name = table.name;
        let columns: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
        let times: Vec<&str> = shape::derived_times(table).map(|(name, _)| name).collect();
        let list =
            |names: &[&str]| names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
        let all = [&["id"], columns.as_slice(), times.as_slice()].concat();
        // `created_at` stays as it was.
        let kept = |name: &&&str| **name != "created_at" || !times.contains(name);
        let set = all[1..].iter().filter(kept).map(|name| format!("\"{name}\" = s.\"{name}\""));
        let set = set.collect::<Vec<_>>().join(", ");
        let staged = format!("\"stage_{name}\" s");
        Sql {
            staging: format!(
                "CREATE TEMP TABLE \"stage_{name}\" ON COMMIT DELETE ROWS AS \
                 SELECT 0::BIGINT AS \"_what\", t.* FROM \"{name}\" t WITH NO DATA"
            ),
            stage: format!("COPY \"stage_{name}\" (\"_what\", {}) FROM STDIN BINARY", list(&all)),
            remove: format!(
                "DELETE FROM \"{name}\" t USING {staged} WHERE t.\"id\" = s.\"id\" AND s.\"_what\" = {REMOVE}"
            ),
            change: format!(
                "UPDATE \"{name}\" t SET {set} FROM {staged} WHERE t.\"id\" = s.\"id\" AND s.\"_what\" = {CHANGE}"
            ),
            add: format!("COPY \"{name}\" ({}) FROM STDIN BINARY", list(&all)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TOTALS;

    #[test]
    fn statements_of_a_table() {
        let sql = Sql::of(&TOTALS);
        assert_eq!(
            sql.change,
            "UPDATE \"totals\" t SET \"name\" = s.\"name\", \"total\" = s.\"total\", \"updated_at\" = s.\"updated_at\" \
             FROM \"stage_totals\" s WHERE t.\"id\" = s.\"id\" AND s.\"_what\" = 1"
        );
        assert_eq!(
            sql.add,
            "COPY \"totals\" (\"id\", \"name\", \"total\", \"created_at\", \"updated_at\") FROM STDIN BINARY"
        );
    }
}
