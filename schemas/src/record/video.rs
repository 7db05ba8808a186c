//! A video access unit of topic `av.video`: Annex B bytes as the value, everything else in headers.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::audio::media_headers;
use super::*;
use crate::codec::{self, Rejection};
use crate::log::{LogRecord, NewRecord};
use crate::time::LogTime;
use crate::topic::Topic;

/// The only accepted codec.
const CODEC: &str = "h264";

/// One coded picture. A stream (re)starts at a key frame, whose unit carries its parameter sets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VideoUnit {
    /// The session (the record's key).
    pub session_id: Uuid,
    /// Sequence number in the stream, from 0.
    pub seq: u64,
    /// Capture time of the frame, µs on the device clock.
    pub capture_us: i64,
    /// Whether decoding can start here.
    pub key_frame: bool,
    /// The access unit, Annex B.
    pub unit: Bytes,
}

impl VideoUnit {
    pub(crate) fn decode(record: &LogRecord) -> Result<VideoUnit, Rejection> {
        let session_id = codec::session_key(record)?;
        codec::version(record)?;
        if codec::header(record, HEADER_STREAM)? != "video" {
            return Err(Rejection::new("wrong_stream", "the stream header is not `video`"));
        }
        let seq = codec::sequence(record)?;
        let capture_us = codec::number(record, HEADER_CAPTURE_US)?;
        if codec::header(record, HEADER_CODEC)? != CODEC {
            return Err(Rejection::new("wrong_codec", format!("video must be {CODEC}")));
        }
        let key_frame = match codec::header(record, HEADER_KEY_FRAME)? {
            "1" => true,
            "0" => false,
            _ => return Err(Rejection::new("bad_header", "key-frame is neither 0 nor 1")),
        };
        let unit = record.value.clone();
        if !unit.starts_with(&[0, 0, 1]) && !unit.starts_with(&[0, 0, 0, 1]) {
            return Err(Rejection::new("not_annex_b", "the unit does not begin with a start code"));
        }
        Ok(VideoUnit { session_id, seq, capture_us, key_frame, unit })
    }

    /// The record to append.
    pub fn encode(&self, timestamp: Option<LogTime>) -> NewRecord {
        let mut headers = media_headers("video", self.seq, self.capture_us, CODEC);
        headers.push((HEADER_KEY_FRAME.into(), Bytes::from_static(if self.key_frame { b"1" } else { b"0" })));
        let key = self.session_id.to_string().into();
        NewRecord { topic: Topic::AvVideo, key, value: self.unit.clone(), headers, timestamp }
    }
}
