//! The shapes of the tables against committed texts: a change of a contract shows up in review.
//!
//! `UPDATE_SNAPSHOTS=1 cargo test -p lsie-schemas --test shape` rewrites them.

#![allow(clippy::disallowed_methods, reason = "snapshots are renewed on request")]

use std::fmt::Write as _;
use std::path::Path;

use lsie_schemas::shape::{arrow_schema, create_table_sql, json_schema, reference_sql, references};
use lsie_schemas::{Column, ColumnType, Table, row};

const fn column(name: &'static str, ty: ColumnType, nullable: bool) -> Column {
    Column { name, ty, nullable, doc: " What it holds." }
}

/// One column of every type, a nullable key, a constraint and an index.
const SAMPLE: Table = Table {
    name: "sample",
    doc: " A row of\n every type.",
    columns: &[
        column("session_id", ColumnType::Uuid, false),
        column("order", ColumnType::Int, true),
        column("flag", ColumnType::Bool, true),
        column("share", ColumnType::Real, false),
        column("words", ColumnType::Text, false),
        column("at_utc", ColumnType::Time, true),
        column("data", ColumnType::Json, false),
        column("flags", ColumnType::Texts, false),
    ],
    key: &["session_id", "order"],
    constraints: &["CHECK (share BETWEEN 0 AND 1)"],
    indexes: &["session_id, at_utc"],
};

/// Compares a text with its snapshot, or writes it.
fn check(name: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(name);
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, actual).expect("the snapshot folder is writable");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(actual == expected, "{name} differs; if that is meant, run with UPDATE_SNAPSHOTS=1:\n{actual}");
}

fn arrow_text(table: &Table) -> String {
    let schema = arrow_schema(table, true);
    let mut text = format!("{}\n", table.name);
    for field in schema.fields() {
        let null = if field.is_nullable() { "?" } else { "" };
        let metadata = field.metadata().get("lsie.type").map(|ty| format!("  {ty}")).unwrap_or_default();
        let _ = writeln!(text, "  {}: {}{null}{metadata}", field.name(), field.data_type());
    }
    text
}

fn json_text(table: &Table) -> String {
    serde_json::to_string_pretty(&json_schema(table)).expect("a JSON value") + "\n"
}

#[test]
fn sample_shapes() {
    check("sample.arrow.txt", &arrow_text(&SAMPLE));
    check("sample.sql", &create_table_sql(&SAMPLE));
    check("sample.json", &json_text(&SAMPLE));
}

#[test]
fn shapes_of_all_tables() {
    check("tables.arrow.txt", &row::tables().iter().map(arrow_text).collect::<Vec<_>>().join("\n"));
    check("tables.sql", &row::tables().iter().map(create_table_sql).collect::<Vec<_>>().join("\n"));
    let references = |table| references(table).map(|(column, other)| reference_sql(table, column, other));
    check("references.sql", &row::tables().iter().flat_map(references).collect::<String>());
}

#[test]
fn changelog_columns_are_an_option() {
    let (with, without) = (arrow_schema(&SAMPLE, true), arrow_schema(&SAMPLE, false));
    assert_eq!(without.fields().len(), SAMPLE.columns.len());
    assert_eq!(with.fields().len(), SAMPLE.columns.len() + 2);
}

#[test]
fn no_column_has_the_name_of_one_that_sinks_add() {
    for table in row::tables() {
        for name in ["id", "_epoch", "_diff"] {
            assert!(table.position(name).is_none(), "{}.{name}", table.name);
        }
    }
}
