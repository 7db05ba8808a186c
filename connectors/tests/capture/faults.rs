//! Producers that die, hang and print rubbish; a device that is away, or whose clock jumps; a log that is away.

use std::sync::atomic::Ordering;
use std::time::Duration;

use lsie_connectors::capture::{CaptureError, MatroskaReader};
use lsie_schemas::record::Stream;

use crate::support::{Bench, PICTURES, SOUND, assert_in_sequence, ffmpeg, once};

/// Files that producers of a bench write into their pipes, `sound` and `pictures`.
fn with_files(bench: Bench) -> Bench {
    std::fs::write(bench.path("sound"), ffmpeg(&format!("{SOUND} -f wav"))).expect("a file");
    std::fs::write(bench.path("pictures"), ffmpeg(&format!("{PICTURES} -f matroska"))).expect("a file");
    bench
}

/// Writes a file into the pipe and keeps it open.
fn write(bench: &Bench, file: &str) -> String {
    format!("exec 3>\"$0\"; cat {} >&3; exec sleep 600", bench.path(file).display())
}

/// What a producer does at its first start, and what later.
fn first(bench: &Bench, name: &str, then: &str, later: &str) -> String {
    let mark = bench.path(name);
    format!("if [ ! -e {0} ]; then touch {0}; {then}; exit; fi; {later}", mark.display())
}

#[test]
fn when_one_dies_both_begin_again_and_video_at_its_header() {
    let bench = with_files(Bench::new());
    let pictures = std::fs::read(bench.path("pictures")).expect("a file");
    let broken_at = pictures.len() / 2;
    let mut reader = MatroskaReader::default();
    let (mut whole, mut part) = (Vec::new(), Vec::new());
    MatroskaReader::default().push(&pictures, &mut whole).expect("a stream");
    reader.push(&pictures[..broken_at], &mut part).expect("a stream");
    assert!(reader.left_over() > 0 && !part.is_empty(), "it breaks off within a frame");

    let breaks = format!("head -c {broken_at} {} >\"$0\"; exit 3", bench.path("pictures").display());
    let video = first(&bench, "broken", &breaks, &write(&bench, "pictures"));
    let sound = write(&bench, "sound");
    let bench = bench.producer(Stream::Audio, &sound).producer(Stream::Video, &video);
    let frames = part.len() + whole.len();
    bench.run(|bench| bench.wait("all frames", |bench| bench.video().len() >= frames)).expect("a capture");

    let video = bench.video();
    assert_in_sequence(video.iter().map(|unit| unit.seq));
    let expected: Vec<_> = part.iter().chain(&whole).map(|timed| timed.unit.bytes.clone()).collect();
    assert!(video.iter().map(|unit| &unit.unit).eq(&expected));
    assert!(video[part.len()].key_frame, "the first frame after a break");
    assert_in_sequence(bench.audio().iter().map(|chunk| chunk.seq));
    assert_eq!(bench.audio().len(), 40, "the sound began again, too");
    let gaps = bench.gaps();
    assert_eq!(gaps.len(), 1);
    assert_eq!((gaps[0].stream, gaps[0].from_seq, gaps[0].records), (Stream::Video, part.len() as u64, 0));
    assert_eq!(gaps[0].bytes, reader.left_over() as u64);
    assert_eq!(bench.count("restarts"), 1);
}

#[test]
fn rubbish_is_refused_and_a_producer_that_hangs_is_started_again() {
    let mut bench = with_files(Bench::new());
    bench.settings.timing.silence = Some(Duration::from_millis(1_500));
    let hangs = first(&bench, "hung", "exec sleep 600", &write(&bench, "sound"));
    let sound = first(&bench, "rubbish", "head -c 100000 /dev/urandom >\"$0\"; sleep 600", &hangs);
    let bench = bench.producer(Stream::Audio, &sound);
    bench.run(|bench| bench.wait("two seconds", |bench| bench.audio().len() >= 20)).expect("a capture");
    assert!(bench.count("streams_refused") >= 2 && bench.count("restarts") >= 2);
    assert!(bench.path("hung").exists(), "rubbish first, then silence, then sound");
}

#[test]
fn a_producer_that_cannot_be_started_ends_the_capture() {
    let mut bench = Bench::new().producer(Stream::Audio, "");
    bench.settings.producers[0].command = vec!["/nowhere/scrcpy".into()];
    let result = bench.run(|_| std::thread::sleep(Duration::from_millis(300)));
    assert!(matches!(result, Err(CaptureError::Producer(name, _)) if name == "/nowhere/scrcpy"));
}

