//! The tables of a database: made, and made anew when their descriptions have changed.
//!
//! What the tables hold follows from the Parquet changelog, so a migration does not convert rows: it drops the
//! engine's own tables, creates them as they are described now, and takes the marker back; the rows come again.
//! Each migration is kept, with its number and its statements, in `lsie_migrations`.

use std::collections::BTreeMap;

use lsie_schemas::shape::{create_table_sql, reference_sql, references};
use tokio_postgres::{Client, Transaction};

use super::connection::classified;
use crate::{Catalog, Error};

/// The engine's own tables; `lsie_sink` has the one row that says how far the others are.
const OWN: &str = "
    CREATE TABLE IF NOT EXISTS lsie_migrations (
        version BIGINT PRIMARY KEY, what TEXT NOT NULL, statements TEXT NOT NULL,
        applied_at TIMESTAMPTZ NOT NULL DEFAULT now()
    );
    CREATE TABLE IF NOT EXISTS lsie_tables (name TEXT PRIMARY KEY, definition TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS lsie_sink (one BOOLEAN PRIMARY KEY DEFAULT true CHECK (one), epoch_ms BIGINT);
    INSERT INTO lsie_sink DEFAULT VALUES ON CONFLICT DO NOTHING;
";

/// The tables by name, each with the statements that make it.
type Definitions = BTreeMap<String, String>;

/// A change of the tables.
#[derive(Debug, PartialEq, Eq)]
struct Migration {
    what: String,
    statements: String,
    /// Tables that must not exist before it, since they would be someone else's.
    fresh: Vec<String>,
}

/// Brings the tables to their descriptions, in one transaction.
pub(super) async fn migrate(client: &mut Client, catalog: &Catalog) -> Result<(), Error> {
    let transaction = client.transaction().await.map_err(|error| classified(&error))?;
    transaction.batch_execute(OWN).await.map_err(|error| classified(&error))?;
    let wanted = definitions(catalog);
    if let Some(migration) = plan(&known(&transaction).await?, &wanted) {
        refuse_foreign(&transaction, &migration.fresh).await?;
        apply(&transaction, &migration, &wanted).await.map_err(|error| classified(&error))?;
        tracing::warn!(what = migration.what, "the tables in PostgreSQL are migrated");
    }
    transaction.commit().await.map_err(|error| classified(&error))
}

/// How the tables of a catalog are made.
fn definitions(catalog: &Catalog) -> Definitions {
    let definition = |table: &lsie_schemas::Table| {
        let held = references(table).filter(|(_, other)| catalog.table(other).is_some());
        let references = held.map(|(column, other)| reference_sql(table, column, other)).collect::<String>();
        (table.name.to_owned(), format!("{}{references}", create_table_sql(table)))
    };
    catalog.tables().iter().map(definition).collect()
}

/// What must be done so that the known tables become the wanted ones; nothing if they are.
fn plan(known: &Definitions, wanted: &Definitions) -> Option<Migration> {
    let names = |tables: &mut dyn Iterator<Item = &String>| tables.cloned().collect::<Vec<_>>().join(", ");
    let differ =
        names(&mut wanted.iter().filter(|(name, sql)| known.get(*name) != Some(sql)).map(|(n, _)| n));
    let dropped = names(&mut known.keys().filter(|name| !wanted.contains_key(*name)));
    let what = match (known.is_empty(), differ.as_str(), dropped.as_str()) {
        (_, "", "") => return None,
        (true, ..) => format!("create {} tables", wanted.len()),
        (_, differ, dropped) => format!("rebuild all tables; new or changed: {differ}; gone: {dropped}"),
    };
    let mut statements = String::new();
    if !known.is_empty() {
        let old = known.keys().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
        statements.push_str(&format!("DROP TABLE {old};\nUPDATE lsie_sink SET epoch_ms = NULL;\n"));
    }
    // References come after all tables: they may point in any direction.
    let is_reference = |line: &&str| line.starts_with("ALTER TABLE");
    for of_references in [false, true] {
        let lines = wanted.values().flat_map(|sql| sql.lines());
        for line in lines.filter(|line| is_reference(line) == of_references) {
            statements.push_str(line);
            statements.push('\n');
        }
    }
    let fresh = wanted.keys().filter(|name| !known.contains_key(*name)).cloned().collect();
    Some(Migration { what, statements, fresh })
}

async fn known(transaction: &Transaction<'_>) -> Result<Definitions, Error> {
    let rows = transaction.query("SELECT name, definition FROM lsie_tables", &[]).await;
    let rows = rows.map_err(|error| classified(&error))?;
    let entry = |row: &tokio_postgres::Row| Ok((row.try_get(0)?, row.try_get(1)?));
    rows.iter().map(entry).collect::<Result<_, _>>().map_err(|error| classified(&error))
}

/// A table that is there and not ours is left alone.
async fn refuse_foreign(transaction: &Transaction<'_>, names: &[String]) -> Result<(), Error> {
    for name in names {
        let found = transaction.query_one("SELECT to_regclass(quote_ident($1)) IS NOT NULL", &[name]).await;
        let found = found.and_then(|row| row.try_get::<_, bool>(0)).map_err(|error| classified(&error))?;
        if found {
            return Err(Error::Database(format!(
                "a table {name} is there that the engine has not made; name an empty database"
            )));
        }
    }
    Ok(())
}

async fn apply(
    transaction: &Transaction<'_>,
    migration: &Migration,
    wanted: &Definitions,
) -> Result<(), tokio_postgres::Error> {
    transaction.batch_execute(&migration.statements).await?;
    let insert = "INSERT INTO lsie_migrations (version, what, statements)
                  SELECT coalesce(max(version), 0) + 1, $1, $2 FROM lsie_migrations";
    transaction.execute(insert, &[&migration.what, &migration.statements]).await?;
    transaction.execute("DELETE FROM lsie_tables", &[]).await?;
    for (name, definition) in wanted {
        let insert = "INSERT INTO lsie_tables (name, definition) VALUES ($1, $2)";
        transaction.execute(insert, &[name, definition]).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{SAMPLES, TOTALS};

    #[test]
    fn equal_tables_need_nothing() {
        let all = definitions(&Catalog::all());
        assert_eq!(plan(&all, &all), None);
    }

    #[test]
    fn a_new_database_gets_tables_then_references() {
        let migration = plan(&Definitions::new(), &definitions(&Catalog::all())).expect("tables to make");
        let last_table = migration.statements.rfind("CREATE ").expect("a table");
        let first_reference = migration.statements.find("ALTER TABLE").expect("a reference");
        assert!(last_table < first_reference && !migration.statements.contains("DROP"));
        assert_eq!(migration.fresh.len(), Catalog::all().tables().len());
    }

    #[test]
    fn a_change_rebuilds_and_says_what_changed() {
        let known = definitions(&Catalog::new(&[SAMPLES, TOTALS]));
        let wanted = definitions(&Catalog::new(&[lsie_schemas::Table { indexes: &["total"], ..TOTALS }]));
        let migration = plan(&known, &wanted).expect("a rebuild");
        assert_eq!(migration.what, "rebuild all tables; new or changed: totals; gone: samples");
        assert!(migration.statements.starts_with("DROP TABLE \"samples\", \"totals\";\nUPDATE lsie_sink"));
        assert_eq!(migration.fresh, Vec::<String>::new());
    }
}
