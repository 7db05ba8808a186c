//! Recorded sessions as timelines: the built-in one, or directories; with session ids for the demo.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use bytes::Bytes;
use lsie_connectors::feed::{FeedOptions, Recording, TimedRecord, merge, session_id, telemetry, timeline};
use lsie_operators::align::{Align, Aligned, Arrived, Limits};
use lsie_operators::logic::Logic;
use lsie_schemas::LogTime;
use lsie_schemas::codec;
use lsie_schemas::log::{LogRecord, TopicPartition};
use lsie_schemas::record::ExperimentRecord;
use uuid::Uuid;

use crate::select::{Input, Select};

/// Between the starts of sessions that are fed together.
const STAGGER_MS: u64 = 7_000;
/// Session ids that are tried for one whose first arm is the recorded one.
const TRIES: u64 = 1_000;

/// The session that is part of the binary; see `tests/sessions/README.md`.
pub(super) fn built_in() -> anyhow::Result<Recording> {
    let script = include_bytes!("../../../tests/sessions/demo/stimulus_script.json");
    let video = Bytes::from_static(include_bytes!("../../../tests/sessions/demo/video.mkv"));
    let audio = Bytes::from_static(include_bytes!("../../../tests/sessions/demo/audio.wav.zst"));
    Recording::from_parts("demo", script, video, audio).context("the built-in session")
}

/// A recording of a directory.
pub(super) fn directory(dir: &Path) -> anyhow::Result<Recording> {
    Ok(Recording::open(dir)?)
}

/// `count` sessions of one recording, started one after the other, each with its made telemetry.
pub(super) fn sessions(
    recording: &Arc<Recording>,
    count: u64,
    base: LogTime,
    seed: &ExperimentRecord,
) -> Vec<Box<dyn Iterator<Item = TimedRecord>>> {
    let mut next = 0;
    let duration_ms = (recording.script().duration_s * 1e3) as u64;
    (0..count)
        .flat_map(|number| {
            let mut options = FeedOptions::new(base, Uuid::nil());
            options.start_ms = number * STAGGER_MS;
            options.script_actions = number == 0;
            options.session_id = session_with_recorded_arm(recording, &options, seed, &mut next);
            let told = Box::new(telemetry(&options, duration_ms).into_iter());
            let session = Box::new(timeline(recording.clone(), options));
            [session as Box<dyn Iterator<Item = TimedRecord>>, told]
        })
        .collect()
}

/// All timelines as one, in order of time.
pub(super) fn merged<I: Iterator<Item = TimedRecord>>(
    timelines: Vec<I>,
) -> impl Iterator<Item = TimedRecord> {
    merge(timelines)
}

/// A session id for which the first draw selects the arm whose greeting is spoken in the recording. The draw
/// itself is not touched: ids are tried in order until one fits.
fn session_with_recorded_arm(
    recording: &Arc<Recording>,
    options: &FeedOptions,
    seed: &ExperimentRecord,
    next: &mut u64,
) -> Uuid {
    let wanted = recording.script().stimuli.first().map(|stimulus| stimulus.expected_arm_id.clone());
    let first = session_id(recording.name(), *next);
    for _ in 0..TRIES {
        let id = session_id(recording.name(), *next);
        *next += 1;
        let options = FeedOptions { session_id: id, ..options.clone() };
        if first_arm(timeline(recording.clone(), options), seed) == wanted {
            return id;
        }
    }
    first
}

/// The arm that is selected for a session before any reward: the same functions as in the graph, over its
/// first records.
fn first_arm(records: impl Iterator<Item = TimedRecord>, seed: &ExperimentRecord) -> Option<String> {
    let mut align = Align::new(Limits::default());
    let mut select = Select::default();
    let mut decisions = Vec::new();
    let admin = Input::Admin { order: (0, 0), record: seed.clone() };
    select.on_epoch(LogTime(0), vec![admin], &mut decisions);
    for (offset, timed) in (0..).zip(records.take(50)) {
        let new = timed.record;
        let raw = LogRecord {
            at: TopicPartition { topic: new.topic, partition: 0 },
            offset,
            log_time: new.timestamp.unwrap_or_default(),
            key: Some(new.key),
            value: new.value,
            headers: new.headers,
        };
        let epoch = raw.log_time;
        let record = codec::decode(&raw).ok()?;
        let mut words = Vec::new();
        align.on_epoch(epoch, vec![Arrived { raw, record }], &mut words);
        for word in words {
            if let Aligned::Anchored { session, experiment, anchor } = word {
                let input = Input::Anchored { session, experiment, anchor };
                select.on_epoch(epoch, vec![input], &mut decisions);
                return decisions.pop().map(|decision| decision.selected_arm_id);
            }
        }
    }
    None
}
