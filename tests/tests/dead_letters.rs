//! The topic `dead-letters` on a real broker: what the table says, once each, also across a restart.

use lsie_connectors::feed::{Pace, TimedRecord, session_id};
use lsie_dataflow::{Range, Run};
use lsie_schemas::record::DeadLetter;
use lsie_schemas::row::DeadLetterRow;
use lsie_schemas::{LogTime, Topic};
use lsie_sinks::{DeadLetters, Sink};
use lsie_tests::harness::{Settings, TopicSet, read_all};
use lsie_tests::sessions::{RECORDED_AT, recording, records};

/// Every so many-th chunk of audio is made bad.
const EVERY: usize = 3;

fn timeline() -> Vec<TimedRecord> {
    let mut all = records(&recording("short"), session_id("dead-letters", 0), RECORDED_AT, 0);
    let media = all.iter_mut().filter(|timed| timed.record.topic == Topic::AvAudio);
    for timed in media.step_by(EVERY) {
        timed.record.headers.clear();
    }
    all
}

#[test]
fn the_topic_says_what_the_table_says() {
    let set = TopicSet::recorded("dead-letters", 2);
    set.feed(vec![timeline()], Pace::Max);
    let run = |run| {
        let letters: Box<dyn Sink> = Box::new(DeadLetters::open(set.log()).expect("the topic"));
        set.run_into(vec![letters], Settings::WITHOUT_MODELS, run, |_| {})
    };
    // Two runs that end early, the second of them where the first did; then one to the end.
    let midst = LogTime(RECORDED_AT.0 + 15_000);
    run(Run::Bounded(Range { until: midst, ..Range::ALL }));
    let half = letters(&set).len();
    run(Run::Bounded(Range { until: midst, ..Range::ALL }));
    assert_eq!(letters(&set).len(), half, "nothing is appended twice");
    let whole = run(Run::Bounded(Range::ALL));

    let mut rows: Vec<_> = whole.tables.changes::<DeadLetterRow>();
    rows.sort_by_key(|(epoch, row, _)| (*epoch, row.topic.clone(), row.partition, row.record_offset));
    assert!(half > 10 && rows.len() > half + 10, "{half} of {} before the restart", rows.len());
    let rows: Vec<_> = rows.into_iter().map(|(epoch, row, _)| (epoch, row)).collect();
    assert_eq!(letters(&set), rows, "the topic (left) and the table (right)");
}

/// What the topic holds, in order of epoch and place.
fn letters(set: &TopicSet) -> Vec<(LogTime, DeadLetterRow)> {
    let records = read_all(set.log(), &[Topic::DeadLetters]);
    let mut letters: Vec<_> = records
        .iter()
        .map(|record| {
            let letter = DeadLetter::decode(&record.value).expect("a letter");
            (DeadLetter::epoch_of(record).expect("an epoch"), DeadLetterRow::from(letter))
        })
        .collect();
    letters.sort_by_key(|(epoch, row)| (*epoch, row.topic.clone(), row.partition, row.record_offset));
    letters
}
