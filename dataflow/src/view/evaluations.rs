//! View `evaluations`: whether what was said in a segment was the greeting.

use lsie_schemas::row::EvaluationRow;

use super::Rows;
use super::encounters::{Evaluated, StimulusKey};
use super::handle::Handle;
use super::reduce_total::reduce_total;
use crate::checkpoint::Keep;

/// One row per segment in which something was said: the judgement of its first stimulus.
pub(crate) fn evaluations<'scope>(
    evaluated: Rows<'scope, (StimulusKey, Handle<Evaluated>)>,
    keep: &Keep,
) -> Rows<'scope, EvaluationRow> {
    let by_segment = evaluated.map(|((session, action), judged)| {
        let order = (judged.said.at, action);
        ((session, judged.said.segment_id.clone()), (order, judged))
    });
    reduce_total(
        by_segment,
        keep.station("evaluations"),
        |(session, _)| *session,
        |(session, segment), said, rows| {
            if let Some(((_, first), _)) = said.first() {
                rows.push(EvaluationRow {
                    session_id: *session,
                    segment_id: segment.clone(),
                    timestamp_utc: first.said.window_end,
                    reasoning: Some(first.reason.clone()),
                    is_match: Some(first.is_match),
                    confidence: Some(first.confidence),
                    semantic_method: Some(first.method.clone()),
                    semantic_method_version: Some(first.version.clone()),
                });
            }
        },
    )
}
