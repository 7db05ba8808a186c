//! The shapes that follow from a [`Table`]: Arrow schema, SQL DDL and JSON Schema.
//!
//! Identifiers are carried as text in Arrow (canonical lowercase UUIDs), not as 16 raw bytes: every reader
//! of a Parquet file can then filter and join on them without a conversion. The type a column has here is
//! kept beside it as field metadata under [`TYPE_KEY`], so nothing is lost.

#[allow(clippy::disallowed_types, reason = "Arrow's field metadata is one; it has one entry here")]
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use serde_json::{Map, Value, json};

use crate::table::{Column, ColumnType, Table};

/// The changelog column with the epoch's log time in milliseconds.
pub const EPOCH_COLUMN: &str = "_epoch";
/// The changelog column with the number of copies that came or went.
pub const DIFF_COLUMN: &str = "_diff";
/// The key of the Arrow field metadata that names a column's [`ColumnType`].
pub const TYPE_KEY: &str = "lsie.type";

/// The columns that sinks derive (DESIGN §5) and that a table may also declare itself.
const DERIVED_TIMES: [(&str, &str); 2] = [
    ("created_at", "Log time of the epoch at which the row's key was inserted."),
    ("updated_at", "Log time of the epoch of the row's last change."),
];

/// The Arrow schema of a table; with `with_changelog`, the columns `_epoch` (ms) and `_diff` come last.
pub fn arrow_schema(table: &Table, with_changelog: bool) -> Schema {
    let mut fields: Vec<Field> = table.columns.iter().map(arrow_field).collect();
    if with_changelog {
        fields.push(Field::new(EPOCH_COLUMN, DataType::Int64, false));
        fields.push(Field::new(DIFF_COLUMN, DataType::Int64, false));
    }
    let metadata = [
        ("lsie.table", table.name.to_owned()),
        ("lsie.key", table.key.join(",")),
        ("lsie.doc", text(table.doc)),
    ];
    Schema::new_with_metadata(fields, metadata.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())
}

/// The item field of a list of texts.
pub fn arrow_text_item() -> Field {
    Field::new("element", DataType::Utf8, false)
}

/// Columns that name a row of another table by its key of the same name, wherever they are never null.
const REFERENCES: [(&str, &str); 3] =
    [("session_id", "sessions"), ("event_id", "attribution_event"), ("outcome_id", "outcome_event")];

/// The columns of a table that name rows of another table, with that table's name.
pub fn references(table: &Table) -> impl Iterator<Item = (&'static str, &'static str)> + '_ {
    let named = |(column, other): &(&'static str, &'static str)| {
        table.name != *other && table.columns.iter().any(|c| c.name == *column && !c.nullable)
    };
    REFERENCES.into_iter().filter(named)
}

/// The statement that holds a reference of a table to another one, checked when a transaction ends.
pub fn reference_sql(table: &Table, column: &str, other: &str) -> String {
    format!(
        "ALTER TABLE \"{}\" ADD FOREIGN KEY (\"{column}\") REFERENCES \"{other}\" (\"{column}\") \
         DEFERRABLE INITIALLY DEFERRED;\n",
        table.name
    )
}

/// The statements that create a table in Postgres 15: the table, then its indexes. A UUID that is the whole
/// natural key is the primary key, otherwise `id` is.
pub fn create_table_sql(table: &Table) -> String {
    let is_uuid = |key: &str| table.columns.iter().any(|c| c.name == key && c.ty == ColumnType::Uuid);
    let uuid_key = matches!(table.key, [key] if is_uuid(key));
    let mut lines = vec![match uuid_key {
        true => "\"id\" BIGINT NOT NULL UNIQUE".to_owned(),
        false => "\"id\" BIGINT PRIMARY KEY".to_owned(),
    }];
    for column in table.columns {
        let null = if column.nullable { "" } else { " NOT NULL" };
        lines.push(format!("\"{}\" {}{null}", column.name, sql_type(column.ty)));
    }
    for (name, _) in derived_times(table) {
        lines.push(format!("\"{name}\" TIMESTAMPTZ NOT NULL"));
    }
    let nullable_key = table.columns.iter().any(|c| c.nullable && table.key.contains(&c.name));
    let nulls = if nullable_key { "NULLS NOT DISTINCT " } else { "" };
    let unique = if uuid_key { "PRIMARY KEY ".to_owned() } else { format!("UNIQUE {nulls}") };
    lines.push(format!("{unique}({})", quoted(table.key.iter().copied())));
    lines.extend(table.constraints.iter().map(|&c| c.to_owned()));

    let mut sql =
        format!("CREATE TABLE IF NOT EXISTS \"{}\" (\n    {}\n);\n", table.name, lines.join(",\n    "));
    for index in table.indexes {
        let columns: Vec<&str> = index.split(',').map(str::trim).collect();
        let name = format!("{}_{}_idx", table.name, columns.join("_"));
        // Writing into a `String` cannot fail.
        let _ = writeln!(
            sql,
            "CREATE INDEX IF NOT EXISTS \"{name}\" ON \"{}\" ({});",
            table.name,
            quoted(columns.iter().copied())
        );
    }
    sql
}

