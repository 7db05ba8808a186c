//! `lsie feed`: recorded session directories to the topics.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::bail;
use clap::Args;
use lsie_connectors::feed::{Pace, feed};
use lsie_schemas::LogTime;
use lsie_schemas::Topic;
use lsie_schemas::log::TimestampType;
use lsie_schemas::record::ExperimentRecord;

use super::demo::{Speed, now};
use super::recordings;
use super::running::open_log;
use crate::config::Config;

/// Publish a recorded session directory (video.mkv, audio.wav, stimulus_script.json) as topics.
#[derive(Debug, Args)]
pub(super) struct Feed {
    /// The directory; default: the built-in made session.
    dir: Option<PathBuf>,
    /// 1: in real time; max: as fast as the log takes it (recorded topic sets only).
    #[arg(long, default_value = "1")]
    speed: Speed,
    /// How many sessions, started one after the other.
    #[arg(long, default_value_t = 1)]
    sessions: u64,
}

impl Feed {
    pub(super) fn run(self, config: Config) -> anyhow::Result<ExitCode> {
        let log = open_log(&config)?;
        let recording = Arc::new(match &self.dir {
            Some(dir) => recordings::directory(dir)?,
            None => recordings::built_in()?,
        });
        let recorded =
            log.topic(Topic::Control)?.is_some_and(|topic| topic.timestamps == TimestampType::Create);
        let pace = match self.speed {
            Speed::One => Pace::RealTime,
            Speed::Max if recorded => Pace::Max,
            Speed::Max => bail!("--speed max needs a recorded topic set: `lsie topics create --recorded`"),
        };
        let base = if recorded { recorded_at(&recording) } else { now() };
        let timelines = recordings::sessions(&recording, self.sessions, base, &ExperimentRecord::seed());
        let fed = feed(&*log, recordings::merged(timelines), pace, |_| std::ops::ControlFlow::Continue(()))?;
        println!("{} records, {} bytes, {:.1} s", fed.records, fed.bytes, fed.at_ms as f64 / 1e3);
        Ok(ExitCode::SUCCESS)
    }
}

/// When a recording was made, by its script; the Unix epoch if it does not say.
pub(super) fn recorded_at(recording: &lsie_connectors::feed::Recording) -> LogTime {
    let text = recording.script().recorded_at_utc.as_deref();
    let us = text.and_then(|text| lsie_schemas::canonical::parse(text).ok()).unwrap_or(0);
    LogTime(u64::try_from(us / 1_000).unwrap_or(0))
}
