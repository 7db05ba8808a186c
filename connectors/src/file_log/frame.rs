//! The frame: a batch of records as bytes, with a checksum over its header and one over its payload.
//!
//! Header, little endian, 52 bytes:
//!
//! | at | field | |
//! |---|---|---|
//! | 0 | magic | `LSLF` |
//! | 4 | version | 1 |
//! | 5 | flags | bit 0: payload is zstd; bit 1: offsets before it hold no record (a copy of another log) |
//! | 6 | reserved | 0 |
//! | 8 | stored length | bytes of the payload in the file |
//! | 12 | raw length | bytes of the payload when decompressed |
//! | 16 | count | records in the frame, at least 1 |
//! | 20 | base offset | offset of the first record; the others follow without gaps |
//! | 28 | max timestamp | largest timestamp in the frame |
//! | 36 | max before | largest timestamp of the partition before the frame; makes look-ups a binary search |
//! | 44 | payload checksum | crc32c of the stored payload |
//! | 48 | header checksum | crc32c of the 48 bytes before |
//!
//! A record: timestamp u64, key length u32, value length u32, header count u16, key, value, then per
//! header name length u16, value length u32, name, value.

use std::collections::VecDeque;

use bytes::{Buf, BufMut, Bytes};
use lsie_schemas::LogTime;
use lsie_schemas::log::{Header, LogRecord, MAX_RECORD_BYTES, NewRecord, TopicPartition};

use crate::limits::MAX_ENVELOPE_BYTES;

/// Length of a frame header.
pub(super) const HEADER: usize = 52;
/// First bytes of every frame.
pub(super) const MAGIC: [u8; 4] = *b"LSLF";
const VERSION: u8 = 1;
const ZSTD: u8 = 1;
const GAP: u8 = 2;
/// Fixed bytes of one record.
const RECORD_FIXED: usize = 18;
/// A frame is sealed when its raw payload reaches this.
pub(super) const FRAME_BYTES: usize = 1 << 20;
/// No frame can be larger: a full frame that took one more record of the largest kind.
const MAX_RAW: usize = FRAME_BYTES + MAX_RECORD_BYTES + MAX_ENVELOPE_BYTES + RECORD_FIXED;
/// Payloads below this are stored as they are.
const COMPRESS_FROM: usize = 512;
/// The fastest level: the log must not be slower than its disk.
const LEVEL: i32 = 1;

/// A parsed header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub(super) compressed: bool,
    /// The offsets between the frame before and this one hold no record.
    pub(super) gap: bool,
    pub(super) stored: usize,
    pub(super) raw: usize,
    pub(super) count: u32,
    pub(super) base: i64,
    pub(super) max: u64,
    pub(super) max_before: u64,
    payload_crc: u32,
}

/// Why bytes are no frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoFrame {
    /// The bytes are damaged, or were never completely written.
    Damaged(&'static str),
    /// A valid header of a format that this program does not know.
    Version(u8),
}

impl FrameHeader {
    /// Reads a header from at least [`HEADER`] bytes.
    pub(super) fn parse(bytes: &[u8]) -> Result<FrameHeader, NoFrame> {
        let Some(header) = bytes.get(..HEADER) else { return Err(NoFrame::Damaged("short header")) };
        if header[..4] != MAGIC {
            return Err(NoFrame::Damaged("no frame starts here"));
        }
        let (body, mut crc) = header.split_at(HEADER - 4);
        if crc.get_u32_le() != crc32c::crc32c(body) {
            return Err(NoFrame::Damaged("header checksum"));
        }
        let mut rest = &body[4..];
        let version = rest.get_u8();
        if version != VERSION {
            return Err(NoFrame::Version(version));
        }
        let flags = rest.get_u8();
        let _reserved = rest.get_u16_le();
        let parsed = FrameHeader {
            compressed: flags & ZSTD != 0,
            gap: flags & GAP != 0,
            stored: rest.get_u32_le() as usize,
            raw: rest.get_u32_le() as usize,
            count: rest.get_u32_le(),
            base: rest.get_i64_le(),
            max: rest.get_u64_le(),
            max_before: rest.get_u64_le(),
            payload_crc: rest.get_u32_le(),
        };
        let sizes_hold = parsed.raw <= MAX_RAW && parsed.stored <= MAX_RAW && parsed.count > 0;
        if !sizes_hold || parsed.base < 0 || parsed.base.checked_add(i64::from(parsed.count)).is_none() {
            return Err(NoFrame::Damaged("header out of range"));
        }
        Ok(parsed)
    }

    /// Whether the frame may follow one that ended before this offset.
    pub(super) fn follows(&self, next: i64) -> bool {
        self.base == next || (self.gap && self.base > next)
    }

