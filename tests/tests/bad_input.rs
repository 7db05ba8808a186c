//! Bad records on a real broker: each becomes a dead letter, is counted, and changes nothing else.
//!
//! Every case feeds the same session twice, once clean and once with one more record in its midst, and compares
//! all tables. Two of them must differ, by exactly what the case says: `dead_letters` and `record_classes`; and
//! `health` and `alerts` must tell of a filed record, and of nothing else. One column may: a record more in a partition moves the offsets behind it, so a segment's `evidence_offset` in that
//! partition is one higher where it points behind the extra record.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bytes::Bytes;
use lsie_connectors::feed::{Pace, TimedRecord, session_id};
use lsie_schemas::log::{Appended, MAX_RECORD_BYTES, NewRecord};
use lsie_schemas::record::{HEADER_CAPTURE_US, HEADER_CODEC, HEADER_SEQ, HEADER_VERSION};
use lsie_schemas::row::{AlertRow, DeadLetterRow, HealthRow, RecordClassRow, SegmentRow, SegmentStreamRow};
use lsie_schemas::topic::partition_of;
use lsie_schemas::{Cell, LogTime, TableRow, Topic};
use lsie_tests::broker;
use lsie_tests::harness::{Settings, TopicSet};
use lsie_tests::sessions::{RECORDED_AT, recording, records};
use lsie_tests::tables::{State, Tables};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Where the bad record stands in the session, in ms.
const MIDST_MS: u64 = 15_000;
/// A sequence number far ahead: a bad record that is taken note of would make all later ones late.
const FAR_SEQ: &str = "1000000";
const PARTITIONS: i32 = 2;
const HOUR_US: i64 = 3_600_000_000;

/// The tables of the clean session without models, and the session with them.
static CLEAN: LazyLock<Tables> = LazyLock::new(|| clean(Settings::WITHOUT_MODELS));
static CLEAN_MEASURED: LazyLock<Tables> = LazyLock::new(|| clean(Settings::WITH_MODELS));

fn session() -> Uuid {
    session_id("bad-input", 0)
}

fn timeline() -> Vec<TimedRecord> {
    records(&recording("short"), session(), RECORDED_AT, 0)
}

fn clean(settings: Settings) -> Tables {
    let set = TopicSet::recorded("clean", PARTITIONS);
    set.feed(vec![timeline()], Pace::Max);
    let tables = set.replay(settings).tables;
    assert_eq!(tables.rows::<SegmentRow>().len(), 2, "the clean session has two segments");
    assert!(tables.rows::<DeadLetterRow>().is_empty());
    tables
}

/// What the extra record must lead to.
struct Wanted {
    /// `unattributed`, or the session's id.
    session: String,
    class: &'static str,
    reason: &'static str,
}

fn filed(reason: &'static str) -> Wanted {
    Wanted { session: session().to_string(), class: "filed", reason }
}

/// A copy of the first record of a topic at or after an instant, made bad.
fn spoilt(topic: Topic, from_ms: u64, spoil: impl FnOnce(&mut NewRecord)) -> TimedRecord {
    let mut all = timeline().into_iter();
    let mut found =
        all.find(|timed| timed.record.topic == topic && timed.at_ms >= from_ms).expect("a record");
    spoil(&mut found.record);
    found
}

fn set_header(record: &mut NewRecord, name: &str, value: impl Into<Bytes>) {
    let header = record.headers.iter_mut().find(|(n, _)| n == name).expect("the header is there");
    header.1 = value.into();
}

/// A record that may not be taken note of: with a sequence number of its own.
fn unused(topic: Topic, spoil: impl FnOnce(&mut NewRecord)) -> TimedRecord {
    spoilt(topic, MIDST_MS, |record| {
        set_header(record, HEADER_SEQ, FAR_SEQ);
        spoil(record);
    })
}

fn check(extra: TimedRecord, wanted: Wanted) {
    check_with(&CLEAN, Settings::WITHOUT_MODELS, extra, |set, record| set.append(record), wanted);
}

/// Feeds the session with the extra record behind those that are due before it, and compares.
fn check_with(
    clean: &Tables,
    settings: Settings,
    extra: TimedRecord,
    append: impl FnOnce(&TopicSet, NewRecord) -> Appended,
    wanted: Wanted,
) {
    let set = TopicSet::recorded("bad-input", PARTITIONS);
    let (before, after): (Vec<_>, Vec<_>) =
        timeline().into_iter().partition(|timed| timed.at_ms <= extra.at_ms);
    set.feed(vec![before], Pace::Max);
    let at = append(&set, extra.record.clone());
    set.feed(vec![after], Pace::Max);
    let tables = set.replay(settings).tables;

    assert_dead_letter(&tables, &extra.record, at, &wanted);
    assert_counted(clean, &tables, at, &wanted);
    assert_told(&tables, &extra.record, &wanted);
    let (clean, dirty) = (comparable(clean, at, false), comparable(&tables, at, true));
    assert!(clean.keys().eq(dirty.keys()), "{:?} against {:?}", clean.keys(), dirty.keys());
    for (name, rows) in &clean {
        assert_eq!(rows, &dirty[name], "table {name} of the clean session (left) and of the other (right)");
    }
}

