//! Events as JSON: for platforms, bridges and tests that speak no binary frames.

use lsie_schemas::record::LiveEvent;
use lsie_schemas::table::Json;
use lsie_schemas::{EventTime, canonical};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::webcast::Read;

/// Reads a text message: an event (contracts §4), or a list of them. An event without a time happened now.
pub(super) fn read(message: &str, session: Uuid, now: EventTime) -> Read {
    let mut read = Read::default();
    let events = match serde_json::from_str(message) {
        Ok(Value::Array(events)) => events,
        Ok(event) => vec![event],
        Err(_) => {
            read.malformed = 1;
            return read;
        }
    };
    for event in events {
        match event.as_object().and_then(|fields| one(fields, session, now)) {
            Some(event) => read.events.push(event),
            None => read.malformed += 1,
        }
    }
    read
}

fn one(fields: &Map<String, Value>, session_id: Uuid, now: EventTime) -> Option<LiveEvent> {
    let known = ["uniqueId", "event_type", "timestamp_utc", "payload", "gift_value", "event_id"];
    if fields.keys().any(|name| !known.contains(&name.as_str())) {
        return None;
    }
    let some = |name: &str| fields.get(name).filter(|value| !value.is_null());
    let text =
        |name: &str| some(name).map(|value| value.as_str().map(str::to_owned).ok_or(())).transpose().ok();
    let timestamp_utc = match text("timestamp_utc")? {
        Some(text) => EventTime(canonical::parse(&text).ok()?),
        None => now,
    };
    let payload = match some("payload") {
        None => Value::Object(Map::new()),
        Some(payload) => payload.is_object().then(|| payload.clone())?,
    };
    let gift_value = match some("gift_value") {
        None => None,
        Some(value) => Some(value.as_i64().filter(|value| *value >= 0)?),
    };
    Some(LiveEvent {
        session_id,
        unique_id: text("uniqueId")?,
        event_type: text("event_type")?.unwrap_or_else(|| "unknown".into()),
        timestamp_utc,
        payload: Json::new(&payload),
        gift_value,
        event_id: text("event_id")?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SESSION: Uuid = Uuid::from_u128(0x0b1f_8f5e_6f0e_4c55_9d3c_6d1d_5bb0_a001);

    fn read(message: &str) -> Read {
        super::read(message, SESSION, EventTime(7_000_000))
    }

    #[test]
    fn one_or_many_each_for_itself() {
        let both = read(r#"[{"event_type":"like","event_id":"e-1"},{"event_type":5},{},{"typo":1}]"#);
        assert_eq!((both.events.len(), both.malformed), (2, 2));
        assert_eq!(both.events[0].timestamp_utc, EventTime(7_000_000));
        assert_eq!(both.events[1].event_type, "unknown");
        let timed = read(r#"{"event_type":"gift","gift_value":3,"timestamp_utc":"1970-01-01T00:00:01Z"}"#);
        assert_eq!(
            (timed.events[0].timestamp_utc, timed.events[0].gift_value),
            (EventTime(1_000_000), Some(3))
        );
        for rubbish in
            ["", "{", "7", r#"{"timestamp_utc":"now"}"#, r#"{"gift_value":-1}"#, r#"{"payload":[]}"#]
        {
            let rubbish = read(rubbish);
            assert_eq!((rubbish.events.len(), rubbish.malformed), (0, 1));
        }
    }

    proptest! {
        #[test]
        fn no_message_panics(message: String) {
            let _ = read(&message);
        }
    }
}
