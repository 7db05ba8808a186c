//! Alignment under the laws: sessions of audio and video with a drifting clock, gaps, doubles, bad numbers.

use bytes::Bytes;
use lsie_operators::align::{Align, Aligned, Arrived, Limits};
use lsie_operators::logic::Logic;
use lsie_schemas::log::{LogRecord, NewRecord, TopicPartition};
use lsie_schemas::record::{
    AudioChunk, ClockPoll, Control, EndSession, StartSession, Stimulus, Stream, Subjects, VideoUnit,
};
use lsie_schemas::{LogTime, Topic, codec};
use proptest::prelude::*;
use uuid::Uuid;

use crate::laws::{Script, order_changes_nothing, restarts_in_pieces_change_nothing, run};

const BASE_MS: u64 = 1_767_607_200_000;
const EPOCH_MS: u64 = 500;
/// Longer than a segment, and than what follows it.
const EPOCHS: u64 = 80;

fn session(number: u128) -> Uuid {
    Uuid::from_u128(0x3f2b8c1e_5a4d_4e6f_8a9b_0c1d2e3f0000 + number)
}

/// What may go wrong with a chunk on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    Arrives,
    Lost,
    Twice,
    /// Its number is that of the one before.
    Renumbered,
    Delayed,
    /// The device's clock reads so many ms more.
    Stepped(i64),
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        20 => Just(Fate::Arrives),
        1 => Just(Fate::Lost),
        1 => Just(Fate::Twice),
        1 => Just(Fate::Renumbered),
        1 => Just(Fate::Delayed),
        1 => (-200i64..200).prop_map(Fate::Stepped),
    ]
}

/// One session's life: epochs of its start record and its end, ms that its clock is off, fates of its chunks.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) offset_ms: i64,
    pub(crate) fates: Vec<Fate>,
    pub(crate) streams: Vec<Stream>,
}

prop_compose! {
    pub(crate) fn life()(
        start in 0u64..6,
        end in 20u64..EPOCHS,
        offset_ms in -2_000i64..2_000,
        fates in prop::collection::vec(fate(), 1..60),
        both in any::<bool>(),
    ) -> Life {
        let streams = if both { vec![Stream::Audio, Stream::Video] } else { vec![Stream::Audio] };
        Life { start, end, offset_ms, fates, streams }
    }
}

/// Gives records their places.
#[derive(Default)]
struct Places(std::collections::BTreeMap<TopicPartition, i64>);

impl Places {
    fn arrive(&mut self, epoch: LogTime, record: NewRecord) -> Arrived {
        let at = TopicPartition { topic: record.topic, partition: 0 };
        let offset = self.0.entry(at).or_default();
        *offset += 1;
        let raw = LogRecord {
            at,
            offset: *offset,
            log_time: epoch,
            key: Some(record.key),
            value: record.value,
            headers: record.headers,
        };
        let record = codec::decode(&raw).expect("the script writes valid records");
        Arrived { raw, record }
    }
}

pub(crate) fn script(lives: &[Life]) -> Script<Arrived> {
    let mut places = Places::default();
    let line = |number: u64| {
        let epoch = LogTime(BASE_MS + number * EPOCH_MS);
        let mut records = Vec::new();
        for (index, life) in lives.iter().enumerate() {
            happen(session(index as u128), life, number, &mut records);
        }
        (epoch, records.into_iter().map(|record| places.arrive(epoch, record)).collect())
    };
    (0..EPOCHS + 20).map(line).collect()
}

