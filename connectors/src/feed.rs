//! The feeder: a recorded session directory becomes the records that a live capture would have appended.
//!
//! Read a [`Recording`] once (every fault of its files is found then), make a [`timeline()`] of it for each
//! session it shall become, [`merge()`] them, and [`feed()`] them to a log in real time or as fast as it goes.

mod audio;
mod ids;
mod merge;
mod pace;
mod recording;
mod script;
mod telemetry;
mod timeline;
mod video;

use lsie_schemas::log::LogError;

pub use ids::session_id;
pub use merge::merge;
pub use pace::{Pace, Progress, feed};
pub use recording::Recording;
pub use script::{DeviceClock, Script, ScriptStimulus};
pub use telemetry::telemetry;
pub use timeline::{FeedOptions, TimedRecord, Timeline, timeline};

/// Why feeding could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The session's files: names the file and what is wrong with it.
    #[error("recorded session: {0}")]
    Session(String),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
}
