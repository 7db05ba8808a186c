//! The binary as a person uses it: `lsie demo`, `lsie verify`, `lsie replay`.

use std::path::Path;
use std::process::{Command, Output};

use lsie_schemas::row::{EncounterRow, RecordClassRow, SegmentRow};
use lsie_schemas::{Change, TableRow};
use lsie_sinks::parquet::Reader;
use lsie_tests::harness::{assert_law_4, assert_same, binary};
use lsie_tests::tables::Tables;

#[test]
fn the_demo_can_be_verified_and_replayed() {
    let out = tempfile::tempdir().expect("a temporary folder");
    let (demo, replay) = (out.path().join("demo"), out.path().join("replay"));
    let (tables, log) = (demo.join("tables"), format!("file:{}", demo.join("log").display()));

    let text = lsie(out.path(), &["demo", "--exit-when-done", "--port", "0", "--out", path(&demo)]);
    for part in ["views on http://127.0.0.1:", "sessions", "segments", "encounters", "posteriors"] {
        assert!(text.contains(part), "the demo's output has no {part:?}:\n{text}");
    }
    let found = read(&tables);
    let segments = found.rows::<SegmentRow>();
    assert_eq!(segments.len(), 4, "96 s have three full segments and a part");
    assert!(segments.iter().all(|row| text.contains(&format!(
        "{:>3}  {}",
        row.ordinal,
        row.window_start_utc.canonical()
    ))));
    let encounters = found.rows::<EncounterRow>();
    assert_eq!(encounters.iter().map(|row| row.semantic_gate).collect::<Vec<_>>(), gates(&encounters));
    assert!(encounters.iter().all(|row| text.contains(&format!("{:.3}", row.p90_intensity.0))), "{text}");
    let known = lsie_connectors::open(&log, "", &Default::default()).expect("the demo's log");
    assert_law_4(&*known, &found);
    drop(known);

    let hashes = lsie(out.path(), &["verify", path(&tables)]);
    assert!(hashes.contains("segments") && !hashes.contains("violation"), "{hashes}");
    lsie(out.path(), &["--log", &log, "replay", "--out", path(&replay)]);
    let verdict = lsie(out.path(), &["verify", path(&tables), path(&replay)]);
    assert!(verdict.contains("equal: state and history of every table"), "{verdict}");
    assert_same(&tables, &replay, "demo and replay");
}

/// Of the demo's three greetings two match.
fn gates(encounters: &[EncounterRow]) -> Vec<i64> {
    assert_eq!(encounters.len(), 3);
    assert_eq!(encounters.iter().map(|row| row.semantic_gate).sum::<i64>(), 2);
    encounters.iter().map(|row| i64::from(row.gated_reward.0 > 0.0)).collect()
}

#[test]
fn a_command_that_fails_says_so() {
    let out = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(out.path().join("mine.txt"), "not a demo").expect("a file");
    let refused = command(out.path(), &["demo", "--out", path(out.path()), "--port", "0"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--out"), "the message names the mend");
    let missing = command(out.path(), &["verify", path(&out.path().join("nothing"))]);
    assert_eq!(missing.status.code(), Some(2));
}

/// The result tables of a folder.
fn read(dir: &Path) -> Tables {
    let reader = Reader::open(dir).expect("result tables");
    let mut changes: Vec<Change> = Vec::new();
    for table in [SegmentRow::TABLE, EncounterRow::TABLE, RecordClassRow::TABLE] {
        changes.extend(reader.changes(&table).map(|change| change.expect("a readable row")));
    }
    Tables::new(changes)
}

/// Runs the binary in a folder of its own; its output, if it succeeds.
fn lsie(dir: &Path, arguments: &[&str]) -> String {
    let done = command(dir, arguments);
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "lsie {arguments:?}: {}\n{out}\n{err}", done.status);
    out.into_owned()
}

fn command(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).current_dir(dir).output().expect("the binary starts")
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path that is text")
}