/// What a session sends in an epoch. Its media begin two epochs after the script's first, so that they may
/// come before its start record.
fn happen(id: Uuid, life: &Life, epoch: u64, out: &mut Vec<NewRecord>) {
    let device_us = |ms: u64| (ms as i64 + life.offset_ms) * 1_000;
    let now_ms = BASE_MS + epoch * EPOCH_MS;
    let control = |control: Control| control.encode(None);
    if epoch == life.start {
        out.push(control(Control::Start(StartSession {
            session_id: id,
            streams: life.streams.clone(),
            subjects: Subjects::default(),
            watched_account: None,
            source_url: "test:session".into(),
            experiment_id: "greeting_line_v1".into(),
            client_action_id: None,
        })));
    }
    if epoch % 20 == life.start + 4 {
        out.push(control(Control::ClockPoll(ClockPoll {
            session_id: id,
            host_before_us: now_ms as i64 * 1_000,
            host_after_us: now_ms as i64 * 1_000 + 2_000,
            device_us: (!epoch.is_multiple_of(3)).then(|| device_us(now_ms)),
        })));
    }
    if epoch % 25 == 14 {
        let client_action_id = Uuid::from_u128(id.as_u128() ^ u128::from(epoch) << 64);
        let stimulus =
            Stimulus { session_id: id, client_action_id, operator_note: None, received_at_utc: None };
        out.push(control(Control::Stimulus(stimulus)));
    }
    if epoch == life.end {
        out.push(control(Control::End(EndSession { session_id: id, client_action_id: None })));
    }
    if epoch < 2 || epoch >= life.end {
        return;
    }
    let number = epoch - 2;
    let chunk = |number: u64, seq: u64, step_ms: i64| {
        // Exactly as long as the time to the next: a run goes on over many chunks.
        let length = EPOCH_MS as usize * 48;
        let pcm: Vec<u8> =
            (0..length).flat_map(|i| ((i as u64 * 7_919 + number) as i16).to_le_bytes()).collect();
        let capture_us = device_us(BASE_MS + number * EPOCH_MS) + step_ms * 1_000;
        AudioChunk { session_id: id, seq, capture_us, pcm: Bytes::from(pcm) }.encode(None)
    };
    match life.fates[number as usize % life.fates.len()] {
        Fate::Arrives => out.push(chunk(number, number, 0)),
        Fate::Lost => {}
        Fate::Twice => out.extend([chunk(number, number, 0), chunk(number, number, 0)]),
        Fate::Renumbered => out.push(chunk(number, number.saturating_sub(1), 0)),
        Fate::Delayed => out.extend(number.checked_sub(3).map(|early| chunk(early, early, 0))),
        Fate::Stepped(ms) => out.push(chunk(number, number, ms)),
    }
    if life.streams.contains(&Stream::Video) {
        let capture_us = device_us(BASE_MS + number * EPOCH_MS);
        let unit = Bytes::from_static(&[0, 0, 0, 1, 0x65, 1, 2, 3]);
        out.push(VideoUnit { session_id: id, seq: number, capture_us, key_frame: true, unit }.encode(None));
    }
}

pub(crate) fn make() -> Align {
    Align::new(Limits::default())
}

/// What is said about sessions, without the classes of records.
fn results(words: Vec<Vec<Aligned>>) -> Vec<Vec<Aligned>> {
    let counts = |word: &Aligned| !matches!(word, Aligned::Classified(_) | Aligned::Dead(_));
    words.into_iter().map(|words| words.into_iter().filter(counts).collect()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    #[test]
    fn restarts(lives in prop::collection::vec(life(), 1..4)) {
        restarts_in_pieces_change_nothing(make, &script(&lives));
    }

    #[test]
    fn order(
        lives in prop::collection::vec(life(), 1..4),
        turns in prop::collection::vec(0usize..8, 1..5),
    ) {
        order_changes_nothing(make, &script(&lives), &turns);
    }

    /// A media record that comes again is a duplicate or late, and changes nothing else.
    #[test]
    fn duplicates(lives in prop::collection::vec(life(), 1..4), later in 0usize..6) {
        let script = script(&lives);
        let mut doubled = script.clone();
        for line in (later..script.len()).rev() {
            let media = |arrived: &&Arrived| arrived.raw.at.topic == Topic::AvAudio;
            let again: Vec<Arrived> = script[line - later].1.iter().filter(media).cloned().collect();
            // It stands behind all others of its topic.
            let again = again.into_iter().map(|mut arrived| {
                arrived.raw.offset += 1_000_000;
                arrived.raw.log_time = script[line].0;
                arrived
            });
            doubled[line].1.extend(again);
        }
        let (words, expected) = (results(run(make(), &doubled)), results(run(make(), &script)));
        prop_assert_eq!(without_offsets(words), without_offsets(expected));
    }
}

/// Offsets differ where a record more stands in a partition.
fn without_offsets(mut words: Vec<Vec<Aligned>>) -> Vec<Vec<Aligned>> {
    for word in words.iter_mut().flatten() {
        if let Aligned::Closed(segment) = word
            && let Some(evidence) = &mut segment.evidence
        {
            evidence.offset = None;
        }
    }
    words
}

/// The scripts are worth something: segments close with audio in them, in all these ways.
#[test]
fn the_scripts_close_segments() {
    let life =
        Life { start: 3, end: 70, offset_ms: 700, fates: vec![Fate::Arrives], streams: vec![Stream::Audio] };
    let words = run(make(), &script(&[life]));
    let closed: Vec<i64> = words
        .iter()
        .flatten()
        .filter_map(|word| match word {
            Aligned::Closed(segment) => Some(segment.audio_samples),
            _ => None,
        })
        .collect();
    assert_eq!(closed.len(), 2);
    assert!(closed.iter().all(|samples| *samples > 50_000), "{closed:?}");
}

/// A snapshot holds no media.
#[test]
fn a_snapshot_is_small() {
    let life = Life {
        start: 3,
        end: 70,
        offset_ms: 0,
        fates: vec![Fate::Arrives, Fate::Lost, Fate::Arrives],
        streams: vec![Stream::Audio, Stream::Video],
    };
    let mut align = make();
    for (epoch, records) in script(&[life]).into_iter().take(60) {
        align.on_epoch(epoch, records, &mut Vec::new());
        let bytes = serde_json::to_vec(&align.snapshot()).expect("a snapshot can be written");
        assert!(bytes.len() < 8_000, "{} bytes", bytes.len());
    }
}
