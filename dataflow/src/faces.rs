//! What an inference thread does: one face meter per session, the models shared by all; voices one at a time.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, ensure};
use lsie_operators::acoustics::Analyzer;
use lsie_operators::align::{FrameJob, VoiceJob};
use lsie_operators::face::FaceModels;
use lsie_operators::measure::{Pitch, SegmentVoice};
use lsie_operators::measure_face::{FaceMeter, Measured, MeterState};
use lsie_schemas::codec::Rejection;
use lsie_schemas::record::NoAnswer;
use lsie_schemas::row::FaceRow;
use lsie_schemas::{EventTime, LogTime, Real};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::pool::{Measurer, MeasurerFactory, Outcome, Task};

/// Measurers that run the face models of a folder; pictures above `max_pixels` are refused.
pub fn with_models(folder: PathBuf, max_pixels: u32) -> MeasurerFactory {
    Arc::new(move |_thread| measurer(&folder, max_pixels))
}

/// Measurers that look at nothing and hear nothing: for measuring everything else. Every frame is a frame
/// without a face.
pub fn without_models() -> MeasurerFactory {
    Arc::new(|_thread| {
        let blind = |_epoch, task: &Task| match task {
            Task::Frame(job) => Ok(Outcome { faces: vec![blind_row(job)], ..Outcome::default() }),
            // A session of which there is nothing to remember.
            Task::Voice(_) | Task::End(_) | Task::Snapshot(_) | Task::Restore(..) | Task::Again(_) => {
                Ok(Outcome::default())
            }
        };
        Ok(Box::new(blind) as Measurer)
    })
}

fn blind_row(job: &FrameJob) -> FaceRow {
    FaceRow {
        session_id: job.session,
        seq: job.seq as i64,
        capture_utc: job.capture,
        ratio: None,
        present: false,
        reason: Some("models_off".into()),
        model: "none".into(),
    }
}

/// One session on its thread.
struct Session {
    meter: FaceMeter,
    rest: Rest,
}

/// What of a session is not in its meter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Rest {
    /// Capture times of the units inside the decoder, by sequence number.
    inside: BTreeMap<i64, EventTime>,
    /// The sequence number that follows without a gap.
    next: Option<u64>,
    /// The units that the decoder depends on.
    fed: VecDeque<Fed>,
}

/// The record of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Fed {
    seq: i64,
    epoch: LogTime,
    offset: i64,
}

/// A session as a checkpoint holds it: no picture, but where those are that must be seen again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FaceState {
    meter: MeterState,
    rest: Rest,
}

impl FaceState {
    /// The oldest epoch with a unit that must be taken again.
    pub fn rewind(&self) -> Option<LogTime> {
        self.rest.fed.iter().map(|unit| unit.epoch).min()
    }

    /// The offsets of the units that must be taken again.
    pub fn wanted(&self) -> impl Iterator<Item = i64> {
        self.rest.fed.iter().map(|unit| unit.offset)
    }
}

/// Pictures in a row over which a model may fail; then it is not they that are to blame.
const FAILURES: u32 = 30;

fn measurer(folder: &Path, max_pixels: u32) -> anyhow::Result<Measurer> {
    let mut models =
        FaceModels::load(folder).context("the face models cannot be used; `make models` gets them")?;
    let model = models.fingerprint();
    let mut sessions: BTreeMap<Uuid, Session> = BTreeMap::new();
    let (mut voices, mut failures) = (voices(), 0);
    Ok(Box::new(move |_epoch, task| match task {
        Task::Frame(job) => {
            let outcome = frame(job, max_pixels, &mut sessions, &mut models, &model)?;
            for face in &outcome.faces {
                let failed = face.reason.as_deref() == Some(NoAnswer::ModelError.code());
                failures = if failed { failures + 1 } else { 0 };
            }
            ensure!(
                failures < FAILURES,
                "the face models fail on every picture; `lsie models check` looks at them"
            );
            Ok(outcome)
        }
        Task::Voice(job) => Ok(voices(job)),
        Task::End(session) => {
            let Some(mut ended) = sessions.remove(session) else { return Ok(Outcome::default()) };
            let measured = ended.meter.finish(&mut models);
            Ok(Outcome { faces: ended.rows(*session, measured, &model), ..Outcome::default() })
        }
        Task::Snapshot(session) => {
            let state =
                |session: &Session| FaceState { meter: session.meter.state(), rest: session.rest.clone() };
            Ok(Outcome { state: sessions.get(session).map(state), ..Outcome::default() })
        }
        Task::Restore(session, state) => {
            let FaceState { meter, rest } = (**state).clone();
            let meter = FaceMeter::resumed(max_pixels, meter)?;
            sessions.insert(*session, Session { meter, rest });
            Ok(Outcome::default())
        }
        Task::Again(job) => {
            if let Some(session) = sessions.get_mut(&job.session) {
                session.meter.feed_again(&job.raw.value, job.seq as i64)?;
            }
            Ok(Outcome::default())
        }
    }))
}

