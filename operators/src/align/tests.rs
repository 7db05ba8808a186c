//! Scripts: records and epochs in, words out.

use bytes::Bytes;
use lsie_schemas::codec;
use lsie_schemas::log::{NewRecord, TopicPartition};
use lsie_schemas::record::*;

use super::*;

const SESSION: Uuid = Uuid::from_u128(0x3f2b8c1e_5a4d_4e6f_8a9b_0c1d2e3f4a5b);
const BASE_MS: u64 = 1_767_607_200_000;

/// A session under test: appends records as a log would and closes epochs every 250 ms.
struct Script {
    align: Align,
    offset: i64,
    epoch: u64,
    words: Vec<Aligned>,
}

impl Script {
    fn started(streams: &[Stream]) -> Script {
        let mut script =
            Script { align: Align::new(Limits::default()), offset: 0, epoch: BASE_MS, words: Vec::new() };
        let start = StartSession {
            session_id: SESSION,
            streams: streams.to_vec(),
            subjects: Subjects::default(),
            watched_account: None,
            source_url: "test:session".into(),
            experiment_id: "greeting_line_v1".into(),
            client_action_id: None,
        };
        script.epoch_with(&[Control::Start(start).encode(None)]);
        script
    }

    fn epoch_with(&mut self, records: &[NewRecord]) {
        self.epoch += 250;
        let arrived = records.iter().map(|record| self.arrive(record)).collect();
        let mut out = Vec::new();
        self.align.on_epoch(LogTime(self.epoch), arrived, &mut out);
        self.words.extend(out);
    }

    fn arrive(&mut self, record: &NewRecord) -> Arrived {
        self.offset += 1;
        let raw = LogRecord {
            at: TopicPartition { topic: record.topic, partition: 0 },
            offset: self.offset,
            log_time: record.timestamp.unwrap_or(LogTime(self.epoch)),
            key: Some(record.key.clone()),
            value: record.value.clone(),
            headers: record.headers.clone(),
        };
        let record = codec::decode(&raw).expect("the script writes valid records");
        Arrived { raw, record }
    }

    /// Lets `seconds` of audio arrive at the pace of log time, starting at event second `from`.
    fn audio(&mut self, from: u64, seconds: u64) {
        for quarter in from * 4..(from + seconds) * 4 {
            self.epoch_with(&[audio(quarter, (BASE_MS as i64 + quarter as i64 * 250) * 1_000)]);
        }
    }

    fn silence(&mut self, seconds: u64) {
        for _ in 0..seconds * 4 {
            self.epoch_with(&[]);
        }
    }

    fn closed(&self) -> Vec<(i64, &'static str, i64)> {
        let closed = self.words.iter().filter_map(|word| match word {
            Aligned::Closed(segment) => Some((segment.ordinal, segment.rule.name(), segment.audio_samples)),
            _ => None,
        });
        closed.collect()
    }

    fn classes(&self) -> BTreeMap<(&'static str, String), usize> {
        let mut counts = BTreeMap::new();
        for word in &self.words {
            if let Aligned::Classified(c) = word {
                *counts.entry((c.class.name(), c.reason.clone())).or_default() += 1;
            }
        }
        counts
    }
}

fn audio(seq: u64, capture_us: i64) -> NewRecord {
    let pcm = Bytes::from(vec![0; 24_000]);
    AudioChunk { session_id: SESSION, seq, capture_us, pcm }.encode(None)
}

fn poll(host_us: i64, device_us: Option<i64>) -> NewRecord {
    let poll = ClockPoll { session_id: SESSION, host_before_us: host_us, host_after_us: host_us, device_us };
    Control::ClockPoll(poll).encode(None)
}

fn synced() -> NewRecord {
    poll(BASE_MS as i64 * 1_000, Some(BASE_MS as i64 * 1_000))
}

fn stimulus(action: u128) -> NewRecord {
    let client_action_id = Uuid::from_u128(action);
    let stimulus =
        Stimulus { session_id: SESSION, client_action_id, operator_note: None, received_at_utc: None };
    Control::Stimulus(stimulus).encode(None)
}

fn end() -> NewRecord {
    Control::End(EndSession { session_id: SESSION, client_action_id: None }).encode(None)
}

