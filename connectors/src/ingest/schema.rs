//! The published shapes of what may be pushed: JSON Schema, draft 2020-12.

use lsie_schemas::Topic;
use serde_json::{Map, Value, json};

const UUID: &str = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$";
const SESSION: &str = "^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$";

/// The schema of one record of a topic. What it admits the topic takes, and nothing else, but for two things that
/// a schema cannot say: an event's type is none that the engine composes, and instants are real ones.
pub fn schema(topic: Topic) -> Value {
    let mut schema = match topic {
        Topic::Physio => physio(),
        Topic::Events => event(),
        Topic::Outcomes => outcome(),
        _ => json!(false),
    };
    if let Value::Object(schema) = &mut schema {
        schema.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
        schema.insert("title".into(), json!(format!("a record of topic {topic}")));
    }
    schema
}

/// An object with these keys and no others; those that are not in `optional` must be there.
fn object(properties: Value, optional: &[&str]) -> Value {
    let names = properties.as_object().map(Map::keys).into_iter().flatten();
    let required: Vec<&String> = names.filter(|name| !optional.contains(&name.as_str())).collect();
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

/// The keys of every record, and these.
fn record(kind: &str, mut properties: Value, optional: &[&str]) -> Value {
    properties["v"] = json!({"const": 1});
    properties["type"] = json!({"const": kind});
    properties["session_id"] = json!({"type": "string", "pattern": SESSION});
    object(properties, optional)
}

fn instant() -> Value {
    json!({"type": "string", "format": "date-time"})
}

fn list_or_null(items: Value) -> Value {
    json!({"type": ["array", "null"], "items": items})
}

fn physio() -> Value {
    let count = |least: i64| json!({"type": "integer", "minimum": least});
    let series = ["ibi_ms_items", "rmssd_items_ms", "heart_rate_items_bpm"];
    let mut payload = object(
        json!({
            "sample_interval_s": count(1),
            "valid_sample_count": count(0),
            "expected_sample_count": count(0),
            "derivation_method": {"enum": ["provider", "server"]},
            "ibi_ms_items": list_or_null(json!({"type": "number", "exclusiveMinimum": 0})),
            "rmssd_items_ms": list_or_null(json!({"type": "number", "minimum": 0})),
            "heart_rate_items_bpm": list_or_null(json!({"type": "integer", "minimum": 20, "maximum": 300})),
            "motion_items": list_or_null(json!({"type": "number", "minimum": 0})),
        }),
        &[&series[..], &["motion_items"]].concat(),
    );
    let there = |name: &&str| json!({"required": [name], "properties": {*name: {"type": "array"}}});
    payload["anyOf"] = json!(series.iter().map(there).collect::<Vec<_>>());
    let event = object(
        json!({
            "event_type": {"const": "physiological_chunk"},
            "unique_id": {"type": "string", "pattern": UUID},
            "provider": {"const": "oura"},
            "subject_role": {"enum": ["streamer", "operator"]},
            "source_kind": {"enum": ["ibi", "session"]},
            "window_start_utc": instant(),
            "window_end_utc": instant(),
            "ingest_timestamp_utc": instant(),
            "payload": payload,
        }),
        &[],
    );
    record("physiological_chunk", json!({ "event": event }), &[])
}

fn event() -> Value {
    let text_or_null = json!({"type": ["string", "null"]});
    record(
        "live_event",
        json!({
            "uniqueId": text_or_null,
            "event_type": {"type": "string"},
            "timestamp_utc": instant(),
            "payload": {"type": "object"},
            "gift_value": {"type": ["integer", "null"], "minimum": 0},
            "event_id": text_or_null,
        }),
        &["uniqueId", "event_type", "payload", "gift_value", "event_id"],
    )
}

fn outcome() -> Value {
    record(
        "outcome",
        json!({
            "outcome_type": {"type": "string", "pattern": follow_pattern()},
            "outcome_value": {"type": "number"},
            "outcome_time_utc": instant(),
            "source_system": {"type": "string"},
            "source_event_ref": {"type": ["string", "null"]},
            "confidence": {"type": "number", "minimum": 0, "maximum": 1},
        }),
        &["outcome_value", "source_system", "source_event_ref", "confidence"],
    )
}

/// The names of a follow, in any case, with or without underscores.
fn follow_pattern() -> String {
    let any_case = |letter: char| format!("[{letter}{}]_*", letter.to_ascii_uppercase());
    let spelt = |name: &str| name.chars().map(any_case).collect::<String>();
    let names = ["creatorfollow", "follow", "userfollow", "followevent"].map(spelt);
    format!("^\\s*_*(?:{})\\s*$", names.join("|"))
}
