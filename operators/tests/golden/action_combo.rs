//! Groups of live events, and follows as outcomes.

use std::collections::BTreeMap;

use bytes::Bytes;
use lsie_operators::action_combo::{ActionCombos, ComboOutput, ComboRecord, Member};
use lsie_operators::logic::Logic;
use lsie_schemas::canonical::parse;
use lsie_schemas::log::{LogRecord, TopicPartition};
use lsie_schemas::record::{LiveEvent, Record};
use lsie_schemas::{LogTime, Rejection, Topic, Uuid, codec};
use serde_json::{Map, Value, json};

use crate::read::{Case, assert_committed, of_kind};

const SESSION: Uuid = Uuid::from_u128(0x3f2b8c1e_5a4d_4e6f_8a9b_0c1d2e3f4a5b);

/// A live event as a record of its topic, keyed by its session, which the vectors leave open.
pub(crate) fn event(fields: &Map<String, Value>) -> Result<LiveEvent, Rejection> {
    let mut body = fields.clone();
    body.extend([
        ("v".into(), json!(1)),
        ("type".into(), json!("live_event")),
        ("session_id".into(), json!(SESSION.to_string())),
    ]);
    let record = LogRecord {
        at: TopicPartition { topic: Topic::Events, partition: 0 },
        offset: 0,
        log_time: LogTime(0),
        key: Some(Bytes::from(SESSION.to_string())),
        value: Bytes::from(Value::Object(body).to_string()),
        headers: Vec::new(),
    };
    match codec::decode(&record)? {
        Record::Event(event) => Ok(event),
        other => panic!("{other:?}"),
    }
}

#[derive(serde::Deserialize)]
struct Groups {
    groups_2s: Vec<Vec<usize>>,
    combo_callbacks: Vec<[String; 2]>,
}

/// The events of a case with the given arrival second as the platform's time.
fn events(case: &Case) -> Vec<LiveEvent> {
    let t0 = parse(case.input["t0_utc"].as_str().expect("a time")).expect("a time");
    let events = case.input["events"].as_array().expect("events").iter();
    let event = |fields: &Value| {
        let mut fields = fields.as_object().expect("an event").clone();
        let at_s = fields.remove("at_s").and_then(|at| at.as_f64()).expect("a time");
        let at = lsie_schemas::canonical::to_text(t0 + (at_s * 1e6).round() as i64);
        fields.insert("timestamp_utc".into(), at.into());
        event(&fields).unwrap_or_else(|rejection| panic!("{}: {rejection:?}", case.name))
    };
    events.map(event).collect()
}

#[test]
fn golden_action_combo_groups() {
    let mut departures = 0;
    for case in of_kind("action_combo", 94, "combo", 56) {
        let (expected, name): (Groups, _) = (case.expected(), &case.name);
        let watched = case.input["unique_id"].as_str().expect("an account");
        let events = events(&case);
        let together =
            vec![events.iter().cloned().map(ComboRecord::Event).chain([ComboRecord::End]).collect()];
        let mut one_by_one: Vec<Vec<ComboRecord>> =
            events.iter().cloned().map(|event| vec![ComboRecord::Event(event)]).collect();
        one_by_one.push(vec![ComboRecord::End]);
        let backwards: Vec<Vec<ComboRecord>> = one_by_one.iter().rev().cloned().collect();
        for epochs in [together, one_by_one, backwards] {
            let standing = run(watched, epochs);
            // Every event stands alone too, whatever the original's ring has dropped since.
            let alone = standing.keys().filter(|output| matches!(output, ComboOutput::Event(_))).count();
            assert_eq!(alone, events.len(), "{name}");
            assert_eq!(groups(&standing, &events, watched), expected.groups_2s, "{name}");
        }
        // DM-11: the original pairs every two events, however far apart; we group by time.
        let pairs = events.chunks_exact(2).map(|pair| [0, 1].map(|i| pair[i].event_type.clone()));
        assert_eq!(pairs.collect::<Vec<_>>(), expected.combo_callbacks, "{name}");
        let paired: Vec<Vec<usize>> = (0..events.len() / 2).map(|i| vec![2 * i, 2 * i + 1]).collect();
        departures += u32::from(paired != expected.groups_2s);
    }
    assert_committed(departures > 0, "pairs that are no groups");
}

fn run(watched: &str, epochs: Vec<Vec<ComboRecord>>) -> BTreeMap<ComboOutput, i64> {
    let mut logic = ActionCombos::new(SESSION, watched);
    let mut standing = BTreeMap::new();
    for (index, records) in epochs.into_iter().enumerate() {
        let mut out = Vec::new();
        logic.on_epoch(LogTime(index as u64), records, &mut out);
        for (row, diff) in out {
            *standing.entry(row).or_insert(0) += diff;
        }
        standing.retain(|_, count| *count != 0);
        assert!(standing.values().all(|count| *count == 1));
    }
    standing
}

/// The groups as ascending numbers of events, in order of time.
fn groups(standing: &BTreeMap<ComboOutput, i64>, events: &[LiveEvent], watched: &str) -> Vec<Vec<usize>> {
    let number = |member: &Member| {
        let found = events.iter().position(|event| {
            event.timestamp_utc == member.time
                && event.event_type == member.event_type
                && event.unique_id.as_deref().unwrap_or(watched) == member.unique_id
                && event.source_event_ref() == member.source_event_ref
        });
        found.expect("an event of the case")
    };
    let mut groups = Vec::new();
    for output in standing.keys() {
        let ComboOutput::Combo(combo) = output else { continue };
        assert_eq!((combo.row.unique_id.as_str(), combo.row.event_type.as_str()), (watched, "Action_Combo"));
        assert_eq!(combo.members.last().map(|member| member.time), Some(combo.row.timestamp_utc));
        let mut numbers: Vec<usize> = combo.members.iter().map(number).collect();
        numbers.sort_unstable();
        groups.push(numbers);
    }
    groups.sort_unstable();
    groups
}

#[test]
fn golden_action_combo_creator_follow() {
    let mut refused = 0;
    for case in of_kind("action_combo", 94, "creator_follow", 30) {
        let name = &case.name;
        let mut fields = case.input["event"].as_object().expect("an event").clone();
        // Records are keyed by session; the vectors have it beside the event, in it, or nowhere.
        fields.remove("session_id");
        if fields.get("payload").is_some_and(|payload| !payload.is_object()) {
            // Contracts §14: a wrong type is a dead letter. The original reads such a payload as an empty one.
            assert_eq!(event(&fields).expect_err(name).reason, "bad_field", "{name}");
            fields.insert("payload".into(), json!({}));
            refused += 1;
        }
        let outcome = event(&fields).expect("an event").outcome();
        let Value::Object(expected) = &case.expected["outcome"] else {
            assert_eq!(outcome, None, "{name}");
            continue;
        };
        let outcome = outcome.expect(name);
        assert_eq!(outcome.session_id, SESSION, "{name}");
        assert_eq!(outcome.outcome_type, expected["outcome_type"], "{name}");
        assert_eq!(outcome.outcome_value.0, expected["outcome_value"], "{name}");
        let time = parse(expected["outcome_time_utc"].as_str().expect("a time"));
        assert_eq!(Ok(outcome.outcome_time_utc.0), time, "{name}");
        assert_eq!(outcome.source_system, expected["source_system"], "{name}");
        assert_eq!(json!(outcome.source_event_ref), expected["source_event_ref"], "{name}");
        assert_eq!(outcome.confidence.0, expected["confidence"], "{name}");
    }
    assert_committed(refused > 0, "payloads that are no objects");
}
