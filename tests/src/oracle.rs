//! An independent oracle: plain single-threaded code that computes what the engine must have produced, from
//! the records in the log, the epoch table, and what is recorded of models and draws.
//!
//! It is written from DESIGN §3 and `math.md` §1 to §7 and shares no code with the engine's operators, except
//! the resampling filter (whose taps no specification fixes; here it runs once over whole runs of audio, there
//! chunk by chunk). Recorded inputs are the mouth/eye ratios of table `faces`, the words of table `inferences`, and
//! the arms of table `decisions`.

mod admin;
mod reaction;
mod speech;
mod story;
pub mod summaries;
mod text;
mod time_line;

use lsie_schemas::log::LogRecord;
use lsie_schemas::record::EpochRecord;
use lsie_schemas::row::{
    ArmRow, Au12Row, DecisionRow, EncounterRow, EvaluationRow, FaceRow, InferenceRow, SegmentRow, SessionRow,
    StimulusRow, TranscriptRow,
};
use uuid::Uuid;

pub use speech::Asked;
pub use text::{canonical, seed};

use story::Story;
use time_line::TimeLine;

/// What the tables must hold.
#[derive(Debug, Default)]
pub struct Expected {
    /// Table `sessions`.
    pub sessions: Vec<SessionRow>,
    /// Table `segments`.
    pub segments: Vec<SegmentRow>,
    /// Table `stimuli`.
    pub stimuli: Vec<StimulusRow>,
    /// Table `au12`.
    pub au12: Vec<Au12Row>,
    /// Table `encounter_log`.
    pub encounters: Vec<EncounterRow>,
    /// Table `evaluations`.
    pub evaluations: Vec<EvaluationRow>,
    /// Table `transcripts`.
    pub transcripts: Vec<TranscriptRow>,
    /// What must have been asked about speech.
    pub asked: Vec<Asked>,
    /// Table `experiments`.
    pub arms: Vec<ArmRow>,
    /// Of table `metrics`: session, segment, mean legacy score.
    pub legacy: Vec<(Uuid, String, Option<f64>)>,
    /// Accepted video frames that must have been measured: session, sequence number, corrected capture time.
    pub frames: Vec<(Uuid, i64, i64)>,
}

/// Computes the tables of all sessions in a log.
pub fn compute(
    records: &[LogRecord],
    epochs: &[EpochRecord],
    faces: &[FaceRow],
    decisions: &[DecisionRow],
    inferences: &[InferenceRow],
) -> Expected {
    let mut expected = Expected::default();
    for story in story::read(records, epochs) {
        let mut line = time_line::follow(&story, epochs);
        speech::attribute(story.id, inferences, &mut line);
        let decision = decisions.iter().find(|row| row.session_id == story.id);
        one_session(&story, &line, (faces, inferences), decision, &mut expected);
    }
    expected.arms = admin::arms(records, &expected.encounters);
    sort(&mut expected);
    expected
}

fn one_session(
    story: &Story,
    line: &TimeLine,
    (faces, inferences): (&[FaceRow], &[InferenceRow]),
    decision: Option<&DecisionRow>,
    out: &mut Expected,
) {
    out.sessions.push(story::session_row(story, line, decision));
    let Some(anchor) = line.anchor else { return };
    let frames = reaction::join(story.id, &line.frames, faces);
    out.frames.extend(line.frames.iter().map(|frame| (story.id, frame.seq as i64, frame.capture)));
    let stimuli = reaction::stimuli(story.id, anchor, line);
    let scored = reaction::score(&frames, story.id, line);
    out.segments.extend(reaction::segments(story.id, anchor, line, &frames));
    out.legacy.extend(reaction::legacy(story.id, anchor, line, &scored));
    out.encounters.extend(reaction::encounters(story.id, anchor, line, &scored, decision));
    out.evaluations.extend(reaction::evaluations(story.id, anchor, line, decision));
    out.transcripts.extend(speech::transcripts(story.id, anchor, inferences, line));
    out.asked.extend(speech::asked(story.id, anchor, line));
    out.au12.extend(scored.into_iter().map(|frame| frame.row));
    out.stimuli.extend(stimuli);
}

fn sort(expected: &mut Expected) {
    expected.sessions.sort();
    expected.segments.sort();
    expected.stimuli.sort();
    expected.au12.sort();
    expected.encounters.sort();
    expected.evaluations.sort();
    expected.transcripts.sort();
    expected.asked.sort();
    expected.arms.sort();
    expected.legacy.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    expected.frames.sort();
}
