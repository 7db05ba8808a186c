//! View `evaluations`: whether what was said in a segment was the greeting.

use lsie_schemas::row::EvaluationRow;

use super::Rows;
use super::encounters::{Evaluated, StimulusKey};
use super::handle::Handle;

/// One row per segment in which something was said: the judgement of its first stimulus.
pub(crate) fn evaluations<'scope>(
    evaluated: Rows<'scope, (StimulusKey, Evaluated)>,
) -> Rows<'scope, EvaluationRow> {
    let by_segment = evaluated.map(|((session, action), judged)| {
        let order = (judged.said.at, action);
        ((session, judged.said.segment_id.clone()), (order, Handle::from(judged)))
    });
    by_segment
        .reduce(|(session, segment), said, rows| {
            let (_, first) = said[0].0;
            let row = EvaluationRow {
                session_id: *session,
                segment_id: segment.clone(),
                timestamp_utc: first.said.window_end,
                reasoning: Some(first.reason.clone()),
                is_match: Some(first.is_match),
                confidence: Some(first.confidence),
                semantic_method: Some(first.method.clone()),
                semantic_method_version: Some(first.version.clone()),
            };
            rows.push((row, 1));
        })
        .map(|(_, row)| row)
}
