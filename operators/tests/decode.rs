//! What the H.264 decoder promises: every good frame once and in order, nothing doubtful, the same bits each
//! time.

mod common;

use common::{Unit, units};
use lsie_operators::decode::{DEFAULT_MAX_PIXELS, DecodeError, Frame, H264Decoder};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

fn decoder() -> H264Decoder {
    H264Decoder::new(DEFAULT_MAX_PIXELS).expect("libavcodec decodes H.264")
}

/// Frames, and the index and reason of every unit that was refused.
fn run(units: &[Unit]) -> (Vec<Frame>, Vec<(usize, &'static str)>) {
    let mut decoder = decoder();
    let (mut frames, mut refused) = (Vec::new(), Vec::new());
    for (index, unit) in units.iter().enumerate() {
        match decoder.decode(&unit.bytes, unit.capture_us, unit.key_frame) {
            Ok(ready) => frames.extend(ready),
            Err(error) => refused.push((index, error.reason())),
        }
    }
    frames.extend(decoder.finish());
    (frames, refused)
}

fn times(frames: &[Frame]) -> Vec<i64> {
    frames.iter().map(|frame| frame.capture_us / 33_333).collect()
}

fn digest(frames: &[Frame]) -> String {
    let mut hash = Sha256::new();
    for frame in frames {
        hash.update(frame.capture_us.to_le_bytes());
        hash.update(&frame.rgb);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_frame_of_a_simple_stream_comes_at_once() {
    let units = units("baseline.h264");
    let mut decoder = decoder();
    for unit in &units {
        let frames = decoder.decode(&unit.bytes, unit.capture_us, unit.key_frame).expect("a good stream");
        assert_eq!(times(&frames), [unit.capture_us / 33_333]);
        assert_eq!((frames[0].width, frames[0].height, frames[0].rgb.len()), (98, 66, 98 * 66 * 3));
    }
    assert_eq!((units.len(), decoder.finish().len(), decoder.skipped()), (30, 0, 0));
}

/// Decoding order of each group of 12 is I P B B P B B …; frames come in display order with their own time.
#[test]
fn reordered_frames_come_in_display_order_with_their_own_time() {
    let (frames, refused) = run(&units("reordered.h264"));
    assert_eq!(refused, []);
    assert_eq!(times(&frames)[..12], [0, 2, 3, 1, 5, 6, 4, 8, 9, 7, 11, 10]);
    assert_eq!(frames.len(), 48);
}

#[test]
fn the_bits_are_pinned() {
    let (frames, _) = run(&units("reordered.h264"));
    assert_eq!(digest(&frames), "3459e77be91e1922ac998a653686599d84cdd82911a4d0369cab0917ff94a34f");
    let (frames, _) = run(&units("baseline.h264"));
    assert_eq!(digest(&frames), "d0ca747226bff29c2dc47f628248ed774ee5cfaefa0138476cfe5983a022f4d2");
}

#[test]
fn units_before_the_first_key_frame_are_refused_and_counted() {
    let units = units("baseline.h264");
    let (frames, refused) = run(&units[3..]);
    assert_eq!(refused, (0..7).map(|index| (index, "no_key_frame")).collect::<Vec<_>>());
    assert_eq!(times(&frames), (10..30).collect::<Vec<_>>());
    // A key frame that is not flagged as one is no place to begin.
    let mut decoder = decoder();
    assert_eq!(decoder.decode(&units[0].bytes, 0, false), Err(DecodeError::NoKeyFrame));
    assert_eq!(decoder.decode(&units[1].bytes, 0, true), Err(DecodeError::NoKeyFrame));
    assert_eq!(decoder.skipped(), 2);
}

/// A rewind: frames from a key frame on do not depend on what was decoded before it.
#[test]
fn a_restart_at_a_key_frame_gives_the_same_bits() {
    for name in ["baseline.h264", "reordered.h264", "turned_reordered.h264"] {
        let units = units(name);
        let (whole, _) = run(&units);
        for start in (1..units.len()).filter(|&at| units[at].key_frame) {
            let (tail, refused) = run(&units[start..]);
            assert_eq!(refused, []);
            assert!(whole.ends_with(&tail) && tail.len() == units.len() - start, "{name} from {start}");
        }
    }
}

#[test]
fn a_damaged_unit_is_refused_and_the_next_key_frame_mends() {
    let good = units("baseline.h264");
    let (whole, _) = run(&good);
    let mut garbage = good.clone();
    garbage[14].bytes = vec![0xa5; 300];
    let mut truncated = good.clone();
    let half = truncated[14].bytes.len() / 2;
    truncated[14].bytes.truncate(half);
    let mut missing_slice = good.clone();
    let last_nal = missing_slice[14].bytes.windows(3).rposition(|nal| nal == [0, 0, 1]).expect("two slices");
    missing_slice[14].bytes.truncate(last_nal);
    for (damaged, reason) in [(garbage, "not_annex_b"), (truncated, "corrupt"), (missing_slice, "corrupt")] {
        let (frames, refused) = run(&damaged);
        let expected: Vec<_> =
            [(14, reason)].into_iter().chain((15..20).map(|index| (index, "no_key_frame"))).collect();
        assert_eq!(refused, expected);
        let kept: Vec<Frame> =
            whole.iter().filter(|frame| !(14..20).contains(&(frame.capture_us / 33_333))).cloned().collect();
        assert!(frames == kept, "frames around the damage are untouched: {:?}", times(&frames));
    }
}

#[test]
fn frames_held_for_reordering_survive_an_error() {
    let mut units = units("reordered.h264");
    let (whole, _) = run(&units);
    units[17].bytes = vec![7; 40];
    let (frames, refused) = run(&units);
    assert_eq!(refused.len(), 24 - 17, "to the next key frame");
    let kept: Vec<Frame> =
        whole.iter().filter(|frame| !(17..24).contains(&(frame.capture_us / 33_333))).cloned().collect();
    assert!(frames == kept, "{:?}", times(&frames));
}

/// The decoder library would fill the hole with a copy of the last picture.
#[test]
fn a_missing_reference_is_noticed() {
    let mut units = units("baseline.h264");
    let (whole, _) = run(&units);
    units.remove(13);
    let (frames, refused) = run(&units);
    let expected =
        [(13, "missing_reference")].into_iter().chain((14..19).map(|index| (index, "no_key_frame")));
    assert_eq!(refused, expected.collect::<Vec<_>>());
    assert!(frames.iter().all(|frame| whole.contains(frame)));
    assert_eq!(frames.len(), 30 - 7);
}

/// A picture that no other refers to leaves nothing but its own hole.
#[test]
fn a_missing_disposable_picture_does_no_harm() {
    let mut units = units("reordered.h264");
    let (whole, _) = run(&units);
    let disposable = (12..24).find(|&at| units[at].bytes.windows(4).any(|nal| nal == [0, 0, 1, 1]));
    let removed = units.remove(disposable.expect("a B-frame without reference"));
    let (frames, refused) = run(&units);
    assert_eq!(refused, []);
    let kept: Vec<Frame> =
        whole.iter().filter(|frame| frame.capture_us != removed.capture_us).cloned().collect();
    assert!(frames == kept);
}

#[test]
fn a_reported_gap_waits_for_a_key_frame() {
    let units = units("baseline.h264");
    let mut decoder = decoder();
    assert!(decoder.decode(&units[0].bytes, 0, true).is_ok());
    decoder.gap();
    assert_eq!(decoder.decode(&units[2].bytes, 1, false), Err(DecodeError::NoKeyFrame));
    assert!(decoder.decode(&units[10].bytes, 2, true).is_ok());
}

/// The same stream without its display orientation messages.
fn unturned(units: &[Unit]) -> Vec<Unit> {
    // Type 47, 3 bytes: not cancelled, no mirror, a quarter turn anticlockwise, for the whole sequence.
    const MESSAGE: [u8; 5] = [47, 3, 0x08, 0x00, 0x09];
    let mut units = units.to_vec();
    let mut found = 0;
    for unit in &mut units {
        if let Some(at) = unit.bytes.windows(MESSAGE.len()).position(|bytes| bytes == MESSAGE) {
            unit.bytes[at] = 46;
            found += 1;
        }
    }
    assert_eq!(found, 3, "one for each key frame");
    units
}

/// Whether `shown` is `coded`, turned by a quarter anticlockwise.
fn is_turned(shown: &Frame, coded: &Frame) -> bool {
    let pixel = |frame: &Frame, x: u32, y: u32| {
        let at = (y * frame.width + x) as usize * 3;
        frame.rgb[at..at + 3].to_vec()
    };
    (shown.width, shown.height, shown.capture_us) == (coded.height, coded.width, coded.capture_us)
        && (0..shown.height)
            .all(|y| (0..shown.width).all(|x| pixel(shown, x, y) == pixel(coded, coded.width - 1 - y, x)))
}

/// How a phone was held stands in the stream; frames come upright, also those that a key frame drives out.
#[test]
fn a_turned_stream_comes_upright() {
    for name in ["turned.h264", "turned_reordered.h264"] {
        let turned = units(name);
        let lying = unturned(&turned);
        let (shown, coded) = (run(&turned).0, run(&lying).0);
        assert_eq!((shown.len(), shown[0].width, shown[0].height), (36, 180, 320));
        assert!(shown.iter().zip(&coded).all(|(shown, coded)| is_turned(shown, coded)), "{name}");
        let mixed: Vec<Unit> = [&lying[..12], &turned[12..24], &lying[24..]].concat();
        let (mixed, refused) = run(&mixed);
        assert_eq!(refused, []);
        assert!(mixed[..12] == coded[..12] && mixed[12..24] == shown[12..24] && mixed[24..] == coded[24..]);
    }
}

/// A restart in the middle of a turned sequence, where its message is long gone.
#[test]
fn a_resumed_decoder_knows_how_the_stream_is_turned() {
    let units = units("turned_reordered.h264");
    let (whole, _) = run(&units);
    let mut first = decoder();
    let mut frames = Vec::new();
    for unit in &units[..17] {
        frames.extend(first.decode(&unit.bytes, unit.capture_us, unit.key_frame).expect("a good stream"));
    }
    let state = serde_json::to_string(&first.state()).expect("a state can be written");
    let state = serde_json::from_str(&state).expect("a state can be read");
    let mut second = H264Decoder::resumed(DEFAULT_MAX_PIXELS, state).expect("libavcodec decodes H.264");
    for unit in &units[12..17] {
        second.feed_again(&unit.bytes, unit.capture_us).expect("a good stream");
    }
    for unit in &units[17..] {
        frames.extend(second.decode(&unit.bytes, unit.capture_us, unit.key_frame).expect("a good stream"));
    }
    frames.extend(second.finish());
    assert!(frames == whole);
}

#[test]
fn limits_and_formats_have_their_reason() {
    let check = |name: &str, max_pixels: u32, expected: DecodeError| {
        let unit = &units(name)[0];
        let mut decoder = H264Decoder::new(max_pixels).expect("libavcodec decodes H.264");
        assert_eq!(decoder.decode(&unit.bytes, 0, true), Err(expected), "{name}");
    };
    check("large.h264", DEFAULT_MAX_PIXELS, DecodeError::TooLarge);
    check("baseline.h264", 112 * 80 - 1, DecodeError::TooLarge);
    check("full_chroma.h264", DEFAULT_MAX_PIXELS, DecodeError::UnsupportedFormat);
    check("ten_bit.h264", DEFAULT_MAX_PIXELS, DecodeError::UnsupportedFormat);
    let mut unlimited = H264Decoder::new(u32::MAX).expect("libavcodec decodes H.264");
    assert_eq!(unlimited.decode(&units("large.h264")[0].bytes, 0, true), Ok(vec![]));
    assert_eq!((unlimited.finish()[0].width, unlimited.skipped()), (2048, 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Foreign bytes never panic, and whatever comes out is a frame of the undamaged stream or of damage that
    /// the bits cannot show; the run is the same twice.
    #[test]
    fn damage_is_never_fatal_and_always_the_same(
        flips in prop::collection::vec((0usize..30, any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut units = units("baseline.h264");
        for (unit, at, value) in flips {
            let bytes = &mut units[unit].bytes;
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let first = run(&units);
        let second = run(&units);
        prop_assert_eq!(first.1, second.1);
        prop_assert!(first.0 == second.0);
    }

    #[test]
    fn garbage_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(decoder().decode(&bytes, 0, true).is_err());
    }

    /// Garbage behind the headers of a key frame: by chance it can be a whole tiny picture, so only this can be
    /// asked: no panic, and the same twice.
    #[test]
    fn garbage_in_a_key_frame_is_never_fatal_and_always_the_same(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let mut unit = vec![0, 0, 0, 1, 0x67];
        unit.extend_from_slice(&bytes);
        unit.extend_from_slice(&[0, 0, 1, 0x68, 0xce, 0, 0, 1, 0x65]);
        unit.extend_from_slice(&bytes);
        let first = decoder().decode(&unit, 0, true);
        prop_assert!(decoder().decode(&unit, 0, true) == first);
    }
}
