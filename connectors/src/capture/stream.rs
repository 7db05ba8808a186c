//! Bytes of a pipe to chunks and access units with their capture times, and on into the outbox.

use bytes::Bytes;
use lsie_schemas::Rejection;
use lsie_schemas::record::Stream;

use super::matroska::MatroskaReader;
use super::outbox::{Outbox, Taken};
use super::placement::Placement;
use super::wav::WavReader;
use crate::Health;
use crate::health::State;

/// 100 ms of 48 kHz mono s16le.
const CHUNK_BYTES: usize = 9_600;

/// One producer's stream, from its header to its end.
pub(super) struct MediaStream<'a> {
    reader: Reader,
    placement: Placement,
    outbox: &'a Outbox,
    health: &'a Health,
}

enum Reader {
    Audio {
        wav: WavReader,
        /// Samples that do not fill a chunk yet.
        mono: Vec<u8>,
        /// Samples of the chunks so far.
        samples: i64,
    },
    Video(MatroskaReader),
}

impl<'a> MediaStream<'a> {
    pub(super) fn new(stream: Stream, outbox: &'a Outbox, health: &'a Health) -> Self {
        let reader = match stream {
            Stream::Audio => Reader::Audio { wav: WavReader::default(), mono: Vec::new(), samples: 0 },
            Stream::Video => Reader::Video(MatroskaReader::default()),
        };
        MediaStream { reader, placement: Placement::default(), outbox, health }
    }

    /// Takes the next bytes, which arrived at that instant of this machine's clock.
    pub(super) fn push(&mut self, bytes: &[u8], arrived_us: i64) -> Result<(), Rejection> {
        match &mut self.reader {
            Reader::Audio { wav, mono, samples } => {
                let result = wav.push(bytes, mono);
                if !mono.is_empty() {
                    self.placement.observe(samples_us(*samples + mono.len() as i64 / 2), arrived_us);
                }
                while mono.len() >= CHUNK_BYTES {
                    let rest = mono.split_off(CHUNK_BYTES);
                    let chunk = std::mem::replace(mono, rest);
                    let at = self.placement.host_us(samples_us(*samples));
                    *samples += chunk.len() as i64 / 2;
                    hand_over(self.outbox, self.health, Stream::Audio, at, false, chunk.into());
                }
                result
            }
            Reader::Video(matroska) => {
                let mut units = Vec::new();
                let result = matroska.push(bytes, &mut units);
                for timed in units {
                    self.placement.observe(timed.at_us, arrived_us);
                    let at = self.placement.host_us(timed.at_us);
                    let unit = timed.unit;
                    hand_over(self.outbox, self.health, Stream::Video, at, unit.key_frame, unit.bytes);
                }
                result
            }
        }
    }

    /// The producer is gone: hands over what is whole, and says what is not.
    pub(super) fn finish(self) {
        let (stream, left_over) = match self.reader {
            Reader::Audio { wav, mono, samples } => {
                if !mono.is_empty() {
                    let at = self.placement.host_us(samples_us(samples));
                    hand_over(self.outbox, self.health, Stream::Audio, at, false, mono.into());
                }
                (Stream::Audio, wav.left_over())
            }
            Reader::Video(matroska) => (Stream::Video, matroska.left_over()),
        };
        self.health.count("bytes_broken_off", left_over as u64);
        self.outbox.with(|queue| queue.broken(stream, left_over as u64));
    }
}

/// Hands media over and counts what became of them.
fn hand_over(outbox: &Outbox, health: &Health, stream: Stream, host_us: i64, key_frame: bool, bytes: Bytes) {
    let length = bytes.len() as u64;
    let counted = match outbox.with(|queue| queue.media(stream, host_us, key_frame, bytes)) {
        Taken::Queued => "bytes_taken",
        Taken::Outside => "bytes_outside_sessions",
        Taken::NoKeyFrame => "bytes_before_a_key_frame",
        Taken::Dropped => "bytes_dropped",
    };
    health.count(counted, length);
    let full = counted == "bytes_dropped";
    let (state, detail) =
        if full { (State::Degraded, "the log is behind: media are dropped") } else { (State::Ok, "") };
    health.set(stream.name(), state, detail);
}

fn samples_us(samples: i64) -> i64 {
    samples.saturating_mul(1_000).div_euclid(48)
}
