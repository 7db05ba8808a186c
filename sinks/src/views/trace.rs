//! `GET /operator/sessions/{session_id}/au12`: the smile of a session frame by frame, for a chart that goes on from
//! what it has.

use lsie_schemas::row::Au12Row;
use lsie_schemas::{LogTime, TableRow};
use schemars::JsonSchema;
use serde::Serialize;

use crate::views::inputs::Inputs;
use crate::views::reading::Reading;
use crate::views::record::schema;
use crate::views::reply::{Fault, Reply};
use crate::views::route::{Input, Kind, Returns, Route};

pub(crate) const ROUTES: &[Route] = &[Route::get(
    "/operator/sessions/{session_id}/au12",
    "The smile of a session frame by frame, by columns, in order of sequence number; as far back as it is served.",
    &[
        Input::path("session_id", Kind::Uuid, "The session."),
        Input::query("after", Kind::Epoch, "Only frames that came after this epoch."),
    ],
    Returns::One(schema::<Trace>),
    series,
)];

/// The smile of a session, by columns.
#[derive(Default, Serialize, JsonSchema)]
struct Trace {
    session_id: String,
    /// Sequence numbers of the frames' access units.
    seq: Vec<i64>,
    /// Corrected capture times, ms since the Unix epoch.
    time_ms: Vec<f64>,
    /// Bounded intensity, 0 to 1.
    intensity: Vec<f64>,
}

fn series(at: &Reading<'_>, inputs: &Inputs) -> Result<Reply, Fault> {
    let (session, after) = (inputs.session(), inputs.epoch("after"));
    let mut trace = Trace { session_id: session.to_string(), ..Trace::default() };
    for row in at.table(Au12Row::TABLE.name)?.rows(Some(session)) {
        let is_new = after.is_none_or(|after: LogTime| row.entry.updated > after);
        if let Some(frame) = Au12Row::from_cells(&row.entry.row).filter(|_| is_new) {
            trace.seq.push(frame.seq);
            trace.time_ms.push(frame.timestamp_utc.0 as f64 / 1e3);
            trace.intensity.push(frame.intensity.0);
        }
    }
    Ok(Reply::record(trace))
}
