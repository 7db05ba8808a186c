//! The records of the topics, one file each.

mod answer;
mod audio;
mod control;
mod dead_letter;
mod epoch;
mod erasure;
mod event;
mod experiment;
mod healing;
mod inference;
mod key;
mod outcome;
mod physio;
mod request;
mod video;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use answer::{Answered, EnrichAnswer, HydrateAnswer, Hydrated, MetaTag, PageData};
pub use audio::AudioChunk;
pub use control::{
    ClockPoll, Control, EndSession, Gap, StartSession, Stimulus, Stream, Subjects, session_id_from_action,
};
pub use dead_letter::DeadLetter;
pub use epoch::{EpochRange, EpochRecord, QuarantineRecord};
pub use erasure::Erasure;
pub use event::{ACTION_COMBO, LiveEvent, is_follow};
pub use experiment::{ArmText, ExperimentRecord};
pub use healing::{HealedRecord, Healing};
pub use inference::{Answer, Heard, HeardWord, Inference, Judgement, MAX_WORDS, NoAnswer, Reasoning};
pub use key::DataKey;
pub use outcome::{CREATOR_FOLLOW, Outcome, TIKTOK_WEBCAST};
pub use physio::{
    ChunkPayload, DerivationMethod, HEART_RATE_BPM, PhysioRecord, PhysiologicalChunk, Provider, SourceKind,
    SubjectRole,
};
pub use request::{EnrichRequest, HydrateRequest, Request};
pub use video::VideoUnit;

/// Header: schema version of a media record.
pub const HEADER_VERSION: &str = "lsie-v";
/// Header: stream name (`audio` or `video`).
pub const HEADER_STREAM: &str = "stream";
/// Header: sequence number in the stream, from 0.
pub const HEADER_SEQ: &str = "seq";
/// Header: capture time of the first sample or of the frame, µs on the device clock.
pub const HEADER_CAPTURE_US: &str = "capture-us";
/// Header: codec.
pub const HEADER_CODEC: &str = "codec";
/// Header: the data key that the value is sealed with; absent on records that can be read.
pub const HEADER_KEY_ID: &str = "key-id";
/// Header: sample rate in Hz (audio).
pub const HEADER_RATE: &str = "rate";
/// Header: `1` on a key frame that carries its parameter sets, else `0` (video).
pub const HEADER_KEY_FRAME: &str = "key-frame";
/// Header: who asked for an action (control and experiment records that the API writes).
pub const HEADER_ACTOR: &str = "lsie-actor";
/// Header: the identity of an action, a UUID; a repeated one does nothing.
pub const HEADER_ACTION: &str = "lsie-action";

/// A decoded record of a topic that the engine reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Record {
    /// Raw audio.
    Audio(AudioChunk),
    /// One video access unit.
    Video(VideoUnit),
    /// Session control.
    Control(Control),
    /// Experiment administration.
    Experiment(ExperimentRecord),
    /// A physiological chunk.
    Physio(PhysioRecord),
    /// A live event of the platform.
    Event(LiveEvent),
    /// A delayed outcome.
    Outcome(Outcome),
    /// The answer of a model asked via the log.
    Inference(Inference),
    /// What became of a request to the outside world.
    Answered(Answered),
}

impl Record {
    /// The session it belongs to, if its topic is keyed by session.
    pub fn session(&self) -> Option<Uuid> {
        match self {
            Record::Audio(a) => Some(a.session_id),
            Record::Video(v) => Some(v.session_id),
            Record::Control(c) => Some(c.session()),
            Record::Physio(p) => Some(p.session_id),
            Record::Event(e) => Some(e.session_id),
            Record::Outcome(o) => Some(o.session_id),
            Record::Inference(i) => Some(i.session_id),
            Record::Experiment(_) | Record::Answered(_) => None,
        }
    }
}
