//! The Parquet target beyond the contract: what it refuses, removes, merges and detects.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Directory, changes_in, drive, eager};
use lsie_schemas::{Change, Column, ColumnType, LogTime, Table};
use lsie_sinks::parquet::{Options, Reader, Run};
use lsie_sinks::testing::{SAMPLES, Subject, TOTALS, catalog, consolidate, sample, total};
use lsie_sinks::{Catalog, Error, ParquetSink};

/// The Parquet files below a directory, sorted.
fn files(dir: &Path) -> Vec<PathBuf> {
    let folders = catalog();
    let folders = folders.tables().iter().map(|table| dir.join(table.name));
    let mut files: Vec<PathBuf> = folders
        .flat_map(|f| fs::read_dir(f).expect("a folder"))
        .map(|e| e.expect("an entry").path())
        .collect();
    files.sort();
    files
}

fn counters(epochs: std::ops::Range<u64>) -> Vec<(u64, Vec<Change>)> {
    let one = |epoch| {
        let old = (epoch > 1).then(|| total(epoch, "a", epoch as i64 - 1, -1));
        (epoch, [total(epoch, "a", epoch as i64, 1)].into_iter().chain(old).collect())
    };
    epochs.map(one).collect()
}

#[test]
fn refuses_what_is_not_ours_and_leaves_it_alone() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let open = || ParquetSink::open(temp.path(), catalog(), Options::default());
    fs::write(temp.path().join("thesis.txt"), "mine").expect("a file");
    assert!(matches!(open(), Err(Error::Refused { .. })));
    fs::remove_file(temp.path().join("thesis.txt")).expect("a file");
    fs::write(temp.path().join("manifest.json"), "{\"name\": \"a browser extension\"}").expect("a file");
    assert!(matches!(open(), Err(Error::Refused { .. })));
    let names: Vec<_> =
        fs::read_dir(temp.path()).expect("a folder").map(|e| e.expect("an entry").file_name()).collect();
    assert_eq!(names, ["manifest.json"]);
    fs::write(temp.path().join("manifest.json"), "{ torn").expect("a file");
    assert!(matches!(open(), Err(Error::Damaged { .. })));
    fs::write(temp.path().join("manifest.json"), r#"{"format":"lsie-changelog","version":2}"#)
        .expect("a file");
    assert!(matches!(open(), Err(Error::Refused { .. })));
}

#[test]
fn takes_a_first_start_that_was_cut_short() {
    let mut place = Directory::new(eager());
    fs::create_dir_all(place.dir.join("totals")).expect("a folder");
    fs::write(place.dir.join(".lock"), "").expect("a file");
    fs::write(place.dir.join("manifest.tmp"), "{ torn").expect("a file");
    drive(&mut *place.open().expect("a sink"), &counters(1..4));
}

#[test]
fn one_writer_at_a_time() {
    let mut place = Directory::new(eager());
    let first = place.open().expect("a sink");
    assert!(matches!(place.open(), Err(Error::Refused { .. })));
    drop(first);
    place.open().expect("a sink");
}

#[test]
fn refuses_tables_with_other_columns() {
    const WIDER: &[Column] =
        &[TOTALS.columns[0], Column { name: "total", ty: ColumnType::Int, nullable: true, doc: "" }];
    let wider = Table { columns: WIDER, ..TOTALS };
    let mut place = Directory::new(eager());
    drive(&mut *place.open().expect("a sink"), &counters(1..4));
    let other = ParquetSink::open(&place.dir, Catalog::new(&[wider, SAMPLES]), eager());
    assert!(matches!(other, Err(Error::Refused { .. })));
    assert!(matches!(Reader::open(&place.dir).expect("a reader").has(&wider), Err(Error::Refused { .. })));
}

#[test]
fn adds_tables_that_are_new() {
    let place = Directory::new(eager());
    let mut few = ParquetSink::open(&place.dir, Catalog::new(&[TOTALS]), eager()).expect("a sink");
    drive(&mut few, &counters(1..4));
    drop(few);
    let mut all = ParquetSink::open(&place.dir, catalog(), eager()).expect("a sink");
    drive(&mut all, &[(9, vec![sample(9, 1, 1, 63, 1)])]);
    let reader = Reader::open(&place.dir).expect("a reader");
    assert_eq!(reader.changes(&SAMPLES).count(), 1);
    assert_eq!(reader.unknown(&Catalog::new(&[TOTALS])), ["samples"]);
}

#[test]
fn empty_tables_are_named() {
    let mut place = Directory::new(eager());
    drop(place.open().expect("a sink"));
    let reader = Reader::open(&place.dir).expect("a reader");
    for table in catalog().tables() {
        assert!(reader.has(table).expect("the table's columns"), "{}", table.name);
        assert_eq!(reader.changes(table).count(), 0);
    }
    assert_eq!(reader.committed(), None);
}

