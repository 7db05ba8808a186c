//! Putting the net effect of a run of epochs into one table: removals and changes by `id`, through binary COPY into
//! a staging table; then additions, by binary COPY into the table itself.

use std::pin::pin;

use bytes::Bytes;
use futures::SinkExt;
use lsie_schemas::{Table, shape};
use tokio_postgres::{SimpleQueryMessage, Statement, Transaction};

use super::connection::classified;
use super::encode::{CHANGE, Encoded, REMOVE};
use crate::Error;

/// The statements for one table on one connection, and its staging table there.
pub(super) struct Merge {
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
        Ok(Merge {
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
        net: Encoded,
    ) -> Result<(), Error> {
        copy(transaction, &self.stage, net.staged).await.map_err(|error| classified(&error))?;
        for (statement, rows, verb) in
            [(&self.remove, net.removed, "removed"), (&self.change, net.changed, "changed")]
        {
            if rows == 0 {
                continue;
            }
            let done = execute(transaction, statement).await.map_err(|error| classified(&error))?;
            if done != rows {
                return Err(Error::Database(format!(
                    "table {}: {rows} rows were to be {verb}, {done} were; someone else has changed the table, \
                     so it has to be made anew from the changelog: empty the database",
                    table.name
                )));
            }
        }
        copy(transaction, &self.add, net.added).await.map_err(|error| classified(&error))
    }
}

/// Sends rows, if there are any.
async fn copy(
    transaction: &Transaction<'_>,
    statement: &Statement,
    pieces: Vec<Bytes>,
) -> Result<(), tokio_postgres::Error> {
    if pieces.is_empty() {
        return Ok(());
    }
    let mut sink = pin!(transaction.copy_in::<_, Bytes>(statement).await?);
    for piece in pieces {
        sink.feed(piece).await?;
    }
    sink.finish().await?;
    Ok(())
}

/// Runs a statement that is planned anew; the number of rows it has touched.
async fn execute(transaction: &Transaction<'_>, statement: &str) -> Result<u64, tokio_postgres::Error> {
    let messages = transaction.simple_query(statement).await?;
    let rows = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::CommandComplete(rows) => Some(*rows),
        _ => None,
    });
    Ok(rows.unwrap_or_default())
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
