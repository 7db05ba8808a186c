//! Erasure, with the binary, a real Kafka and a real PostgreSQL: a session's rows go and do not come back, by no replay and
//! no further run; what counts for others stays.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use lsie_connectors::feed::{Pace, session_id};
use lsie_dataflow::epochs;
use lsie_schemas::row::{
    self, ArmRow, DecisionRow, EventOutcomeLinkRow, EventRow, PhysiologyRow, RecordClassRow, SessionRow,
    TranscriptRow,
};
use lsie_schemas::{Cell, TableRow};
use lsie_sinks::parquet::Reader;
use lsie_tests::broker;
use lsie_tests::harness::{TopicSet, binary};
use lsie_tests::sessions::{RECORDED_AT, recording, records};
use lsie_tests::tables::Tables;
use lsie_tests::telemetry::telemetry;
use tempfile::TempDir;
use tokio_postgres::NoTls;
use uuid::Uuid;

/// The tests' database.
#[allow(clippy::disallowed_methods, reason = "the server of a test run is not part of a configuration")]
fn server() -> String {
    std::env::var("LSIE_TEST_POSTGRES")
        .expect("LSIE_TEST_POSTGRES: run `make test`, or tests/run.sh with a command")
}

/// Runs statements, and gives the first column of the last one's rows.
fn sql(statements: &str) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(&server(), NoTls).await.expect("a connection");
        let driver = tokio::spawn(connection);
        let messages = client.simple_query(statements).await.expect("statements");
        drop(client);
        let _ = driver.await;
        let row = |message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
            _ => None,
        };
        messages.into_iter().filter_map(row).collect()
    })
}

struct Case {
    set: TopicSet,
    dir: TempDir,
    schema: String,
    first: Uuid,
    second: Uuid,
}

impl Case {
    /// Two sessions with telemetry and a greeting each, one after the other.
    fn new(name: &str) -> Case {
        let set = TopicSet::recorded(name, 2);
        let short = recording("short");
        let (first, second) = (session_id(name, 0), session_id(name, 1));
        let timelines = [(first, 0), (second, 60_000)].map(|(id, start_ms)| {
            let mut timeline = records(&short, id, RECORDED_AT, start_ms);
            timeline.extend(telemetry(id, RECORDED_AT, start_ms));
            timeline.sort_by_key(|timed| timed.at_ms);
            timeline
        });
        set.feed(timelines.into(), Pace::Max);
        let schema = format!("{name}_{}", std::process::id());
        sql(&format!("DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}"));
        let dir = tempfile::tempdir().expect("a temporary folder");
        let log =
            format!("[log]\naddress = \"kafka:{}\"\nprefix = \"{}\"\n", broker::bootstrap(), set.prefix());
        let joint = if server().contains('?') { '&' } else { '?' };
        let database = format!(
            "{log}[parquet]\ndir = \"tables\"\n[postgres]\nurl = \"{}{joint}options=-csearch_path%3D{schema}\"\n",
            server()
        );
        std::fs::write(dir.path().join("alone.toml"), log).expect("a configuration");
        std::fs::write(dir.path().join("lsie.toml"), database).expect("a configuration");
        Case { set, dir, schema, first, second }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn lsie(&self, arguments: &[&str]) -> Output {
        Command::new(binary())
            .args(arguments)
            .current_dir(self.dir.path())
            .output()
            .expect("the binary starts")
    }

    /// Runs a command to its good end; what it said.
    fn must(&self, arguments: &[&str]) -> String {
        let done = self.lsie(arguments);
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(done.status.success(), "lsie {arguments:?}: {said}{}", String::from_utf8_lossy(&done.stderr));
        said
    }
}

/// For each table the lines of its changelog in which an id stands.
fn lines_with(tables: &Path, ids: &BTreeSet<Uuid>) -> BTreeMap<&'static str, usize> {
    let reader = Reader::open(tables).expect("result tables");
    let names = |cells: &[Cell]| cells.iter().any(|cell| matches!(cell, Cell::Uuid(id) if ids.contains(id)));
    let of = |table: &'static lsie_schemas::Table| {
        let changes = reader.changes(table).map(|change| change.expect("a readable row"));
        (table.name, changes.filter(|change| names(&change.row)).count())
    };
    row::tables().iter().map(of).filter(|(_, lines)| *lines > 0).collect()
}

fn rows<R: TableRow>(tables: &Path) -> Vec<R> {
    lsie_dataflow::healing::rows(&Reader::open(tables).expect("result tables")).expect("rows")
}

/// The attribution events of a session, by which links and scores are its.
fn with_events(tables: &Path, session: Uuid) -> BTreeSet<Uuid> {
    let events = rows::<lsie_schemas::row::AttributionEventRow>(tables);
    let mine = events.iter().filter(|row| row.session_id == session).map(|row| row.event_id);
    mine.chain([session]).collect()
}

/// Tables that still name an erased session.
const STAY: [&str; 4] = ["actions", "dead_letters", "decisions", "sessions"];

