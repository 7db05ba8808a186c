//! Video access units: parameter sets, slices and what the decoder makes of them, with gaps between.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lsie_operators::decode::H264Decoder;

const MAX_PIXELS: u32 = 64 * 64;

fuzz_target!(|units: Vec<(bool, Vec<u8>)>| {
    let mut decoder = H264Decoder::new(MAX_PIXELS).expect("a decoder");
    for (index, (key_frame, unit)) in units.into_iter().take(8).enumerate() {
        // A unit of foreign bytes rarely begins with a start code by itself.
        let unit = [&[0, 0, 0, 1][..], &unit].concat();
        if let Ok(frames) = decoder.decode(&unit, index as i64, key_frame) {
            for frame in frames {
                assert!(u64::from(frame.width) * u64::from(frame.height) <= u64::from(MAX_PIXELS));
                assert_eq!(frame.rgb.len(), frame.width as usize * frame.height as usize * 3);
            }
        }
    }
    decoder.gap();
    decoder.finish();
});
