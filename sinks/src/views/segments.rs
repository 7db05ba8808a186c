//! `GET /segments`: closed segments with the reason and evidence of their closing.

use lsie_schemas::Cell;

use crate::views::inputs::Inputs;
use crate::views::ranked::{By, Order};
use crate::views::reading::Reading;
use crate::views::reply::{Fault, Reply};
use crate::views::route::{Input, Kind, Returns, Route, limit};

pub(crate) const ROUTES: &[Route] = &[Route::ranked(
    "/segments",
    "Closed segments of one session or of all, newest window first.",
    &[Input::query("session_id", Kind::Uuid, "The session."), limit(100, 1_000)],
    Returns::Rows("segments", SEGMENT),
    &[NEWEST, NEWEST_OF_SESSION],
    list,
)];

const SEGMENT: &[&str] = &[
    "id",
    "session_id",
    "ordinal",
    "segment_id",
    "window_start_utc",
    "window_end_utc",
    "closed_by",
    "closed_at",
    "evidence_stream",
    "evidence_offset",
    "evidence_event_time",
    "audio_samples",
    "audio_sha256",
    "video_frames",
    "face_frames",
    "created_at",
    "updated_at",
];

const NEWER: &[By] = &[By::Column("window_start_utc")];
const NEWEST: Order = Order { table: "segments", groups: &[], newest: NEWER };
const NEWEST_OF_SESSION: Order = Order { table: "segments", groups: &["session_id"], newest: NEWER };

fn list(at: &Reading<'_>, inputs: &Inputs) -> Result<Reply, Fault> {
    let rows = match inputs.uuid("session_id") {
        Some(session) => at.newest(&NEWEST_OF_SESSION, &[("session_id", Cell::Uuid(session))])?,
        None => at.newest(&NEWEST, &[])?,
    };
    Ok(Reply::rows(SEGMENT, rows.take(inputs.limit())))
}
