//! Provider responses to normalised chunk events.

use lsie_connectors::oura::{HydrationRequest, hydrate};
use lsie_schemas::EventTime;
use lsie_schemas::canonical::parse;
use lsie_schemas::record::PhysiologicalChunk;
use serde_json::{Value, json};

use crate::read::{assert_committed, cases};

#[derive(serde::Deserialize)]
struct Input {
    clock_utc: String,
    notifications: Vec<Value>,
    provider_response: Value,
}

#[derive(serde::Deserialize)]
struct Expected {
    notifications_drained: usize,
    provider_calls: Vec<Value>,
    events: Vec<Value>,
}

#[test]
fn golden_hydration_of_notifications() {
    let mut given_up = 0;
    for case in cases("hydration", 52) {
        let (input, expected): (Input, Expected) = (case.input(), case.expected());
        let name = &case.name;
        let ingested_at = EventTime(parse(&input.clock_utc).expect("a timestamp"));
        assert_eq!(input.notifications.len(), expected.notifications_drained, "{name}");
        let (mut calls, mut ours, mut theirs) = (Vec::new(), Vec::new(), read(&expected.events));
        for notification in &input.notifications {
            let Ok(request) = request(notification) else { continue };
            calls.push(json!({
                "path": request.resource(),
                "query": { "start_datetime": request.start_datetime, "end_datetime": request.end_datetime },
            }));
            // A response without a list, a failed one included, has no events.
            let Ok(hydrated) = hydrate(&request, &input.provider_response, ingested_at) else { continue };
            let bad_count = hydrated.refused.iter().find(|(_, rejection)| rejection.reason == "bad_count");
            if let Some((place, _)) = bad_count {
                // Contracts §14: a bad item is refused, the others are used. The original gives the whole
                // response up when a count of an item is no number in range: from that item on at least.
                let refused_before = hydrated.refused.iter().filter(|(refused, _)| refused < place).count();
                assert!(theirs.len() <= place - refused_before, "{name}");
                assert!(hydrated.chunks.starts_with(&theirs), "{name}");
                theirs.extend_from_slice(&hydrated.chunks[theirs.len()..]);
                given_up += 1;
            }
            ours.extend(hydrated.chunks);
        }
        assert_eq!(calls, expected.provider_calls, "{name}");
        assert_eq!(ours, theirs, "{name}");
    }
    assert_committed(given_up > 0, "the departure is exercised");
}

/// Notifications are objects, or texts that should have been.
fn request(notification: &Value) -> Result<HydrationRequest, lsie_schemas::Rejection> {
    match notification {
        Value::String(text) => HydrationRequest::read(text.as_bytes()),
        object => HydrationRequest::read(object.to_string().as_bytes()),
    }
}

fn read(events: &[Value]) -> Vec<PhysiologicalChunk> {
    let event = |event: &Value| PhysiologicalChunk::read_event(event.to_string().as_bytes());
    events.iter().map(event).collect::<Result<_, _>>().expect("events of the contract")
}