#[test]
fn keeps_few_files_and_the_whole_history() {
    let mut place = Directory::new(Options { max_files: 4, ..eager() });
    let epochs = counters(1..200);
    let mut sink = place.open().expect("a sink");
    for epoch in &epochs {
        sink.write(LogTime(epoch.0), &epoch.1).expect("a correct epoch");
        sink.commit(LogTime(epoch.0)).expect("a complete epoch");
        // The files of the manifest, and those that the last merge replaced.
        assert!(files(&place.dir).len() <= 4 + 5, "{:?}", files(&place.dir));
    }
    sink.finish().expect("an orderly end");
    assert!(files(&place.dir).len() <= 4, "{:?}", files(&place.dir));
    let (mut found, mut expected) =
        (changes_in(&place.dir, &catalog()), epochs.iter().flat_map(|e| e.1.clone()).collect::<Vec<_>>());
    assert!(found.is_sorted_by_key(|change| change.epoch));
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn files_that_no_manifest_names_are_removed() {
    let mut place = Directory::new(eager());
    drive(&mut *place.open().expect("a sink"), &counters(1..3));
    let before = files(&place.dir);
    let stray = before[0].with_file_name("00009999.parquet");
    fs::copy(&before[0], &stray).expect("a copy");
    fs::write(stray.with_extension("tmp"), "torn").expect("a file");
    fs::write(stray.with_extension("txt"), "a note").expect("a file");
    assert_eq!(changes_in(&place.dir, &catalog()).len(), 3);
    place.open().expect("a sink");
    let after = files(&place.dir);
    assert_eq!(after.len(), before.len() + 1, "only what could be ours is removed: {after:?}");
    assert!(!stray.exists());
}

/// A crash at any moment of a flush: the new files are there, the manifest is still the old one.
#[test]
fn a_flush_without_its_manifest_did_not_happen() {
    let mut place = Directory::new(eager());
    let epochs = counters(1..40);
    for cut in [3, 4, 5, 9, 17] {
        let mut sink = place.open().expect("a sink");
        for (epoch, changes) in epochs.iter().take(cut) {
            sink.write(LogTime(*epoch), changes).expect("a correct epoch");
            sink.commit(LogTime(*epoch)).expect("a complete epoch");
        }
        let old = fs::read(place.dir.join("manifest.json")).expect("a manifest");
        let (epoch, changes) = &epochs[cut];
        sink.write(LogTime(*epoch), changes).expect("a correct epoch");
        sink.commit(LogTime(*epoch)).expect("a complete epoch");
        drop(sink);
        fs::write(place.dir.join("manifest.json"), old).expect("a manifest");
        let mut sink = place.open().expect("a sink");
        assert_eq!(sink.committed(), Some(LogTime(cut as u64)));
        assert_eq!(place.rows().expect("rows"), consolidate(epochs.iter().take(cut).flat_map(|e| &e.1)));
        sink.flush().expect("nothing to flush");
    }
}

#[test]
fn damage_is_named() {
    let mut place = Directory::new(Options::default());
    drive(&mut *place.open().expect("a sink"), &counters(1..50));
    let file = files(&place.dir).pop().expect("a file");
    let whole = fs::read(&file).expect("the file");
    let read = || -> Result<usize, Error> {
        Reader::open(&place.dir)?.changes(&TOTALS).try_fold(0, |n, change| change.map(|_| n + 1))
    };
    assert_eq!(read().expect("whole"), 97);
    fs::write(&file, &whole[..whole.len() / 2]).expect("a file");
    assert!(matches!(read(), Err(Error::Damaged { path, .. }) if path == file));
    fs::remove_file(&file).expect("a file");
    assert!(matches!(read(), Err(Error::Io { path, .. }) if path == file));
    // Another file of the same table in its place.
    let mut other = Directory::new(Options::default());
    drive(&mut *other.open().expect("a sink"), &counters(1..30));
    fs::copy(files(&other.dir).pop().expect("a file"), &file).expect("a copy");
    assert!(matches!(read(), Err(Error::Damaged { path, .. }) if path == file));
}

#[test]
fn flushes_by_rows_by_bytes_and_by_log_time() {
    let never = Options {
        flush_rows: usize::MAX,
        flush_bytes: usize::MAX,
        flush_epochs_ms: u64::MAX,
        ..Options::default()
    };
    let check = |options: Options, epochs: &[u64], durable: u64| {
        let mut place = Directory::new(options);
        let mut sink = place.open().expect("a sink");
        for &epoch in epochs {
            sink.write(LogTime(epoch), &[total(epoch, &format!("{epoch}"), 1, 1)]).expect("a correct epoch");
            sink.commit(LogTime(epoch)).expect("a complete epoch");
        }
        assert_eq!(sink.committed(), Some(LogTime(durable)));
    };
    // The first commit always reaches the disk: there is no durable epoch to count log time from.
    check(never.clone(), &[1, 2, 3, 1_000_000], 1);
    check(Options { flush_rows: 2, ..never.clone() }, &[1, 2, 3, 4], 3);
    check(Options { flush_bytes: 1, ..never.clone() }, &[1, 2, 3, 4], 4);
    check(Options { flush_epochs_ms: 100, ..never }, &[1, 50, 101, 150, 200], 101);
}

#[test]
fn the_manifest_says_who_wrote() {
    let run = Run { engine: "lsie 0.1.0".into(), config: "00ff".into() };
    let mut place = Directory::new(Options { run: run.clone(), ..Options::default() });
    drop(place.open().expect("a sink"));
    assert_eq!(Reader::open(&place.dir).expect("a reader").run(), &run);
}