/// The JSON Schema (draft 2020-12) of a row as the API shows it: every column, `id` and the derived times.
pub fn json_schema(table: &Table) -> Value {
    let mut properties = Map::new();
    properties.insert(
        "id".into(),
        json!({"type": "integer", "minimum": 0, "description": "63 bits of the hash of the natural key."}),
    );
    for column in table.columns {
        properties.insert(column.name.into(), json_property(column));
    }
    for (name, doc) in derived_times(table) {
        properties.insert(name.into(), json!({"type": "string", "format": "date-time", "description": doc}));
    }
    let required: Vec<&String> = properties.keys().collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": format!("urn:lsie:table:{}", table.name),
        "title": table.name,
        "description": text(table.doc),
        "type": "object",
        "required": required,
        "properties": properties,
        "additionalProperties": false,
    })
}

/// The derived times that a table does not declare itself.
pub fn derived_times(table: &Table) -> impl Iterator<Item = (&'static str, &'static str)> + '_ {
    DERIVED_TIMES.into_iter().filter(|(name, _)| table.position(name).is_none())
}

/// The name of a column type, as metadata and the API show it.
pub fn type_name(ty: ColumnType) -> &'static str {
    match ty {
        ColumnType::Bool => "bool",
        ColumnType::Int => "int",
        ColumnType::Real => "real",
        ColumnType::Text => "text",
        ColumnType::Uuid => "uuid",
        ColumnType::Time => "time",
        ColumnType::Json => "json",
        ColumnType::Texts => "texts",
    }
}

/// A doc comment as one trimmed text.
pub fn text(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn arrow_field(column: &Column) -> Field {
    let ty = match column.ty {
        ColumnType::Bool => DataType::Boolean,
        ColumnType::Int => DataType::Int64,
        ColumnType::Real => DataType::Float64,
        ColumnType::Text | ColumnType::Uuid | ColumnType::Json => DataType::Utf8,
        ColumnType::Time => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        ColumnType::Texts => DataType::List(Arc::new(arrow_text_item())),
    };
    #[allow(clippy::disallowed_types, reason = "Arrow's field metadata is one; it has one entry here")]
    let metadata = HashMap::from([(TYPE_KEY.to_owned(), type_name(column.ty).to_owned())]);
    Field::new(column.name, ty, column.nullable).with_metadata(metadata)
}

fn sql_type(ty: ColumnType) -> &'static str {
    match ty {
        ColumnType::Bool => "BOOLEAN",
        ColumnType::Int => "BIGINT",
        ColumnType::Real => "DOUBLE PRECISION",
        ColumnType::Text => "TEXT",
        ColumnType::Uuid => "UUID",
        ColumnType::Time => "TIMESTAMPTZ",
        ColumnType::Json => "JSONB",
        ColumnType::Texts => "TEXT[]",
    }
}

fn quoted<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
}

fn json_property(column: &Column) -> Value {
    let (ty, detail) = match column.ty {
        ColumnType::Bool => ("boolean", None),
        ColumnType::Int => ("integer", None),
        ColumnType::Real => ("number", None),
        ColumnType::Text => ("string", None),
        ColumnType::Uuid => ("string", Some(("format", json!("uuid")))),
        ColumnType::Time => ("string", Some(("format", json!("date-time")))),
        // Any document; null too, so it needs no type.
        ColumnType::Json => ("", None),
        ColumnType::Texts => ("array", Some(("items", json!({"type": "string"})))),
    };
    let mut property = Map::new();
    if !ty.is_empty() {
        let ty = if column.nullable { json!([ty, "null"]) } else { json!(ty) };
        property.insert("type".into(), ty);
    }
    if let Some((key, value)) = detail {
        property.insert(key.into(), value);
    }
    property.insert("description".into(), text(column.doc).into());
    Value::Object(property)
}
