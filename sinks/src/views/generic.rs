//! `GET /views` and `GET /views/{view}`: every table, as it is described.

use lsie_schemas::{Column, Table, shape};
use serde_json::{Value, json};

use crate::views::inputs::Inputs;
use crate::views::reading::Reading;
use crate::views::reply::{Fault, Problem, Reply};
use crate::views::route::{Input, Kind, Returns, Route, limit};
use crate::views::rows::{Rows, Shown};

pub(crate) const ROUTES: &[Route] = &[
    Route::get(
        "/views",
        "Every view with its columns and its number of rows, sorted by name.",
        &[],
        Returns::Many(described),
        list,
    ),
    Route::get(
        "/views/{view}",
        "Rows of a view in key order.",
        &[
            Input::path("view", Kind::Word, "The view."),
            Input::query("session_id", Kind::Uuid, "Only rows of this session."),
            limit(100, 10_000),
        ],
        Returns::AnyRows,
        rows,
    ),
];

fn list(at: &Reading<'_>, _: &Inputs) -> Result<Reply, Fault> {
    let views = at.tables().iter().map(|table| {
        Ok(json!({
            "view": table.name,
            "doc": shape::text(table.doc),
            "key": table.key,
            "columns": table.columns.iter().map(column).collect::<Value>(),
            "rows": at.table(table.name)?.len(),
        }))
    });
    views.collect::<Result<Value, Fault>>().map(Reply::Document)
}

fn rows(at: &Reading<'_>, inputs: &Inputs) -> Result<Reply, Fault> {
    let session = inputs.uuid("session_id");
    let view = at.table(inputs.word("view"))?;
    if session.is_some() {
        has_session(view.table)?;
    }
    let rows = view.rows(session).take(inputs.limit());
    Ok(Reply::Rows(Rows::new(Shown::all(view.table).columns(), rows)))
}

/// Refuses a filter by session where there is no such column.
pub(crate) fn has_session(table: &Table) -> Result<(), Fault> {
    match table.position("session_id") {
        Some(_) => Ok(()),
        None => Err(Fault::Invalid(vec![Problem {
            location: ["query".into(), "session_id".into()],
            message: format!("view {} has no column session_id", table.name),
            kind: "unknown",
        }])),
    }
}

fn column(column: &Column) -> Value {
    json!({
        "name": column.name,
        "type": shape::type_name(column.ty),
        "nullable": column.nullable,
        "doc": shape::text(column.doc),
    })
}

/// The schema of a line of the list.
fn described() -> Value {
    let text = json!({"type": "string"});
    let column = json!({
        "type": "object",
        "required": ["name", "type", "nullable", "doc"],
        "properties": {"name": text, "type": text, "nullable": {"type": "boolean"}, "doc": text},
    });
    json!({
        "type": "object",
        "required": ["view", "doc", "key", "columns", "rows"],
        "properties": {
            "view": text,
            "doc": text,
            "key": {"type": "array", "items": text},
            "columns": {"type": "array", "items": column},
            "rows": {"type": "integer", "minimum": 0},
        },
    })
}
