//! `lsie capture`: sound and pictures of a phone to the topics.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{bail, ensure};
use clap::Args;
use lsie_connectors::capture::{Device, Producer, Settings, Timing, capture};
use lsie_schemas::codec;
use lsie_schemas::record::{StartSession, Stream, Subjects};
use uuid::Uuid;

use super::connecting::connect;
use super::topics;
use crate::config::Config;

/// Capture a phone, or whatever writes WAV and Matroska into two pipes, until a signal. One line of health as
/// JSON every 30 s.
#[derive(Debug, Args)]
pub(super) struct Capture {
    /// URI of the source, by which start records name it; default: capture.source.
    #[arg(long, value_name = "URI")]
    source: Option<String>,
    /// Folder of the pipes; default: capture.dir.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Start this session, a UUID v4, and end it at the signal; default: follow the start and end records of
    /// topic control that name the source.
    #[arg(long, value_parser = session_id)]
    session: Option<Uuid>,
    /// With --session: its experiment.
    #[arg(long, default_value = "greeting_line_v1", requires = "session")]
    experiment: String,
    /// With --session: the watched account.
    #[arg(long, requires = "session")]
    account: Option<String>,
    /// With --session: the streamer's subject name.
    #[arg(long, requires = "session")]
    streamer: Option<String>,
    /// With --session: the operator's subject name.
    #[arg(long, requires = "session")]
    operator: Option<String>,
}

impl Capture {
    pub(super) fn run(self, config: Config) -> anyhow::Result<ExitCode> {
        let settings = self.settings(&config)?;
        connect(&config, "capture", "ending the capture", |given| {
            let problems = topics::check(given.log, &config)?;
            ensure!(
                problems.is_empty(),
                "the topics are not as they should be:\n  {}",
                problems.join("\n  ")
            );
            Ok(capture(given.log, &settings, given.health, given.stop)?)
        })
    }

    fn settings(self, config: &Config) -> anyhow::Result<Settings> {
        let from = &config.capture;
        let source_url = self.source.unwrap_or_else(|| from.source.clone());
        ensure!(!source_url.is_empty(), "which source? --source URI, or capture.source");
        let mut producers = Vec::new();
        for name in &from.streams {
            producers.push(match name.as_str() {
                "audio" => Producer { stream: Stream::Audio, command: from.audio.clone() },
                "video" => Producer { stream: Stream::Video, command: from.video.clone() },
                _ => bail!("capture.streams names {name:?}, which is no stream"),
            });
        }
        let session = self.session.map(|session_id| StartSession {
            session_id,
            streams: producers.iter().map(|producer| producer.stream).collect(),
            subjects: Subjects { streamer: self.streamer, operator: self.operator },
            watched_account: self.account,
            source_url: source_url.clone(),
            experiment_id: self.experiment,
            client_action_id: None,
        });
        let serial = Some(from.serial.clone()).filter(|serial| !serial.is_empty());
        let silence = (from.silence_s > 0).then(|| Duration::from_secs(from.silence_s));
        Ok(Settings {
            source_url,
            dir: self.dir.unwrap_or_else(|| from.dir.clone()),
            producers,
            device: (!from.adb.is_empty()).then(|| Device::new(from.adb.clone(), serial)),
            session,
            buffer_bytes: from.buffer_mib << 20,
            timing: Timing { silence, ..Timing::default() },
        })
    }
}

/// A session id of the command line.
pub(super) fn session_id(text: &str) -> Result<Uuid, String> {
    codec::session_id(text).ok_or_else(|| "a session id is a UUID v4 in lowercase".to_owned())
}
