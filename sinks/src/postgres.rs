//! The PostgreSQL target: the current rows of every table, moved on by one transaction for each run of epochs.
//!
//! The transaction holds the rows and the marker, so they are always of the same epoch. A row keeps its `id`
//! (63 bits of the hash of its natural key), `created_at` is the log time of the epoch at which its key came,
//! `updated_at` that of its last change (DESIGN §5). A writer holds an advisory lock for as long as it is
//! connected; a second one is turned away, and could not move the marker either.

mod codec;
mod connection;
mod encode;
mod erase;
mod merge;
mod migrate;
pub(crate) mod net;
mod read;
mod tls;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lsie_schemas::{Change, LogTime, Table};
use tokio_postgres::{Client, Config};
use tokio_rustls::rustls::ClientConfig;

pub use codec::stored;
pub use read::{Held, Reader};

use crate::order::Order;
use crate::size::size;
use crate::{Catalog, Error, Sink};
use connection::{Begun, Connection, away, classified};
use encode::Encoded;
use merge::Merge;
use migrate::Kept;

/// Rows, and about how many bytes of them, that one transaction takes at most. Another such run is made ready meanwhile.
const MOST_ROWS: usize = 25_000;
const MOST_BYTES: usize = 16 << 20;
/// How often, and how many times, the lock is asked for: a predecessor's session may still be ending.
const LOCK_EVERY: Duration = Duration::from_millis(100);
const LOCK_TRIES: usize = 50;

/// A database, by its URL; the URL may hold a password and is never shown.
#[derive(Clone)]
pub struct Database {
    config: Config,
    tls: Arc<ClientConfig>,
}

impl Database {
    /// The database of a URL, and the file with the certificate of the authority that vouches for its server, if
    /// one is named. Refused if the URL is none, if the file holds none, or if it is missing where the URL asks
    /// for it (`sslmode=verify-full`).
    pub fn new(url: &str, authority: Option<&Path>) -> Result<Database, Error> {
        let (url, is_verifying) = tls::mode(url);
        if is_verifying && authority.is_none() {
            return Err(Error::Database(
                "sslmode=verify-full wants postgres.tls_authority, a file with the certificate of the authority \
                 that has signed the server's"
                    .into(),
            ));
        }
        Ok(Database { config: connection::configuration(&url)?, tls: tls::client(authority)? })
    }

    /// Hosts and name of the database, without user and password.
    pub fn place(&self) -> String {
        let hosts: Vec<String> = self
            .config
            .get_hosts()
            .iter()
            .map(|host| match host {
                tokio_postgres::config::Host::Tcp(host) => host.clone(),
                tokio_postgres::config::Host::Unix(path) => path.display().to_string(),
            })
            .collect();
        format!("{}/{}", hosts.join(","), self.config.get_dbname().unwrap_or_default())
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Database({})", self.place())
    }
}

/// A transaction that goes on beside the sink, which gets its statements back at the end.
type Underway = Begun<(Merges, Result<(), Error>)>;

/// The statements of each table that has had rows, by its position in the catalog.
type Merges = BTreeMap<usize, Merge>;

/// A sink into a database. One transaction is under way while the rows of the next are made ready.
pub struct PostgresSink {
    catalog: Catalog,
    order: Order,
    /// The epoch that the database holds.
    marker: Option<LogTime>,
    /// The epoch that it holds once the transaction under way has ended.
    begun: Option<LogTime>,
    underway: Option<Underway>,
    /// Tables that a migration has left as they were, and what they hold beyond the marker.
    kept: Kept,
    /// Changes per table of the epochs not yet in the database; those of the last one may be incomplete.
    buffered: Vec<Vec<Change>>,
    rows: usize,
    bytes: usize,
    merges: Merges,
    connection: Connection,
}

impl PostgresSink {
    /// Connects, takes the lock, makes or migrates the tables, and reads the marker.
    pub fn open(database: &Database, catalog: Catalog) -> Result<PostgresSink, Error> {
        let mut connection = Connection::open(database)?;
        let (kept, marker) = connection.run(async |client| {
            lock(client).await?;
            let kept = migrate::migrate(client, &catalog).await?;
            Ok((kept, marker(client).await.map_err(|error| classified(&error))?))
        })?;
        Ok(PostgresSink {
            order: Order::after(marker),
            marker,
            begun: marker,
            underway: None,
            kept,
            buffered: vec![Vec::new(); catalog.tables().len()],
            rows: 0,
            bytes: 0,
            merges: BTreeMap::new(),
            catalog,
            connection,
        })
    }
}

impl Sink for PostgresSink {
    fn write(&mut self, epoch: LogTime, changes: &[Change]) -> Result<(), Error> {
        if !self.order.write(epoch)? {
            return Ok(());
        }
        for change in changes {
            let at = self.catalog.check(epoch, change)?;
            if self.kept.tables.get(change.table.as_ref()).is_some_and(|holds| epoch <= *holds) {
                continue;
            }
            self.rows += 1;
            self.bytes += size(change);
            self.buffered[at].push(change.clone());
        }
        Ok(())
    }

