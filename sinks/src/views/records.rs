//! `GET /operator/sessions/{session_id}/records`: what became of the records of a session, by topic and class.

use lsie_schemas::Cell;

use crate::views::inputs::Inputs;
use crate::views::reading::Reading;
use crate::views::reply::{Fault, Reply};
use crate::views::route::{Returns, Route, SESSION};

pub(crate) const ROUTES: &[Route] = &[Route::get(
    "/operator/sessions/{session_id}/records",
    "What became of the records of a session, by topic and class.",
    &[SESSION],
    Returns::Rows("record_classes", CLASS),
    list,
)];

const CLASS: &[&str] = &["session", "topic", "class", "reason", "records"];

fn list(at: &Reading<'_>, inputs: &Inputs) -> Result<Reply, Fault> {
    let session = Cell::Text(inputs.session().to_string());
    Ok(Reply::rows(CLASS, at.table("record_classes")?.starting_with(session)))
}
