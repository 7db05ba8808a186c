//! A Matroska stream as a recorder writes it into a pipe: H.264 access units as soon as they are complete.
//!
//! A pipe cannot be sought in, and the end of a live segment or cluster is not known; so elements are read one
//! after the other, and masters of unknown size are entered and never left. Only what leads to a frame is
//! looked at.

use bytes::Bytes;
use lsie_schemas::Rejection;
use lsie_schemas::log::MAX_RECORD_BYTES;

use crate::avc::{CODEC, DecoderConfig, Unit};

/// The element ids that lead to a frame (RFC 9559).
mod id {
    pub(super) const EBML: u32 = 0x1A45_DFA3;
    pub(super) const SEGMENT: u32 = 0x1853_8067;
    pub(super) const INFO: u32 = 0x1549_A966;
    pub(super) const TIMESTAMP_SCALE: u32 = 0x2A_D7B1;
    pub(super) const TRACKS: u32 = 0x1654_AE6B;
    pub(super) const TRACK_ENTRY: u32 = 0xAE;
    pub(super) const TRACK_NUMBER: u32 = 0xD7;
    pub(super) const TRACK_TYPE: u32 = 0x83;
    pub(super) const CODEC_ID: u32 = 0x86;
    pub(super) const CODEC_PRIVATE: u32 = 0x63A2;
    pub(super) const CONTENT_ENCODINGS: u32 = 0x6D80;
    pub(super) const CLUSTER: u32 = 0x1F43_B675;
    pub(super) const TIMESTAMP: u32 = 0xE7;
    pub(super) const BLOCK_GROUP: u32 = 0xA0;
    pub(super) const BLOCK: u32 = 0xA1;
    pub(super) const SIMPLE_BLOCK: u32 = 0xA3;
}

/// The longest id and size of an element.
const HEADER_BYTES: usize = 12;
/// Larger descriptions of a track are none.
const MOST_TRACK_BYTES: u64 = 1 << 20;
/// The scale of a file that names none, in ns.
const MILLISECOND: u64 = 1_000_000;
/// The type of a track that shows pictures.
const VIDEO: u64 = 1;

/// An access unit and when it is shown, in µs of its stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimedUnit {
    /// Time since the stream's zero, µs.
    pub at_us: i64,
    /// The unit.
    pub unit: Unit,
}

/// Reads one Matroska stream, in pieces of any size.
#[derive(Clone, Debug, Default)]
pub struct MatroskaReader {
    /// Bytes of an element that is not complete yet.
    pending: Vec<u8>,
    /// The element whose content is being collected, and its size.
    open: Option<(u32, usize)>,
    /// Bytes to pass over.
    skip: u64,
    begun: bool,
    scale_ns: Option<u64>,
    track: Option<Track>,
    cluster: u64,
}

#[derive(Clone, Debug)]
struct Track {
    number: u64,
    config: DecoderConfig,
}

impl MatroskaReader {
    /// Takes the next bytes of the stream; complete units are added to `units`.
    pub fn push(&mut self, mut bytes: &[u8], units: &mut Vec<TimedUnit>) -> Result<(), Rejection> {
        while !bytes.is_empty() {
            let used = match (self.skip, self.open) {
                (0, None) => self.header(bytes)?,
                (0, Some((id, size))) => {
                    let used = bytes.len().min(size - self.pending.len());
                    self.pending.extend_from_slice(&bytes[..used]);
                    if self.pending.len() == size {
                        self.open = None;
                        let content = std::mem::take(&mut self.pending);
                        self.content(id, &content, units)?;
                    }
                    used
                }
                (left, _) => {
                    let used = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    self.skip = left - used as u64;
                    used
                }
            };
            bytes = &bytes[used..];
        }
        Ok(())
    }

    /// Bytes that were read and belong to nothing that has come out yet.
    pub fn left_over(&self) -> usize {
        self.pending.len()
    }

    /// Takes one byte of an element's id and size after the other, until both are there.
    fn header(&mut self, bytes: &[u8]) -> Result<usize, Rejection> {
        for (place, byte) in bytes.iter().enumerate() {
            self.pending.push(*byte);
            let Some((id, size)) = element(&self.pending)? else { continue };
            self.pending.clear();
            self.element(id, size)?;
            return Ok(place + 1);
        }
        Ok(bytes.len())
    }