    fn commit(&mut self, epoch: LogTime) -> Result<(), Error> {
        if !self.order.commit(epoch)? {
            return Ok(());
        }
        if self.rows >= MOST_ROWS || self.bytes >= MOST_BYTES { self.begin() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.begin()?;
        self.wait()
    }

    fn committed(&self) -> Option<LogTime> {
        self.marker
    }
}

impl PostgresSink {
    /// Begins the transaction of all committed epochs that are not in one yet, after the one under way.
    fn begin(&mut self) -> Result<(), Error> {
        let committed = self.order.committed();
        if committed == self.begun {
            return Ok(());
        }
        let tables = self.take(committed)?;
        self.wait()?;
        let waiting = self.kept.until().is_some_and(|until| Some(until) <= committed);
        let pending = waiting.then(|| std::mem::take(&mut self.kept).pending);
        let run = Run { tables, pending, from: self.begun, to: committed };
        let mut merges = std::mem::take(&mut self.merges);
        self.underway = Some(self.connection.begin(async move |mut client| {
            let done = transact(&mut client, &mut merges, run).await;
            (client, (merges, done))
        })?);
        self.begun = committed;
        Ok(())
    }

    /// Waits for the end of the transaction under way, if there is one.
    fn wait(&mut self) -> Result<(), Error> {
        let Some(underway) = self.underway.take() else { return Ok(()) };
        let (merges, done) = self.connection.end(underway)?;
        done.map_err(|error| within(error, self.marker, self.begun))?;
        (self.merges, self.marker) = (merges, self.begun);
        Ok(())
    }

    /// Takes the rows up to an epoch out of the buffers; those of an epoch that is still being written stay.
    fn take(&mut self, committed: Option<LogTime>) -> Result<Vec<(usize, Table, Encoded)>, Error> {
        let mut tables = Vec::new();
        for (at, (table, changes)) in self.catalog.tables().iter().zip(&mut self.buffered).enumerate() {
            let open = changes.partition_point(|change| Some(change.epoch) <= committed);
            let rest = changes.split_off(open);
            let net = net::net(table, std::mem::replace(changes, rest))?;
            if !net.is_empty() {
                tables.push((at, *table, encode::encode(table, &net)?));
            }
        }
        let left = self.buffered.iter().flatten();
        (self.rows, self.bytes) = left.fold((0, 0), |(rows, bytes), change| (rows + 1, bytes + size(change)));
        Ok(tables)
    }
}

/// What one transaction writes: tables, by their position in the catalog, and the epochs before and after it.
struct Run {
    tables: Vec<(usize, Table, Encoded)>,
    /// What was waiting until all tables hold the same, if they do after it.
    pending: Option<String>,
    from: Option<LogTime>,
    to: Option<LogTime>,
}

/// One transaction: the rows of a run of epochs and the marker.
async fn transact(client: &mut Client, merges: &mut Merges, run: Run) -> Result<(), Error> {
    let transaction = client.transaction().await.map_err(|error| classified(&error))?;
    for (at, table, net) in run.tables {
        if let Entry::Vacant(vacant) = merges.entry(at) {
            let merge = Merge::prepare(&transaction, &table).await.map_err(|error| classified(&error))?;
            vacant.insert(merge);
        }
        if let Some(merge) = merges.get(&at) {
            merge.apply(&transaction, &table, net).await?;
        }
    }
    if let Some(pending) = &run.pending {
        migrate::caught_up(&transaction, pending).await.map_err(|error| classified(&error))?;
    }
    let moved = transaction
        .execute(
            "UPDATE lsie_sink SET epoch_ms = $2 WHERE epoch_ms IS NOT DISTINCT FROM $1",
            &[&milliseconds(run.from), &milliseconds(run.to)],
        )
        .await
        .map_err(|error| classified(&error))?;
    if moved != 1 {
        return Err(Error::Database("another engine has written to this database; one at a time".into()));
    }
    transaction.commit().await.map_err(|error| classified(&error))
}

/// Takes the lock of writers for the life of the connection.
async fn lock(client: &Client) -> Result<(), Error> {
    for _ in 0..LOCK_TRIES {
        let taken = "SELECT pg_try_advisory_lock(hashtext('lsie'), hashtext(current_schema()))";
        let taken = client.query_one(taken, &[]).await.and_then(|row| row.try_get(0));
        if taken.map_err(|error| classified(&error))? {
            return Ok(());
        }
        tokio::time::sleep(LOCK_EVERY).await;
    }
    Err(away("another engine writes to this database"))
}

async fn marker(client: &Client) -> Result<Option<LogTime>, tokio_postgres::Error> {
    let row = client.query_one("SELECT epoch_ms FROM lsie_sink", &[]).await?;
    let epoch: Option<i64> = row.try_get(0)?;
    Ok(epoch.and_then(|ms| u64::try_from(ms).ok()).map(LogTime))
}

fn milliseconds(epoch: Option<LogTime>) -> Option<i64> {
    epoch.map(|epoch| i64::try_from(epoch.0).unwrap_or(i64::MAX))
}

/// Adds to a refusal the epochs that were being written.
fn within(error: Error, from: Option<LogTime>, to: Option<LogTime>) -> Error {
    match error {
        Error::Database(why) => {
            let (from, to) = (from.map_or(0, |epoch| epoch.0), to.map_or(0, |epoch| epoch.0));
            Error::Database(format!("{why}, in the epochs after {from} up to {to}"))
        }
        other => other,
    }
}

impl std::fmt::Debug for PostgresSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresSink").field("marker", &self.marker).finish_non_exhaustive()
    }
}
