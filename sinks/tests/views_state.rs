//! The served state equals a recomputation, also after a restart from Parquet, and is never seen half-way.

#![allow(clippy::disallowed_methods, reason = "a test may spawn a reader")]

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::{Directory, Served, drive};
use lsie_schemas::row::{Au12Row, OperatorRow};
use lsie_schemas::{Cell, Change, LogTime, TableRow};
use lsie_sinks::parquet::Options;
use lsie_sinks::testing::{Subject, TOTALS, catalog, total};
use lsie_sinks::views::contents;
use lsie_sinks::{Error, Sink, Views};
use proptest::collection::vec;
use proptest::prelude::*;

/// How long filling may take.
const LONG: Duration = Duration::from_secs(30);

/// Key to value, created and updated.
type Model = BTreeMap<String, (i64, u64, u64)>;

/// The changes of epochs that set or remove totals, and what must then be there.
fn epochs(sets: &[Vec<(u8, Option<i64>)>]) -> (Vec<(u64, Vec<Change>)>, Model) {
    let (mut model, mut epochs) = (Model::new(), Vec::new());
    for (at, sets) in sets.iter().enumerate() {
        let epoch = 250 * (at as u64 + 1);
        let mut changes = Vec::new();
        // One set per key and epoch: what the last one leaves.
        for (name, value) in sets.iter().copied().collect::<BTreeMap<_, _>>() {
            let name = name.to_string();
            let old = model.get(&name).copied();
            if old.map(|(old, ..)| old) == value {
                continue;
            }
            changes.extend(value.map(|value| total(epoch, &name, value, 1)));
            changes.extend(old.map(|(old, ..)| total(epoch, &name, old, -1)));
            match value {
                Some(value) => {
                    model.insert(name, (value, old.map_or(epoch, |(_, created, _)| created), epoch))
                }
                None => model.remove(&name),
            };
        }
        epochs.push((epoch, changes));
    }
    (epochs, model)
}

fn model_of(views: &Views) -> Model {
    let state = views.read();
    let position = views.catalog().position(TOTALS.name).expect("totals");
    let entries = state.table(position).expect("totals").entries();
    let line = |entry: &lsie_sinks::views::Entry| match &entry.row[..] {
        [Cell::Text(name), Cell::Int(value)] => (name.clone(), (*value, entry.created.0, entry.updated.0)),
        other => panic!("{other:?}"),
    };
    entries.map(line).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn state_equals_recomputation(
        sets in vec(vec((0..6u8, proptest::option::weighted(0.7, -2..2i64)), 0..5), 1..20),
    ) {
        let (epochs, model) = epochs(&sets);
        let mut served = Served::new();
        drive(&mut *served.open().expect("a sink"), &epochs);
        prop_assert_eq!(model_of(&served.0), model.clone());

        let mut place = Directory::new(Options { flush_epochs_ms: 1000, ..Options::default() });
        drive(&mut *place.open().expect("a sink"), &epochs);
        let restored = Views::new(catalog());
        let follower = restored.follow(&place.dir).expect("an undamaged directory");
        prop_assert!(follower.caught_up(LONG));
        prop_assert_eq!(model_of(&restored), model);
        prop_assert_eq!(restored.read().epoch(), served.0.read().epoch());
    }
}

#[test]
fn rows_that_cannot_be_are_refused_and_nothing_is_applied() {
    let cases = [
        vec![total(2, "a", 1, 1)],
        vec![total(2, "a", 2, 1)],
        vec![total(2, "a", 2, -1)],
        vec![total(2, "b", 1, -1)],
        vec![total(2, "b", 1, 2)],
        vec![total(2, "b", 1, 1), total(2, "b", 2, 1)],
        vec![total(2, "a", 1, -1), total(2, "a", 2, 1), total(2, "b", 1, -1)],
    ];
    for changes in cases {
        let mut served = Served::new();
        drive(&mut *served.open().expect("a sink"), &[(1, vec![total(1, "a", 1, 1)])]);
        let before = served.rows().expect("rows");
        let mut sink = served.0.sink();
        sink.write(LogTime(2), &changes).expect("rows of the table");
        assert!(matches!(sink.commit(LogTime(2)), Err(Error::Contract(_))), "{changes:?}");
        assert_eq!(served.rows().expect("rows"), before);
        assert_eq!(served.0.read().epoch(), Some(LogTime(1)));
    }
}

