//! The feeder makes of a recorded session what a live capture would have appended.

#![allow(clippy::disallowed_methods, reason = "a test measures, spawns and reads its environment")]

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lsie_connectors::FileLog;
use lsie_connectors::feed::{self, FeedOptions, Pace, Recording, TimedRecord, merge, session_id, timeline};
use lsie_connectors::file_log::FileLogOptions;
use lsie_schemas::codec;
use lsie_schemas::log::{Fetch, Log, LogRecord, TimestampType, TopicPartition, TopicSpec};
use lsie_schemas::record::{AudioChunk, ClockPoll, Control, Record, Stream, VideoUnit};
use lsie_schemas::{LogTime, Topic};

const BASE: LogTime = LogTime(1_767_607_200_000);

fn recording() -> Arc<Recording> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/sessions/short");
    Arc::new(Recording::open(dir).expect("the short session"))
}

fn options(number: u64) -> FeedOptions {
    FeedOptions::new(BASE, session_id("short", number))
}

/// The record as the engine reads it.
fn decoded(timed: &TimedRecord) -> Record {
    let new = &timed.record;
    codec::decode(&LogRecord {
        at: TopicPartition { topic: new.topic, partition: 0 },
        offset: 0,
        log_time: new.timestamp.expect("a creation time"),
        key: Some(new.key.clone()),
        value: new.value.clone(),
        headers: new.headers.clone(),
    })
    .expect("the feeder writes what the engine reads")
}

struct Fed {
    audio: Vec<(u64, AudioChunk)>,
    video: Vec<(u64, VideoUnit)>,
    control: Vec<(u64, Control)>,
}

fn fed() -> Fed {
    let mut fed = Fed { audio: vec![], video: vec![], control: vec![] };
    for timed in timeline(recording(), options(0)) {
        assert_eq!(timed.record.timestamp, Some(BASE.plus_ms(timed.at_ms)));
        match decoded(&timed) {
            Record::Audio(chunk) => fed.audio.push((timed.at_ms, chunk)),
            Record::Video(unit) => fed.video.push((timed.at_ms, unit)),
            Record::Control(control) => fed.control.push((timed.at_ms, control)),
            Record::Experiment(_)
            | Record::Physio(_)
            | Record::Event(_)
            | Record::Outcome(_)
            | Record::Inference(_)
            | Record::Answered(_) => {
                panic!("the feeder plays media and control")
            }
        }
    }
    fed
}

#[test]
fn media_are_complete_and_stamped_by_the_device_clock() {
    let Fed { audio, video, .. } = fed();
    assert_eq!((audio.len(), video.len()), (350, 35 * 30));
    let host = BASE.as_event().0;
    let device = |elapsed_us: i64| host + elapsed_us - 1_700_000 + (elapsed_us as f64 * 50e-6).round() as i64;
    for (i, (at_ms, chunk)) in audio.iter().enumerate() {
        let i = i as u64;
        assert_eq!((chunk.seq, chunk.samples()), (i, 4_800));
        assert_eq!(chunk.capture_us, device(i as i64 * 100_000));
        assert_eq!(*at_ms, i * 100 + 120, "100 ms of capture and 20 ms of latency");
    }
    for (i, (at_ms, unit)) in video.iter().enumerate() {
        let i = i as u64;
        assert_eq!((unit.seq, unit.key_frame), (i, i.is_multiple_of(30)));
        let elapsed = i * 1_000_000 / 30;
        assert_eq!(unit.capture_us, device(elapsed as i64));
        assert_eq!(*at_ms, (elapsed + 20_000) / 1000);
        let parameters = unit.unit.starts_with(&[0, 0, 0, 1, 0x67]);
        assert_eq!(parameters, unit.key_frame, "a key frame brings its parameter sets");
    }
}

#[test]
fn control_tells_start_polls_stimuli_and_end() {
    let Fed { control, .. } = fed();
    let id = session_id("short", 0);
    assert!(control.is_sorted_by_key(|(at, _)| *at));
    assert!(control.iter().all(|(_, control)| control.session() == id));
    let Some((0, Control::Start(start))) = control.first() else { panic!("start is first") };
    assert_eq!(start.streams, [Stream::Audio, Stream::Video]);
    assert_eq!(
        (start.source_url.as_str(), start.experiment_id.as_str()),
        ("replay:short", "greeting_line_v1")
    );
    let Some((35_000, Control::End(_))) = control.last() else { panic!("end is last") };
    let polls: Vec<(u64, &ClockPoll)> = control
        .iter()
        .filter_map(|(at, c)| if let Control::ClockPoll(poll) = c { Some((*at, poll)) } else { None })
        .collect();
    let offsets: Vec<_> =
        polls.iter().map(|(at, poll)| (*at, poll.device_us.map(|d| d - poll.host_before_us))).collect();
    assert_eq!(offsets, [(0, Some(-1_700_000)), (30_000, Some(-1_698_500))]);
    let script = recording();
    let stimulus = &script.script().stimuli[0];
    let told: Vec<_> = control
        .iter()
        .filter_map(|(at, c)| match c {
            Control::Stimulus(s) => Some((*at, s.client_action_id)),
            _ => None,
        })
        .collect();
    let action = stimulus.client_action_id.expect("the script names its actions");
    assert_eq!(told, [(12_000, action)]);
}