/// The one dead letter says what and where, and of the value only hash and size.
fn assert_dead_letter(tables: &Tables, record: &NewRecord, at: Appended, wanted: &Wanted) {
    let letters = tables.rows::<DeadLetterRow>();
    if wanted.class != "filed" {
        return assert!(letters.is_empty(), "{letters:?}");
    }
    let [letter] = letters.as_slice() else { panic!("one dead letter: {letters:?}") };
    assert_eq!(letter.reason, wanted.reason, "{letter:?}");
    assert_eq!(letter.topic, record.topic.name());
    assert_eq!((letter.partition, letter.record_offset), (i64::from(at.at.partition), at.offset));
    assert_eq!(letter.session_id.map_or("unattributed".into(), |id| id.to_string()), wanted.session);
    let hash: String = Sha256::digest(&record.value).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((&letter.sha256, letter.size), (&hash, record.value.len() as i64));
    assert!(letter.detail.len() < 200, "a detail is no payload: {}", letter.detail);
}

/// The record is counted once, and no other count changes.
fn assert_counted(clean: &Tables, tables: &Tables, at: Appended, wanted: &Wanted) {
    let mut expected = counts(clean);
    let key = [&wanted.session, at.at.topic.name(), wanted.class, wanted.reason].map(String::from);
    *expected.entry(key).or_default() += 1;
    assert_eq!(counts(tables), expected, "record classes (left) and those of the clean session and one more");
}

/// A filed record is one alert, which names its topic and its reason; any other is none.
fn assert_told(tables: &Tables, record: &NewRecord, wanted: &Wanted) {
    let alerts = tables.rows::<AlertRow>().into_iter();
    let told: Vec<String> =
        alerts.filter(|row| is_ingest(row.subsystem_key.as_deref())).map(|row| row.message).collect();
    if wanted.class != "filed" {
        return assert!(told.is_empty(), "{told:?}");
    }
    let [message] = told.as_slice() else { panic!("one alert: {told:?}") };
    let what = format!("{}: {}", record.topic.name(), wanted.reason);
    assert!(message.contains(&what), "{message} tells of {what}");
}

fn is_ingest(subsystem: Option<&str>) -> bool {
    subsystem == Some("ingest")
}

fn counts(tables: &Tables) -> BTreeMap<[String; 4], i64> {
    let rows = tables.rows::<RecordClassRow>().into_iter();
    rows.map(|row| ([row.session, row.topic, row.class, row.reason], row.records)).collect()
}

/// All tables but the two of law 4 and what the watch says of ingest, with offsets as if the extra record were not
/// there, if it `is_in`.
fn comparable(tables: &Tables, extra: Appended, is_in: bool) -> BTreeMap<String, State> {
    let mut state = tables.state();
    state.remove(DeadLetterRow::TABLE.name);
    state.remove(RecordClassRow::TABLE.name);
    let alerts = tables.rows::<AlertRow>().into_iter().filter(|row| !is_ingest(row.subsystem_key.as_deref()));
    state.insert(AlertRow::TABLE.name.into(), alerts.map(|row| (row.cells(), 1)).collect());
    let health = tables.rows::<HealthRow>().into_iter().filter(|row| !is_ingest(Some(&row.subsystem_key)));
    state.insert(HealthRow::TABLE.name.into(), health.map(|row| (row.cells(), 1)).collect());
    let own = partition_of(session().to_string().as_bytes(), PARTITIONS);
    let segments = tables.rows::<SegmentRow>().into_iter().map(|mut row| {
        let of_stream =
            |at: &Appended| at.at.topic.name().strip_prefix("av.") == row.evidence_stream.as_deref();
        let moved = Some(extra).filter(|at| is_in && at.at.partition == own && of_stream(at));
        if let (Some(at), Some(offset)) = (moved, row.evidence_offset.as_mut())
            && *offset > at.offset
        {
            *offset -= 1;
        }
        (row.cells(), 1)
    });
    let segments: BTreeMap<Vec<Cell>, i64> = segments.collect();
    state.insert(SegmentRow::TABLE.name.into(), segments);
    let streams = tables.rows::<SegmentStreamRow>().into_iter().map(|mut row| {
        if row.topic == extra.at.topic.name() && row.partition == Some(extra.at.partition.into()) {
            // One that only the decoder refuses went into its segment, and shifts what comes behind it.
            row = SegmentStreamRow {
                records: 0,
                last_offset: None,
                last_event_time: None,
                reached_offset: None,
                reached_event_time: None,
                ..row
            };
            row.first_offset = row.first_offset.map(|at| at - i64::from(is_in && at > extra.offset));
        }
        (row.cells(), 1)
    });
    state.insert(SegmentStreamRow::TABLE.name.into(), streams.collect());
    state
}

