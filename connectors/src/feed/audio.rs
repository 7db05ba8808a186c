//! `audio.wav`, plain or zstd-compressed: checked, and reduced to its samples.

use std::io::Read;

use bytes::{Buf, Bytes};

const RATE: u32 = 48_000;
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// More than a day of samples; a small compressed file must not claim all memory.
const MOST_BYTES: u64 = 86_400 * RATE as u64 * 2 + 1_000_000;

/// The samples of a mono 48 kHz s16le file.
pub(super) fn samples(file: Bytes) -> Result<Bytes, String> {
    let mut file = if file.starts_with(&ZSTD_MAGIC) { decompress(&file)? } else { file };
    let riff = file.len() >= 12 && file.starts_with(b"RIFF") && file[8..12] == *b"WAVE";
    if !riff {
        return Err("is no WAV file".into());
    }
    file.advance(12);
    let mut format = None;
    while file.len() >= 8 {
        let id = file.copy_to_bytes(4);
        let len = file.get_u32_le() as usize;
        match id.as_ref() {
            b"fmt " if len >= 16 && file.len() >= len => format = Some(check_format(file.slice(..len))?),
            b"data" => {
                format.ok_or("has no format before its samples")?;
                // A recorder that could not seek back left the length open: then all that follows counts.
                let whole = file.len().min(len);
                return Ok(file.slice(..whole - whole % 2));
            }
            _ => {}
        }
        let padded = len + len % 2;
        file.advance(padded.min(file.len()));
    }
    Err("has no samples".into())
}

fn check_format(mut format: Bytes) -> Result<(), String> {
    let tag = format.get_u16_le();
    let channels = format.get_u16_le();
    let rate = format.get_u32_le();
    format.advance(6);
    let bits = format.get_u16_le();
    let pcm = tag == 1 || tag == 0xfffe;
    if !pcm || channels != 1 || rate != RATE || bits != 16 {
        return Err(format!(
            "is format {tag}, {channels} channels, {rate} Hz, {bits} bits; must be PCM, 1, {RATE}, 16"
        ));
    }
    Ok(())
}

fn decompress(file: &[u8]) -> Result<Bytes, String> {
    let mut wav = Vec::new();
    let decoder = zstd::Decoder::new(file).map_err(|e| format!("is damaged: {e}"))?;
    let read = decoder.take(MOST_BYTES).read_to_end(&mut wav).map_err(|e| format!("is damaged: {e}"))?;
    if read as u64 == MOST_BYTES {
        return Err("is longer than a day".into());
    }
    Ok(Bytes::from(wav))
}

#[cfg(test)]
mod tests {
    use bytes::BufMut;
    use proptest::prelude::*;

    use super::*;

    fn wav(channels: u16, samples: &[u8]) -> Vec<u8> {
        let mut file = Vec::new();
        file.put_slice(b"RIFF\0\0\0\0WAVEJUNK\x03\0\0\0abc\0fmt \x10\0\0\0");
        file.put_u16_le(1);
        file.put_u16_le(channels);
        file.put_u32_le(RATE);
        file.put_u32_le(RATE * 2);
        file.put_u16_le(2);
        file.put_u16_le(16);
        file.put_slice(b"data");
        file.put_u32_le(samples.len() as u32);
        file.put_slice(samples);
        file
    }

    #[test]
    fn samples_of_plain_and_compressed_files() {
        let plain = wav(1, b"abcdef");
        let packed = zstd::encode_all(plain.as_slice(), 3).expect("zstd");
        assert_eq!(samples(plain.into()).expect("a file"), "abcdef");
        assert_eq!(samples(packed.into()).expect("a file"), "abcdef");
    }

    #[test]
    fn stereo_and_other_files_are_refused() {
        assert!(samples(wav(2, b"abcd").into()).expect_err("stereo").contains("2 channels"));
        assert!(samples(Bytes::from_static(b"nonsense")).is_err());
    }

    proptest! {
        #[test]
        fn cut_and_changed_files_never_panic(cut in 0usize..70, at in 0usize..60, byte in any::<u8>()) {
            let mut file = wav(1, b"abcdefgh");
            if let Some(b) = file.get_mut(at) { *b = byte; }
            file.truncate(cut);
            let _ = samples(file.into());
        }
    }
}
