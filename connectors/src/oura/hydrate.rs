//! Hydration: what a provider answers about a notified stretch of time, as physiological chunks (contracts §6.2).
//!
//! Only the normalisation is here; fetching is a connector's. A provider's body is foreign data: an item that
//! cannot be used is refused with its reason, and the others go on.

use lsie_schemas::canonical::{self, TimestampError};
use lsie_schemas::record::{
    ChunkPayload, DerivationMethod, PhysiologicalChunk, Provider, SourceKind, SubjectRole,
};
use lsie_schemas::{EventTime, Rejection};
use serde::Deserialize;
use serde_json::{Map, Value};
use uuid::Uuid;

/// Namespace of chunk ids: UUIDv5(URL, `lsie-mlf:oura-hydration`).
pub const NAMESPACE: Uuid = Uuid::from_u128(0x5b66_3962_94b5_5291_bdfe_47f6_c553_c166);

/// A stretch of time that a provider has news about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HydrationRequest {
    /// The notification it follows from.
    pub unique_id: String,
    /// Whose body.
    pub subject_role: SubjectRole,
    /// What is fetched.
    pub source_kind: SourceKind,
    /// Query parameter of that name, as it was notified.
    pub start_datetime: String,
    /// Query parameter of that name, as it was notified.
    pub end_datetime: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    unique_id: String,
    subject_role: SubjectRole,
    event_type: String,
    data_type: String,
    start_datetime: String,
    end_datetime: String,
    #[serde(default, rename = "notification_received_utc")]
    _notification_received_utc: Option<String>,
}

impl HydrationRequest {
    /// Reads a request: JSON with the fields of contracts §6.2, none of them blank.
    pub fn read(request: &[u8]) -> Result<HydrationRequest, Rejection> {
        let body: Body = serde_json::from_slice(request)
            .map_err(|_| Rejection::new("malformed_request", "not a hydration request"))?;
        let texts =
            [&body.unique_id, &body.event_type, &body.data_type, &body.start_datetime, &body.end_datetime];
        if texts.iter().any(|text| text.trim().is_empty()) {
            return Err(Rejection::new("malformed_request", "a field is blank"));
        }
        let source_kind = source_kind(&body.data_type)
            .ok_or_else(|| Rejection::new("unknown_data_type", "neither intervals nor a session"))?;
        Ok(HydrationRequest {
            unique_id: body.unique_id,
            subject_role: body.subject_role,
            source_kind,
            start_datetime: body.start_datetime,
            end_datetime: body.end_datetime,
        })
    }

    /// The provider's resource; its query parameters are `start_datetime` and `end_datetime`.
    pub fn resource(&self) -> &'static str {
        match self.source_kind {
            SourceKind::Ibi => "/v2/usercollection/heartrate",
            SourceKind::Session => "/v2/usercollection/session",
        }
    }
}

fn source_kind(data_type: &str) -> Option<SourceKind> {
    match data_type.trim().to_lowercase().as_str() {
        "heartrate" | "heart_rate" | "ibi" => Some(SourceKind::Ibi),
        "session" | "workout" | "sleep" => Some(SourceKind::Session),
        _ => None,
    }
}

/// What became of a provider's answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hydrated {
    /// The chunks, in the order of their items.
    pub chunks: Vec<PhysiologicalChunk>,
    /// Items without use: their place in the answer, and why.
    pub refused: Vec<(usize, Rejection)>,
}

/// The chunks of a provider's answer to a request, taken in at `ingested_at`. Refused as a whole only when it has
/// no list of items.
pub fn hydrate(
    request: &HydrationRequest,
    answer: &Value,
    ingested_at: EventTime,
) -> Result<Hydrated, Rejection> {
    let items = answer.get("data").and_then(Value::as_array);
    let items = items.ok_or_else(|| Rejection::new("malformed_answer", "no list `data`"))?;
    let mut hydrated = Hydrated::default();
    for (place, item) in items.iter().enumerate() {
        match chunk_of(request, item, ingested_at) {
            Ok(chunk) => hydrated.chunks.push(chunk),
            Err(rejection) => hydrated.refused.push((place, rejection)),
        }
    }
    Ok(hydrated)
}

