//! What the log says of each session: its records, each with the epoch at which it counts.

use std::collections::BTreeMap;

use lsie_schemas::log::LogRecord;
use lsie_schemas::record::{ClockPoll, Control, EpochRecord, Record, StartSession, Stimulus, Stream};
use lsie_schemas::row::{DecisionRow, SessionRow};
use lsie_schemas::{LogTime, codec};
use uuid::Uuid;

use super::time_line::TimeLine;
use lsie_schemas::EventTime;

/// Something of a session and the index of the epoch that released it.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) epoch: usize,
    pub(super) log_time: LogTime,
    pub(super) it: T,
}

/// A media record.
#[derive(Clone, Debug)]
pub(super) struct Media {
    pub(super) stream: Stream,
    pub(super) offset: i64,
    pub(super) seq: u64,
    pub(super) device_us: i64,
    /// Duration; 0 of a frame.
    pub(super) length_us: i64,
    pub(super) samples: Vec<i16>,
}

/// All records of one session, each kind in canonical order.
#[derive(Clone, Debug)]
pub(super) struct Story {
    pub(super) id: Uuid,
    pub(super) start: At<StartSession>,
    pub(super) polls: Vec<At<ClockPoll>>,
    pub(super) media: Vec<At<Media>>,
    pub(super) stimuli: Vec<At<Stimulus>>,
    pub(super) end: Option<At<()>>,
}

/// The stories of all sessions that have a start record. Records that cannot be decoded are no part of them.
pub(super) fn read(records: &[LogRecord], epochs: &[EpochRecord]) -> Vec<Story> {
    let mut by_session: BTreeMap<Uuid, Vec<At<(LogRecord, Record)>>> = BTreeMap::new();
    for (epoch, entry) in epochs.iter().enumerate() {
        for range in &entry.ranges {
            let inside = |r: &&LogRecord| r.at == range.at && (range.from..range.to).contains(&r.offset);
            for raw in records.iter().filter(inside) {
                let Ok(record) = codec::decode(raw) else { continue };
                let Some(session) = record.session() else { continue };
                let it = (raw.clone(), record);
                by_session.entry(session).or_default().push(At { epoch, log_time: raw.log_time, it });
            }
        }
    }
    by_session.into_iter().filter_map(|(id, records)| tell(id, records)).collect()
}

fn tell(id: Uuid, records: Vec<At<(LogRecord, Record)>>) -> Option<Story> {
    let start = records.iter().find_map(|at| match &at.it.1 {
        Record::Control(Control::Start(start)) => {
            Some(At { epoch: at.epoch, log_time: at.log_time, it: start.clone() })
        }
        _ => None,
    })?;
    let first = start.epoch;
    let mut story = Story { id, start, polls: Vec::new(), media: Vec::new(), stimuli: Vec::new(), end: None };
    for At { epoch, log_time, it: (raw, record) } in records {
        // What overtook the start record counts at the start record's epoch.
        let epoch = epoch.max(first);
        match record {
            Record::Control(Control::ClockPoll(it)) => story.polls.push(At { epoch, log_time, it }),
            Record::Control(Control::Stimulus(it)) => story.stimuli.push(At { epoch, log_time, it }),
            Record::Control(Control::End(_)) => {
                story.end.get_or_insert(At { epoch, log_time, it: () });
            }
            Record::Audio(_) | Record::Video(_) => {
                story.media.push(At { epoch, log_time, it: media(&raw, record) });
            }
            Record::Control(Control::Start(_) | Control::Gap(_))
            | Record::Experiment(_)
            | Record::Physio(_)
            | Record::Event(_)
            | Record::Outcome(_)
            | Record::Inference(_)
            | Record::Answered(_) => {}
        }
    }
    Some(story)
}

fn media(raw: &LogRecord, record: Record) -> Media {
    match record {
        Record::Audio(chunk) => {
            let samples: Vec<i16> =
                chunk.pcm.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect();
            Media {
                stream: Stream::Audio,
                offset: raw.offset,
                seq: chunk.seq,
                device_us: chunk.capture_us,
                length_us: samples.len() as i64 * 1_000_000 / 48_000,
                samples,
            }
        }
        Record::Video(unit) => Media {
            stream: Stream::Video,
            offset: raw.offset,
            seq: unit.seq,
            device_us: unit.capture_us,
            length_us: 0,
            samples: Vec::new(),
        },
        Record::Control(_)
        | Record::Experiment(_)
        | Record::Physio(_)
        | Record::Event(_)
        | Record::Outcome(_)
        | Record::Inference(_)
        | Record::Answered(_) => {
            unreachable!("only media records are asked for")
        }
    }
}

/// The row of a session.
pub(super) fn session_row(story: &Story, line: &TimeLine, decision: Option<&DecisionRow>) -> SessionRow {
    let start = &story.start;
    SessionRow {
        session_id: story.id,
        stream_url: start.it.source_url.clone(),
        started_at: EventTime(start.log_time.0 as i64 * 1_000),
        ended_at: line.ended.map(EventTime),
        experiment_id: start.it.experiment_id.clone(),
        anchor_utc: line.anchor.map(EventTime),
        active_arm: decision.map(|row| row.selected_arm_id.clone()),
        expected_greeting: decision.map(|row| row.expected_greeting.clone()),
    }
}