    /// Decides what to do with an element: enter, collect, or pass over.
    fn element(&mut self, id: u32, size: Option<u64>) -> Result<(), Rejection> {
        if !self.begun && id != id::EBML {
            return Err(refused("not_matroska", "the video stream does not begin as a Matroska file does"));
        }
        let most = match id {
            id::EBML => {
                // A recorder that began anew: what it said before no longer holds.
                *self = MatroskaReader { begun: true, ..MatroskaReader::default() };
                self.skip = size.unwrap_or(0);
                return Ok(());
            }
            id::SEGMENT | id::INFO | id::TRACKS | id::CLUSTER | id::BLOCK_GROUP => return Ok(()),
            id::TIMESTAMP_SCALE | id::TIMESTAMP => 8,
            id::TRACK_ENTRY => MOST_TRACK_BYTES,
            id::SIMPLE_BLOCK | id::BLOCK => MAX_RECORD_BYTES as u64,
            _ => {
                self.skip = size.ok_or_else(|| refused("damaged", "an element without a size"))?;
                return Ok(());
            }
        };
        match size {
            Some(0) => Ok(()),
            Some(size) if size <= most => {
                self.open = Some((id, size as usize));
                Ok(())
            }
            _ => Err(refused("damaged", format!("an element of {size:?} bytes, at most {most} will do"))),
        }
    }

    fn content(&mut self, id: u32, content: &[u8], units: &mut Vec<TimedUnit>) -> Result<(), Rejection> {
        match id {
            id::TIMESTAMP_SCALE => self.scale_ns = Some(number(content)),
            id::TIMESTAMP => self.cluster = number(content),
            id::TRACK_ENTRY => {
                if let (None, Some(track)) = (&self.track, track(content)?) {
                    self.track = Some(track);
                }
            }
            _ => units.extend(self.block(content)?),
        }
        Ok(())
    }

    /// The frame of a block of our track.
    fn block(&self, block: &[u8]) -> Result<Option<TimedUnit>, Rejection> {
        let damaged = || refused("damaged", "a block without its header");
        let (number, after) = variable(block).ok_or_else(damaged)?;
        let ([high, low, flags], data) = after.split_first_chunk::<3>().ok_or_else(damaged)?;
        let track =
            self.track.as_ref().ok_or_else(|| refused("no_video", "frames before any H.264 track"))?;
        if Some(track.number) != number {
            return Ok(None);
        }
        if flags & 0x06 != 0 {
            return Err(refused("damaged", "several frames in one block"));
        }
        let ticks = i128::from(self.cluster) + i128::from(i16::from_be_bytes([*high, *low]));
        let at_us = ticks * i128::from(self.scale_ns.unwrap_or(MILLISECOND)) / 1_000;
        let at_us = i64::try_from(at_us).map_err(|_| refused("damaged", "a time out of range"))?;
        let unit = track.config.unit(data);
        let unit = unit.ok_or_else(|| refused("damaged", "a frame whose parts do not fit"))?;
        Ok(Some(TimedUnit { at_us, unit }))
    }
}

fn refused(reason: &str, detail: impl Into<String>) -> Rejection {
    Rejection::new(reason, detail)
}

/// Id and size of an element, as soon as all their bytes are there; no size: unknown.
fn element(header: &[u8]) -> Result<Option<(u32, Option<u64>)>, Rejection> {
    let Some(first) = header.first() else { return Ok(None) };
    let length = first.leading_zeros() as usize + 1;
    if length > 4 {
        return Err(refused("damaged", "no element where one must begin"));
    }
    let Some((id, size)) = header.split_at_checked(length) else { return Ok(None) };
    let id = id.iter().fold(0, |id, byte| id << 8 | u32::from(*byte));
    match size.first() {
        Some(0) => Err(refused("damaged", "a size of more than eight bytes")),
        Some(_) => Ok(variable(size).map(|(size, _)| (id, size))),
        None => Ok(None),
    }
    .inspect(|_| debug_assert!(header.len() <= HEADER_BYTES))
}