    /// The offset after the frame's last record.
    pub(super) fn next(&self) -> i64 {
        self.base + i64::from(self.count)
    }

    /// Bytes of the whole frame in the file.
    pub(super) fn len(&self) -> usize {
        HEADER + self.stored
    }

    /// The largest timestamp of the partition up to the end of this frame.
    pub(super) fn running_max(&self) -> u64 {
        self.max.max(self.max_before)
    }

    /// Whether the stored payload is the one that was written.
    pub(super) fn holds(&self, stored: &[u8]) -> bool {
        crc32c::crc32c(stored) == self.payload_crc
    }
}

/// Collects records into the payload of one frame.
#[derive(Default)]
pub(super) struct FrameBuilder {
    raw: Vec<u8>,
    count: u32,
    max: u64,
}

impl FrameBuilder {
    /// Adds a record with the timestamp that the log gives it.
    pub(super) fn push(&mut self, record: &NewRecord, timestamp: u64) {
        self.raw.put_u64_le(timestamp);
        self.raw.put_u32_le(record.key.len() as u32);
        self.raw.put_u32_le(record.value.len() as u32);
        self.raw.put_u16_le(record.headers.len() as u16);
        self.raw.put_slice(&record.key);
        self.raw.put_slice(&record.value);
        for (name, value) in &record.headers {
            self.raw.put_u16_le(name.len() as u16);
            self.raw.put_u32_le(value.len() as u32);
            self.raw.put_slice(name.as_bytes());
            self.raw.put_slice(value);
        }
        self.count += 1;
        self.max = self.max.max(timestamp);
    }

    /// Records so far.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Whether the frame has its size.
    pub(super) fn is_full(&self) -> bool {
        self.raw.len() >= FRAME_BYTES
    }

    /// Writes the frame to `out`, empties the builder, and returns the new running maximum.
    pub(super) fn seal(
        &mut self,
        (base, gap): (i64, bool),
        max_before: u64,
        zstd: Option<&mut zstd::bulk::Compressor<'static>>,
        out: &mut Vec<u8>,
    ) -> u64 {
        let smaller = zstd
            .filter(|_| self.raw.len() >= COMPRESS_FROM)
            .and_then(|zstd| zstd.compress(&self.raw).ok())
            .filter(|packed| packed.len() < self.raw.len() - self.raw.len() / 16);
        let (packed, stored) = match &smaller {
            Some(packed) => (ZSTD, packed.as_slice()),
            None => (0, self.raw.as_slice()),
        };
        let flags = packed | if gap { GAP } else { 0 };
        let start = out.len();
        out.reserve(HEADER + stored.len());
        out.put_slice(&MAGIC);
        out.put_u8(VERSION);
        out.put_u8(flags);
        out.put_u16_le(0);
        out.put_u32_le(stored.len() as u32);
        out.put_u32_le(self.raw.len() as u32);
        out.put_u32_le(self.count);
        out.put_i64_le(base);
        out.put_u64_le(self.max);
        out.put_u64_le(max_before);
        out.put_u32_le(crc32c::crc32c(stored));
        let header_crc = crc32c::crc32c(&out[start..]);
        out.put_u32_le(header_crc);
        out.put_slice(stored);
        let running = self.max.max(max_before);
        self.raw.clear();
        self.raw.shrink_to(FRAME_BYTES);
        self.count = 0;
        self.max = 0;
        running
    }
}

/// A compressor as the log uses it.
pub(super) fn compressor() -> std::io::Result<zstd::bulk::Compressor<'static>> {
    zstd::bulk::Compressor::new(LEVEL)
}

/// Decodes the records of a frame whose checksum holds, from offset `from` on.
pub(super) fn decode(
    header: &FrameHeader,
    stored: Bytes,
    at: TopicPartition,
    from: i64,
    out: &mut VecDeque<LogRecord>,
) -> Result<(), String> {
    let mut raw = if header.compressed {
        let raw = zstd::bulk::decompress(&stored, header.raw).map_err(|e| format!("zstd: {e}"))?;
        Bytes::from(raw)
    } else {
        stored
    };
    if raw.len() != header.raw {
        return Err(format!("payload of {} bytes, the header says {}", raw.len(), header.raw));
    }
    for i in 0..header.count {
        let offset = header.base + i64::from(i);
        let record = decode_record(&mut raw, at, offset)
            .ok_or_else(|| format!("record {offset} does not fit its frame"))?;
        if offset >= from {
            out.push_back(record);
        }
    }
    if raw.is_empty() { Ok(()) } else { Err(format!("{} bytes after the last record", raw.len())) }
}

