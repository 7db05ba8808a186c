//! The tables of a database: made, and made anew when their descriptions have changed.
//!
//! What the tables hold follows from the Parquet changelog, so a migration does not convert rows: it drops those of
//! the engine's own tables that have changed, and what refers to them, creates them as they are described now, and
//! takes the marker back; their rows come again. The other tables stay: until the marker has reached what they hold,
//! they get nothing ([`Kept`]). Each migration is kept, with its number and its statements, in `lsie_migrations`.

use std::collections::{BTreeMap, BTreeSet};

use lsie_schemas::LogTime;
use lsie_schemas::shape::{create_table_sql, reference_sql, references};
use tokio_postgres::{Client, GenericClient, Transaction};

use super::connection::classified;
use crate::{Catalog, Error};

/// The engine's own tables; `lsie_sink` has the one row that says how far the others are.
const OWN: &str = "
    CREATE TABLE IF NOT EXISTS lsie_migrations (
        version BIGINT PRIMARY KEY, what TEXT NOT NULL, statements TEXT NOT NULL,
        applied_at TIMESTAMPTZ NOT NULL DEFAULT now()
    );
    CREATE TABLE IF NOT EXISTS lsie_tables (name TEXT PRIMARY KEY, definition TEXT NOT NULL);
    DO $$ BEGIN
        -- Asked first: an addition would wait for whoever reads the table, such as an audit.
        IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'lsie_tables'::regclass AND attname = 'holds_ms')
        THEN ALTER TABLE lsie_tables ADD COLUMN holds_ms BIGINT, ADD COLUMN pending TEXT NOT NULL DEFAULT '';
        END IF;
    END $$;
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
    /// Tables that are made, each with the references that it gets only once it is filled again.
    made: BTreeMap<String, String>,
}

/// What a migration has left as it was, until everything else has caught up with it.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// The epoch that each of these tables holds, beyond the marker.
    pub(super) tables: BTreeMap<String, LogTime>,
    /// Statements for then: references among tables that hold different epochs can be broken meanwhile.
    pub(super) pending: String,
}

impl Kept {
    /// The epoch at which all tables hold the same again.
    pub(super) fn until(&self) -> Option<LogTime> {
        self.tables.values().max().copied()
    }
}

/// Brings the tables to their descriptions, in one transaction.
pub(super) async fn migrate(client: &mut Client, catalog: &Catalog) -> Result<Kept, Error> {
    let transaction = client.transaction().await.map_err(|error| classified(&error))?;
    transaction.batch_execute(OWN).await.map_err(|error| classified(&error))?;
    let wanted = definitions(catalog);
    if let Some(migration) = plan(&known(&transaction).await?, &wanted) {
        refuse_foreign(&transaction, &migration.fresh).await?;
        apply(&transaction, &migration, &wanted).await.map_err(|error| classified(&error))?;
        tracing::warn!(what = migration.what, "the tables in PostgreSQL are migrated");
    }
    let kept = kept(&transaction).await.map_err(|error| classified(&error))?;
    transaction.commit().await.map_err(|error| classified(&error))?;
    Ok(kept)
}

/// What tables hold beyond the marker; also read from databases that know no such tables.
pub(super) async fn ahead(
    client: &impl GenericClient,
) -> Result<BTreeMap<String, LogTime>, tokio_postgres::Error> {
    let ahead = "SELECT name, (to_jsonb(t) ->> 'holds_ms')::BIGINT AS holds FROM lsie_tables t
                 WHERE (to_jsonb(t) ->> 'holds_ms')::BIGINT > coalesce((SELECT epoch_ms FROM lsie_sink), -1)";
    let rows = client.query(ahead, &[]).await?;
    let entry = |row: &tokio_postgres::Row| {
        let holds: i64 = row.try_get(1)?;
        Ok((row.try_get(0)?, LogTime(u64::try_from(holds).unwrap_or_default())))
    };
    rows.iter().map(entry).collect()
}

/// Makes the references that had to wait; all tables hold the same now.
pub(super) async fn caught_up(
    transaction: &Transaction<'_>,
    pending: &str,
) -> Result<(), tokio_postgres::Error> {
    let forget = "UPDATE lsie_tables SET holds_ms = NULL, pending = ''";
    transaction.batch_execute(&format!("{pending}{forget}")).await
}

