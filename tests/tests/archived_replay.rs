//! `lsie record` and `lsie replay --archive` over a real broker: what was live is replayed from the archive, and
//! `lsie explain` finds the records of a segment in it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lsie_connectors::feed::{Pace, session_id};
use lsie_dataflow::Run;
use lsie_schemas::log::LogRecord;
use lsie_schemas::record::{HEADER_CAPTURE_US, Record};
use lsie_schemas::row::{DeadLetterRow, FaceRow, SegmentRow, SegmentStreamRow, SessionRow};
use lsie_schemas::{Topic, codec};
use lsie_tests::broker;
use lsie_tests::harness::{Settings, TopicSet, assert_same, binary, now, read_all};
use lsie_tests::sessions::{recording, records};
use lsie_tests::tables::Tables;
use lsie_tests::telemetry::telemetry;

/// After the first segment has closed, ms after the session's start.
const IN_THE_SECOND: u64 = 34_000;

#[test]
fn a_live_run_is_replayed_from_its_archive_and_explained() {
    let set = TopicSet::live("archive", 2);
    let (id, begin) = (session_id("archive", 0), now());
    let mut timeline = records(&recording("short"), id, begin, 0);
    // One chunk says of itself that it belongs into the first segment, which has closed.
    let mut audio = timeline.iter_mut().filter(|timed| timed.record.topic == Topic::AvAudio);
    let late = audio.find(|timed| timed.at_ms >= IN_THE_SECOND).expect("a chunk of the second segment");
    for (name, value) in &mut late.record.headers {
        if name == HEADER_CAPTURE_US {
            let us: i64 = std::str::from_utf8(value).expect("text").parse().expect("a number");
            *value = (us - 10_000_000).to_string().into();
        }
    }
    timeline.extend(telemetry(id, begin, 0));
    timeline.sort_by_key(|timed| timed.at_ms);
    let ending = Arc::new(AtomicBool::new(false));
    let settings = Settings { meaning: true, ..Settings::WITH_MODELS };
    let live = set.run(settings, Run::Live(ending.clone()), |store| {
        set.feed(vec![timeline], Pace::RealTime);
        let ended =
            || Tables::new(store.changes()).rows::<SessionRow>().iter().any(|row| row.ended_at.is_some());
        assert!((0..600).any(|_| {
            std::thread::sleep(Duration::from_millis(100));
            ended()
        }));
        ending.store(true, Ordering::SeqCst);
    });
    lineage_is_that_of_the_log(&set, &live.tables);

    let dir = tempfile::tempdir().expect("a temporary folder");
    let (archive, replayed) = (dir.path().join("archive"), dir.path().join("replayed"));
    let topics =
        ["--log", &format!("kafka:{}", broker::bootstrap()), "--prefix", set.prefix()].map(str::to_owned);
    let record = |more: &[&str]| {
        let arguments: Vec<&str> =
            topics.iter().map(String::as_str).chain(["record", path(&archive)]).collect();
        command(dir.path(), &[&arguments, more].concat())
    };
    let refused = record(&[]);
    let why = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && why.contains("--with av."), "raw media are refused: {why}");
    std::fs::remove_dir_all(&archive).expect("what was begun");
    let with = ["--with", "physio,av.audio,av.video"];
    let midst = (begin.0 + 15_000).to_string();
    let some = said(record(&[&with[..], &["--until", &midst]].concat()));
    let rest = said(record(&with));
    assert!(some.contains("records") && rest.contains("records"), "{some}{rest}");

    let text = said(command(
        dir.path(),
        &["replay", "--archive", path(&archive), "--workers", "2", "--out", path(&replayed)],
    ));
    assert!(text.contains("x real time"), "{text}");
    assert_same(live.path(), &replayed, "live on the broker, and replayed from the archive");

    let explain = |ordinal: &str, more: &[&str]| {
        let log = format!("file:{}", archive.display());
        let id = id.to_string();
        let arguments =
            ["--log", &log, "explain", "segment", &id, ordinal, "--out", path(&replayed), "--epochs"];
        said(command(dir.path(), &[&arguments[..], more].concat()))
    };
    let text = explain("1", &[]);
    for part in
        ["by complete", "every declared stream had passed the end", "segment_closed: 1 records", "face "]
    {
        assert!(text.contains(part), "no {part:?} in:\n{text}");
    }
    let found: serde_json::Value = serde_json::from_str(&explain("1", &["--json"])).expect("JSON");
    assert_eq!(found["late_afterwards"][0]["topic"], "av.audio", "{found}");
    let second: serde_json::Value = serde_json::from_str(&explain("2", &["--json"])).expect("JSON");
    assert_eq!(second["not_used_meanwhile"][0]["reason"], "segment_closed", "{second}");
    assert_eq!(second["closed_by"], "ended");
    let none = command(dir.path(), &["explain", "segment", &id.to_string(), "9", "--out", path(&replayed)]);
    assert!(String::from_utf8_lossy(&none.stderr).contains("it has 1, 2"), "{none:?}");
}

