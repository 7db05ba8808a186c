//! Which session a capture is for: its own, or one that `control` starts; and where it goes on after a restart.

use lsie_connectors::capture::CaptureError;
use lsie_schemas::record::{Control, EndSession, Stream};
use uuid::Uuid;

use crate::support::{Bench, SESSION, SOURCE, assert_in_sequence, start};

const OTHER: Uuid = Uuid::from_u128(0x0b1f_8f5e_6f0e_4c55_9d3c_6d1d_5bb0_a002);
/// Sound that does not end, in real time.
const LIVE: &str = "exec 3>\"$0\"; exec ffmpeg -v error -re -f lavfi -i sine=sample_rate=48000 -c:a pcm_s16le \
    -f wav -flush_packets 1 -y \"$0\" </dev/null";

fn end(session_id: Uuid) -> Control {
    Control::End(EndSession { session_id, client_action_id: None })
}

#[test]
fn sessions_of_its_source_are_followed_and_no_others() {
    let mut bench = Bench::new().producer(Stream::Audio, LIVE);
    bench.settings.session = None;
    bench
        .run(|bench| {
            bench.wait("sound without a session", |bench| bench.count("bytes_outside_sessions") > 0);
            bench.append(Control::Start(start(OTHER, "capture:other")));
            bench.append(Control::Start(start(SESSION, SOURCE)));
            bench.wait("half a second", |bench| bench.audio().len() >= 5);
            bench.append(end(SESSION));
            let before = bench.count("bytes_outside_sessions");
            bench.wait("its end", |bench| bench.count("bytes_outside_sessions") > before);
            bench.append(Control::Start(start(OTHER, SOURCE)));
            bench.wait("the next", |bench| bench.audio().iter().any(|chunk| chunk.session_id == OTHER));
        })
        .expect("a capture");
    let of = |session| {
        let chunks = bench.audio().into_iter();
        chunks.filter(|chunk| chunk.session_id == session).map(|chunk| chunk.seq).collect::<Vec<_>>()
    };
    assert_in_sequence(of(SESSION).into_iter());
    assert_in_sequence(of(OTHER).into_iter());
    // It wrote polls, but neither a start nor an end: they are not its own to write.
    let written = |control: &Control| matches!(control, Control::Start(_) | Control::End(_));
    assert_eq!(bench.control().iter().filter(|control| written(control)).count(), 4);
    assert!(!bench.polls().is_empty());
}

#[test]
fn a_start_of_another_session_ends_the_one_before() {
    let mut bench = Bench::new().producer(Stream::Audio, LIVE);
    bench.settings.session = None;
    bench
        .run(|bench| {
            bench.append(Control::Start(start(SESSION, SOURCE)));
            bench.wait("a chunk", |bench| !bench.audio().is_empty());
            bench.append(Control::Start(start(OTHER, SOURCE)));
            bench.wait("an end", |bench| bench.control().contains(&end(SESSION)));
        })
        .expect("a capture");
}

#[test]
fn a_restarted_capture_goes_on_behind_what_the_topics_hold() {
    let mut bench = Bench::new().producer(Stream::Audio, LIVE);
    bench.settings.session = None;
    bench.append(Control::Start(start(SESSION, SOURCE)));
    bench.run(|bench| bench.wait("some", |bench| bench.audio().len() >= 3)).expect("a capture");
    let before = bench.audio().len();
    bench.run(|bench| bench.wait("more", |bench| bench.audio().len() >= before + 3)).expect("a capture");
    assert_in_sequence(bench.audio().iter().map(|chunk| chunk.seq));
}

#[test]
fn its_own_session_is_started_once_and_not_after_its_end() {
    let bench = Bench::new().producer(Stream::Audio, LIVE);
    bench.append(Control::Start(start(SESSION, SOURCE)));
    bench.run(|bench| bench.wait("a chunk", |bench| !bench.audio().is_empty())).expect("a capture");
    let control = bench.control();
    assert_eq!(control.iter().filter(|control| matches!(control, Control::Start(_))).count(), 1);
    assert_eq!(control.last(), Some(&end(SESSION)));
    let again = bench.run(|_| {});
    assert!(matches!(again, Err(CaptureError::SessionOver(SESSION))));
}