fn chunk_of(
    request: &HydrationRequest,
    item: &Value,
    ingested_at: EventTime,
) -> Result<PhysiologicalChunk, Rejection> {
    let item = item.as_object().ok_or_else(|| Rejection::new("malformed_item", "not an object"))?;
    let start = instant(item, &["timestamp", "start_datetime"])?
        .ok_or_else(|| Rejection::new("missing_field", "no start"))?;
    let end = instant(item, &["end_datetime"])?.unwrap_or(start);

    let (primary, default_interval_s) = match request.source_kind {
        SourceKind::Ibi => (list(item, &["ibi_ms", "ibi_ms_items"]), 1),
        SourceKind::Session => (list(item, &["rmssd_ms", "rmssd_items_ms"]), 300),
    };
    let primary = primary.ok_or_else(|| Rejection::new("missing_series", "no primary series"))?;
    let series = reals(primary)?;
    let heart_rates = list(item, &["heart_rate_bpm", "heart_rate_items_bpm"]);
    let motion = item.get("motion_items").and_then(Value::as_array);

    let length = i64::try_from(series.len()).unwrap_or(i64::MAX);
    let sample_interval_s = count(item, "sample_interval_s", 1)?.unwrap_or(default_interval_s);
    let fitting = i128::from(end.0) - i128::from(start.0);
    let fitting = fitting.div_euclid(i128::from(sample_interval_s) * 1_000_000);
    let expected = length.max(i64::try_from(fitting).unwrap_or(0));

    let (ibi_ms_items, rmssd_items_ms, motion_items) = match request.source_kind {
        SourceKind::Ibi => (Some(series), None, None),
        SourceKind::Session => (None, Some(series), motion.map(|items| reals(items)).transpose()?),
    };
    let chunk = PhysiologicalChunk {
        unique_id: chunk_id(request, resource_id(item), start, end),
        provider: Provider::Oura,
        subject_role: request.subject_role,
        source_kind: request.source_kind,
        window_start_utc: start,
        window_end_utc: end,
        ingest_timestamp_utc: ingested_at,
        payload: ChunkPayload {
            sample_interval_s,
            valid_sample_count: count(item, "valid_sample_count", 0)?.unwrap_or(length),
            expected_sample_count: count(item, "expected_sample_count", 0)?.unwrap_or(expected),
            derivation_method: DerivationMethod::Provider,
            ibi_ms_items,
            rmssd_items_ms,
            heart_rate_items_bpm: heart_rates.map(|items| wholes(items)).transpose()?,
            motion_items,
        },
    };
    chunk.checked()
}

/// UUIDv5 of role, kind, resource, start and end: the same item has the same id, however often it is fetched.
fn chunk_id(request: &HydrationRequest, resource: String, start: EventTime, end: EventTime) -> Uuid {
    let (role, kind) = (request.subject_role.name(), request.source_kind.name());
    let name = format!("{role}|{kind}|{resource}|{}|{}", with_offset(start), with_offset(end));
    Uuid::new_v5(&NAMESPACE, name.as_bytes())
}

/// The canonical text with `+00:00` for its `Z`.
fn with_offset(at: EventTime) -> String {
    let mut text = at.canonical();
    text.pop();
    text + "+00:00"
}

/// The item's `id`, `session_id` or `day`, else `window`.
fn resource_id(item: &Map<String, Value>) -> String {
    let named = ["id", "session_id", "day"].into_iter().find_map(|key| match item.get(key)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    });
    named.unwrap_or_else(|| "window".to_owned())
}

