//! PostgreSQL by TLS: a real server with a certificate of its own making, and who is taken for it.

use std::path::{Path, PathBuf};
use std::process::Command;

use lsie_schemas::LogTime;
use lsie_sinks::postgres::{Database, Reader};
use lsie_sinks::testing::{catalog, total};
use lsie_sinks::{Error, PostgresSink, Sink};
use tempfile::TempDir;

/// A server that speaks TLS.
struct Server {
    dir: TempDir,
    url: String,
}

impl Server {
    fn start() -> Server {
        let dir = tempfile::Builder::new().prefix("lsie-tls-").tempdir_in("/tmp").expect("a folder");
        script(&["start"], dir.path());
        let url = std::fs::read_to_string(dir.path().join("url")).expect("its URL").trim().to_owned();
        Server { dir, url }
    }

    /// What its certificate is checked against: it has signed itself.
    fn authority(&self) -> PathBuf {
        self.dir.path().join("server.crt")
    }

    fn database(&self, settings: &str, authority: Option<&Path>) -> Result<Database, Error> {
        Database::new(&format!("{}?{settings}", self.url), authority)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        script(&["stop"], self.dir.path());
    }
}

fn script(words: &[&str], dir: &Path) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/postgres/server.sh");
    let status = Command::new(script).args(words).arg(dir).env("POSTGRES_TLS", "1").status();
    assert!(status.expect("a shell").success(), "{words:?}");
}

/// Another authority than the one that the server has.
fn stranger(dir: &Path) -> PathBuf {
    let path = dir.join("stranger.crt");
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=stranger", "-keyout", "/dev/null", "-out"])
        .arg(&path)
        .output();
    assert!(made.expect("openssl").status.success());
    path
}

#[test]
fn the_server_is_who_its_authority_says_or_nothing_is_written() {
    let server = Server::start();
    let (own, other) = (server.authority(), stranger(server.dir.path()));

    // Rows go through, and the server agrees that they were encrypted.
    for (settings, authority) in
        [("sslmode=verify-full", Some(&own)), ("sslmode=require", Some(&own)), ("sslmode=require", None)]
    {
        let database = server.database(settings, authority.map(PathBuf::as_path)).expect("a database");
        let mut sink = PostgresSink::open(&database, catalog()).expect("a server");
        let epoch = sink.committed().unwrap_or_default().plus_ms(1);
        sink.write(epoch, &[total(epoch.0, &format!("{settings}{epoch:?}"), 1, 1)]).expect("a row");
        sink.commit(epoch).expect("an epoch");
        sink.finish().expect("a transaction");
        assert!(Reader::open(&database).expect("a server").is_encrypted().expect("an answer"), "{settings}");
    }
    let plain = server.database("sslmode=disable", None).expect("a database");
    let mut reader = Reader::open(&plain).expect("a server");
    assert_eq!(reader.committed(), Some(LogTime(3)));
    assert!(!reader.is_encrypted().expect("an answer"));

    // A wrong authority and a wrong name are no matter of waiting; the error says what to do.
    let elsewhere = server.url.replace("127.0.0.1", "elsewhere.example");
    let elsewhere = format!("{elsewhere}?hostaddr=127.0.0.1&sslmode=verify-full");
    let refused = [
        (server.database("sslmode=verify-full", Some(&other)), "UnknownIssuer"),
        (Database::new(&elsewhere, Some(&own)), "elsewhere.example"),
    ];
    for (database, why) in refused {
        let opened = PostgresSink::open(&database.expect("a database"), catalog());
        let Err(Error::Database(text)) = opened else { panic!("{opened:?}") };
        assert!(text.contains(why) && text.contains("postgres.tls_authority"), "{text}");
    }
}

#[test]
fn settings_that_cannot_be_are_refused_at_the_start() {
    let url = "postgresql://me@db.example/x?sslmode=verify-full";
    let missing = Database::new(url, None).expect_err("no authority").to_string();
    assert!(missing.contains("postgres.tls_authority"), "{missing}");
    let dir = TempDir::new().expect("a folder");
    let file = dir.path().join("authority.pem");
    assert!(matches!(Database::new(url, Some(&file)), Err(Error::Refused { .. })));
    std::fs::write(&file, "not a certificate").expect("a file");
    let unfit = Database::new(url, Some(&file)).expect_err("no certificate").to_string();
    assert!(unfit.contains("no certificate of an authority"), "{unfit}");
}
