//! The PostgreSQL target on a real server: the contract, and what it refuses, keeps, fences and rebuilds.

mod common;

use std::borrow::Cow;

use common::server::Schema;
use common::{change, drive, metrics, session};
use lsie_schemas::row::MetricsRow;
use lsie_schemas::{Cell, Change, EventTime, LogTime, Table, TableRow};
use lsie_sinks::testing::{
    SAMPLES, Step, Subject, TOTALS, catalog, check_contract, check_script, consolidate, sample, total,
};
use lsie_sinks::{Catalog, Error, Sink};
use proptest::collection::vec;
use proptest::prelude::*;

/// Totals that a constraint keeps small.
const SMALL: Table = Table { constraints: &["CONSTRAINT small CHECK (total < 100)"], ..TOTALS };

fn write(sink: &mut dyn Sink, epoch: u64, changes: &[Change]) -> Result<(), Error> {
    sink.write(LogTime(epoch), changes)?;
    sink.commit(LogTime(epoch))?;
    sink.flush()
}

#[test]
fn the_contract() {
    check_contract(Schema::new);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn scripts_with_crashes(script in script()) {
        check_script(&mut Schema::new(), &script).expect("no error");
    }
}

fn script() -> impl Strategy<Value = Vec<Step>> {
    let sets = vec((0..6u8, proptest::option::weighted(0.7, -3..3i64)), 0..5);
    let step = prop_oneof![
        8 => (sets, proptest::bool::weighted(0.8)).prop_map(|(sets, commit)| Step::Epoch(sets, commit)),
        1 => Just(Step::Flush),
        1 => Just(Step::Crash),
    ];
    vec(step, 0..40)
}

/// `created_at` is the epoch at which the key came, also when it went in between; within one transaction too.
#[test]
fn ids_and_times_are_derived() {
    let at = |ms: i64| Cell::Time(EventTime(ms * 1_000));
    let steps = [
        (1, vec![total(1, "a", 1, 1), total(1, "b", 1, 1)]),
        (2, vec![total(2, "a", 1, -1), total(2, "a", 2, 1), total(2, "b", 1, -1)]),
        (3, vec![total(3, "b", 7, 1)]),
        (4, vec![]),
    ];
    for flushes in [true, false] {
        let schema = Schema::new();
        let mut sink = schema.sink().expect("a sink");
        for (epoch, changes) in &steps {
            sink.write(LogTime(*epoch), changes).expect("a correct epoch");
            sink.commit(LogTime(*epoch)).expect("a complete epoch");
            if flushes {
                sink.flush().expect("a transaction");
            }
        }
        sink.flush().expect("a transaction");
        let mut rows = schema.reader().rows(&TOTALS).expect("rows");
        rows.sort();
        let times: Vec<_> = rows.iter().map(|held| held.times.clone()).collect();
        assert_eq!(times, [[at(1), at(2)], [at(3), at(3)]], "flush after each: {flushes}");
        for held in rows {
            assert_eq!(held.id, Cell::Int(TOTALS.id_of(&held.row)));
        }
        assert_eq!(schema.committed(), Some(LogTime(4)));
    }
}

#[test]
fn what_a_constraint_forbids_is_a_clear_failure_and_nothing_is_written() {
    let schema = Schema::of(Catalog::new(&[SMALL]));
    let mut sink = schema.sink().expect("a sink");
    write(&mut sink, 1, &[total(1, "a", 1, 1)]).expect("a small total");
    let refused = write(&mut sink, 2, &[total(2, "b", 2, 1), total(2, "c", 100, 1)]);
    let Err(Error::Database(why)) = refused else { panic!("{refused:?}") };
    for part in ["23514", "small", "totals", "up to 2"] {
        assert!(why.contains(part), "{part} in {why}");
    }
    drop(sink);
    assert_eq!(schema.rows_of(&[SMALL]).expect("rows"), consolidate(&[total(1, "a", 1, 1)]));
    assert_eq!(schema.committed(), Some(LogTime(1)));
}

/// A measure of a session that nobody has heard of; the session may come in the same epoch, in any order.
#[test]
fn references_are_held_when_a_transaction_ends() {
    let schema = Schema::of(Catalog::database());
    let mut sink = schema.sink().expect("a sink");
    write(&mut sink, 1, &[change(1, &metrics(1, 1, None), 1), change(1, &session(1, 0, None), 1)])
        .expect("a session and its metrics");
    // Its end replaces the session, on which metrics build.
    write(&mut sink, 2, &[change(2, &session(1, 0, None), -1), change(2, &session(1, 0, Some(9)), 1)])
        .expect("the session's end");
    let refused = write(&mut sink, 3, &[change(3, &metrics(2, 1, None), 1)]);
    assert!(matches!(&refused, Err(Error::Database(why)) if why.contains("23503")), "{refused:?}");
}

