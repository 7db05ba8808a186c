//! The binary on a live feed: `lsie capture` takes what ffmpeg writes into two pipes, `lsie run` measures it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lsie_connectors::feed::session_id;
use lsie_schemas::record::{Control, Record};
use lsie_schemas::row::{FaceRow, RecordClassRow, SegmentRow, SessionRow};
use lsie_schemas::{Change, TableRow, Topic, codec};
use lsie_sinks::parquet::Reader;
use lsie_tests::broker;
use lsie_tests::harness::{TopicSet, assert_law_4, binary, read_all};
use lsie_tests::tables::Tables;

/// Frames that ffmpeg writes: 8 s of a recorded face, in real time.
const FRAMES: usize = 240;
/// Sample bytes that it writes: 12 s, for sound begins 4 s earlier.
const SOUND_BYTES: usize = 12 * 96_000;

#[test]
fn a_live_feed_goes_through_capture_and_engine() {
    let set = TopicSet::live("live-capture", 4);
    let dir = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(dir.path().join("lsie.toml"), configuration(&set)).expect("a configuration");
    let tables = dir.path().join("tables");
    let id = session_id("live-capture", 0);

    let engine = Running::start(dir.path(), &["run", "--out", "tables", "--port", "0"], "tables in");
    let session = id.to_string();
    let capture = Running::start(dir.path(), &["capture", "--session", &session], "");
    let bytes = |topic| read_all(set.log(), &[topic]).iter().map(|record| record.value.len()).sum::<usize>();
    wait("the feed", || {
        read_all(set.log(), &[Topic::AvVideo]).len() >= FRAMES && bytes(Topic::AvAudio) >= SOUND_BYTES
    });
    let report = capture.end();
    wait("the session's end", || {
        Reader::open(&tables)
            .is_ok_and(|_| read(&tables).rows::<SessionRow>().iter().any(|row| row.ended_at.is_some()))
    });
    engine.end();

    assert_eq!(bytes(Topic::AvAudio), SOUND_BYTES, "{report}");
    assert!(report.contains("\"polls\":") && report.contains("\"state\":\"ok\""), "{report}");
    let control = read_all(set.log(), &[Topic::Control]);
    let control: Vec<Control> = control
        .iter()
        .map(|record| match codec::decode(record) {
            Ok(Record::Control(control)) => control,
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(matches!(control.first(), Some(Control::Start(start)) if start.source_url == "capture:test"));
    assert!(matches!(control.last(), Some(Control::End(end)) if end.session_id == id));

    let found = read(&tables);
    let faces = found.rows::<FaceRow>();
    assert_eq!(faces.iter().filter(|face| face.present).count(), FRAMES, "every frame shows the face");
    assert!(!found.rows::<SegmentRow>().is_empty());
    let media = ["av.audio", "av.video"];
    let classes = found.rows::<RecordClassRow>();
    let unused = classes.iter().filter(|row| media.contains(&row.topic.as_str()) && row.class != "used");
    assert_eq!(unused.count(), 0, "{classes:?}");
    assert_law_4(set.log(), &found);
}

/// Sound is a tone; pictures are a recorded session's, which ffmpeg plays in real time. Both keep their pipe open
/// at the end, so that nothing begins again.
fn configuration(set: &TopicSet) -> String {
    let video = Path::new(env!("CARGO_MANIFEST_DIR")).join("sessions/short/video.mkv");
    let producer = |what: String| {
        format!(
            "[\"sh\", \"-c\", 'exec 3>\"$0\"; ffmpeg -v error {what} -y \"$0\" </dev/null; exec sleep 600', \"{{pipe}}\"]"
        )
    };
    let sound = "-re -f lavfi -i sine=sample_rate=48000:duration=12 -c:a pcm_s16le -flush_packets 1 -f wav";
    let pictures =
        format!("-re -i {} -an -c:v copy -frames:v 240 -flush_packets 1 -f matroska", video.display());
    format!(
        "[log]\naddress = \"kafka:{}\"\nprefix = \"{}\"\n[parquet]\nflush_ms = 1000\n[capture]\nsource = \"capture:test\"\n\
         adb = \"\"\nsilence_s = 0\naudio = {}\nvideo = {}\n",
        broker::bootstrap(),
        set.prefix(),
        producer(sound.to_owned()),
        producer(pictures),
    )
}

fn wait(what: &str, mut until: impl FnMut() -> bool) {
    for _ in 0..600 {
        if until() {
            return;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    panic!("in two minutes not: {what}");
}

/// The result tables of a folder.
fn read(dir: &Path) -> Tables {
    let reader = Reader::open(dir).expect("result tables");
    let mut changes: Vec<Change> = Vec::new();
    for table in [SegmentRow::TABLE, SessionRow::TABLE, FaceRow::TABLE, RecordClassRow::TABLE] {
        changes.extend(reader.changes(&table).map(|change| change.expect("a readable row")));
    }
    Tables::new(changes)
}

/// A command of the binary that runs until it is told to end. Killed if a test fails before.
struct Running(Option<Child>);

impl Running {
    /// Starts it, and waits for a line of its output that begins like this.
    fn start(dir: &Path, arguments: &[&str], line: &str) -> Running {
        let mut command = Command::new(binary());
        let child = command.args(arguments).current_dir(dir).stdout(Stdio::piped()).spawn();
        let mut running = Running(Some(child.expect("the binary starts")));
        if !line.is_empty() {
            let output = running.0.as_mut().and_then(|child| child.stdout.as_mut()).expect("its output");
            let mut lines = BufReader::new(output).lines().map_while(Result::ok);
            assert!(lines.any(|said| said.starts_with(line)), "lsie {arguments:?} did not say {line:?}");
        }
        running
    }

    /// Tells it to end, and waits; the rest of its output.
    fn end(mut self) -> String {
        let child = self.0.take().expect("not ended yet");
        let told = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        assert!(told.is_ok_and(|status| status.success()));
        let done = child.wait_with_output().expect("it ends");
        assert!(done.status.success(), "{}", done.status);
        String::from_utf8(done.stdout).expect("text")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