#[test]
fn segments_close_when_the_stream_is_past_by_the_lateness() {
    let mut script = Script::started(&[Stream::Audio]);
    script.epoch_with(&[synced()]);
    script.audio(0, 31);
    assert_eq!(script.closed(), []);
    script.audio(31, 1);
    assert_eq!(script.closed(), [(1, "complete", 480_000)]);
}

#[test]
fn an_end_flushes_the_partial_segment() {
    let mut script = Script::started(&[Stream::Audio]);
    script.epoch_with(&[synced()]);
    script.audio(0, 40);
    script.epoch_with(&[end()]);
    script.silence(3);
    assert_eq!(script.closed(), [(1, "complete", 480_000), (2, "ended", 160_000)]);
    assert!(script.words.iter().any(|word| matches!(word, Aligned::Ended { .. })));
    script.epoch_with(&[audio(1_000, BASE_MS as i64 * 1_000)]);
    assert_eq!(script.classes()[&("late", "session_ended".to_string())], 1);
}

#[test]
fn a_declared_stream_that_never_comes_stalls_and_does_not_hold() {
    let mut script = Script::started(&[Stream::Audio, Stream::Video]);
    script.epoch_with(&[synced()]);
    script.audio(0, 32);
    assert_eq!(script.closed(), [(1, "stalled", 480_000)]);
}

#[test]
fn silence_of_all_streams_closes_by_max_wait() {
    let mut script = Script::started(&[Stream::Audio]);
    script.epoch_with(&[synced()]);
    script.audio(0, 10);
    script.silence(81);
    assert_eq!(script.closed(), [(1, "max_wait", 160_000)]);
}

#[test]
fn media_wait_for_the_first_poll_and_are_then_corrected() {
    let mut script = Script::started(&[Stream::Audio]);
    let device_us = (BASE_MS as i64 - 1_700) * 1_000;
    script.epoch_with(&[audio(0, device_us)]);
    assert!(!script.words.iter().any(|word| matches!(word, Aligned::Anchored { .. })));
    script.epoch_with(&[poll(BASE_MS as i64 * 1_000, Some(device_us))]);
    let anchor = script.words.iter().find_map(|word| match word {
        Aligned::Anchored { anchor, .. } => Some(*anchor),
        _ => None,
    });
    assert_eq!(anchor, Some(LogTime(BASE_MS).as_event()));
}

#[test]
fn without_polls_media_are_taken_after_three_failures_or_the_start_wait() {
    for failures in [0, 3] {
        let mut script = Script::started(&[Stream::Audio]);
        script.epoch_with(&[audio(0, BASE_MS as i64 * 1_000)]);
        for _ in 0..failures {
            script.epoch_with(&[poll(0, None)]);
        }
        if failures == 0 {
            script.silence(5);
        }
        assert!(script.words.iter().any(|word| matches!(word, Aligned::Anchored { .. })), "{failures}");
    }
}

#[test]
fn every_record_gets_one_class() {
    let mut script = Script::started(&[Stream::Audio]);
    script.epoch_with(&[synced()]);
    let at = |s: i64| (BASE_MS as i64 + s * 1_000) * 1_000;
    script.epoch_with(&[
        audio(0, at(0)),
        audio(1, at(0) + 250_000),
        audio(1, at(0) + 250_000),
        audio(5, at(0) + 1_250_000),
        audio(3, at(0) + 750_000),
        audio(6, at(3_600)),
        stimulus(1),
        stimulus(1),
        stimulus(2),
    ]);
    script.epoch_with(&[audio(7, at(-10))]);
    let expected: BTreeMap<(&str, String), usize> = [
        (("used", ""), 6),
        (("duplicate", ""), 2),
        (("late", "out_of_order"), 1),
        (("filed", "future"), 1),
        (("late", "before_anchor"), 1),
        (("filed", "measurement_open"), 1),
    ]
    .map(|((class, reason), n)| ((class, reason.to_string()), n))
    .into();
    assert_eq!(script.classes(), expected);
}

#[test]
fn records_of_a_session_without_a_start_are_held_then_filed() {
    let mut align = Script::started(&[Stream::Audio]);
    let mut stranger = audio(0, 0);
    stranger.key = Bytes::from_static(b"11111111-2222-4333-8444-555555555555");
    align.epoch_with(&[stranger]);
    align.silence(4);
    assert!(!align.classes().contains_key(&("filed", "unknown_session".to_string())));
    align.silence(2);
    assert_eq!(align.classes()[&("filed", "unknown_session".to_string())], 1);
}
