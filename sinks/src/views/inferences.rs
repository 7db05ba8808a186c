//! `GET /operator/sessions/{session_id}/inferences`: the newest answers of models about a session: how far its sound has
//! been listened to.

use lsie_schemas::Cell;

use crate::views::inputs::Inputs;
use crate::views::ranked::{By, Order};
use crate::views::reading::Reading;
use crate::views::reply::{Fault, Reply};
use crate::views::route::{Returns, Route, SESSION, limit};

pub(crate) const ROUTES: &[Route] = &[Route::ranked(
    "/operator/sessions/{session_id}/inferences",
    "The newest answers of models about a session, by the end of what they were asked about.",
    &[SESSION, limit(100, 1_000)],
    Returns::Rows("inferences", INFERENCE),
    &[NEWEST],
    list,
)];

const INFERENCE: &[&str] = &[
    "session_id",
    "request_id",
    "what",
    "segment_id",
    "from_utc",
    "to_utc",
    "model",
    "reason",
    "created_at",
];

const NEWEST: Order = Order { table: "inferences", groups: &["session_id"], newest: &[By::Column("to_utc")] };

fn list(at: &Reading<'_>, inputs: &Inputs) -> Result<Reply, Fault> {
    let rows = at.newest(&NEWEST, &[("session_id", Cell::Uuid(inputs.session()))])?;
    Ok(Reply::rows(INFERENCE, rows.take(inputs.limit())))
}