/// Two chunks of sound.
const BORDER_US: i64 = 200_000;

/// Table `segment_streams` against the records themselves: which lie in the window is read from their capture times,
/// with the correction that the faces show.
fn lineage_is_that_of_the_log(set: &TopicSet, tables: &Tables) {
    let media = read_all(set.log(), &[Topic::AvAudio, Topic::AvVideo]);
    let filed: Vec<(String, i64)> =
        tables.rows::<DeadLetterRow>().into_iter().map(|row| (row.topic, row.record_offset)).collect();
    let mut captured: Vec<(&LogRecord, i64, i64)> = Vec::new();
    // The clock drifts: the correction of a face is that of its time.
    let mut corrections = BTreeMap::new();
    let faces = tables.rows::<FaceRow>();
    for record in &media {
        match codec::decode(record).expect("media") {
            Record::Audio(chunk) => {
                let end = chunk.capture_us + chunk.samples() as i64 * 1_000 / 48;
                captured.push((record, chunk.capture_us, end));
            }
            Record::Video(unit) => {
                captured.push((record, unit.capture_us, unit.capture_us + 1));
                let face = faces.iter().find(|face| face.seq == unit.seq as i64);
                corrections.extend(face.map(|face| (unit.capture_us, face.capture_utc.0 - unit.capture_us)));
            }
            _ => {}
        }
    }
    let (_, first) = corrections.first_key_value().expect("video");
    for (_, from, to) in &mut captured {
        let correction = corrections.range(..=*from).next_back().map_or(first, |(_, correction)| correction);
        (*from, *to) = (*from + correction, *to + correction);
    }
    let streams = tables.rows::<SegmentStreamRow>();
    let segments = tables.rows::<SegmentRow>();
    assert_eq!((segments.len(), streams.len()), (2, 4));
    for row in &streams {
        let segment = segments.iter().find(|s| s.ordinal == row.ordinal).expect("its segment");
        // A record beside a border was placed with the correction of then, which only the engine knows.
        let offsets = |margin_us: i64| -> Vec<i64> {
            let window = (segment.window_start_utc.0 + margin_us, segment.window_end_utc.0 - margin_us);
            let inside = captured.iter().filter(|(record, from, to)| {
                record.at.topic.name() == row.topic
                    && *from < window.1
                    && *to > window.0
                    && !filed.contains(&(row.topic.clone(), record.offset))
            });
            inside.map(|(record, ..)| record.offset).collect()
        };
        let (surely, at_most) = (offsets(BORDER_US), offsets(-BORDER_US));
        assert!(surely.len() > 10, "{row:?}");
        assert!((surely.len()..=at_most.len()).contains(&(row.records as usize)), "{row:?}: {surely:?}");
        assert!(row.first_offset <= surely.first().copied() && row.first_offset >= at_most.first().copied());
        assert!(row.last_offset >= surely.last().copied() && row.last_offset <= at_most.last().copied());
    }
}

fn said(output: Output) -> String {
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}: {text}", output.status);
    text
}

fn command(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).current_dir(dir).output().expect("the binary starts")
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path that is text")
}
