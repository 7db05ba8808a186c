//! An audio chunk of topic `av.audio`: raw PCM as the value, everything else in headers.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::*;
use crate::codec::{self, Rejection};
use crate::log::{LogRecord, NewRecord};
use crate::time::LogTime;
use crate::topic::Topic;

/// The only accepted codec: signed 16-bit little-endian PCM, mono.
const CODEC: &str = "pcm_s16le";
/// The only accepted rate, Hz.
const RATE: u32 = 48_000;

/// A run of consecutive samples.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AudioChunk {
    /// The session (the record's key).
    pub session_id: Uuid,
    /// Sequence number in the stream, from 0.
    pub seq: u64,
    /// Capture time of the first sample, µs on the device clock.
    pub capture_us: i64,
    /// 48 kHz mono s16le samples.
    pub pcm: Bytes,
}

impl AudioChunk {
    pub(crate) fn decode(record: &LogRecord) -> Result<AudioChunk, Rejection> {
        let session_id = codec::session_key(record)?;
        codec::version(record)?;
        if codec::header(record, HEADER_STREAM)? != "audio" {
            return Err(Rejection::new("wrong_stream", "the stream header is not `audio`"));
        }
        let chunk = AudioChunk {
            session_id,
            seq: codec::sequence(record)?,
            capture_us: codec::number(record, HEADER_CAPTURE_US)?,
            pcm: record.value.clone(),
        };
        if codec::header(record, HEADER_CODEC)? != CODEC {
            return Err(Rejection::new("wrong_codec", format!("audio must be {CODEC}")));
        }
        if codec::number::<u32>(record, HEADER_RATE)? != RATE {
            return Err(Rejection::new("wrong_codec", format!("audio must be {RATE} Hz")));
        }
        if chunk.pcm.is_empty() || !chunk.pcm.len().is_multiple_of(2) {
            return Err(Rejection::new("truncated", format!("{} bytes of 16-bit samples", chunk.pcm.len())));
        }
        Ok(chunk)
    }

    /// The record to append.
    pub fn encode(&self, timestamp: Option<LogTime>) -> NewRecord {
        let mut headers = media_headers("audio", self.seq, self.capture_us, CODEC);
        headers.push((HEADER_RATE.into(), RATE.to_string().into()));
        let key = self.session_id.to_string().into();
        NewRecord { topic: Topic::AvAudio, key, value: self.pcm.clone(), headers, timestamp }
    }

    /// How many samples it holds.
    pub fn samples(&self) -> usize {
        self.pcm.len() / 2
    }
}

/// The headers that all media records share.
pub(super) fn media_headers(
    stream: &str,
    seq: u64,
    capture_us: i64,
    codec: &'static str,
) -> Vec<(String, Bytes)> {
    vec![
        (HEADER_VERSION.into(), codec::VERSION.to_string().into()),
        (HEADER_STREAM.into(), stream.to_string().into()),
        (HEADER_SEQ.into(), seq.to_string().into()),
        (HEADER_CAPTURE_US.into(), capture_us.to_string().into()),
        (HEADER_CODEC.into(), Bytes::from_static(codec.as_bytes())),
    ]
}
