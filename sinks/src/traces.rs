//! Traces of segments in OpenTelemetry's terms: how long capture, closing, inference and the sinks took for each.
//!
//! A trace is made of rows when every other sink has committed them, so it can reach no result; and it is no result itself, so
//! it is handed out once and kept nowhere. Identities are made of the segment's, so a segment has one trace for ever.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use lsie_schemas::row::{InferenceRow, SegmentRow};
use lsie_schemas::{Change, EventTime, LogTime, TableRow};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{Error, Sink};

/// Closed segments whose answers may still come.
const MOST_OPEN: usize = 4_096;

/// Hands a request of the OTLP (`ExportTraceServiceRequest` as JSON) to whoever sends it.
pub type Export = Box<dyn FnMut(Value) + Send>;

/// Makes spans of the rows of segments and of what models answered about them.
pub struct Traces {
    export: Export,
    committed: Option<LogTime>,
    /// When each of the newest segments closed.
    closed: BTreeMap<String, LogTime>,
    open: Vec<Span>,
}

/// A stretch of a segment's way. The end of one that is null is when it is committed.
struct Span {
    segment: String,
    name: &'static str,
    /// The root of the trace has none.
    parent: Option<&'static str>,
    from: EventTime,
    to: Option<EventTime>,
    attributes: Vec<(&'static str, Value)>,
}

impl Traces {
    /// Of epochs after `committed`, to `export`.
    pub fn after(committed: Option<LogTime>, export: Export) -> Traces {
        Traces { export, committed, closed: BTreeMap::new(), open: Vec::new() }
    }

    fn segment(&mut self, epoch: LogTime, row: SegmentRow) {
        let span = |name, parent, from, to, attributes| Span {
            segment: row.segment_id.clone(),
            name,
            parent,
            from,
            to,
            attributes,
        };
        let (from, to, closed) = (row.window_start_utc, row.window_end_utc, epoch.as_event());
        let what = vec![
            ("lsie.session_id", text(row.session_id)),
            ("lsie.segment.ordinal", number(row.ordinal)),
            ("lsie.segment.closed_by", text(&row.closed_by)),
        ];
        let seen = vec![
            ("lsie.audio_samples", number(row.audio_samples)),
            ("lsie.video_frames", number(row.video_frames)),
            ("lsie.face_frames", number(row.face_frames)),
        ];
        self.open.push(span("segment", None, from, None, what));
        self.open.push(span("capture", Some("segment"), from, Some(to), seen));
        self.open.push(span("close", Some("segment"), to.min(closed), Some(closed), Vec::new()));
        self.open.push(span("sink", Some("segment"), closed, None, Vec::new()));
        self.closed.insert(row.segment_id, epoch);
        while self.closed.len() > MOST_OPEN {
            let oldest = self.closed.iter().min_by_key(|(_, at)| **at).map(|(id, _)| id.clone());
            oldest.and_then(|id| self.closed.remove(&id));
        }
    }

    fn answer(&mut self, epoch: LogTime, row: InferenceRow) {
        let Some(asked) = self.closed.get(&row.segment_id).filter(|_| row.what == "speech") else { return };
        let model = row.model.split(':').take(2).collect::<Vec<_>>().join(":");
        let span = |name, parent, from, to, attributes| Span {
            segment: row.segment_id.clone(),
            name,
            parent: Some(parent),
            from,
            to,
            attributes,
        };
        let (asked, came) = (asked.as_event(), epoch.as_event());
        let what =
            vec![("lsie.model", text(model)), ("lsie.answered", json!({"boolValue": row.answer.is_some()}))];
        self.open.push(span("inference", "segment", asked, Some(came), what));
        self.open.push(span("inference.sink", "inference", came, None, Vec::new()));
    }
}

impl Sink for Traces {
    fn write(&mut self, epoch: LogTime, changes: &[Change]) -> Result<(), Error> {
        if Some(epoch) <= self.committed {
            return Ok(());
        }
        for change in changes.iter().filter(|change| change.diff > 0) {
            if change.table == SegmentRow::TABLE.name {
                SegmentRow::from_cells(&change.row).into_iter().for_each(|row| self.segment(epoch, row));
            } else if change.table == InferenceRow::TABLE.name {
                InferenceRow::from_cells(&change.row).into_iter().for_each(|row| self.answer(epoch, row));
            }
        }
        Ok(())
    }

