//! A WAV stream as a recorder writes it into a pipe: its header is checked, its samples come out as mono.

use lsie_schemas::Rejection;

/// The one rate there is, Hz.
const RATE: u32 = 48_000;
/// Longer descriptions of a format are none.
const MOST_FORMAT_BYTES: u32 = 256;
/// What a recorder writes that cannot know how much will follow.
const OPEN_LENGTHS: [u32; 2] = [0, u32::MAX];

/// Where in the stream the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Riff,
    Chunk,
    Format(usize),
    Skip(u64),
    Samples,
    End,
}

/// Reads one WAV stream, in pieces of any size. Taken are 48 kHz, 16 bits, one channel, or two that are mixed
/// down; anything else is refused.
#[derive(Clone, Debug)]
pub struct WavReader {
    at: At,
    pending: Vec<u8>,
    channels: usize,
    /// Bytes of samples to come, where the header says how many.
    left: Option<u64>,
}

impl Default for WavReader {
    fn default() -> Self {
        WavReader { at: At::Riff, pending: Vec::new(), channels: 0, left: None }
    }
}

impl WavReader {
    /// Takes the next bytes of the stream; mono samples are added to `mono`.
    pub fn push(&mut self, mut bytes: &[u8], mono: &mut Vec<u8>) -> Result<(), Rejection> {
        while !bytes.is_empty() {
            let used = match self.at {
                At::Riff => self.header(bytes, 12, WavReader::riff)?,
                At::Chunk => self.header(bytes, 8, WavReader::chunk)?,
                At::Format(length) => self.header(bytes, length, WavReader::format)?,
                At::Skip(left) => {
                    let used = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    self.skip(left - used as u64);
                    used
                }
                At::Samples => self.samples(bytes, mono),
                At::End => bytes.len(),
            };
            bytes = &bytes[used..];
        }
        Ok(())
    }

    /// Bytes that were read and belong to nothing that has come out yet.
    pub fn left_over(&self) -> usize {
        self.pending.len()
    }

    /// Collects `length` bytes and hands them to `read`.
    fn header(
        &mut self,
        bytes: &[u8],
        length: usize,
        read: fn(&mut WavReader, &[u8]) -> Result<(), Rejection>,
    ) -> Result<usize, Rejection> {
        let used = bytes.len().min(length - self.pending.len());
        self.pending.extend_from_slice(&bytes[..used]);
        if self.pending.len() == length {
            let header = std::mem::take(&mut self.pending);
            read(self, &header)?;
        }
        Ok(used)
    }

    fn riff(&mut self, header: &[u8]) -> Result<(), Rejection> {
        if !header.starts_with(b"RIFF") || header[8..] != *b"WAVE" {
            return Err(Rejection::new("not_wav", "the audio stream does not begin as a WAV file does"));
        }
        self.at = At::Chunk;
        Ok(())
    }

    fn chunk(&mut self, header: &[u8]) -> Result<(), Rejection> {
        let length = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
        match &header[..4] {
            b"fmt " if (16..=MOST_FORMAT_BYTES).contains(&length) => self.at = At::Format(length as usize),
            b"fmt " => return Err(Rejection::new("not_wav", format!("a format of {length} bytes"))),
            b"data" if self.channels == 0 => {
                return Err(Rejection::new("not_wav", "samples without a format"));
            }
            b"data" => {
                self.left = (!OPEN_LENGTHS.contains(&length)).then_some(u64::from(length));
                self.at = At::Samples;
            }
            _ => self.skip(u64::from(length) + u64::from(length % 2)),
        }
        Ok(())
    }

    fn format(&mut self, format: &[u8]) -> Result<(), Rejection> {
        let half = |at: usize| u16::from_le_bytes([format[at], format[at + 1]]);
        let (tag, channels, bits) = (half(0), half(2), half(14));
        let rate = u32::from_le_bytes([format[4], format[5], format[6], format[7]]);
        // 0xfffe: the same, with more said about the channels.
        let pcm = tag == 1 || tag == 0xfffe;
        if !pcm || !(1..=2).contains(&channels) || rate != RATE || bits != 16 {
            let found = format!("format {tag}, {channels} channels, {rate} Hz, {bits} bits");
            return Err(Rejection::new("wrong_codec", format!("{found}; wanted is PCM, 1 or 2, {RATE}, 16")));
        }
        self.channels = usize::from(channels);
        self.skip(format.len() as u64 % 2);
        Ok(())
    }

    fn skip(&mut self, left: u64) {
        self.at = if left == 0 { At::Chunk } else { At::Skip(left) };
    }

