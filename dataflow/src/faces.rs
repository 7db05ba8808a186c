//! What an inference thread does: one face meter per session, the models shared by all; voices one at a time.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use lsie_operators::acoustics::Analyzer;
use lsie_operators::align::{FrameJob, VoiceJob};
use lsie_operators::face::FaceModels;
use lsie_operators::measure::SegmentVoice;
use lsie_operators::measure_face::{FaceMeter, Measured};
use lsie_schemas::codec::Rejection;
use lsie_schemas::row::FaceRow;
use lsie_schemas::{EventTime, Real};
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
        let blind = |task: &Task| match task {
            Task::Frame(job) => Ok(Outcome { faces: vec![blind_row(job)], ..Outcome::default() }),
            Task::Voice(_) | Task::End(_) => Ok(Outcome::default()),
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
    /// Capture times of the units inside the decoder, by sequence number.
    inside: BTreeMap<i64, EventTime>,
    /// The sequence number that follows without a gap.
    next: Option<u64>,
}

fn measurer(folder: &Path, max_pixels: u32) -> anyhow::Result<Measurer> {
    let mut models =
        FaceModels::load(folder).context("the face models cannot be used; `make models` gets them")?;
    let model = models.fingerprint();
    let mut sessions: BTreeMap<Uuid, Session> = BTreeMap::new();
    let mut analyzer = Analyzer::default();
    Ok(Box::new(move |task| match task {
        Task::Frame(job) => frame(job, max_pixels, &mut sessions, &mut models, &model),
        Task::Voice(job) => Ok(Outcome { voice: Some(voice(job, &mut analyzer)), ..Outcome::default() }),
        Task::End(session) => {
            let Some(mut ended) = sessions.remove(session) else { return Ok(Outcome::default()) };
            let measured = ended.meter.finish(&mut models)?;
            Ok(Outcome { faces: ended.rows(*session, measured, &model), ..Outcome::default() })
        }
    }))
}

/// Relative to the segment's first sample: doubles are finest near zero.
fn voice(job: &VoiceJob, analyzer: &mut Analyzer) -> SegmentVoice {
    let stimulus_s = (job.stimulus.0 - job.start.0) as f64 / 1e6;
    let acoustics = analyzer.analyze(&job.sound, 0.0, Some(stimulus_s));
    SegmentVoice { session: job.session, ordinal: job.ordinal, acoustics }
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
            entry.insert(Session { meter, inside: BTreeMap::new(), next: None })
        }
    };
    let mut measured = match session.next.replace(job.seq.saturating_add(1)) {
        Some(expected) if expected != job.seq => session.meter.gap(models)?,
        _ => Vec::new(),
    };
    // The decoder hands this number back with the frame.
    let seq = job.seq as i64;
    session.inside.insert(seq, job.capture);
    let pushed = session.meter.push(&job.raw.value, seq, job.key_frame, models)?;
    measured.extend(pushed.measured);
    if pushed.rejected.is_some() {
        session.inside.remove(&seq);
    }
    Ok(Outcome {
        faces: session.rows(job.session, measured, model),
        rejected: pushed.rejected.map(|reason| Rejection::new(reason, "the access unit cannot be decoded")),
        voice: None,
    })
}

impl Session {
    fn rows(&mut self, session: Uuid, measured: Vec<Measured>, model: &str) -> Vec<FaceRow> {
        let row = |face: Measured| {
            let seq = face.capture_us;
            Some(FaceRow {
                session_id: session,
                seq,
                capture_utc: self.inside.remove(&seq)?,
                ratio: face.ratio.and_then(Real::finite),
                present: face.present,
                reason: face.reason.map(str::to_string),
                model: model.to_string(),
            })
        };
        measured.into_iter().filter_map(row).collect()
    }
}
