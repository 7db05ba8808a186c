//! One connection, used from a thread without a runtime of its own: everything has a time limit, and every
//! failure says whether the server is away or refuses.

use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio_postgres::error::DbError;
use tokio_postgres::{Client, Config};

use super::{Database, tls};
use crate::Error;

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a statement may run, and a transaction be idle, before the server ends it.
const STATEMENT_S: u64 = 60;
/// How long one transaction may take as seen from here; more than a statement, for a server that hangs.
const LIMIT: Duration = Duration::from_secs(120);
/// The oldest server: `NULLS NOT DISTINCT` is new in it.
const OLDEST: i32 = 150_000;

/// Work that was begun; dropped, it ends where it stands.
pub(super) struct Begun<T>(JoinHandle<Option<(Client, T)>>);

impl<T> Drop for Begun<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// An open connection.
pub(super) struct Connection {
    // Dropped in this order by `drop`: the client says goodbye while the runtime still runs.
    client: Option<Client>,
    driver: Option<JoinHandle<()>>,
    runtime: Runtime,
}

impl Connection {
    /// Connects, and sets what a session must have.
    pub(super) fn open(database: &Database) -> Result<Connection, Error> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("postgres")
            .enable_all()
            .build()
            .map_err(Error::Serve)?;
        let (mut config, tls) = (database.config.clone(), tls::connector(&database.tls));
        config.connect_timeout(CONNECT).application_name("lsie");
        // A time limit is made on the runtime.
        let connecting = async { tokio::time::timeout(CONNECT, config.connect(tls)).await };
        let (client, connection) = runtime
            .block_on(connecting)
            .map_err(|_| away("no answer while connecting"))?
            .map_err(|error| classified(&error))?;
        let driver = runtime.spawn(async move {
            // Its failure reaches whoever waits for an answer.
            let _ = connection.await;
        });
        let mut opened = Connection { client: Some(client), driver: Some(driver), runtime };
        opened.prepare()?;
        Ok(opened)
    }

    /// Runs one piece of work to its end, or gives up on the connection.
    pub(super) fn run<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Client) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let client = self.client.as_mut().ok_or_else(closed)?;
        let limited = async { tokio::time::timeout(LIMIT, work(client)).await };
        self.runtime.block_on(limited).unwrap_or_else(|_| Err(away("no answer")))
    }

    /// Begins a piece of work that goes on beside the caller, and has the client until [`end`](Self::end).
    pub(super) fn begin<T, W>(&mut self, work: impl FnOnce(Client) -> W) -> Result<Begun<T>, Error>
    where
        T: Send + 'static,
        W: Future<Output = (Client, T)> + Send + 'static,
    {
        let work = work(self.client.take().ok_or_else(closed)?);
        Ok(Begun(self.runtime.spawn(async { tokio::time::timeout(LIMIT, work).await.ok() })))
    }

    /// Waits for the end of a piece of work, or gives up on the connection.
    pub(super) fn end<T>(&mut self, mut begun: Begun<T>) -> Result<T, Error> {
        let ended = self.runtime.block_on(&mut begun.0).map_err(|_| closed())?;
        let (client, done) = ended.ok_or_else(|| away("no answer"))?;
        self.client = Some(client);
        Ok(done)
    }

    fn prepare(&mut self) -> Result<(), Error> {
        self.run(async |client| {
            let version: String = client
                .query_one("SHOW server_version_num", &[])
                .await
                .and_then(|row| row.try_get(0))
                .map_err(|error| classified(&error))?;
            if version.parse::<i32>().is_ok_and(|version| version < OLDEST) {
                return Err(Error::Database(format!("PostgreSQL 15 or newer is needed, this is {version}")));
            }
            // A server whose peer has died lets go of its locks within half a minute.
            let settings = format!(
                "SET statement_timeout = '{STATEMENT_S}s'; SET lock_timeout = '10s'; \
                 SET idle_in_transaction_session_timeout = '{STATEMENT_S}s'; \
                 SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3; \
                 SET synchronous_commit = on; SET client_min_messages = error"
            );
            client.batch_execute(&settings).await.map_err(|error| classified(&error))
        })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        drop(self.client.take());
        // The server should know before a successor asks for the lock; one that hangs is not waited for.
        if let Some(driver) = self.driver.take() {
            let _ =
                self.runtime.block_on(async { tokio::time::timeout(Duration::from_secs(1), driver).await });
        }
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection")
    }
}

/// The configuration of a URL, which may hold a password and therefore is never repeated in a message.
pub(super) fn configuration(url: &str) -> Result<Config, Error> {
    let unfit = || {
        Error::Database("the URL is not of the form postgresql://USER[:PASSWORD]@HOST[:PORT]/DATABASE".into())
    };
    url.trim().parse().map_err(|_| unfit())
}

pub(super) fn away(why: &str) -> Error {
    Error::Unavailable(format!("PostgreSQL: {why}"))
}

fn closed() -> Error {
    away("the connection is closed")
}

/// Whether the server is away for a while or refuses. Details are left out: they can quote rows.
pub(super) fn classified(error: &tokio_postgres::Error) -> Error {
    match error.as_db_error() {
        Some(refusal) if is_passing(refusal.code().code()) => away(&text(refusal)),
        Some(refusal) => Error::Database(text(refusal)),
        None => tls::refusal(error).map_or_else(|| away(&chain(error)), Error::Database),
    }
}

/// Whether waiting may help: connection, rollback, resources, locks, an operator's intervention, a standby.
fn is_passing(code: &str) -> bool {
    let classes = ["08", "40", "53", "57", "58"];
    classes.iter().any(|class| code.starts_with(class))
        || ["25006", "25P03", "55006", "55P03"].contains(&code)
}

fn text(refusal: &DbError) -> String {
    let mut text = format!("{} ({}", refusal.message(), refusal.code().code());
    for (name, value) in
        [("table", refusal.table()), ("column", refusal.column()), ("constraint", refusal.constraint())]
    {
        if let Some(value) = value {
            text.push_str(&format!(", {name} {value}"));
        }
    }
    text.push(')');
    text
}

fn chain(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_url_is_refused_without_its_password() {
        let refused =
            configuration("postgresql://me:secret@host:port:port/x").expect_err("a bad URL").to_string();
        assert!(!refused.contains("secret"), "{refused}");
    }

    #[test]
    fn what_passes_and_what_does_not() {
        for code in ["57P01", "57P03", "08006", "40001", "53300", "53100", "55P03", "57014", "25006"] {
            assert!(is_passing(code), "{code}");
        }
        for code in ["23505", "23514", "42501", "28P01", "3D000", "42P01"] {
            assert!(!is_passing(code), "{code}");
        }
    }
}