#[test]
fn a_truncated_audio_chunk() {
    let cut = |record: &mut NewRecord| record.value = record.value.slice(..record.value.len() - 1);
    check(unused(Topic::AvAudio, cut), filed("truncated"));
}

#[test]
fn video_that_is_no_access_unit() {
    let garbage = |record: &mut NewRecord| record.value = Bytes::from(noise(2_000));
    check(unused(Topic::AvVideo, garbage), filed("not_annex_b"));
}

/// The decoder itself has to refuse these, so the models run. They follow the last frame: a hole in the midst of
/// a stream would take the frames up to the next key frame with it, which is no property of bad input.
#[test]
fn an_access_unit_of_garbage() {
    let check = |spoil: fn(&mut NewRecord), reason| {
        let extra = after_the_last_frame(spoil);
        check_with(
            &CLEAN_MEASURED,
            Settings::WITH_MODELS,
            extra,
            |set, record| set.append(record),
            filed(reason),
        );
    };
    // The head of a picture that follows others, and then nothing that makes sense.
    check(
        |record| record.value = [&[0, 0, 0, 1, 0x41][..], &noise(3_000)].concat().into(),
        "missing_reference",
    );
    // A picture whose second half was overwritten.
    check(
        |record| {
            let half = record.value.len() / 2;
            record.value = [&record.value[..half], &noise(3_000)].concat().into();
        },
        "corrupt",
    );
}

/// A copy of the last frame that claims to be its successor, made bad.
fn after_the_last_frame(spoil: fn(&mut NewRecord)) -> TimedRecord {
    let mut last = timeline().into_iter().rfind(|timed| timed.record.topic == Topic::AvVideo).expect("video");
    let capture: i64 = header_number(&last.record, HEADER_CAPTURE_US);
    let seq: i64 = header_number(&last.record, HEADER_SEQ);
    set_header(&mut last.record, HEADER_SEQ, (seq + 1).to_string());
    set_header(&mut last.record, HEADER_CAPTURE_US, (capture + 10_000).to_string());
    spoil(&mut last.record);
    last
}

#[test]
fn a_wrong_codec() {
    check(unused(Topic::AvAudio, |record| set_header(record, HEADER_CODEC, "opus")), filed("wrong_codec"));
    check(unused(Topic::AvVideo, |record| set_header(record, HEADER_CODEC, "vp9")), filed("wrong_codec"));
}

#[test]
fn a_missing_header() {
    let without = |record: &mut NewRecord| record.headers.retain(|(name, _)| name != HEADER_CAPTURE_US);
    check(unused(Topic::AvVideo, without), filed("missing_header"));
}

