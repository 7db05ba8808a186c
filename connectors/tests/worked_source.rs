//! The source of docs/ADDING.md: a chat log as live events, bad lines and repetitions included.

use std::time::Duration;

use lsie_connectors::{FileLog, file_log::FileLogOptions};
use lsie_schemas::codec;
use lsie_schemas::log::{Fetch, Log, TimestampType, TopicPartition, TopicSpec};
use lsie_schemas::record::Record;
use lsie_schemas::topic::Topic;

// ANCHOR: source
use std::io::BufRead;

use lsie_schemas::log::{AppendRecord, LogError, NewRecord};
use lsie_schemas::record::LiveEvent;
use lsie_schemas::table::Json;
use lsie_schemas::{EventTime, Uuid, canonical};

/// What became of the lines of a chat log.
#[derive(Debug, Default, PartialEq, Eq)]
struct Taken {
    appended: usize,
    /// Lines that are no message, by their number from 1, with the reason.
    refused: Vec<(usize, String)>,
}

/// Appends each line `TIME USER` of a chat log as an event of a session.
///
/// The same file may be sent again: an event is one by user, type, time and the platform's reference, so the engine
/// counts the second as a duplicate. Words stay where they are: nobody needs them.
fn append_chat(log: &dyn AppendRecord, session: Uuid, lines: impl BufRead) -> Result<Taken, LogError> {
    let (mut taken, mut batch) = (Taken::default(), Vec::new());
    for (number, line) in (1..).zip(lines.lines()) {
        match line.map_err(|why| why.to_string()).and_then(|line| event(session, number, &line)) {
            Ok(record) => batch.push(record),
            Err(reason) => taken.refused.push((number, reason)),
        }
    }
    taken.appended = batch.len();
    // In order for each partition, and acknowledged when this returns.
    log.append(batch)?;
    Ok(taken)
}

fn event(session_id: Uuid, number: usize, line: &str) -> Result<NewRecord, String> {
    let (time, user) = line.split_once(' ').ok_or("wanted is TIME USER")?;
    let timestamp_utc = EventTime(canonical::parse(time).map_err(|why| why.to_string())?);
    let event = LiveEvent {
        session_id,
        unique_id: Some(user.to_string()),
        event_type: "chat".into(),
        timestamp_utc,
        payload: Json::new(&serde_json::json!({})),
        gift_value: None,
        event_id: Some(format!("line-{number}")),
    };
    // No timestamp: the log says when it came.
    Ok(event.encode(None))
}
// ANCHOR_END: source

#[test]
fn good_lines_are_records_and_bad_ones_are_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = FileLog::open(folder.path().join("log"), FileLogOptions::default()).expect("a log");
    let spec = TopicSpec {
        topic: Topic::Events,
        partitions: 1,
        timestamps: TimestampType::LogAppend,
        retention_ms: None,
    };
    log.create_topics(&[spec]).expect("a topic");
    let session = Uuid::from_u128(0x0b1f_8f5e_6f0e_4c55_9d3c_6d1d_5bb0_a001);
    let chat = "2026-01-05T10:00:06Z ana\nyesterday ben\n\n2026-01-05T10:00:07Z ben\n";

    let taken = append_chat(&log, session, chat.as_bytes()).expect("an append");
    assert_eq!(taken.appended, 2);
    assert_eq!(taken.refused.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [2, 3]);
    append_chat(&log, session, chat.as_bytes()).expect("the same again");

    let events = events(&log);
    assert_eq!(events.len(), 4);
    assert_eq!(events[..2], events[2..], "what is sent again is the same event");
    assert_eq!(events[1].unique_id.as_deref(), Some("ben"));
    assert_eq!(events[1].source_event_ref().as_deref(), Some("line-4"));
}

/// Everything in the topic, decoded as the engine does.
fn events(log: &FileLog) -> Vec<LiveEvent> {
    let at = TopicPartition { topic: Topic::Events, partition: 0 };
    let (from, to) = log.bounds(at).expect("the log");
    let mut reader = log.reader(&[(at, from)], Fetch::default()).expect("a reader");
    let mut events = Vec::new();
    while reader.position(at).is_none_or(|position| position < to) {
        for record in reader.poll(Duration::from_millis(20)).expect("records") {
            match codec::decode(&record) {
                Ok(Record::Event(event)) => events.push(event),
                other => panic!("{other:?}"),
            }
        }
    }
    events
}
