//! What goes in is what comes out: ffmpeg writes into the pipes, and again, by another way, into files.

use lsie_schemas::record::{Control, Stream};

use crate::support::{Bench, PICTURES, SOUND, assert_in_sequence, ffmpeg, once};

#[test]
fn topics_hold_the_very_samples_and_pictures() {
    let samples = ffmpeg(&format!("{SOUND} -f s16le"));
    let stream = ffmpeg(&format!("{PICTURES} -c:v libx264 -f matroska"));
    let bench = Bench::new()
        .producer(Stream::Audio, &once(&format!("{SOUND} -c:a pcm_s16le -f wav")))
        .producer(Stream::Video, &once(&format!("{PICTURES} -f matroska")));
    // Which of the two comes first depends on how busy the machine is.
    let heard = |bench: &Bench| bench.audio().iter().map(|chunk| chunk.pcm.len()).sum::<usize>();
    bench
        .run(|bench| {
            bench.wait("60 frames and all sound", |bench| {
                bench.video().len() >= 60 && heard(bench) >= samples.len()
            })
        })
        .expect("a capture");

    let audio = bench.audio();
    assert_in_sequence(audio.iter().map(|chunk| chunk.seq));
    let heard: Vec<u8> = audio.iter().flat_map(|chunk| chunk.pcm.iter().copied()).collect();
    assert!(heard == samples, "{} bytes of {}", heard.len(), samples.len());
    let spans = audio.windows(2).map(|pair| pair[1].capture_us - pair[0].capture_us);
    // All of it came faster than it lasts, so that the zero may move back in between, but never on.
    assert!(spans.clone().all(|us| us <= 100_000), "{:?}", spans.collect::<Vec<_>>());

    let video = bench.video();
    assert_in_sequence(video.iter().map(|unit| unit.seq));
    let key_frames: Vec<bool> = video.iter().map(|unit| unit.key_frame).collect();
    assert_eq!(key_frames, (0..60).map(|i| i % 15 == 0).collect::<Vec<_>>());
    assert_same_pictures(&video.iter().map(|unit| unit.unit.to_vec()).collect::<Vec<_>>(), &stream);

    let control = bench.control();
    assert!(
        matches!(control.first(), Some(Control::Start(_))) && matches!(control.last(), Some(Control::End(_)))
    );
    assert!(bench.gaps().is_empty());
    assert_eq!(bench.count("bytes_dropped") + bench.count("bytes_broken_off"), 0);
}

/// The NAL units are those that ffmpeg's own filter makes of the file. Parameter sets are compared by themselves:
/// ours stand in front of a key frame's other units.
fn assert_same_pictures(units: &[Vec<u8>], stream: &[u8]) {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("file.mkv");
    std::fs::write(&file, stream).expect("a file");
    let theirs = ffmpeg(&format!("-i {} -c copy -bsf:v h264_mp4toannexb -f h264", file.display()));
    let is_parameters = |nal: &&[u8]| matches!(nal[0] & 0x1f, 7 | 8);
    let ours: Vec<u8> = units.concat();
    let (ours, theirs) = (nals(&ours), nals(&theirs));
    let pictures = |nals: &[&[u8]]| -> Vec<Vec<u8>> {
        nals.iter().filter(|nal| !is_parameters(nal)).map(|nal| nal.to_vec()).collect()
    };
    assert!(pictures(&ours) == pictures(&theirs), "the NAL units of pictures differ");
    let theirs: Vec<&&[u8]> = theirs.iter().filter(|nal| is_parameters(nal)).collect();
    for unit in units.iter().step_by(15) {
        let first: Vec<&[u8]> = nals(unit).into_iter().take(2).collect();
        assert!(first.iter().eq(theirs[..2].iter().copied()), "parameter sets in front");
    }
}

/// NAL units between start codes of three or four bytes.
fn nals(stream: &[u8]) -> Vec<&[u8]> {
    let starts: Vec<usize> =
        stream.windows(3).enumerate().filter(|(_, code)| *code == [0, 0, 1]).map(|(at, _)| at).collect();
    let ends = starts.iter().skip(1).copied().chain([stream.len()]);
    let without_zeros = |(start, end): (&usize, usize)| {
        let nal = &stream[start + 3..end];
        let zeros = nal.iter().rev().take_while(|byte| **byte == 0).count();
        &nal[..nal.len() - zeros]
    };
    starts.iter().zip(ends).map(without_zeros).collect()
}

#[test]
fn two_channels_are_mixed_down() {
    let two = "-f lavfi -i aevalsrc=sin(880*t)|0.5*sin(1320*t):s=48000:d=1";
    let stereo = ffmpeg(&format!("{two} -f s16le"));
    let quoted = two.replace("aevalsrc", "'aevalsrc").replace(":d=1", ":d=1'");
    let bench = Bench::new().producer(Stream::Audio, &once(&format!("{quoted} -c:a pcm_s16le -f wav")));
    let wanted: Vec<u8> = stereo
        .chunks_exact(4)
        .map(|frame| [i16::from_le_bytes([frame[0], frame[1]]), i16::from_le_bytes([frame[2], frame[3]])])
        .flat_map(|[left, right]| ((i32::from(left) + i32::from(right)).div_euclid(2) as i16).to_le_bytes())
        .collect();
    bench.run(|bench| bench.wait("a second", |bench| bench.audio().len() >= 10)).expect("a capture");
    let heard: Vec<u8> = bench.audio().iter().flat_map(|chunk| chunk.pcm.to_vec()).collect();
    assert!(heard == wanted, "{} bytes of {}", heard.len(), wanted.len());
}

#[test]
fn sound_of_another_kind_is_refused_counted_and_reaches_no_topic() {
    let other = "-f lavfi -i sine=sample_rate=44100:duration=1 -c:a pcm_s16le -f wav";
    let bench = Bench::new().producer(Stream::Audio, &once(other));
    bench
        .run(|bench| bench.wait("refusals", |bench| bench.count("streams_refused") >= 2))
        .expect("a capture");
    assert!(bench.audio().is_empty());
    let report = serde_json::to_string(&bench.health.report()).expect("JSON");
    assert!(report.contains("44100 Hz"), "the report says why: {report}");
}