/// The first of the fields that is present and not blank, as an instant; a text without zone is UTC.
fn instant(item: &Map<String, Value>, keys: &[&str]) -> Result<Option<EventTime>, Rejection> {
    let blank = |value: &&Value| !value.is_null() && value.as_str() != Some("");
    let Some(value) = keys.iter().find_map(|key| item.get(*key).filter(blank)) else { return Ok(None) };
    let bad = || Rejection::new("bad_instant", "not a timestamp");
    let text = value.as_str().ok_or_else(bad)?;
    let us = match canonical::parse(text) {
        Err(TimestampError::Naive) => canonical::parse(&format!("{text}Z")),
        read => read,
    };
    us.map(|us| Some(EventTime(us))).map_err(|_| bad())
}

/// The first of the fields that is a list with items.
fn list<'a>(item: &'a Map<String, Value>, keys: &[&str]) -> Option<&'a Vec<Value>> {
    keys.iter().find_map(|key| item.get(*key)?.as_array().filter(|items| !items.is_empty()))
}

fn reals(items: &[Value]) -> Result<Vec<f64>, Rejection> {
    let reals: Option<Vec<f64>> = items.iter().map(Value::as_f64).collect();
    reals.ok_or_else(|| Rejection::new("bad_series", "an item is not a number"))
}

fn wholes(items: &[Value]) -> Result<Vec<i64>, Rejection> {
    let wholes: Option<Vec<i64>> = items.iter().map(whole).collect();
    wholes.ok_or_else(|| Rejection::new("bad_series", "an item is not a whole number"))
}

/// A count of an item; none when it is absent or null. Providers also write counts as texts.
fn count(item: &Map<String, Value>, key: &str, least: i64) -> Result<Option<i64>, Rejection> {
    let value = match item.get(key) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(value) => whole(value),
    };
    match value.filter(|count| *count >= least) {
        Some(count) => Ok(Some(count)),
        None => Err(Rejection::new("bad_count", format!("`{key}` is not a whole number from {least} on"))),
    }
}

