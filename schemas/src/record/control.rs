//! Control records of topic `control`: start, end, stimulus, clock poll, gap of media.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::{Uuid, Variant, Version};

use crate::codec::{self, Rejection, session_field};
use crate::log::NewRecord;
use crate::time::LogTime;
use crate::topic::Topic;

/// A media stream of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Topic `av.audio`.
    Audio,
    /// Topic `av.video`.
    Video,
}

impl Stream {
    /// Its name in headers and rows.
    pub fn name(self) -> &'static str {
        match self {
            Stream::Audio => "audio",
            Stream::Video => "video",
        }
    }

    /// The topic that carries it.
    pub fn topic(self) -> Topic {
        match self {
            Stream::Audio => Topic::AvAudio,
            Stream::Video => Topic::AvVideo,
        }
    }
}

/// Whose wearables belong to the session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subjects {
    /// The streamer's subject name.
    pub streamer: Option<String>,
    /// The operator's subject name.
    pub operator: Option<String>,
}

/// A session begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartSession {
    /// The session, UUID v4.
    #[serde(with = "session_field")]
    pub session_id: Uuid,
    /// The streams it declares; only these gate the closing of segments.
    pub streams: Vec<Stream>,
    /// Its subjects.
    #[serde(default)]
    pub subjects: Subjects,
    /// The watched account.
    #[serde(default)]
    pub watched_account: Option<String>,
    /// Where the media come from, a URI.
    pub source_url: String,
    /// The experiment it is bound to for its whole life.
    pub experiment_id: String,
    /// The action that started it.
    #[serde(default)]
    pub client_action_id: Option<Uuid>,
}

/// The session of a start that a client's action asked for: the first 16 bytes of SHA-256(`session:` + action id)
/// with version nibble 4 and the RFC variant (`math.md` §2), so that a repeated action names the same session.
pub fn session_id_from_action(client_action_id: Uuid) -> Uuid {
    let digest = Sha256::digest(format!("session:{}", client_action_id.hyphenated()));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    let id = uuid::Builder::from_bytes(bytes).with_variant(Variant::RFC4122);
    id.with_version(Version::Random).into_uuid()
}

/// A session ends, at the record's own log time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndSession {
    /// The session.
    #[serde(with = "session_field")]
    pub session_id: Uuid,
    /// The action that ended it.
    #[serde(default)]
    pub client_action_id: Option<Uuid>,
}

/// The operator's greeting went out, at the record's own log time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stimulus {
    /// The session.
    #[serde(with = "session_field")]
    pub session_id: Uuid,
    /// The action; a repeated one does nothing.
    pub client_action_id: Uuid,
    /// What the operator noted.
    #[serde(default)]
    pub operator_note: Option<String>,
    /// When the API received it; for audits only, never the stimulus time.
    #[serde(default)]
    pub received_at_utc: Option<String>,
}

/// One poll of the device clock, also a failed one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockPoll {
    /// The session.
    #[serde(with = "session_field")]
    pub session_id: Uuid,
    /// Host clock before the poll, µs since the Unix epoch.
    pub host_before_us: i64,
    /// Host clock after the poll, µs since the Unix epoch.
    pub host_after_us: i64,
    /// The device's answer, µs on its clock; null when the poll failed.
    pub device_us: Option<i64>,
}

/// Media that a capture took in and had to drop before the log: it was away for longer than the capture's buffer
/// lasts, or a producer broke off within a frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gap {
    /// The session.
    #[serde(with = "session_field")]
    pub session_id: Uuid,
    /// The stream that has the gap.
    pub stream: Stream,
    /// Sequence number of the first dropped chunk or unit, or of the one that follows a broken one.
    pub from_seq: u64,
    /// How many chunks or units are missing; their numbers are used up.
    pub records: u64,
    /// How many bytes are missing.
    pub bytes: u64,
}

/// A record of topic `control`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Control {
    /// Type `start`.
    Start(StartSession),
    /// Type `end`.
    End(EndSession),
    /// Type `stimulus`.
    Stimulus(Stimulus),
    /// Type `clock_poll`.
    ClockPoll(ClockPoll),
    /// Type `gap`.
    Gap(Gap),
}

impl Control {
    pub(crate) fn decode(value: &Bytes) -> Result<Control, Rejection> {
        let (kind, body) = codec::envelope(value)?;
        match kind.as_str() {
            "start" => codec::fields(body).and_then(checked_start).map(Control::Start),
            "end" => codec::fields(body).map(Control::End),
            "stimulus" => codec::fields(body).map(Control::Stimulus),
            "clock_poll" => codec::fields(body).map(Control::ClockPoll),
            "gap" => codec::fields(body).map(Control::Gap),
            _ => Err(Rejection::new("unknown_type", "not a control record type")),
        }
    }

    /// The record to append.
    pub fn encode(&self, timestamp: Option<LogTime>) -> NewRecord {
        let value = match self {
            Control::Start(body) => codec::write("start", body),
            Control::End(body) => codec::write("end", body),
            Control::Stimulus(body) => codec::write("stimulus", body),
            Control::ClockPoll(body) => codec::write("clock_poll", body),
            Control::Gap(body) => codec::write("gap", body),
        };
        let key = self.session().to_string().into();
        NewRecord { topic: Topic::Control, key, value, headers: Vec::new(), timestamp }
    }

    /// The session it belongs to.
    pub fn session(&self) -> Uuid {
        match self {
            Control::Start(r) => r.session_id,
            Control::End(r) => r.session_id,
            Control::Stimulus(r) => r.session_id,
            Control::ClockPoll(r) => r.session_id,
            Control::Gap(r) => r.session_id,
        }
    }
}

fn checked_start(start: StartSession) -> Result<StartSession, Rejection> {
    let unique: std::collections::BTreeSet<Stream> = start.streams.iter().copied().collect();
    match () {
        _ if start.streams.is_empty() => Err(Rejection::new("bad_field", "`streams` is empty")),
        _ if unique.len() != start.streams.len() => Err(Rejection::new("bad_field", "`streams` repeats")),
        _ if start.experiment_id.trim().is_empty() => {
            Err(Rejection::new("bad_field", "`experiment_id` is blank"))
        }
        _ => Ok(start),
    }
}
