//! A Kafka and a PostgreSQL of the harness's own, which it may pause, kill and start again.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use lsie_connectors::{KafkaConfig, KafkaLog};
use lsie_schemas::log::Log;
use tempfile::TempDir;

/// The servers; they are stopped when this is dropped.
pub struct Servers {
    dir: TempDir,
    /// Of the scripts that start them: variables of their environment.
    settings: &'static [(&'static str, &'static str)],
    /// `HOST:PORT` of the broker.
    pub bootstrap: String,
    /// The database's URL.
    pub postgres: String,
}

impl Servers {
    /// Starts both. Takes some seconds.
    pub fn start() -> Servers {
        Servers::start_with(&[])
    }

    /// The same with variables that the scripts know.
    pub fn start_with(settings: &'static [(&'static str, &'static str)]) -> Servers {
        let dir = tempfile::tempdir().expect("a temporary folder");
        // Run as root, PostgreSQL is another user.
        as_root(&["chmod", "711", text(dir.path())]);
        let mut servers = Servers { dir, settings, bootstrap: String::new(), postgres: String::new() };
        servers.start_broker();
        servers.start_postgres();
        servers.bootstrap = servers.read("kafka/bootstrap");
        servers.postgres = servers.read("postgres/url");
        servers
    }

    /// The folder in which rounds make theirs.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A connection to the topics of a prefix.
    pub fn log(&self, prefix: &str) -> Arc<dyn Log> {
        let log = KafkaLog::connect(KafkaConfig::new(&self.bootstrap, prefix)).expect("the harness's Kafka");
        Arc::new(log)
    }

    /// Starts the broker where it was.
    pub fn start_broker(&self) {
        assert!(self.script("kafka/broker.sh", "start", "kafka"), "the broker starts");
    }

    /// Starts the database where it was.
    pub fn start_postgres(&self) {
        assert!(self.script("postgres/server.sh", "start", "postgres"), "the database starts");
    }

    fn script(&self, name: &str, verb: &str, dir: &str) -> bool {
        let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        let mut command = Command::new(path);
        // A broker that was killed is to be back soon: its session ends early.
        command.args([verb, text(&self.dir.path().join(dir))]).env("BROKER_SESSION_MS", "3000");
        command.envs(self.settings.iter().copied());
        // Not captured: a server would hold the other end of the pipe.
        let done = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
        done.is_ok_and(|status| status.success())
    }

    /// The broker's process.
    pub fn broker_pid(&self) -> String {
        self.read("kafka/pid")
    }

    /// The database's first process.
    pub fn postgres_pid(&self) -> String {
        let file = self.read("postgres/data/postmaster.pid");
        file.lines().next().expect("a pid").to_string()
    }

    /// Where the servers write what they do.
    pub fn logs(&self) -> Vec<PathBuf> {
        ["kafka/broker.log", "postgres/data/server.log"].map(|log| self.dir.path().join(log)).into()
    }

    fn read(&self, name: &str) -> String {
        let path = self.dir.path().join(name);
        // The database's folder may be another user's.
        match std::fs::read_to_string(&path) {
            Ok(content) => content.trim().to_string(),
            Err(why) => panic!("{}: {why}", path.display()),
        }
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.script("kafka/broker.sh", "stop", "kafka");
        self.script("postgres/server.sh", "stop", "postgres");
    }
}

/// Runs a command with the rights of root.
///
/// # Panics
///
/// If it fails: the faults of disks need a mount of their own.
pub fn as_root(command: &[&str]) {
    if let Err(why) = try_as_root(command) {
        panic!("{command:?}: {why}");
    }
}

/// Runs a command with the rights of root; what it said if it failed.
pub fn try_as_root(command: &[&str]) -> Result<(), String> {
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout.trim_ascii() == b"0");
    let command = if is_root { command.to_vec() } else { [&["sudo", "-n"], command].concat() };
    let done = Command::new(command[0]).args(&command[1..]).output().map_err(|why| why.to_string())?;
    match done.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&done.stderr).into_owned()),
    }
}

pub(super) fn text(path: &Path) -> &str {
    path.to_str().expect("a path that is text")
}
