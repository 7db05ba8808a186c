//! Views `transcripts` and `evaluations`: what was said in a segment, and whether it was the greeting.

use lsie_schemas::row::{EvaluationRow, TranscriptRow};
use uuid::Uuid;

use super::Rows;
use super::encounters::{Evaluated, StimulusKey};

type Segment = (Uuid, String);

fn by_segment<'scope>(
    evaluated: Rows<'scope, (StimulusKey, Evaluated)>,
) -> Rows<'scope, (Segment, (i64, Evaluated))> {
    evaluated.map(|((session, _), judged)| {
        let order = judged.said.at.0;
        ((session, judged.said.segment_id.clone()), (order, judged))
    })
}

/// One row per segment in which something was said: the texts in order of their stimuli.
pub(crate) fn transcripts<'scope>(
    evaluated: Rows<'scope, (StimulusKey, Evaluated)>,
) -> Rows<'scope, TranscriptRow> {
    by_segment(evaluated)
        .reduce(|(session, segment), said, rows| {
            let texts: Vec<&str> = said.iter().map(|((_, judged), _)| judged.said.text.trim()).collect();
            let row = TranscriptRow {
                session_id: *session,
                segment_id: segment.clone(),
                timestamp_utc: said[0].0.1.said.window_end,
                text: texts.join(" "),
            };
            rows.push((row, 1));
        })
        .map(|(_, row)| row)
}

/// One row per segment in which something was said: the judgement of its first stimulus.
pub(crate) fn evaluations<'scope>(
    evaluated: Rows<'scope, (StimulusKey, Evaluated)>,
) -> Rows<'scope, EvaluationRow> {
    by_segment(evaluated)
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