#[test]
fn the_same_feed_twice_is_the_same_and_sessions_merge_by_time() {
    let one: Vec<_> = timeline(recording(), options(0)).collect();
    assert_eq!(one, timeline(recording(), options(0)).collect::<Vec<_>>());
    let recording = recording();
    let sessions = (0..3).map(|number| {
        let mut options = options(number);
        options.start_ms = number * 1_000;
        options.script_actions = number == 0;
        timeline(recording.clone(), options)
    });
    let merged: Vec<_> = merge(sessions.collect()).collect();
    assert_eq!(merged.len(), 3 * one.len());
    assert!(merged.is_sorted_by_key(|record| record.at_ms));
    let first: Vec<_> = merged.iter().filter(|r| r.record.key == one[0].record.key).cloned().collect();
    assert_eq!(first, one);
    let actions: std::collections::BTreeSet<_> = merged
        .iter()
        .filter_map(|timed| match decoded(timed) {
            Record::Control(Control::Stimulus(s)) => Some(s.client_action_id),
            _ => None,
        })
        .collect();
    assert_eq!(actions.len(), 3, "each session has its own actions");
}

fn log_with(dir: &tempfile::TempDir, timestamps: TimestampType) -> FileLog {
    let log = FileLog::open(dir.path(), FileLogOptions::default()).expect("a log");
    let spec = |topic| TopicSpec { topic, partitions: 2, timestamps, retention_ms: None };
    log.create_topics(&[Topic::Control, Topic::AvAudio, Topic::AvVideo].map(spec)).expect("topics");
    log
}

#[test]
fn at_most_speed_a_log_keeps_the_whole_timeline() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = log_with(&dir, TimestampType::Create);
    let mut reports = 0;
    let progress = feed::feed(&log, timeline(recording(), options(0)), Pace::Max, |_| {
        reports += 1;
        ControlFlow::Continue(())
    });
    let progress = progress.expect("fed");
    let expected: Vec<_> = timeline(recording(), options(0)).map(|timed| timed.record).collect();
    assert_eq!((progress.records, progress.at_ms), (expected.len() as u64, 35_020));
    assert!(reports > 1, "the caller is kept informed");
    let topics = [Topic::Control, Topic::AvAudio, Topic::AvVideo];
    let from: Vec<_> = topics
        .iter()
        .flat_map(|topic| (0..2).map(|partition| (TopicPartition { topic: *topic, partition }, 0)))
        .collect();
    let mut reader = log.reader(&from, Fetch::default()).expect("a reader");
    let mut read = Vec::new();
    while read.len() < expected.len() {
        read.extend(reader.poll(Duration::from_secs(5)).expect("a poll"));
    }
    for topic in topics {
        let read: Vec<_> = read.iter().filter(|r| r.at.topic == topic).collect();
        let expected: Vec<_> = expected.iter().filter(|r| r.topic == topic).collect();
        assert_eq!(read.len(), expected.len());
        for (read, expected) in read.iter().zip(expected) {
            assert_eq!((Some(read.log_time), &read.value), (expected.timestamp, &expected.value));
        }
    }
}

#[test]
fn in_real_time_a_record_is_appended_when_it_is_due() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = log_with(&dir, TimestampType::LogAppend);
    let start = Instant::now();
    let progress = feed::feed(&log, timeline(recording(), options(0)), Pace::RealTime, |progress| {
        assert!(start.elapsed().as_millis() as u64 + 6 >= progress.at_ms, "not before it is due");
        if progress.at_ms >= 1_000 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let progress = progress.expect("fed");
    assert!((1_000..1_200).contains(&progress.at_ms), "broken off at {}", progress.at_ms);
    assert!(start.elapsed() >= Duration::from_millis(990));
}

#[test]
fn a_fault_of_the_session_s_files_is_named_at_the_start() {
    let dir = tempfile::tempdir().expect("a directory");
    let from = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/sessions/short");
    let read = |name: &str| Bytes::from(std::fs::read(from.join(name)).expect("a file"));
    let (script, video, audio) = (read("stimulus_script.json"), read("video.mkv"), read("audio.wav.zst"));
    let error = Recording::open(dir.path()).expect_err("an empty directory").to_string();
    assert!(error.contains("stimulus_script.json"), "{error}");
    let refused = |script: &[u8], video: Bytes, audio: Bytes| {
        Recording::from_parts("x", script, video, audio).expect_err("refused").to_string()
    };
    let other = String::from_utf8_lossy(&script).replace("\"fps\": 30", "\"fps\": 25");
    let error = refused(other.as_bytes(), video.clone(), audio.clone());
    assert!(error.contains("x/stimulus_script.json") && error.contains("`fps`"), "{error}");
    let error = refused(&script, video.slice(..video.len() / 2), audio.clone());
    assert!(error.contains("x/video.mkv"), "{error}");
    let error = refused(&script, video.clone(), Bytes::from_static(b"RIFF"));
    assert!(error.contains("x/audio.wav"), "{error}");
    Recording::from_parts("x", &script, video, audio).expect("the files themselves are right");
}
