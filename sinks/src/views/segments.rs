//! `GET /segments`: closed segments with the reason and evidence of their closing.

use std::cmp::Reverse;

use crate::views::inputs::Inputs;
use crate::views::reading::Reading;
use crate::views::reply::{Fault, Reply};
use crate::views::route::{Input, Kind, Returns, Route, limit};
use crate::views::row::Row;

pub(crate) const ROUTES: &[Route] = &[Route::get(
    "/segments",
    "Closed segments of one session or of all, newest window first.",
    &[Input::query("session_id", Kind::Uuid, "The session."), limit(100, 1_000)],
    Returns::Rows("segments", SEGMENT),
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

fn list(at: &Reading<'_>, inputs: &Inputs) -> Result<Reply, Fault> {
    let mut rows: Vec<Row<'_>> = at.table("segments")?.rows(inputs.uuid("session_id")).collect();
    rows.sort_by_key(|row| Reverse(row.cell("window_start_utc")));
    Ok(Reply::rows(SEGMENT, rows.into_iter().take(inputs.limit())))
}
