//! `GET /views` and `GET /views/{view}`: every table, as it is described.

use axum::extract::State;
use axum::response::Response;
use lsie_schemas::{Column, shape};
use serde_json::{Value, json};

use crate::views::params::{Params, RawPath, RawQuery};
use crate::views::reply::{Fault, Problem, answer};
use crate::views::router::App;
use crate::views::row::Row;
use crate::views::table::View;

/// The views with their columns and number of rows, sorted by name.
pub(crate) async fn list(State(app): State<App>, query: RawQuery) -> Response {
    answer(&app.views, |state| {
        Params::new(query).finish()?;
        let tables = app.views.catalog().tables().iter();
        let views = tables.map(|table| {
            Ok(json!({
                "view": table.name,
                "doc": shape::text(table.doc),
                "key": table.key,
                "columns": table.columns.iter().map(column).collect::<Value>(),
                "rows": View::of(&app.views, state, table.name)?.len(),
            }))
        });
        views.collect()
    })
}

/// Rows of a view in key order.
pub(crate) async fn rows(State(app): State<App>, path: RawPath, query: RawQuery) -> Response {
    answer(&app.views, |state| {
        let mut params = Params::new(query);
        let view = params.path("view", path);
        let session = params.uuid("session_id");
        let limit = params.limit(100, 10_000);
        params.finish()?;
        let view = View::of(&app.views, state, &view)?;
        if session.is_some() {
            has_session(view.table)?;
        }
        Ok(view.rows(session).take(limit).map(|row: Row<'_>| row.object()).collect())
    })
}

/// Refuses a filter by session where there is no such column.
pub(crate) fn has_session(table: &lsie_schemas::Table) -> Result<(), Fault> {
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