#[test]
fn hostile_texts_are_rows() {
    let schema = Schema::new();
    let mut evil = sample(1, 1, 1, 63, 1);
    evil.row[4] = Cell::Text("'; DROP TABLE samples; --\0\u{202e}".into());
    evil.row[6] = Cell::Json(r#"{"\u0000":"\u0000"}"#.into());
    evil.row[5] = Cell::Time(EventTime(i64::MIN));
    let mut sink = schema.sink().expect("a sink");
    write(&mut sink, 1, std::slice::from_ref(&evil)).expect("a row");
    evil.row = evil.row.iter().map(lsie_sinks::postgres::stored).collect();
    assert_eq!(schema.rows_of(&[SAMPLES]).expect("rows"), consolidate(&[evil]));
}

#[test]
fn a_second_writer_waits_for_the_first() {
    let schema = Schema::new();
    let mut first = schema.sink().expect("a sink");
    let second = schema.sink();
    assert!(matches!(&second, Err(Error::Unavailable(why)) if why.contains("another engine")), "{second:?}");
    write(&mut first, 1, &[total(1, "a", 1, 1)]).expect("the first goes on");
    drop(first);
    let mut second = schema.sink().expect("the first is gone");
    assert_eq!(second.committed(), Some(LogTime(1)));
    write(&mut second, 2, &[total(2, "b", 1, 1)]).expect("the second goes on");
}

/// A lock can be lost without notice (a pooler, a promoted standby): the marker tells.
#[test]
fn a_writer_that_was_overtaken_cannot_write() {
    let schema = Schema::new();
    let mut sink = schema.sink().expect("a sink");
    write(&mut sink, 1, &[total(1, "a", 1, 1)]).expect("a row");
    schema.execute("UPDATE lsie_sink SET epoch_ms = 7");
    let refused = write(&mut sink, 8, &[total(8, "b", 1, 1)]);
    assert!(matches!(&refused, Err(Error::Database(why)) if why.contains("another engine")), "{refused:?}");
    assert_eq!(schema.rows_of(&[TOTALS]).expect("rows"), consolidate(&[total(1, "a", 1, 1)]));
}

#[test]
fn rows_that_others_have_changed_are_noticed() {
    let schema = Schema::new();
    let mut sink = schema.sink().expect("a sink");
    write(&mut sink, 1, &[total(1, "a", 1, 1)]).expect("a row");
    schema.execute("DELETE FROM totals");
    let refused = write(&mut sink, 2, &[total(2, "a", 1, -1), total(2, "a", 2, 1)]);
    assert!(
        matches!(&refused, Err(Error::Database(why)) if why.contains("someone else has changed")),
        "{refused:?}"
    );
}

#[test]
fn a_cut_connection_is_no_loss() {
    let schema = Schema::new();
    let mut sink = schema.sink().expect("a sink");
    write(&mut sink, 1, &[total(1, "a", 1, 1)]).expect("a row");
    schema.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE application_name = 'lsie' AND pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory'
           AND objid = hashtext(current_schema())::oid)",
    );
    let cut = write(&mut sink, 2, &[total(2, "b", 1, 1)]);
    assert!(matches!(cut, Err(Error::Unavailable(_))), "{cut:?}");
    drop(sink);
    let mut sink = schema.sink().expect("a new connection");
    assert_eq!(sink.committed(), Some(LogTime(1)));
    write(&mut sink, 2, &[total(2, "b", 1, 1)]).expect("the row again");
}

#[test]
fn tables_of_others_are_left_alone() {
    let schema = Schema::new();
    schema.execute("CREATE TABLE totals (mine TEXT)");
    let refused = schema.sink();
    assert!(matches!(&refused, Err(Error::Database(why)) if why.contains("totals")), "{refused:?}");
    assert_eq!(schema.value::<i64>("SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()"), 1);
}

/// Other tables than before: all are made anew, to be filled from the changelog, and the migration is kept.
#[test]
fn changed_tables_are_rebuilt() {
    let mut schema = Schema::new();
    drive(&mut *schema.open().expect("a sink"), &[(1, vec![total(1, "a", 1, 1), sample(1, 1, 1, 1, 1)])]);
    drop(schema.open().expect("the same tables"));
    assert_eq!(schema.value::<i64>("SELECT max(version) FROM lsie_migrations"), 1);
    schema.catalog = Catalog::new(&[SMALL]);
    let mut sink = schema.open().expect("other tables");
    assert_eq!(sink.committed(), None);
    let what: String = schema.value("SELECT what FROM lsie_migrations WHERE version = 2");
    assert!(what.contains("totals") && what.contains("gone: samples"), "{what}");
    sink.write(LogTime(1), &[total(1, "a", 1, 1)]).expect("the changelog again");
    sink.commit(LogTime(1)).expect("a complete epoch");
    sink.finish().expect("an orderly end");
    assert_eq!(schema.rows().expect("rows"), consolidate(&[total(1, "a", 1, 1)]));
    assert!(!schema.value::<bool>("SELECT to_regclass('samples') IS NOT NULL"));
}

