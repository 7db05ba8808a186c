//! Putting the net effect of a run of epochs into one table: binary COPY into a staging table, then removals,
//! changes and additions by `id`.

use std::pin::pin;

use lsie_schemas::{Cell, LogTime, Table, shape};
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::Type;
use tokio_postgres::{Statement, Transaction};

use super::codec::{Sent, sql_type};
use super::connection::classified;
use super::net::{Dated, Net};
use crate::Error;

/// What is to be done with a staged row.
const REMOVE: i64 = 0;
const CHANGE: i64 = 1;
const ADD: i64 = 2;

/// The statements for one table, prepared on one connection, and its staging table there.
pub(super) struct Merge {
    types: Vec<Type>,
    copy: Statement,
    remove: Statement,
    change: Statement,
    add: Statement,
}

impl Merge {
    /// Makes the staging table and prepares the statements.
    pub(super) async fn prepare(
        transaction: &Transaction<'_>,
        table: &Table,
    ) -> Result<Merge, tokio_postgres::Error> {
        let sql = Sql::of(table);
        transaction.batch_execute(&sql.stage).await?;
        let mut types = vec![Type::INT8, Type::INT8];
        types.extend(table.columns.iter().map(|column| sql_type(column.ty)));
        types.extend(shape::derived_times(table).map(|_| Type::TIMESTAMPTZ));
        Ok(Merge {
            types,
            copy: transaction.prepare(&sql.copy).await?,
            remove: transaction.prepare(&sql.remove).await?,
            change: transaction.prepare(&sql.change).await?,
            add: transaction.prepare(&sql.add).await?,
        })
    }

    /// Applies a net effect. An error if the table does not hold what the effect builds on.
    pub(super) async fn apply(
        &self,
        transaction: &Transaction<'_>,
        table: &Table,
        net: &Net,
    ) -> Result<(), Error> {
        self.stage(transaction, table, net).await.map_err(|error| classified(&error))?;
        for (statement, rows, verb) in [
            (&self.remove, net.removed.len(), "removed"),
            (&self.change, net.changed.len(), "changed"),
            (&self.add, net.added.len(), "added"),
        ] {
            if rows == 0 {
                continue;
            }
            let done = transaction.execute(statement, &[]).await.map_err(|error| classified(&error))?;
            if done != rows as u64 {
                return Err(Error::Database(format!(
                    "table {}: {rows} rows were to be {verb}, {done} were; someone else has changed the table, \
                     so it has to be made anew from the changelog: empty the database",
                    table.name
                )));
            }
        }
        Ok(())
    }

    async fn stage(
        &self,
        transaction: &Transaction<'_>,
        table: &Table,
        net: &Net,
    ) -> Result<(), tokio_postgres::Error> {
        let sink = transaction.copy_in(&self.copy).await?;
        let mut writer = pin!(BinaryCopyInWriter::new(sink, &self.types));
        let nulls = vec![Cell::Null; table.columns.len()];
        for row in &net.removed {
            let staged = Staged::new(REMOVE, table, row, None);
            writer.as_mut().write_raw(staged.cells(&nulls)).await?;
        }
        for (what, rows) in [(CHANGE, &net.changed), (ADD, &net.added)] {
            for dated in rows {
                let staged = Staged::new(what, table, &dated.row, Some(dated));
                writer.as_mut().write_raw(staged.cells(&dated.row)).await?;
            }
        }
        writer.as_mut().finish().await?;
        Ok(())
    }
}

/// What a staged row has besides its columns.
struct Staged {
    what: Cell,
    id: Cell,
    times: Vec<Cell>,
}

impl Staged {
    fn new(what: i64, table: &Table, row: &[Cell], dated: Option<&Dated>) -> Staged {
        let time = |epoch: Option<LogTime>| epoch.map_or(Cell::Null, |epoch| Cell::Time(epoch.as_event()));
        let times = shape::derived_times(table).map(|(name, _)| match name {
            "created_at" => time(dated.and_then(|dated| dated.created)),
            _ => time(dated.map(|dated| dated.updated)),
        });
        Staged { what: Cell::Int(what), id: Cell::Int(table.id_of(row)), times: times.collect() }
    }

    fn cells<'a>(&'a self, row: &'a [Cell]) -> Vec<Sent<'a>> {
        [&self.what, &self.id].into_iter().chain(row).chain(&self.times).map(Sent).collect()
    }
}

/// The statements of a table. Every name in them is a constant of the engine's.
struct Sql {
    stage: String,
    copy: String,
    remove: String,
    change: String,
    add: String,
}

impl Sql {
    fn of(table: &Table) -> Sql {
        let name = table.name;
        let columns: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
        let times: Vec<&str> = shape::derived_times(table).map(|(name, _)| name).collect();
        let list = |prefix: &str, names: &[&str]| {
            names.iter().map(|name| format!("{prefix}\"{name}\"")).collect::<Vec<_>>().join(", ")
        };
        let all = [&["id"], columns.as_slice(), times.as_slice()].concat();
        // `created_at` stays as it was.
        let kept = |name: &&&str| **name != "created_at" || !times.contains(name);
        let set = all[1..].iter().filter(kept).map(|name| format!("\"{name}\" = s.\"{name}\""));
        let set = set.collect::<Vec<_>>().join(", ");
        let staged = format!("\"stage_{name}\" s");
        Sql {
            stage: format!(
                "CREATE TEMP TABLE \"stage_{name}\" ON COMMIT DELETE ROWS AS \
                 SELECT 0::BIGINT AS \"_what\", t.* FROM \"{name}\" t WITH NO DATA"
            ),
            copy: format!("COPY \"stage_{name}\" (\"_what\", {}) FROM STDIN BINARY", list("", &all)),
            remove: format!(
                "DELETE FROM \"{name}\" t USING {staged} WHERE t.\"id\" = s.\"id\" AND s.\"_what\" = {REMOVE}"
            ),
            change: format!(
                "UPDATE \"{name}\" t SET {set} FROM {staged} WHERE t.\"id\" = s.\"id\" AND s.\"_what\" = {CHANGE}"
            ),
            add: format!(
                "INSERT INTO \"{name}\" ({}) SELECT {} FROM {staged} WHERE s.\"_what\" = {ADD}",
                list("", &all),
                list("s.", &all)
            ),
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
            "INSERT INTO \"totals\" (\"id\", \"name\", \"total\", \"created_at\", \"updated_at\") \
             SELECT s.\"id\", s.\"name\", s.\"total\", s.\"created_at\", s.\"updated_at\" \
             FROM \"stage_totals\" s WHERE s.\"_what\" = 2"
        );
    }
}