fn decode_record(raw: &mut Bytes, at: TopicPartition, offset: i64) -> Option<LogRecord> {
    if raw.len() < RECORD_FIXED {
        return None;
    }
    let log_time = LogTime(raw.get_u64_le());
    let key = raw.get_u32_le() as usize;
    let value = raw.get_u32_le() as usize;
    let count = raw.get_u16_le() as usize;
    let key = take(raw, key)?;
    let value = take(raw, value)?;
    let mut headers: Vec<Header> = Vec::with_capacity(count.min(64));
    for _ in 0..count {
        if raw.len() < 6 {
            return None;
        }
        let name = raw.get_u16_le() as usize;
        let bytes = raw.get_u32_le() as usize;
        let name = String::from_utf8(take(raw, name)?.to_vec()).ok()?;
        headers.push((name, take(raw, bytes)?));
    }
    Some(LogRecord { at, offset, log_time, key: Some(key), value, headers })
}

fn take(raw: &mut Bytes, len: usize) -> Option<Bytes> {
    (raw.len() >= len).then(|| raw.split_to(len))
}

#[cfg(test)]
mod tests {
    use lsie_schemas::Topic;
    use proptest::prelude::*;

    use super::*;

    const AT: TopicPartition = TopicPartition { topic: Topic::Events, partition: 3 };

    fn any_record() -> impl Strategy<Value = (NewRecord, u64)> {
        let bytes = |n| prop::collection::vec(any::<u8>(), 0..n).prop_map(Bytes::from);
        let headers = prop::collection::vec(("[a-z]{0,9}", bytes(40)), 0..4);
        (bytes(20), bytes(3000), headers, any::<u64>()).prop_map(|(key, value, headers, time)| {
            (NewRecord { topic: Topic::Events, key, value, headers, timestamp: None }, time)
        })
    }

    fn seal(records: &[(NewRecord, u64)], compress: bool) -> Vec<u8> {
        let mut builder = FrameBuilder::default();
        for (record, time) in records {
            builder.push(record, *time);
        }
        let mut zstd = compressor().expect("zstd");
        let mut out = Vec::new();
        builder.seal((7, false), 5, compress.then_some(&mut zstd), &mut out);
        out
    }

    proptest! {
        #[test]
        fn what_is_sealed_decodes_to_the_same(
            records in prop::collection::vec(any_record(), 1..20),
            compress in any::<bool>(),
        ) {
            let bytes = Bytes::from(seal(&records, compress));
            let header = FrameHeader::parse(&bytes).expect("own header");
            prop_assert_eq!(header.len(), bytes.len());
            let stored = bytes.slice(HEADER..);
            prop_assert!(header.holds(&stored));
            let mut back = VecDeque::new();
            decode(&header, stored, AT, 7, &mut back).expect("own frame");
            prop_assert_eq!(back.len(), records.len());
            for (i, (read, (written, time))) in back.iter().zip(&records).enumerate() {
                prop_assert_eq!(read.offset, 7 + i as i64);
                prop_assert_eq!(read.log_time.0, *time);
                prop_assert_eq!(read.key.as_ref(), Some(&written.key));
                prop_assert_eq!(&read.value, &written.value);
                prop_assert_eq!(&read.headers, &written.headers);
            }
        }

        #[test]
        fn any_flipped_bit_is_noticed(
            records in prop::collection::vec(any_record(), 1..4),
            position in any::<prop::sample::Index>(),
            bit in 0u8..8,
        ) {
            let mut bytes = seal(&records, true);
            let at = position.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let seen = match FrameHeader::parse(&bytes) {
                Err(_) => true,
                Ok(header) => bytes.len() != header.len() || !header.holds(&bytes[HEADER..]),
            };
            prop_assert!(seen);
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), raw in 0usize..200) {
            let _ = FrameHeader::parse(&bytes);
            let header = FrameHeader {
                compressed: false, gap: false, stored: bytes.len(), raw, count: 3, base: 0, max: 0, max_before: 0,
                payload_crc: 0,
            };
            let mut out = VecDeque::new();
            let _ = decode(&header, Bytes::from(bytes.clone()), AT, 0, &mut out);
            let _ = decode(&FrameHeader { compressed: true, ..header }, Bytes::from(bytes), AT, 0, &mut out);
        }
    }

    #[test]
    fn a_newer_version_is_told_apart_from_damage() {
        let record = NewRecord {
            topic: Topic::Events,
            key: Bytes::new(),
            value: Bytes::from_static(b"x"),
            headers: vec![],
            timestamp: None,
        };
        let mut bytes = seal(&[(record, 1)], false);
        bytes[4] = 9;
        let crc = crc32c::crc32c(&bytes[..48]).to_le_bytes();
        bytes[48..52].copy_from_slice(&crc);
        assert_eq!(FrameHeader::parse(&bytes), Err(NoFrame::Version(9)));
    }
}