/// One table is other than before: it alone is made anew and filled again, the other is not touched, also over a crash.
#[test]
fn tables_that_are_as_they_were_stay() {
    let epochs = |upto: u64| {
        (1..=upto).map(|epoch| {
            let name = format!("{}", epoch % 4);
            let mut changes =
                vec![sample(epoch, 1, epoch as i64, 63, 1), total(epoch, &name, epoch as i64, 1)];
            changes.extend((epoch > 4).then(|| total(epoch, &name, epoch as i64 - 4, -1)));
            (epoch, changes)
        })
    };
    let mut schema = Schema::new();
    drive(&mut *schema.open().expect("a sink"), &epochs(10).collect::<Vec<_>>());
    let written = "SELECT string_agg(xmin::text, ' ' ORDER BY id) FROM samples WHERE number <= 10";
    let before: String = schema.value(written);
    schema.catalog = Catalog::new(&[SMALL, SAMPLES]);
    let mut sink = schema.open().expect("another table");
    assert_eq!(sink.committed(), None);
    for (epoch, changes) in epochs(6) {
        write(&mut *sink, epoch, &changes).expect("the changelog again");
    }
    drop(sink);
    let reader = schema.reader();
    assert_eq!((reader.holds(&SMALL), reader.holds(&SAMPLES)), (Some(LogTime(6)), Some(LogTime(10))));
    let mut sink = schema.open().expect("the same tables");
    assert_eq!(sink.committed(), Some(LogTime(6)));
    for (epoch, changes) in epochs(12).skip(6) {
        write(&mut *sink, epoch, &changes).expect("the rest of the changelog");
    }
    sink.finish().expect("an orderly end");
    assert_eq!(schema.value::<String>(written), before, "rows that were there are as they were written");
    assert_eq!(schema.reader().holds(&SAMPLES), Some(LogTime(12)));
    let all: Vec<Change> = epochs(12).flat_map(|(_, changes)| changes).collect();
    assert_eq!(schema.rows().expect("rows"), consolidate(&all));
}

/// A table with references is filled again without them, for what they name may have gone since; then it has them.
#[test]
fn references_come_back_once_a_table_is_filled_again() {
    const OTHER: Table = Table { indexes: &["timestamp_utc"], ..MetricsRow::TABLE };
    let mut schema = Schema::of(Catalog::database());
    let steps = [
        (1, vec![change(1, &metrics(1, 1, None), 1), change(1, &session(1, 0, None), 1)]),
        (2, vec![change(2, &metrics(1, 1, None), -1), change(2, &session(1, 0, None), -1)]),
        (3, vec![change(3, &metrics(2, 1, None), 1), change(3, &session(2, 0, None), 1)]),
    ];
    drive(&mut *schema.open().expect("a sink"), &steps);
    let tables = schema.catalog.without(&["metrics"]);
    schema.catalog = Catalog::new(&[tables.tables(), &[OTHER]].concat());
    let references =
        "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND conrelid = 'metrics'::regclass";
    let mut sink = schema.open().expect("another table");
    for (epoch, changes) in &steps {
        assert_eq!(schema.value::<i64>(references), 0);
        write(&mut *sink, *epoch, changes).expect("the changelog again");
    }
    assert_eq!(schema.value::<i64>(references), 1);
    let refused = write(&mut *sink, 4, &[change(4, &metrics(3, 1, None), 1)]);
    assert!(matches!(&refused, Err(Error::Database(why)) if why.contains("23503")), "{refused:?}");
}

/// Rows in plenty, over several tables, in transactions of the sink's own choice.
#[test]
fn many_rows_in_few_transactions() {
    let schema = Schema::new();
    let mut sink = schema.sink().expect("a sink");
    let mut all = Vec::new();
    for epoch in 1..=50u64 {
        let rows = (0..3_000).map(|n| sample(epoch, 7, epoch as i64 * 10_000 + n, n as u32, 1));
        let mut changes: Vec<Change> = rows.collect();
        changes.extend((epoch > 1).then(|| total(epoch, "n", epoch as i64 - 1, -1)));
        changes.push(total(epoch, "n", epoch as i64, 1));
        sink.write(LogTime(epoch), &changes).expect("a correct epoch");
        sink.commit(LogTime(epoch)).expect("a complete epoch");
        all.extend(changes);
    }
    assert!(sink.committed().is_some(), "it does not gather for ever");
    sink.finish().expect("an orderly end");
    assert_eq!(schema.rows_of(catalog().tables()).expect("rows"), consolidate(&all));
}

#[test]
fn a_server_that_is_away_is_unavailable() {
    let mut schema = Schema::new();
    schema.url = "postgresql://someone:a-secret@127.0.0.1:1/nowhere".into();
    let away = schema.sink();
    let Err(Error::Unavailable(why)) = &away else { panic!("{away:?}") };
    assert!(why.contains("refused") && !why.contains("secret"), "{why}");
    assert!(!format!("{:?}", schema.database()).contains("secret"));
}

/// A change that names another table than it may.
#[test]
fn a_defect_of_the_engine_is_named() {
    let schema = Schema::new();
    let mut sink = schema.sink().expect("a sink");
    let twice = Change { table: Cow::Borrowed("totals"), ..total(1, "a", 2, 1) };
    let refused = write(&mut sink, 1, &[total(1, "a", 1, 1), twice]);
    assert!(matches!(refused, Err(Error::Contract(_))), "{refused:?}");
}