#[test]
fn an_unknown_schema_version() {
    check(
        unused(Topic::AvAudio, |record| set_header(record, HEADER_VERSION, "99")),
        filed("unknown_version"),
    );
    check(json(r#"{"v":99,"type":"end","session_id":"SESSION"}"#), filed("unknown_version"));
}

#[test]
fn json_with_a_missing_field() {
    check(json(r#"{"v":1,"type":"stimulus","session_id":"SESSION"}"#), filed("missing_field"));
}

#[test]
fn a_session_id_that_is_no_uuid() {
    let nobody = || Wanted { session: "unattributed".into(), ..filed("bad_session_id") };
    check(unused(Topic::AvAudio, |record| record.key = "studio-one".into()), nobody());
    let mut end = json(r#"{"v":1,"type":"end","session_id":"studio-one"}"#);
    end.record.key = "studio-one".into();
    check(end, nobody());
}

#[test]
fn a_capture_time_an_hour_ahead() {
    let ahead = |record: &mut NewRecord| {
        let capture: i64 = header_number(record, HEADER_CAPTURE_US);
        set_header(record, HEADER_CAPTURE_US, (capture + HOUR_US).to_string());
    };
    check(unused(Topic::AvAudio, ahead), filed("future"));
    check(unused(Topic::AvVideo, ahead), filed("future"));
}

#[test]
fn a_log_timestamp_an_hour_ahead() {
    let ahead = |record: &mut NewRecord| {
        let at = record.timestamp.expect("a recorded timeline has timestamps");
        record.timestamp = Some(LogTime(at.0 + HOUR_US as u64 / 1_000));
    };
    check(unused(Topic::AvVideo, ahead), filed("future"));
}

/// Answers of models: unreadable, of another version, of nobody's asking, of a session that never began.
#[test]
fn a_bad_answer() {
    let answer = |text: &str| {
        let mut timed = json(text);
        timed.record.topic = Topic::Inference;
        timed
    };
    let rest = format!(
        r#""request_id":"{0}","ordinal":1,"input_sha256":"{0}","model":"m","none":"deadline""#,
        "a".repeat(64)
    );
    check(answer("hello, is this on?"), filed("malformed_json"));
    check(
        answer(&format!(r#"{{"v":2,"type":"speech","session_id":"SESSION",{rest}}}"#)),
        filed("unknown_version"),
    );
    check(
        answer(&format!(r#"{{"v":1,"type":"face","session_id":"SESSION",{rest}}}"#)),
        filed("unknown_type"),
    );
    check(answer(r#"{"v":1,"type":"speech","session_id":"SESSION"}"#), filed("missing_field"));
    check(
        answer(&format!(r#"{{"v":1,"type":"speech","session_id":"SESSION",{rest}}}"#)),
        filed("unrequested"),
    );
    let stranger = "11111111-2222-4333-8444-555555555555";
    let mut unknown = answer(&format!(r#"{{"v":1,"type":"speech","session_id":"{stranger}",{rest}}}"#));
    check(unknown.clone(), filed("key_mismatch"));
    unknown.record.key = stranger.into();
    check(unknown, Wanted { session: stranger.into(), ..filed("unknown_session") });
}

/// Our own log refuses to append it, so another producer does.
#[test]
fn a_record_above_the_size_limit() {
    let extra = unused(Topic::AvAudio, |record| record.value = Bytes::from(vec![7; MAX_RECORD_BYTES + 2]));
    check_with(&CLEAN, Settings::WITHOUT_MODELS, extra, append_raw, filed("oversized"));
}

#[test]
fn a_sequence_number_that_was_there() {
    let duplicate = || Wanted { class: "duplicate", ..filed("") };
    check(spoilt(Topic::AvAudio, MIDST_MS, |_| {}), duplicate());
    check(spoilt(Topic::AvVideo, MIDST_MS, |_| {}), duplicate());
}

/// One session in one of eight partitions; the rest stay empty for ever.
#[test]
fn partitions_without_records_stall_nothing() {
    let set = TopicSet::recorded("empty", 8);
    set.feed(vec![timeline()], Pace::Max);
    for workers in [1, 4] {
        let tables = set.replay(Settings { workers, ..Settings::WITHOUT_MODELS }).tables;
        assert_eq!(tables.state(), CLEAN.state(), "{workers} workers");
    }
}

/// A control record of this text, with the session's id in it and as its key.
fn json(text: &str) -> TimedRecord {
    let key = session().to_string();
    let value = Bytes::from(text.replace("SESSION", &key));
    let timestamp = Some(RECORDED_AT.plus_ms(MIDST_MS));
    let record = NewRecord { topic: Topic::Control, key: key.into(), value, headers: Vec::new(), timestamp };
    TimedRecord { at_ms: MIDST_MS, record }
}

fn header_number(record: &NewRecord, name: &str) -> i64 {
    let (_, value) = record.headers.iter().find(|(n, _)| n == name).expect("the header is there");
    std::str::from_utf8(value).expect("text").parse().expect("a number")
}

/// Bytes without a pattern, the same in every run.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let byte = |_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 24) as u8
    };
    (0..len).map(byte).collect()
}

/// Appends past our own limits, as any producer could.
fn append_raw(set: &TopicSet, record: NewRecord) -> Appended {
    let topic = format!("{}{}", set.prefix(), record.topic.name());
    let partitions = set.log().topic(record.topic).expect("the log answers").expect("the topic").partitions;
    let partition = partition_of(&record.key, partitions);
    let at = lsie_schemas::log::TopicPartition { topic: record.topic, partition };
    let (_, offset) = set.log().bounds(at).expect("the log answers");
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", broker::bootstrap())
        .set("message.max.bytes", (2 * MAX_RECORD_BYTES).to_string())
        .create()
        .expect("a producer");
    let mut headers = rdkafka::message::OwnedHeaders::new();
    for (name, value) in &record.headers {
        headers = headers.insert(rdkafka::message::Header { key: name, value: Some(value.as_ref()) });
    }
    let log_time = record.timestamp.expect("a recorded timeline has timestamps");
    let raw = BaseRecord::to(&topic)
        .partition(partition)
        .key(record.key.as_ref())
        .payload(record.value.as_ref())
        .timestamp(log_time.0 as i64)
        .headers(headers);
    producer.send(raw).map_err(|(error, _)| error).expect("room for one record");
    producer.flush(std::time::Duration::from_secs(30)).expect("a delivery");
    let (_, end) = set.log().bounds(at).expect("the log answers");
    assert_eq!(end, offset + 1, "the broker took the record");
    Appended { at, offset, log_time }
}