#[test]
fn without_a_device_it_ends_and_with_one_that_comes_it_begins() {
    let bench = Bench::new().producer(Stream::Audio, "touch \"$0.started\"").adb("exit 1");
    let result = bench.run(|bench| {
        bench.wait("an error", |bench| {
            serde_json::to_string(&bench.health.report()).is_ok_and(|report| report.contains("\"error\""))
        })
    });
    assert!(matches!(result, Err(CaptureError::NoDevice(_))));
    assert!(!bench.settings.dir.join("audio_stream.raw.started").exists());

    let mut bench = Bench::new();
    bench.settings.timing.device_wait = Duration::from_secs(60);
    let said = bench.path("said");
    let note = format!("echo started >>{0}; {1}", said.display(), once(&format!("{SOUND} -f wav")));
    let bench = bench.producer(Stream::Audio, &note).adb(
        "echo \"$*\" >>$dir/said
         case $1 in
         get-state) [ $(grep -c get-state $dir/said) -gt 3 ] && echo device || echo offline ;;
         shell) echo 1767607200.000001 ;;
         esac",
    );
    bench.run(|bench| bench.wait("two seconds", |bench| bench.audio().len() >= 20)).expect("a capture");
    let said = std::fs::read_to_string(said).expect("what adb was asked");
    let order: Vec<&str> = said.lines().filter(|line| !line.starts_with("shell")).collect();
    let asked = ["get-state"; 4];
    assert_eq!(order, [&asked[..], &["forward --remove-all", "reverse --remove-all", "started"]].concat());
}

#[test]
fn media_are_stamped_by_the_device_s_clock_and_every_poll_is_a_record() {
    // Answers in turn: an hour behind, rubbish, nothing in time, a failure, and then a jump to two hours ahead.
    let bench = Bench::new()
        .producer(
            Stream::Audio,
            "exec 3>\"$0\"; ffmpeg -v error -re -f lavfi -i sine=sample_rate=48000 \
         -c:a pcm_s16le -f wav -flush_packets 1 -y \"$0\" </dev/null",
        )
        .adb(
            "case $1 in get-state) echo device; exit ;; shell) ;; *) exit ;; esac
         echo asked >>$dir/asked
         now=$(date +%s)
         case $(wc -l <$dir/asked) in
         1) echo $((now - 3600)).000000 ;;
         2) echo rubbish ;;
         3) exec sleep 600 ;;
         4) exit 7 ;;
         *) echo $((now + 7200)).000000 ;;
         esac",
        );
    bench
        .run(|bench| {
            bench.wait("a chunk after the jump", |bench| {
                let chunks = bench.audio();
                chunks.iter().any(|chunk| chunk.capture_us - chunks[0].capture_us > 3_600_000_000)
            })
        })
        .expect("a capture");
    let polls = bench.polls();
    assert!(polls[0].is_some() && polls[4].is_some(), "{polls:?}");
    assert_eq!(polls[1..4], [None; 3], "rubbish, a time-out and a failure");
    let hours: Vec<i64> = bench
        .audio()
        .windows(2)
        .map(|pair| (pair[1].capture_us - pair[0].capture_us + 1_800_000_000).div_euclid(3_600_000_000))
        .filter(|hours| *hours != 0)
        .collect();
    assert_eq!(hours, [3], "one jump, from an hour behind to two hours ahead");
    let first = polls[0].expect("an answer");
    let off = bench.audio()[0].capture_us - first;
    assert!(off.abs() < 60_000_000, "the first chunk is on the device's clock: {off} µs");
}

#[test]
fn a_log_that_is_away_costs_what_the_gap_records_say() {
    let mut bench = with_files(Bench::new());
    // Less than the sound and the pictures together.
    bench.settings.buffer_bytes = 120_000;
    let sound = write(&bench, "sound");
    // The pictures come again and again, until the log is back and one of their key frames was taken.
    let pictures =
        format!("exec 3>\"$0\"; while :; do cat {} >&3; sleep 0.1; done", bench.path("pictures").display());
    let bench = bench.producer(Stream::Audio, &sound).producer(Stream::Video, &pictures);
    bench
        .run(|bench| {
            bench.wait("the first frames", |bench| bench.video().len() >= 15);
            bench.log.away.store(true, Ordering::SeqCst);
            bench.wait("drops", |bench| bench.count("bytes_dropped") > 500_000);
            assert!(bench.count("appends_retried") > 0);
            bench.log.away.store(false, Ordering::SeqCst);
            bench.wait("a gap record", |bench| !bench.gaps().is_empty());
        })
        .expect("a capture");

    let (audio, video, gaps) = (bench.audio(), bench.video(), bench.gaps());
    let stored = audio.iter().map(|chunk| chunk.pcm.len()).sum::<usize>()
        + video.iter().map(|unit| unit.unit.len()).sum::<usize>();
    assert_eq!(stored as u64, bench.count("bytes_taken"));
    let broken = bench.count("bytes_broken_off");
    assert_eq!(gaps.iter().map(|gap| gap.bytes).sum::<u64>(), bench.count("bytes_dropped") + broken);
    // Numbers that are missing in the topic are those that the gap records name.
    let mut missing: Vec<u64> = gaps
        .iter()
        .filter(|gap| gap.stream == Stream::Video)
        .flat_map(|gap| gap.from_seq..gap.from_seq + gap.records)
        .collect();
    for gap in gaps.iter().filter(|gap| gap.stream == Stream::Video && gap.records > 0) {
        let after = video.iter().find(|unit| unit.seq == gap.from_seq + gap.records);
        assert!(after.is_none_or(|unit| unit.key_frame), "after a gap comes a key frame");
    }
    missing.extend(video.iter().map(|unit| unit.seq));
    missing.sort_unstable();
    assert_in_sequence(missing.into_iter());
}
