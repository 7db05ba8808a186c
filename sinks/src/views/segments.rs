//! `GET /segments`: closed segments with the reason and evidence of their closing.

use std::cmp::Reverse;

use axum::extract::State;
use axum::response::Response;

use crate::views::params::{Params, RawQuery};
use crate::views::reply::answer;
use crate::views::router::App;
use crate::views::row::Row;
use crate::views::table::View;

/// Segments of one session or of all, newest window first.
pub(crate) async fn list(State(app): State<App>, query: RawQuery) -> Response {
    answer(&app.views, |state| {
        let mut params = Params::new(query);
        let session = params.uuid("session_id");
        let limit = params.limit(100, 1_000);
        params.finish()?;
        let mut rows: Vec<Row<'_>> = View::of(&app.views, state, "segments")?.rows(session).collect();
        rows.sort_by_key(|row| Reverse(row.cell("window_start_utc")));
        Ok(rows.iter().take(limit).map(Row::object).collect())
    })
}
