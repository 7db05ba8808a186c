//! A recorded session in memory: read once, checked completely, and fed any number of times.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::FeedError;
use super::audio;
use super::script::Script;
use super::video::{self, Expected};
use crate::avc::Unit;

const SCRIPT: &str = "stimulus_script.json";
const VIDEO: &str = "video.mkv";
const AUDIO: [&str; 2] = ["audio.wav", "audio.wav.zst"];
/// Frames per second that every recording has.
pub(super) const FPS: u64 = 30;
/// Bytes of a second of audio.
pub(super) const AUDIO_BYTES_PER_S: u64 = 96_000;
/// How far the length of a stream may be from the script's.
const TOLERANCE_S: f64 = 0.5;

/// A recorded session. Whoever has one knows that its files are there, agree, and can be fed to the end.
#[derive(Debug)]
pub struct Recording {
    pub(super) name: String,
    pub(super) script: Script,
    pub(super) units: Vec<Unit>,
    pub(super) pcm: Bytes,
}

impl Recording {
    /// Reads a session directory: `video.mkv`, `audio.wav` or `audio.wav.zst`, `stimulus_script.json`.
    pub fn open(dir: impl AsRef<Path>) -> Result<Recording, FeedError> {
        let dir = dir.as_ref();
        let read = |path: PathBuf| {
            let bytes = fs::read(&path).map(Bytes::from);
            bytes.map_err(|e| FeedError::Session(format!("{} cannot be read: {e}", path.display())))
        };
        let audio = AUDIO.iter().map(|name| dir.join(name)).find(|path| path.exists());
        let audio = audio.unwrap_or_else(|| dir.join(AUDIO[0]));
        let name =
            dir.file_name().map_or_else(|| "session".into(), |name| name.to_string_lossy().into_owned());
        let script = read(dir.join(SCRIPT))?;
        Recording::from_parts(&name, &script, read(dir.join(VIDEO))?, read(audio)?)
    }

    /// The same from the three files' contents, for sessions that are part of a program.
    pub fn from_parts(name: &str, script: &[u8], video: Bytes, audio: Bytes) -> Result<Recording, FeedError> {
        let wrong =
            |file: &'static str| move |what: String| FeedError::Session(format!("{name}/{file}: {what}"));
        let script = Script::parse(script).map_err(wrong(SCRIPT))?;
        let expected = Expected { width: script.video_width, height: script.video_height, fps: script.fps };
        let units = video::units(video, &expected).map_err(wrong(VIDEO))?;
        let pcm = audio::samples(audio).map_err(wrong(AUDIO[0]))?;
        let lengths = [
            (VIDEO, units.len() as f64 / FPS as f64),
            (AUDIO[0], pcm.len() as f64 / AUDIO_BYTES_PER_S as f64),
        ];
        for (file, length) in lengths {
            if (length - script.duration_s).abs() > TOLERANCE_S {
                let what = format!("is {length:.3} s long, `duration_s` is {}", script.duration_s);
                return Err(wrong(file)(what));
            }
        }
        Ok(Recording { name: name.to_owned(), script, units, pcm })
    }

    /// The session's name: its directory's.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The script it was read with.
    pub fn script(&self) -> &Script {
        &self.script
    }

    /// How many video frames it has.
    pub fn frames(&self) -> usize {
        self.units.len()
    }

    /// Length in milliseconds.
    pub fn duration_ms(&self) -> u64 {
        self.duration_us() / 1000
    }

    pub(super) fn duration_us(&self) -> u64 {
        (self.script.duration_s * 1e6).round() as u64
    }
}
