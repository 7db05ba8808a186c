//! `stimulus_script.json`: what a recorded session contains and when its stimuli happen.

use serde::Deserialize;
use uuid::Uuid;

/// The script of a recorded session. Unknown keys are refused: a misspelt one would be ignored silently.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// Frames per second; 30.
    pub fps: u32,
    /// Length of the session in seconds.
    pub duration_s: f64,
    /// Length of a segment in seconds; 30.
    pub segment_duration_s: f64,
    /// Width of the video in pixels.
    pub video_width: u64,
    /// Height of the video in pixels.
    pub video_height: u64,
    /// Sample rate of the audio; 48000.
    pub audio_sample_rate_hz: u32,
    /// Bytes of a sample; 2.
    pub audio_sample_width_bytes: u32,
    /// Channels of the audio; 1.
    pub audio_channels: u32,
    /// The stimuli, at least one, in order of time.
    pub stimuli: Vec<ScriptStimulus>,
    /// When it was recorded, RFC 3339; for people.
    #[serde(default)]
    pub recorded_at_utc: Option<String>,
    /// How the recording device's clock ran; a perfect clock if absent.
    #[serde(default)]
    pub device_clock: DeviceClock,
    /// The experiment the session was recorded for.
    #[serde(default)]
    pub experiment_id: Option<String>,
}

/// A stimulus and what it is expected to cause.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScriptStimulus {
    /// The segment it falls into, from 0.
    pub segment_index: u32,
    /// Seconds from the segment's begin, in [0, 30).
    pub stimulus_offset_s: f64,
    /// The arm that is active.
    pub expected_arm_id: String,
    /// The greeting of that arm.
    pub expected_greeting_text: String,
    /// The measured peak, in [0, 1].
    pub expected_peak_au12: f64,
    /// Whether what is said matches the greeting.
    pub expected_semantic_match: bool,
    /// What is said after it; for people and for tests.
    #[serde(default)]
    pub spoken_text: Option<String>,
    /// The action that triggered it.
    #[serde(default)]
    pub client_action_id: Option<Uuid>,
}

/// The device's clock beside the host's: `device = host + offset + drift · (host − start)`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceClock {
    /// Seconds the device is ahead of the host at the session's start; negative: behind.
    pub offset_s: f64,
    /// Parts per million by which it runs fast.
    pub drift_ppm: f64,
    /// Seconds between polls.
    pub poll_interval_s: f64,
}

impl Default for DeviceClock {
    fn default() -> Self {
        DeviceClock { offset_s: 0.0, drift_ppm: 0.0, poll_interval_s: 30.0 }
    }
}

impl DeviceClock {
    /// What the device shows `elapsed_us` after the session's start at `start_us` on the host's clock.
    pub(super) fn read(&self, start_us: i64, elapsed_us: i64) -> i64 {
        let off = self.offset_s * 1e6 + self.drift_ppm * elapsed_us as f64 / 1e6;
        start_us.saturating_add(elapsed_us).saturating_add(off.round() as i64)
    }
}

impl ScriptStimulus {
    /// Microseconds after the session's first sample.
    pub(super) fn elapsed_us(&self) -> u64 {
        u64::from(self.segment_index) * 30_000_000 + (self.stimulus_offset_s * 1e6).round() as u64
    }
}

impl Script {
    /// Reads and checks a script; the error names the key.
    pub fn parse(json: &[u8]) -> Result<Script, String> {
        let script: Script = serde_json::from_slice(json).map_err(|e| e.to_string())?;
        script.check()?;
        Ok(script)
    }