/// A number of variable length and what follows it; all ones are no number.
fn variable(bytes: &[u8]) -> Option<(Option<u64>, &[u8])> {
    let length = bytes.first()?.leading_zeros() as usize + 1;
    let (number, rest) = bytes.split_at_checked(length).filter(|_| length <= 8)?;
    let value = number.iter().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
    let mask = (1u64 << (7 * length)) - 1;
    Some(((value & mask != mask).then_some(value & mask), rest))
}

/// A big-endian number of at most eight bytes.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// The track of a description, if it is one of pictures; such a one must be plain H.264.
fn track(mut entry: &[u8]) -> Result<Option<Track>, Rejection> {
    let damaged = || refused("damaged", "a description of a track that does not fit");
    let (mut track_number, mut kind, mut codec, mut private, mut encoded) = (0, 0, "", None, false);
    while !entry.is_empty() {
        let length = entry[0].leading_zeros() as usize + 1;
        let (id, after) = entry.split_at_checked(length).ok_or_else(damaged)?;
        let (size, after) = variable(after).ok_or_else(damaged)?;
        let size = size.and_then(|size| usize::try_from(size).ok()).ok_or_else(damaged)?;
        let (content, after) = after.split_at_checked(size).ok_or_else(damaged)?;
        entry = after;
        match number(id) as u32 {
            id::TRACK_NUMBER if size <= 8 => track_number = number(content),
            id::TRACK_TYPE if size <= 8 => kind = number(content),
            id::CODEC_ID => codec = std::str::from_utf8(content).unwrap_or("").trim_end_matches('\0'),
            id::CODEC_PRIVATE => private = Some(content),
            id::CONTENT_ENCODINGS => encoded = true,
            _ => {}
        }
    }
    if kind != VIDEO {
        return Ok(None);
    }
    if codec != CODEC || encoded {
        return Err(refused("wrong_codec", format!("video must be plain {CODEC}")));
    }
    let config = private.and_then(DecoderConfig::parse);
    let config = config.ok_or_else(|| refused("wrong_codec", "H.264 without its decoder configuration"))?;
    Ok(Some(Track { number: track_number, config }))
}