fn whole(value: &Value) -> Option<i64> {
    let exact = |value: &f64| value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0;
    value.as_i64().or_else(|| value.as_f64().filter(exact).map(|value| value as i64))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn request(data_type: &str) -> HydrationRequest {
        let request = json!({
            "unique_id": "n1", "subject_role": "streamer", "event_type": "update", "data_type": data_type,
            "start_datetime": "2026-04-24T10:00:00Z", "end_datetime": "2026-04-24T10:10:00Z",
            "notification_received_utc": "2026-04-24T10:11:00Z",
        });
        HydrationRequest::read(request.to_string().as_bytes()).expect("a request")
    }

    fn one(data_type: &str, item: Value) -> Result<PhysiologicalChunk, String> {
        let answer = json!({ "data": [item] });
        let hydrated = hydrate(&request(data_type), &answer, EventTime(0)).expect("a list");
        let refused = hydrated.refused.into_iter().next();
        refused.map_or(Ok(()), |(_, rejection)| Err(rejection.reason))?;
        Ok(hydrated.chunks.into_iter().next().expect("a chunk"))
    }

    #[test]
    fn vectors_of_the_contract() {
        assert_eq!(Uuid::new_v5(&Uuid::NAMESPACE_URL, b"lsie-mlf:oura-hydration"), NAMESPACE);
        let item = json!({
            "id": "abc", "timestamp": "2026-04-24T12:00:00+02:00", "end_datetime": "2026-04-24T10:05:00",
            "ibi_ms": [800, 810.5],
        });
        let chunk = one("heartrate", item).expect("a chunk");
        assert_eq!(chunk.unique_id.to_string(), "9a804531-b53d-5c9e-a4ca-c235984a3a38");
        assert_eq!(chunk.payload.expected_sample_count, 300);
        assert_eq!(chunk.payload.valid_sample_count, 2);
    }

    #[test]
    fn defaults_and_second_names() {
        let item = json!({"start_datetime": "2026-04-24T10:00:00.250Z", "rmssd_ms": [], "rmssd_items_ms": [40],
            "heart_rate_items_bpm": [70.0], "motion_items": [], "timestamp": null, "valid_sample_count": "1"});
        let chunk = one(" Workout ", item).expect("a chunk");
        assert_eq!(chunk.window_start_utc, chunk.window_end_utc);
        let payload = &chunk.payload;
        assert_eq!((payload.sample_interval_s, payload.expected_sample_count), (300, 1));
        assert_eq!(payload.rmssd_items_ms, Some(vec![40.0]));
        assert_eq!(payload.heart_rate_items_bpm, Some(vec![70]));
        assert_eq!(payload.motion_items, Some(vec![]));
    }

    #[test]
    fn every_fault_of_an_item_has_its_reason() {
        let with = |key: &str, value: Value| {
            let mut item = json!({"timestamp": "2026-04-24T10:00:00Z", "ibi_ms": [800]});
            item[key] = value;
            item
        };
        let cases = [
            (json!(1), "malformed_item"),
            (with("timestamp", Value::Null), "missing_field"),
            (with("timestamp", json!("bad")), "bad_instant"),
            (with("timestamp", json!(5)), "bad_instant"),
            (with("end_datetime", json!("2026-04-24")), "bad_instant"),
            (with("ibi_ms", json!([])), "missing_series"),
            (with("ibi_ms", json!("800")), "missing_series"),
            (with("ibi_ms", json!([800, null])), "bad_series"),
            (with("ibi_ms", json!([800, -5])), "bad_field"),
            (with("heart_rate_bpm", json!([70.5])), "bad_series"),
            (with("heart_rate_bpm", json!([400])), "bad_field"),
            (with("sample_interval_s", json!(0)), "bad_count"),
            (with("sample_interval_s", json!(true)), "bad_count"),
            (with("valid_sample_count", json!(-1)), "bad_count"),
            (with("expected_sample_count", json!("abc")), "bad_count"),
            (with("expected_sample_count", json!(1.5)), "bad_count"),
        ];
        for (item, reason) in cases {
            assert_eq!(one("ibi", item.clone()), Err(reason.to_owned()), "{item}");
        }
        for answer in [json!(null), json!({}), json!({"data": null}), json!([1])] {
            assert_eq!(
                hydrate(&request("ibi"), &answer, EventTime(0)).expect_err("no list").reason,
                "malformed_answer"
            );
        }
    }

    fn json_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "\\PC{0,12}".prop_map(Value::from),
            Just(json!("2026-04-24T10:00:00Z")),
            Just(json!("9999-12-31T23:59:59Z")),
        ];
        prop_oneof![leaf.clone(), prop::collection::vec(leaf, 0..4).prop_map(Value::from)]
    }

    proptest! {
        #[test]
        fn foreign_answers_give_good_chunks_or_reasons(
            values in prop::collection::vec(json_value(), 8),
            data_type in prop_oneof![Just("ibi"), Just("sleep")],
        ) {
            let keys = ["timestamp", "end_datetime", "ibi_ms", "rmssd_ms", "heart_rate_bpm", "motion_items",
                "sample_interval_s", "expected_sample_count"];
            let item: Map<String, Value> = keys.map(str::to_owned).into_iter().zip(values).collect();
            let answer = json!({ "data": [Value::from(item)] });
            let hydrated = hydrate(&request(data_type), &answer, EventTime(0)).expect("a list");
            prop_assert_eq!(hydrated.chunks.len() + hydrated.refused.len(), 1);
            for chunk in hydrated.chunks {
                prop_assert!(chunk.checked().is_ok());
            }
        }

        #[test]
        fn no_request_panics(bytes: Vec<u8>) {
            let _ = HydrationRequest::read(&bytes);
        }
    }
}
