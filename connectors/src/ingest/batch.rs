//! A pushed body, record by record: what each is, or why it is none.

use lsie_schemas::log::{Appended, LogRecord, NewRecord, TopicPartition};
use lsie_schemas::record::Record;
use lsie_schemas::{LogTime, Rejection, Topic, codec};
use serde_json::{Value, json};

use crate::limits;

/// Most records of a body.
const MOST_RECORDS: usize = 1_000;

/// The records of a body in their order.
#[derive(Debug)]
pub(super) struct Batch(Vec<Result<NewRecord, Rejection>>);

/// Reads a body for a topic: one record as an object, or a list of them. Refused as a whole only when it is
/// neither.
pub(super) fn read(topic: Topic, body: &[u8]) -> Result<Batch, Rejection> {
    let value: Value = serde_json::from_slice(body).map_err(|e| {
        Rejection::new("malformed_json", format!("no JSON: line {} column {}", e.line(), e.column()))
    })?;
    let records = match value {
        Value::Array(records) if records.len() > MOST_RECORDS => {
            return Err(Rejection::new("too_many", format!("more than {MOST_RECORDS} records")));
        }
        Value::Array(records) => records,
        record @ Value::Object(_) => vec![record],
        _ => return Err(Rejection::new("malformed_json", "neither an object nor a list of objects")),
    };
    Ok(Batch(records.iter().map(|record| judge(topic, record)).collect()))
}

/// The record as the engine would read it, in its normal form.
fn judge(topic: Topic, record: &Value) -> Result<NewRecord, Rejection> {
    let session = record.get("session_id").and_then(Value::as_str);
    let as_logged = LogRecord {
        at: TopicPartition { topic, partition: 0 },
        offset: 0,
        log_time: LogTime(0),
        key: session.map(|session| session.to_owned().into()),
        value: record.to_string().into(),
        headers: Vec::new(),
    };
    let record = match codec::decode(&as_logged)? {
        Record::Physio(physio) => physio.encode(None),
        Record::Event(event) => event.encode(None),
        Record::Outcome(outcome) => outcome.encode(None),
        _ => return Err(Rejection::new("unexpected_topic", "this topic takes no records from outside")),
    };
    limits::check(&record).map_err(|error| Rejection::new("oversized", error.to_string()))?;
    Ok(record)
}

impl Batch {
    /// How many are good, and how many are not.
    pub(super) fn counts(&self) -> (usize, usize) {
        let good = self.0.iter().filter(|record| record.is_ok()).count();
        (good, self.0.len() - good)
    }

    /// The good ones.
    pub(super) fn records(&self) -> Vec<NewRecord> {
        self.0.iter().flatten().cloned().collect()
    }

    /// What became of each, after the good ones were appended.
    pub(super) fn answer(&self, appended: &[Appended]) -> Value {
        let (accepted, rejected) = self.counts();
        let mut places = appended.iter();
        let result = |(index, record): (usize, &Result<NewRecord, Rejection>)| match record {
            Ok(_) => {
                let place = places.next();
                let (partition, offset) = (place.map(|p| p.at.partition), place.map(|p| p.offset));
                json!({"index": index, "status": "accepted", "partition": partition, "offset": offset})
            }
            Err(Rejection { reason, detail }) => {
                json!({"index": index, "status": "rejected", "reason": reason, "detail": detail})
            }
        };
        let results: Vec<Value> = self.0.iter().enumerate().map(result).collect();
        json!({ "accepted": accepted, "rejected": rejected, "results": results })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_neither_record_nor_list_is_refused_as_a_whole() {
        for body in ["", "{", "7", "null", "\"text\"", "[1,"] {
            assert!(read(Topic::Events, body.as_bytes()).is_err(), "{body}");
        }
        let many = json!(vec![json!({}); MOST_RECORDS + 1]).to_string();
        assert_eq!(read(Topic::Events, many.as_bytes()).expect_err("too many").reason, "too_many");
        assert_eq!(read(Topic::Events, b"[]").expect("an empty list").counts(), (0, 0));
        assert_eq!(read(Topic::Events, b"[1, {}, null]").expect("a list").counts(), (0, 3));
    }

    proptest! {
        #[test]
        fn no_body_panics(body: Vec<u8>) {
            let _ = read(Topic::Physio, &body);
        }
    }
}