/// A writer moves one unit between two totals each epoch; readers always find the same sum.
#[test]
fn readers_see_whole_epochs() {
    let views = Views::new(catalog());
    let mut sink = views.sink();
    let row = |epoch, name: &str, value, diff| total(epoch, name, value, diff);
    sink.write(LogTime(1), &[row(1, "a", 0, 1), row(1, "b", 1000, 1)]).expect("a correct epoch");
    sink.commit(LogTime(1)).expect("a complete epoch");
    let reader = {
        let views = views.clone();
        std::thread::spawn(move || {
            loop {
                let model = model_of(&views);
                assert_eq!(model["a"].0 + model["b"].0, 1000);
                if model["b"].0 == 0 {
                    return;
                }
            }
        })
    };
    for moved in 1..=1000 {
        let epoch = moved as u64 + 1;
        let changes = [
            row(epoch, "a", moved - 1, -1),
            row(epoch, "a", moved, 1),
            row(epoch, "b", 1001 - moved, -1),
            row(epoch, "b", 1000 - moved, 1),
        ];
        sink.write(LogTime(epoch), &changes).expect("a correct epoch");
        sink.commit(LogTime(epoch)).expect("a complete epoch");
    }
    reader.join().expect("the same sum always");
}

/// Transient rows replace the one of their key, and go after a quarter of an hour; so does the series of every frame.
#[test]
fn what_fades_is_served_for_a_while() {
    let place = |epoch: u64, worker: i64, backlog| {
        let row = OperatorRow { worker, operator: "align".into(), frontier_utc: None, backlog };
        Change { table: OperatorRow::TABLE.name.into(), row: row.cells(), epoch: LogTime(epoch), diff: 1 }
    };
    let frame = |epoch: u64, seq| {
        let (session_id, intensity) = (lsie_schemas::Uuid::from_u128(1), lsie_schemas::Real(0.5));
        let row = Au12Row { session_id, seq, timestamp_utc: LogTime(epoch).as_event(), intensity };
        Change { table: Au12Row::TABLE.name.into(), row: row.cells(), epoch: LogTime(epoch), diff: 1 }
    };
    let views = Views::new(lsie_sinks::Catalog::served());
    let of = |name: &str| {
        let state = views.read();
        let at = views.catalog().position(name).expect("a served table");
        let rows = state.table(at).expect("a table").entries().map(|entry| entry.row.to_vec());
        rows.collect::<Vec<_>>()
    };
    let minute = 60_000;
    let mut sink = views.sink();
    assert!(sink.takes_transient());
    let epochs = [
        (minute, vec![place(minute, 0, 1), place(minute, 1, 2), frame(minute, 1)]),
        (2 * minute, vec![place(2 * minute, 0, 3), frame(2 * minute, 2)]),
        (16 * minute, vec![place(16 * minute, 2, 0)]),
    ];
    drive(&mut sink, &epochs[..2]);
    assert_eq!(of("operators"), [place(0, 0, 3).row, place(0, 1, 2).row]);
    assert_eq!(of("au12").len(), 2);
    // What was there before the sink fades, too.
    drop(sink);
    drive(&mut views.sink(), &epochs[2..]);
    assert_eq!(of("operators"), [place(0, 0, 3).row, place(0, 2, 0).row]);
    assert_eq!(of("au12"), [frame(2 * minute, 2).row]);
}

#[test]
fn nothing_is_served_before_all_that_was_there() {
    let views = Views::new(catalog());
    views.serve_from(LogTime(500));
    let mut sink = views.sink();
    drive(&mut sink, &[(250, vec![total(250, "a", 1, 1)])]);
    assert!(contents(&views).contains("is starting"));
    drive(&mut sink, &[(500, Vec::new())]);
    assert!(contents(&views).contains("As of"));
}

#[test]
fn a_lost_file_refuses_the_start_by_its_name() {
    let mut place = Directory::new(Options::default());
    drive(&mut *place.open().expect("a sink"), &[(250, vec![total(250, "a", 1, 1)])]);
    let tables = std::fs::read_dir(place.dir.join(TOTALS.name)).expect("its folder");
    let lost = tables.map(|file| file.expect("a file").path()).next().expect("a file");
    std::fs::remove_file(&lost).expect("a file to lose");
    let refused = Views::new(catalog()).follow(&place.dir).expect_err("a file is gone");
    assert!(matches!(&refused, Error::Io { path, .. } if *path == lost), "{refused}");
}