/// Measures voices, one after the other.
pub(crate) fn voices() -> impl FnMut(&VoiceJob) -> Outcome {
    let mut analyzer = Analyzer::default();
    move |job| Outcome { voice: Some(voice(job, &mut analyzer)), ..Outcome::default() }
}

/// Relative to the segment's first sample: doubles are finest near zero.
fn voice(job: &VoiceJob, analyzer: &mut Analyzer) -> SegmentVoice {
    let stimulus_s = (job.stimulus.0 - job.start.0) as f64 / 1e6;
    // Too short a sound has the fields of a segment without stimulus.
    let voice = analyzer.voice(&job.sound).ok();
    let acoustics = voice.map(|voice| voice.acoustics(0.0, stimulus_s)).unwrap_or_default();
    let pitch = voice.map(|voice| Pitch::of(voice.pitch, job.start));
    SegmentVoice { session: job.session, ordinal: job.ordinal, acoustics, pitch }
}

fn frame(
    job: &FrameJob,
    max_pixels: u32,
    sessions: &mut BTreeMap<Uuid, Session>,
    models: &mut FaceModels,
    model: &str,
) -> anyhow::Result<Outcome> {
    let session = match sessions.entry(job.session) {
        Entry::Occupied(entry) => entry.into_mut(),
        Entry::Vacant(entry) => {
            let meter = FaceMeter::new(max_pixels)?;
            let rest = Rest { inside: BTreeMap::new(), next: None, fed: VecDeque::new() };
            entry.insert(Session { meter, rest })
        }
    };
    let mut measured = match session.rest.next.replace(job.seq.saturating_add(1)) {
        Some(expected) if expected != job.seq => session.meter.gap(models),
        _ => Vec::new(),
    };
    // The decoder hands this number back with the frame.
    let seq = job.seq as i64;
    session.rest.inside.insert(seq, job.capture);
    let pushed = session.meter.push(&job.raw.value, seq, job.key_frame, models);
    measured.extend(pushed.measured);
    if pushed.rejected.is_some() {
        session.rest.inside.remove(&seq);
    }
    session.remember(job);
    Ok(Outcome {
        faces: session.rows(job.session, measured, model),
        rejected: pushed.rejected.map(|reason| Rejection::new(reason, "the access unit cannot be decoded")),
        ..Outcome::default()
    })
}

impl Session {
    /// Keeps in mind which units the decoder depends on, the last of which may be this job's.
    fn remember(&mut self, job: &FrameJob) {
        let Some((first, last)) = self.meter.fed() else { return self.rest.fed.clear() };
        while self.rest.fed.front().is_some_and(|unit| unit.seq < first) {
            self.rest.fed.pop_front();
        }
        let seq = job.seq as i64;
        if last == seq {
            self.rest.fed.push_back(Fed { seq, epoch: job.seen, offset: job.raw.offset });
        }
    }

    fn rows(&mut self, session: Uuid, measured: Vec<Measured>, model: &str) -> Vec<FaceRow> {
        let row = |face: Measured| {
            let seq = face.capture_us;
            Some(FaceRow {
                session_id: session,
                seq,
                capture_utc: self.rest.inside.remove(&seq)?,
                ratio: face.ratio.and_then(Real::finite),
                present: face.present,
                reason: face.reason.map(str::to_string),
                model: model.to_string(),
            })
        };
        measured.into_iter().filter_map(row).collect()
    }
}
