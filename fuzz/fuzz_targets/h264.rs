//! Video streams, cut at their access unit delimiters: parameter sets, slices and what the decoder makes of them.
//!
//! The recorded streams in `operators/tests/data` are good seeds.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lsie_operators::decode::H264Decoder;

const MAX_PIXELS: u32 = 320 * 240;
const DELIMITER: [u8; 5] = [0, 0, 0, 1, 9];

fuzz_target!(|stream: &[u8]| {
    let mut decoder = H264Decoder::new(MAX_PIXELS).expect("a decoder");
    let starts = stream.windows(DELIMITER.len()).enumerate().filter(|(_, bytes)| *bytes == DELIMITER);
    let mut cuts: Vec<usize> = [0].into_iter().chain(starts.map(|(at, _)| at)).collect();
    cuts.push(stream.len());
    for (index, cut) in cuts.windows(2).enumerate() {
        let unit = &stream[cut[0]..cut[1]];
        let key_frame = index < 2 || unit.windows(4).any(|nal| nal[..3] == [0, 0, 1] && nal[3] & 0x1f == 5);
        for frame in decoder.decode(unit, index as i64, key_frame).unwrap_or_default() {
            assert!(u64::from(frame.width) * u64::from(frame.height) <= u64::from(MAX_PIXELS));
            assert_eq!(frame.rgb.len(), frame.width as usize * frame.height as usize * 3);
            decoder.recycle(frame);
        }
    }
    decoder.gap();
    decoder.finish();
});