#[test]
fn an_erased_session_is_gone_and_no_run_brings_it_back() {
    let case = Case::new("erase");
    let (tables, again) = (case.path("tables"), case.path("again"));
    case.must(&["replay", "--out", "tables"]);
    let ids = with_events(&tables, case.first);
    assert!(ids.len() > 1, "it has attribution events");
    let before = lines_with(&tables, &ids);
    for table in [
        "transcripts",
        "events",
        "physiology_log",
        "encounter_log",
        "faces",
        "event_outcome_link",
        "attribution_score",
    ] {
        assert!(before.contains_key(table), "{table} has rows of it: {before:?}");
    }
    let others = |tables: &Path| lines_with(tables, &with_events(tables, case.second));
    let (others_before, arms, classes) =
        (others(&tables), rows::<ArmRow>(&tables), rows::<RecordClassRow>(&tables));

    let said = case.must(&["erase", &case.first.to_string()]);
    assert!(said.contains("is erased"), "{said}");
    let left = lines_with(&tables, &ids);
    assert!(left.keys().all(|table| STAY.contains(table)), "{left:?}");
    assert_eq!(others(&tables), others_before, "another session lost rows");
    // What counts for others stays: posteriors, selections, how many records there were.
    assert_eq!(rows::<ArmRow>(&tables), arms);
    assert_eq!(rows::<RecordClassRow>(&tables), classes);
    assert_eq!(rows::<DecisionRow>(&tables).len(), 2);
    let of_first = |row: &SessionRow| row.session_id == case.first;
    assert!(rows::<SessionRow>(&tables).iter().any(|row| of_first(row) && row.stream_url == "erased:"));
    assert!(rows::<TranscriptRow>(&tables).iter().all(|row| row.session_id == case.second));
    // No file of the directory has a word of it, whoever reads it.
    let word = rows::<EventRow>(&tables).len() + rows::<PhysiologyRow>(&tables).len();
    assert!(
        word > 0 && !rows::<EventOutcomeLinkRow>(&tables).is_empty(),
        "the other session has all of these"
    );

    // The database holds the same, by the audit and by its own word.
    case.must(&["audit", "tables"]);
    for table in ["transcripts", "events", "physiology_log", "metrics", "encounter_log", "outcome_event"] {
        let count = |id: Uuid| {
            sql(&format!("SELECT count(*) FROM {}.{table} WHERE session_id = '{id}'", case.schema)).concat()
        };
        assert_eq!(count(case.first), "0", "{table}");
        assert_ne!(count(case.second), "0", "{table}");
    }

    // Its records are all still in the log; a replay makes the tables that the erasure has left, state and history.
    case.must(&["--config", "alone.toml", "replay", "--out", "again", "--workers", "2"]);
    let compared = case.must(&["verify", "tables", "again"]);
    assert!(compared.contains("equal: state and history of every table"), "{compared}");
    assert_eq!(lines_with(&again, &ids), left);

    // Once is enough.
    let said = case.must(&["erase", &case.first.to_string()]);
    assert!(said.contains("was erased before") && said.contains("\n0 lines of the changelogs"), "{said}");
    let table = epochs::read_table(case.set.log()).expect("the log answers").expect("topic epochs");
    assert_eq!(table.told.erasures.len(), 1);
    sql(&format!("DROP SCHEMA {} CASCADE", case.schema));
}

#[test]
fn an_erasure_that_was_broken_off_is_finished_by_the_same_command() {
    let case = Case::new("erase_crash");
    let tables = case.path("tables");
    case.must(&["replay", "--out", "tables"]);
    let ids = with_events(&tables, case.first);
    for place in ["erase.logged", "erase.rewritten"] {
        let died = case.lsie(&["--die-at", place, "erase", &case.first.to_string()]);
        assert!(!died.status.success(), "it dies at {place}");
    }
    case.must(&["erase", &case.first.to_string()]);
    assert!(lines_with(&tables, &ids).keys().all(|table| STAY.contains(table)));
    case.must(&["audit", "tables"]);
    case.must(&["--config", "alone.toml", "replay", "--out", "again"]);
    case.must(&["verify", "tables", "again"]);
    sql(&format!("DROP SCHEMA {} CASCADE", case.schema));
}

#[test]
fn what_still_runs_is_not_erased() {
    let case = Case::new("erase_early");
    // The tables end with the epoch at which the second session does.
    case.must(&["--config", "alone.toml", "replay", "--out", "tables"]);
    let tables = Tables::of(&Reader::open(&case.path("tables")).expect("result tables"));
    let has_ended = |row: &SessionRow| row.session_id == case.second && row.ended_at.is_some();
    let sessions = tables.changes::<SessionRow>();
    let ended = sessions.iter().find(|(_, row, diff)| has_ended(row) && *diff > 0).expect("an end").0;
    let until = ended.0.to_string();
    case.must(&["--config", "alone.toml", "replay", "--out", "early", "--until", &until]);
    let early = case.lsie(&["--config", "alone.toml", "erase", "--dir", "early", &case.second.to_string()]);
    assert!(!early.status.success());
    assert!(String::from_utf8_lossy(&early.stderr).contains("may still be on its way"), "{early:?}");
    let table = epochs::read_table(case.set.log()).expect("the log answers").expect("topic epochs");
    assert!(table.told.erasures.is_empty(), "nothing was written");
    sql(&format!("DROP SCHEMA {} CASCADE", case.schema));
}
