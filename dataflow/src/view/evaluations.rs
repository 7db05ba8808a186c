//! View `evaluations`: whether what was said in a segment was the greeting.

use lsie_schemas::row::EvaluationRow;

use super::Rows;
use super::encounters::{Evaluated, StimulusKey};
use super::handle::Handle;
use super::reduce_total::reduce_total;
use crate::adapter::Time;

/// One row per segment in which something was said: the judgement of its first stimulus. What they were up to the epoch at which
/// a run resumed is known.
pub(crate) fn evaluations<'scope>(
    evaluated: Rows<'scope, (StimulusKey, Handle<Evaluated>)>,
    resumed: Time,
) -> Rows<'scope, EvaluationRow> {
    let by_segment = evaluated.map(|((session, action), judged)| {
        let order = (judged.said.at, action);
        ((session, judged.said.segment_id.clone()), (order, judged))
    });
    reduce_total(
        by_segment,
        "evaluations",
        resumed,
        |(session, _)| session.as_u64_pair().0,
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