async fn kept(transaction: &Transaction<'_>) -> Result<Kept, tokio_postgres::Error> {
    let pending = "SELECT coalesce(string_agg(pending, '' ORDER BY name), '') FROM lsie_tables";
    let pending = transaction.query_one(pending, &[]).await?.try_get(0)?;
    Ok(Kept { tables: ahead(transaction).await?, pending })
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
    let old = old(known, wanted);
    let is_kept = |name: &String| known.contains_key(name) && !old.contains(name);
    let what = match (known.is_empty(), differ.as_str(), dropped.as_str()) {
        (_, "", "") => return None,
        (true, ..) => format!("create {} tables", wanted.len()),
        (_, differ, dropped) => {
            let which = match known.keys().any(is_kept) {
                true => names(&mut old.iter()),
                false => "all tables".into(),
            };
            format!("rebuild {which}; new or changed: {differ}; gone: {dropped}")
        }
    };
    let quoted = |names: &mut dyn Iterator<Item = &String>, quote: char| {
        names.map(|name| format!("{quote}{name}{quote}")).collect::<Vec<_>>().join(", ")
    };
    let mut statements = String::new();
    if !old.is_empty() {
        statements.push_str(&format!("DROP TABLE {};\n", quoted(&mut old.iter(), '"')));
    }
    let kept = quoted(&mut known.keys().filter(|name| is_kept(name)), '\'');
    let made = || wanted.iter().filter(|(name, _)| !is_kept(name));
    if !known.is_empty() && made().next().is_some() {
        if !kept.is_empty() {
            statements.push_str(&format!(
                "UPDATE lsie_tables SET holds_ms = greatest(holds_ms, (SELECT epoch_ms FROM lsie_sink)) \
                 WHERE name IN ({kept});\n"
            ));
        }
        statements.push_str("UPDATE lsie_sink SET epoch_ms = NULL;\n");
    }
    // References come after all tables: they may point in any direction. Beside tables that are ahead they wait.
    let mut pending = BTreeMap::new();
    let mut references = String::new();
    for (name, sql) in made() {
        let (mine, table): (Vec<&str>, Vec<&str>) =
            sql.lines().partition(|line| line.starts_with("ALTER TABLE"));
        let lines = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        statements.push_str(&lines(&table));
        let waits = if kept.is_empty() { &mut references } else { pending.entry(name.clone()).or_default() };
        waits.push_str(&lines(&mine));
        pending.entry(name.clone()).or_default();
    }
    statements.push_str(&references);
    let fresh = wanted.keys().filter(|name| !known.contains_key(*name)).cloned().collect();
    Some(Migration { what, statements, fresh, made: pending })
}

/// The known tables that cannot stay: those that are wanted otherwise or not at all, and what refers to these.
fn old(known: &Definitions, wanted: &Definitions) -> BTreeSet<String> {
    let differs = |(name, sql): &(&String, &String)| wanted.get(*name) != Some(*sql);
    let mut old: BTreeSet<String> = known.iter().filter(differs).map(|(name, _)| name.clone()).collect();
    let refers = |sql: &str, old: &BTreeSet<String>| {
        old.iter().any(|name| sql.contains(&format!("REFERENCES \"{name}\"")))
    };
    while let Some((name, _)) = known.iter().find(|(name, sql)| !old.contains(*name) && refers(sql, &old)) {
        old.insert(name.clone());
    }
    old
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
    let (made, names): (Vec<&String>, Vec<&String>) =
        (migration.made.keys().collect(), wanted.keys().collect());
    let forget = "DELETE FROM lsie_tables WHERE name = ANY($1) OR name <> ALL($2)";
    transaction.execute(forget, &[&made, &names]).await?;
    for (name, pending) in &migration.made {
        let insert = "INSERT INTO lsie_tables (name, definition, pending) VALUES ($1, $2, $3)";
        transaction.execute(insert, &[name, &wanted.get(name), pending]).await?;
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

    #[test]
    fn what_is_as_it_was_stays_and_what_refers_to_a_changed_table_goes_with_it() {
        let known = definitions(&Catalog::all());
        let changed = |name: &str| {
            let mut wanted = known.clone();
            let sql = wanted.get_mut(name).expect("a table");
            *sql = sql.replacen("BIGINT", "BIGINT /* other */", 1);
            plan(&known, &wanted).expect("a rebuild")
        };
        let one = changed("metrics");
        assert_eq!(one.made.keys().collect::<Vec<_>>(), ["metrics"]);
        assert!(one.statements.starts_with("DROP TABLE \"metrics\";\nUPDATE lsie_tables SET holds_ms"));
        assert!(one.made["metrics"].contains("REFERENCES \"sessions\"") && !one.statements.contains("ALTER"));
        let ledger = changed("attribution_event");
        let names: Vec<&String> = ledger.made.keys().collect();
        assert_eq!(names, ["attribution_event", "attribution_score", "event_outcome_link"]);
        assert!(changed("sessions").made.contains_key("metrics"));
    }
}