    fn commit(&mut self, epoch: LogTime) -> Result<(), Error> {
        self.committed = self.committed.max(Some(epoch));
        if !self.open.is_empty() {
            let now = now();
            let spans: Vec<Value> = self.open.drain(..).map(|span| span.otlp(now)).collect();
            (self.export)(request(&spans));
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn committed(&self) -> Option<LogTime> {
        self.committed
    }

    /// It holds nobody up: what it missed is not made up for.
    fn resumable_after(&self) -> Option<LogTime> {
        Some(LogTime(u64::MAX))
    }
}

impl Span {
    fn otlp(self, now: EventTime) -> Value {
        let to = self.to.unwrap_or(now).max(self.from);
        let attribute = |(key, value): (&str, Value)| json!({"key": key, "value": value});
        let mut span = json!({
            "traceId": self.segment.get(..32).unwrap_or_default(),
            "spanId": span_id(&self.segment, self.name),
            "name": self.name,
            "kind": 1,
            "startTimeUnixNano": nanos(self.from),
            "endTimeUnixNano": nanos(to),
            "attributes": self.attributes.into_iter().map(attribute).collect::<Vec<_>>(),
        });
        if let Some(parent) = self.parent {
            span["parentSpanId"] = span_id(&self.segment, parent).into();
        }
        span
    }
}

/// The first eight bytes of a hash of segment and name.
fn span_id(segment: &str, name: &str) -> String {
    let hash = Sha256::digest(format!("{segment} {name}"));
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn nanos(at: EventTime) -> String {
    (i128::from(at.0.max(0)) * 1_000).to_string()
}

fn text(value: impl ToString) -> Value {
    json!({"stringValue": value.to_string()})
}

/// 64-bit integers are texts in JSON's form of protobuf.
fn number(value: i64) -> Value {
    json!({"intValue": value.to_string()})
}

fn request(spans: &[Value]) -> Value {
    let service = json!({"attributes": [{"key": "service.name", "value": {"stringValue": "lsie"}}]});
    json!({"resourceSpans": [{"resource": service, "scopeSpans": [{"scope": {"name": "lsie"}, "spans": spans}]}]})
}

#[allow(clippy::disallowed_methods, reason = "a trace is about the engine itself, and reaches no result")]
fn now() -> EventTime {
    EventTime(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as i64)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use lsie_schemas::{Uuid, table::Json};

    use super::*;

    const SEGMENT: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    fn segment(closed_ms: i64) -> Change {
        let row = SegmentRow {
            session_id: Uuid::nil(),
            ordinal: 3,
            segment_id: SEGMENT.into(),
            window_start_utc: EventTime(60_000_000),
            window_end_utc: EventTime(90_000_000),
            closed_by: "complete".into(),
            closed_at: EventTime(closed_ms * 1_000),
            evidence_stream: None,
            evidence_offset: None,
            evidence_event_time: None,
            audio_samples: 480_000,
            audio_sha256: String::new(),
            video_frames: 900,
            face_frames: 840,
        };
        change(SegmentRow::TABLE.name, row.cells(), closed_ms as u64)
    }

    fn answer(at_ms: u64) -> Change {
        let row = InferenceRow {
            session_id: Uuid::nil(),
            request_id: "r".into(),
            what: "speech".into(),
            segment_id: SEGMENT.into(),
            from_utc: EventTime(60_000_000),
            to_utc: EventTime(90_000_000),
            input_sha256: String::new(),
            model: "demo_speech:1:hash:cpu".into(),
            answer: Some(Json::new(&json!({"text": "a secret"}))),
            reason: None,
        };
        change(InferenceRow::TABLE.name, row.cells(), at_ms)
    }

    fn change(table: &'static str, row: Vec<lsie_schemas::Cell>, epoch: u64) -> Change {
        Change { table: table.into(), row, epoch: LogTime(epoch), diff: 1 }
    }

    /// The spans that are handed out for these changes, each an epoch.
    fn spans(committed: Option<LogTime>, changes: &[Change]) -> Vec<Value> {
        let sent: Arc<Mutex<Vec<Value>>> = Arc::default();
        let keep = sent.clone();
        let export = move |request: Value| {
            let spans = request["resourceSpans"][0]["scopeSpans"][0]["spans"].clone();
            keep.lock().expect("spans").extend(spans.as_array().cloned().unwrap_or_default());
        };
        let mut sink = Traces::after(committed, Box::new(export));
        for change in changes {
            sink.write(change.epoch, std::slice::from_ref(change)).expect("an epoch");
            sink.commit(change.epoch).expect("an epoch");
        }
        let sent = sent.lock().expect("spans");
        sent.clone()
    }

    fn text_of(value: &Value) -> &str {
        value.as_str().expect("a text")
    }

    #[test]
    fn a_segment_s_way_is_one_trace() {
        let spans = spans(None, &[segment(92_250), answer(95_000)]);
        let way: Vec<(&str, &str, &str)> = spans
            .iter()
            .map(|span| (&span["name"], &span["startTimeUnixNano"], &span["endTimeUnixNano"]))
            .map(|(name, from, to)| (text_of(name), text_of(from), text_of(to)))
            .collect();
        assert_eq!(way[1], ("capture", "60000000000", "90000000000"));
        assert_eq!(way[2], ("close", "90000000000", "92250000000"));
        assert_eq!((way[3].0, way[3].1), ("sink", "92250000000"));
        assert_eq!(way[4], ("inference", "92250000000", "95000000000"));
        assert_eq!((way[5].0, way[5].1), ("inference.sink", "95000000000"));
        assert!(spans.iter().all(|span| span["traceId"] == SEGMENT[..32]));
        assert!(spans[0].get("parentSpanId").is_none());
        assert!(spans[1..5].iter().all(|span| span["parentSpanId"] == spans[0]["spanId"]));
        assert_eq!(spans[5]["parentSpanId"], spans[4]["spanId"]);
        assert!(!format!("{spans:?}").contains("secret"), "what was said is in no trace");
    }

    #[test]
    fn what_the_tables_hold_is_not_told_again() {
        assert!(spans(Some(LogTime(92_250)), &[segment(92_250)]).is_empty());
    }
}