    fn check(&self) -> Result<(), String> {
        let clock = &self.device_clock;
        wanted("fps", self.fps, 30)?;
        wanted("segment_duration_s", self.segment_duration_s, 30.0)?;
        wanted("audio_sample_rate_hz", self.audio_sample_rate_hz, 48_000)?;
        wanted("audio_sample_width_bytes", self.audio_sample_width_bytes, 2)?;
        wanted("audio_channels", self.audio_channels, 1)?;
        holds(
            "duration_s",
            "must be above 0 and at most a day",
            (0.001..=86_400.0).contains(&self.duration_s),
        )?;
        holds("video_width", "must be at least 1", self.video_width > 0)?;
        holds("video_height", "must be at least 1", self.video_height > 0)?;
        holds("stimuli", "must not be empty", !self.stimuli.is_empty())?;
        holds("device_clock.offset_s", "must be at most a day", clock.offset_s.abs() <= 86_400.0)?;
        holds("device_clock.drift_ppm", "must be at most 100000", clock.drift_ppm.abs() <= 1e5)?;
        let interval = (0.1..=86_400.0).contains(&clock.poll_interval_s);
        holds("device_clock.poll_interval_s", "must be at least 0.1", interval)?;
        holds("experiment_id", "must not be blank", self.experiment_id.as_deref() != Some(""))?;
        for (i, stimulus) in self.stimuli.iter().enumerate() {
            let key = |name: &str| format!("stimuli[{i}].{name}");
            let offset = (0.0..30.0).contains(&stimulus.stimulus_offset_s);
            holds(&key("stimulus_offset_s"), "must be in [0, 30)", offset)?;
            let peak = (0.0..=1.0).contains(&stimulus.expected_peak_au12);
            holds(&key("expected_peak_au12"), "must be in [0, 1]", peak)?;
            let inside = stimulus.elapsed_us() as f64 <= self.duration_s * 1e6;
            holds(&key("segment_index"), "lies behind the end of the session", inside)?;
        }
        let ordered = self.stimuli.is_sorted_by_key(ScriptStimulus::elapsed_us);
        holds("stimuli", "must be in order of time", ordered)
    }
}

fn wanted<T: PartialEq + std::fmt::Display>(key: &str, found: T, wanted: T) -> Result<(), String> {
    if found == wanted { Ok(()) } else { Err(format!("`{key}` is {found}, must be {wanted}")) }
}

fn holds(key: &str, rule: &str, condition: bool) -> Result<(), String> {
    if condition { Ok(()) } else { Err(format!("`{key}` {rule}")) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn valid() -> Value {
        json!({
            "fps": 30, "duration_s": 35, "segment_duration_s": 30, "video_width": 320, "video_height": 240,
            "audio_sample_rate_hz": 48000, "audio_sample_width_bytes": 2, "audio_channels": 1,
            "stimuli": [{
                "segment_index": 1, "stimulus_offset_s": 2.5, "expected_arm_id": "a",
                "expected_greeting_text": "hello", "expected_peak_au12": 0.5, "expected_semantic_match": true,
            }],
        })
    }

    #[test]
    fn the_specification_s_keys_are_enough() {
        let script = Script::parse(valid().to_string().as_bytes()).expect("valid");
        assert_eq!(script.device_clock, DeviceClock::default());
        assert_eq!(script.stimuli[0].elapsed_us(), 32_500_000);
    }

    #[test]
    fn a_wrong_or_missing_key_is_named() {
        for key in valid().as_object().expect("an object").keys() {
            let mut without = valid();
            without.as_object_mut().expect("an object").remove(key);
            let error = Script::parse(without.to_string().as_bytes()).expect_err("missing");
            assert!(error.contains(key), "{error}");
        }
        let wrong = [
            ("/fps", json!(25)),
            ("/audio_sample_rate_hz", json!(44100)),
            ("/audio_channels", json!(2)),
            ("/segment_duration_s", json!(10)),
            ("/stimuli", json!([])),
            ("/stimuli/0/stimulus_offset_s", json!(30.0)),
            ("/stimuli/0/segment_index", json!(2)),
            ("/stimuli/0/expected_peak_au12", json!(1.5)),
        ];
        for (pointer, value) in wrong {
            let mut script = valid();
            *script.pointer_mut(pointer).expect("a key") = value;
            let error = Script::parse(script.to_string().as_bytes()).expect_err("wrong");
            assert!(error.contains(pointer.rsplit('/').next().expect("a name")), "{pointer}: {error}");
        }
        let mut misspelt = valid();
        misspelt["experiment"] = json!("x");
        let error = Script::parse(misspelt.to_string().as_bytes()).expect_err("unknown");
        assert!(error.contains("experiment"), "{error}");
    }

    #[test]
    fn a_fast_device_gains_on_the_host() {
        let clock = DeviceClock { offset_s: -1.7, drift_ppm: 50.0, poll_interval_s: 30.0 };
        assert_eq!(clock.read(1_000_000_000, 0), 998_300_000);
        assert_eq!(clock.read(1_000_000_000, 30_000_000), 1_028_300_000 + 1_500);
    }
}