    fn samples(&mut self, bytes: &[u8], mono: &mut Vec<u8>) -> usize {
        let most = self.left.map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX));
        let used = bytes.len().min(most);
        self.pending.extend_from_slice(&bytes[..used]);
        let frame = 2 * self.channels;
        let whole = self.pending.len() - self.pending.len() % frame;
        match self.channels {
            1 => mono.extend_from_slice(&self.pending[..whole]),
            _ => mono.extend(self.pending[..whole].chunks_exact(4).flat_map(mixed)),
        }
        self.pending.drain(..whole);
        self.left = self.left.map(|left| left - used as u64);
        if self.left == Some(0) {
            self.at = At::End;
        }
        used
    }
}

/// The mean of the left and the right sample, rounded down.
fn mixed(frame: &[u8]) -> [u8; 2] {
    let left = i32::from(i16::from_le_bytes([frame[0], frame[1]]));
    let right = i32::from(i16::from_le_bytes([frame[2], frame[3]]));
    (((left + right) >> 1) as i16).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use bytes::BufMut;
    use proptest::prelude::*;

    use super::*;

    fn wav(channels: u16, rate: u32, bits: u16, length: u32, samples: &[u8]) -> Vec<u8> {
        let mut file = Vec::new();
        file.put_slice(b"RIFF\xff\xff\xff\xffWAVELIST\x03\0\0\0abc\0fmt \x10\0\0\0");
        file.put_u16_le(1);
        file.put_u16_le(channels);
        file.put_u32_le(rate);
        file.put_u32_le(0);
        file.put_u16_le(0);
        file.put_u16_le(bits);
        file.put_slice(b"data");
        file.put_u32_le(length);
        file.put_slice(samples);
        file
    }

    fn read(pieces: &[&[u8]]) -> Result<Vec<u8>, String> {
        let (mut reader, mut mono) = (WavReader::default(), Vec::new());
        for piece in pieces {
            reader.push(piece, &mut mono).map_err(|rejection| rejection.reason)?;
        }
        Ok(mono)
    }

    #[test]
    fn an_open_length_takes_all_and_a_known_one_no_more() {
        for open in OPEN_LENGTHS {
            assert_eq!(read(&[&wav(1, RATE, 16, open, b"abcdefg")]).as_deref(), Ok(&b"abcdef"[..]));
        }
        assert_eq!(read(&[&wav(1, RATE, 16, 4, b"abcdefg")]).as_deref(), Ok(&b"abcd"[..]));
    }

    #[test]
    fn stereo_is_mixed_down_without_overflow() {
        let samples: Vec<u8> = [100i16, 51, i16::MIN, i16::MIN, i16::MAX, i16::MAX, -1, 0]
            .iter()
            .flat_map(|sample| sample.to_le_bytes())
            .collect();
        let mono = read(&[&wav(2, RATE, 16, 0, &samples)]).expect("stereo is taken");
        let mono: Vec<i16> = mono.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect();
        assert_eq!(mono, [75, i16::MIN, i16::MAX, -1]);
    }

    #[test]
    fn anything_else_is_refused() {
        for (channels, rate, bits) in [(1, 44_100, 16), (3, RATE, 16), (0, RATE, 16), (1, RATE, 24)] {
            let file = wav(channels, rate, bits, 0, b"abcd");
            assert_eq!(read(&[&file]), Err("wrong_codec".into()), "{channels} {rate} {bits}");
        }
        assert_eq!(read(&[b"this is no sound at all"]), Err("not_wav".into()));
        assert_eq!(read(&[b"RIFF\0\0\0\0WAVEdata\0\0\0\0"]), Err("not_wav".into()));
        assert_eq!(read(&[b"RIFF\0\0\0\0WAVEfmt \xff\xff\xff\x7f"]), Err("not_wav".into()));
    }

    proptest! {
        #[test]
        fn how_the_stream_is_split_changes_nothing(
            channels in 1u16..=2,
            samples in prop::collection::vec(any::<u8>(), 0..300),
            open: bool,
            mut cuts in prop::collection::vec(0usize..360, 0..8),
        ) {
            let length = if open { 0 } else { samples.len() as u32 };
            let file = wav(channels, RATE, 16, length, &samples);
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut rest = file.as_slice();
            for cut in cuts {
                let done = file.len() - rest.len();
                let (piece, after) = rest.split_at(cut.saturating_sub(done).min(rest.len()));
                pieces.push(piece);
                rest = after;
            }
            pieces.push(rest);
            prop_assert_eq!(read(&pieces), read(&[&file]));
        }

        #[test]
        fn damaged_headers_never_panic(at in 0usize..60, byte: u8, cut in 0usize..80, length: u32) {
            let mut file = wav(2, RATE, 16, length, b"abcdefghijklmnop");
            if let Some(b) = file.get_mut(at) { *b = byte; }
            file.truncate(cut);
            let _ = read(&[&file]);
        }
    }
}
