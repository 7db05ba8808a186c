//! A place on the real PostgreSQL that `make test` starts: a schema of its own in each test.

use std::sync::atomic::{AtomicU64, Ordering};

use lsie_schemas::{LogTime, Table};
use lsie_sinks::postgres::{Database, Reader};
use lsie_sinks::testing::{Rows, Subject, catalog};
use lsie_sinks::{Catalog, Error, PostgresSink, Sink};
use tokio_postgres::{Client, NoTls};

/// The variable that names the server.
const VARIABLE: &str = "LSIE_TEST_POSTGRES";

/// A schema under test.
pub struct Schema {
    pub url: String,
    pub catalog: Catalog,
}

impl Schema {
    /// An empty schema for these tables.
    ///
    /// # Panics
    ///
    /// If no server is named: these tests never pass by being skipped.
    #[allow(clippy::disallowed_methods, reason = "the server of a test run is not part of a configuration")]
    pub fn of(catalog: Catalog) -> Schema {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let server = std::env::var(VARIABLE).unwrap_or_else(|_| {
            panic!(
                "{VARIABLE} is not set: run `make test`, which starts a real PostgreSQL, or start one with \
                 `tests/postgres/server.sh start DIR` and set {VARIABLE}=$(cat DIR/url)"
            )
        });
        let name = format!("t{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let joint = if server.contains('?') { '&' } else { '?' };
        let url = format!("{server}{joint}options=-csearch_path%3D{name}");
        let schema = Schema { url, catalog };
        schema.execute(&format!("CREATE SCHEMA {name}"));
        schema
    }

    /// An empty schema for the tables of the suite.
    pub fn new() -> Schema {
        Schema::of(catalog())
    }

    pub fn database(&self) -> Database {
        Database::new(&self.url, None).expect("the URL of a database")
    }

    pub fn sink(&self) -> Result<PostgresSink, Error> {
        PostgresSink::open(&self.database(), self.catalog.clone())
    }

    pub fn reader(&self) -> Reader {
        Reader::open(&self.database()).expect("the database")
    }

    pub fn committed(&self) -> Option<LogTime> {
        self.reader().committed()
    }

    /// Runs statements on a connection of their own.
    pub fn execute(&self, statements: &str) {
        self.with(async |client| client.batch_execute(statements).await).expect("correct statements");
    }

    /// The one value of a query.
    pub fn value<T: for<'a> tokio_postgres::types::FromSql<'a>>(&self, query: &str) -> T {
        self.with(async |client| client.query_one(query, &[]).await?.try_get(0)).expect("a value")
    }

    fn with<T>(
        &self,
        work: impl AsyncFnOnce(&Client) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, tokio_postgres::Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(&self.url, NoTls).await?;
            let driver = tokio::spawn(connection);
            let result = work(&client).await;
            drop(client);
            let _ = driver.await;
            result
        })
    }

    /// The rows of some tables, each once.
    pub fn rows_of(&self, tables: &[Table]) -> Result<Rows, Error> {
        let mut reader = Reader::open(&self.database())?;
        let mut rows = Rows::new();
        for table in tables {
            for held in reader.rows(table)? {
                *rows.entry((table.name.to_owned(), held.row)).or_default() += 1;
            }
        }
        Ok(rows)
    }
}

impl Subject for Schema {
    fn open(&mut self) -> Result<Box<dyn Sink>, Error> {
        Ok(Box::new(self.sink()?))
    }

    fn rows(&mut self) -> Result<Rows, Error> {
        self.rows_of(self.catalog.tables())
    }
}