/// The units of a whole stream; for comparing.
#[doc(hidden)]
pub fn units(stream: &Bytes) -> Result<Vec<TimedUnit>, Rejection> {
    let mut units = Vec::new();
    MatroskaReader::default().push(stream, &mut units).map(|()| units)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AVCC: [u8; 14] = [1, 100, 0, 30, 0xff, 0xe1, 0, 2, 0x67, 9, 1, 0, 1, 0x68];

    fn put(out: &mut Vec<u8>, id: u32, content: &[u8]) {
        out.extend(id.to_be_bytes().into_iter().skip_while(|byte| *byte == 0));
        out.extend([0x40 | (content.len() >> 8) as u8, content.len() as u8]);
        out.extend(content);
    }

    fn open(out: &mut Vec<u8>, id: u32) {
        out.extend(id.to_be_bytes());
        out.extend([0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    }

    fn entry(kind: u8, codec: &str, number: u8) -> Vec<u8> {
        let mut entry = Vec::new();
        put(&mut entry, id::TRACK_NUMBER, &[number]);
        put(&mut entry, id::TRACK_TYPE, &[kind]);
        put(&mut entry, id::CODEC_ID, codec.as_bytes());
        put(&mut entry, id::CODEC_PRIVATE, &AVCC);
        entry
    }

    fn block(number: u8, at: i16, flags: u8, data: &[u8]) -> Vec<u8> {
        let [high, low] = at.to_be_bytes();
        [&[0x80 | number, high, low, flags], data].concat()
    }

    /// A live stream: sound as track 1, pictures as track 2, two clusters without end.
    fn stream() -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, id::EBML, b"whatever");
        open(&mut out, id::SEGMENT);
        let mut info = Vec::new();
        put(&mut info, id::TIMESTAMP_SCALE, &[0x0f, 0x42, 0x40]);
        put(&mut out, id::INFO, &info);
        let mut tracks = Vec::new();
        put(&mut tracks, id::TRACK_ENTRY, &entry(2, "A_OPUS", 1));
        put(&mut tracks, id::TRACK_ENTRY, &entry(1, CODEC, 2));
        put(&mut out, id::TRACKS, &tracks);
        open(&mut out, id::CLUSTER);
        put(&mut out, id::TIMESTAMP, &[0]);
        put(&mut out, id::SIMPLE_BLOCK, &block(1, 5, 0, b"sound"));
        put(&mut out, id::SIMPLE_BLOCK, &block(2, 7, 0x80, &[0, 0, 0, 2, 0x65, 1]));
        put(&mut out, 0xEC, &[0; 9]);
        open(&mut out, id::CLUSTER);
        put(&mut out, id::TIMESTAMP, &[0x03, 0xe8]);
        let mut group = Vec::new();
        put(&mut group, id::BLOCK, &block(2, -10, 0, &[0, 0, 0, 2, 0x41, 2]));
        put(&mut group, 0xFB, &[1]);
        put(&mut out, id::BLOCK_GROUP, &group);
        out
    }

    fn reason(stream: Vec<u8>) -> String {
        units(&stream.into()).expect_err("a refusal").reason
    }

    #[test]
    fn frames_of_the_video_track_with_their_times() {
        let units = units(&stream().into()).expect("a stream");
        let found: Vec<_> = units.iter().map(|timed| (timed.at_us, timed.unit.key_frame)).collect();
        assert_eq!(found, [(7_000, true), (990_000, false)]);
        assert_eq!(units[1].unit.bytes.as_ref(), [0, 0, 0, 1, 0x41, 2]);
    }

    #[test]
    fn a_recorder_that_begins_anew_is_read_from_its_new_header() {
        let twice = units(&[stream(), stream()].concat().into()).expect("two streams");
        assert_eq!(twice[..2], twice[2..]);
    }

    #[test]
    fn what_is_not_plain_h264_is_refused() {
        assert_eq!(reason(b"nothing of the kind".to_vec()), "not_matroska");
        let with = |entry: &[u8], block: &[u8]| {
            let mut out = Vec::new();
            put(&mut out, id::EBML, b"");
            put(&mut out, id::TRACK_ENTRY, entry);
            put(&mut out, id::SIMPLE_BLOCK, block);
            reason(out)
        };
        let good = entry(1, CODEC, 1);
        assert_eq!(with(&entry(1, "V_VP9", 1), &[]), "wrong_codec");
        assert_eq!(with(&[good.as_slice(), &[0x6D, 0x80, 0x80]].concat(), &[]), "wrong_codec");
        assert_eq!(with(&good, &block(1, 0, 0x02, &[0, 0, 0, 1, 0x41])), "damaged");
        assert_eq!(with(&good, &block(1, 0, 0, &[0, 0, 0, 9, 0x41])), "damaged");
        assert_eq!(with(&good[..good.len() - 1], &[]), "damaged");
        assert_eq!(with(&entry(2, "A_OPUS", 1), &block(1, 0, 0, b"sound")), "no_video");
    }

    proptest! {
        #[test]
        fn how_the_stream_is_split_changes_nothing(sizes in prop::collection::vec(1usize..40, 1..40)) {
            let stream = stream();
            let (mut reader, mut found) = (MatroskaReader::default(), Vec::new());
            let mut rest = stream.as_slice();
            for size in sizes.iter().cycle() {
                let (piece, after) = rest.split_at((*size).min(rest.len()));
                reader.push(piece, &mut found).expect("a stream");
                rest = after;
                if rest.is_empty() { break; }
            }
            prop_assert_eq!(found, units(&stream.into()).expect("a stream"));
            prop_assert_eq!(reader.left_over(), 0);
        }

        #[test]
        fn foreign_bytes_never_panic(
            foreign in prop::collection::vec(any::<u8>(), 0..200),
            at in 0usize..400,
            byte: u8,
        ) {
            let _ = units(&foreign.into());
            let mut damaged = stream();
            if let Some(b) = damaged.get_mut(at) { *b = byte; }
            let _ = units(&damaged.into());
        }
    }
}
