//! An audit finds nothing where nothing is wrong, and every kind of difference.

mod common;

use std::time::Duration;

use common::server::Schema;
use common::{Directory, eager};
use lsie_schemas::{Cell, Change, LogTime};
use lsie_sinks::audit::{Audit, audit};
use lsie_sinks::testing::{Subject, catalog, sample, total};
use lsie_sinks::verify::summarize;
use lsie_sinks::{Error, Sink};

/// Epochs in which rows come, change and go.
fn epochs() -> Vec<(u64, Vec<Change>)> {
    let mut hostile = sample(2, 1, 2, 63, 1);
    hostile.row[4] = Cell::Text("a\0b".into());
    hostile.row[6] = Cell::Json(r#"{"a":1e16,"b":-0.0,"c":[0.1]}"#.into());
    vec![
        (1, vec![total(1, "a", 1, 1), total(1, "b", 2, 1), sample(1, 1, 1, 63, 1)]),
        (2, vec![total(2, "a", 1, -1), total(2, "a", 5, 1), hostile]),
        (3, vec![total(3, "b", 2, -1)]),
        (4, vec![total(4, "b", 2, 1)]),
        (9, vec![total(9, "c", 9, 1)]),
    ]
}

fn write(sink: &mut dyn Sink, epochs: &[(u64, Vec<Change>)]) {
    for (epoch, changes) in epochs {
        sink.write(LogTime(*epoch), changes).expect("a correct epoch");
        sink.commit(LogTime(*epoch)).expect("a complete epoch");
    }
    sink.finish().expect("an orderly end");
}

fn of(directory: &Directory, schema: &Schema) -> Result<Audit, Error> {
    audit(&directory.dir, &schema.database(), &catalog(), Duration::ZERO)
}

#[test]
fn equal_sides_are_clean_also_where_the_database_is_behind() {
    let (mut directory, mut schema) = (Directory::new(eager()), Schema::new());
    write(&mut *directory.open().expect("a directory"), &epochs());
    drop(schema.open().expect("tables"));
    let empty = of(&directory, &schema).expect("an audit");
    assert!(empty.is_clean() && empty.frontier.is_none());
    for cut in [2, 4, 5] {
        write(&mut *schema.open().expect("a database"), &epochs()[..cut]);
        let found = of(&directory, &schema).expect("an audit");
        assert!(found.is_clean(), "{found}");
        assert_eq!(found.frontier, Some(LogTime(epochs()[cut - 1].0)));
    }
    // The hash is that of `lsie verify`, but for texts that a database cannot hold as they are.
    let found = of(&directory, &schema).expect("an audit");
    let verified = summarize(&directory.dir, &catalog()).expect("hashes");
    assert_eq!((found.tables[1].table, found.tables[1].database.1), ("totals", verified.tables[1].state));
    assert_ne!(found.tables[0].database.1, verified.tables[0].state);
}

#[test]
fn every_kind_of_difference_is_told() {
    let (mut directory, mut schema) = (Directory::new(eager()), Schema::new());
    write(&mut *directory.open().expect("a directory"), &epochs());
    write(&mut *schema.open().expect("a database"), &epochs());
    for (damage, told) in [
        ("UPDATE totals SET total = 6 WHERE name = 'a'", "name=\"a\": column total: 5 against 6"),
        ("DELETE FROM totals WHERE name = 'a'", "name=\"a\": only in the changelog"),
        ("UPDATE totals SET name = 'x' WHERE name = 'b'", "name=\"x\": only in the database"),
        ("UPDATE totals SET updated_at = now() WHERE name = 'c'", "name=\"c\": id and times"),
        ("UPDATE totals SET id = 7 WHERE name = 'c'", "against 7 "),
        ("UPDATE samples SET data = '[]' WHERE number = 1", "column data"),
    ] {
        schema.execute(damage);
        let found = of(&directory, &schema).expect("an audit");
        let text = found.to_string();
        assert!(!found.is_clean() && text.contains(told), "{damage}: {told} in {text}");
    }
}

#[test]
fn a_database_ahead_of_the_changelog_is_no_audit() {
    let (mut directory, mut schema) = (Directory::new(eager()), Schema::new());
    write(&mut *directory.open().expect("a directory"), &epochs()[..3]);
    write(&mut *schema.open().expect("a database"), &epochs());
    let refused = of(&directory, &schema);
    assert!(matches!(&refused, Err(Error::Unavailable(why)) if why.contains("epoch 3")), "{refused:?}");
}
