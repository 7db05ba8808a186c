//! Debug media: of the session that is named, and of no other; sealed on disk, and read through the process that has the key.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use lsie_connectors::file_log::{FileLog, FileLogOptions};
use lsie_connectors::vault::{CEILING, Settings, keep_media};
use lsie_connectors::{Health, Stop};
use lsie_schemas::Topic;
use lsie_schemas::log::{AppendRecord, Log, TimestampType, TopicSpec};
use lsie_schemas::record::{AudioChunk, VideoUnit};
use uuid::Uuid;

const NAMED: Uuid = Uuid::from_u128(0x0b1f_8f5e_6f0e_4c55_9d3c_6d1d_5bb0_a001);
const OTHER: Uuid = Uuid::from_u128(0x0b1f_8f5e_6f0e_4c55_9d3c_6d1d_5bb0_a002);
const MARKER: &str = "marker-of-raw-media";

fn log(dir: &Path) -> FileLog {
    let log = FileLog::open(dir, FileLogOptions::default()).expect("a log");
    let spec =
        |topic| TopicSpec { topic, partitions: 2, timestamps: TimestampType::LogAppend, retention_ms: None };
    log.create_topics(&[Topic::AvAudio, Topic::AvVideo].map(spec)).expect("topics");
    log
}

fn append(log: &FileLog, session_id: Uuid, seq: u64) {
    let pcm = format!("{MARKER} sound {seq} ").into_bytes().into();
    let unit = format!("{MARKER} picture {seq} ").into_bytes().into();
    let sound = AudioChunk { session_id, seq, capture_us: 0, pcm };
    let picture = VideoUnit { session_id, seq, capture_us: 0, key_frame: true, unit };
    log.append(vec![sound.encode(None), picture.encode(None)]).expect("appended");
}

/// What the socket says to a question.
fn ask(socket: &Path, question: &str) -> Vec<u8> {
    let mut stream = UnixStream::connect(socket).expect("a vault that listens");
    stream.write_all(format!("{question}\n").as_bytes()).expect("asked");
    stream.shutdown(Shutdown::Write).expect("asked");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    answer
}

fn wait(mut until: impl FnMut() -> bool) {
    while !until() {
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn media_of_the_named_session_are_kept_sealed_and_read_through_the_process_only() {
    let dir = tempfile::tempdir().expect("a folder");
    let (vault, socket) = (dir.path().join("vault"), dir.path().join("vault.sock"));
    let (log, health, stop) = (log(&dir.path().join("log")), Health::new("vault"), Stop::default());
    std::fs::create_dir(&vault).expect("a folder");
    std::fs::write(vault.join("left"), MARKER).expect("what an earlier process left");
    append(&log, NAMED, 0);
    append(&log, OTHER, 0);
    let settings = Settings {
        sessions: BTreeSet::from([NAMED]),
        dirs: vec![vault.clone()],
        every: CEILING,
        socket: socket.clone(),
    };
    std::thread::scope(|scope| {
        let keeping = scope.spawn(|| keep_media(&log, &settings, &health, &stop));
        let kept = || health.report().counts.get("files_kept").copied().unwrap_or_default();
        wait(|| kept() == 2);
        append(&log, NAMED, 1);
        wait(|| kept() >= 4);

        let list = String::from_utf8(ask(&socket, "")).expect("names");
        assert!(list.lines().all(|name| name.starts_with(&NAMED.to_string())), "{list}");
        let all = |kind: &str| -> Vec<u8> {
            list.lines().filter(|name| name.ends_with(kind)).flat_map(|name| ask(&socket, name)).collect()
        };
        assert_eq!(all(".pcm"), format!("{MARKER} sound 0 {MARKER} sound 1 ").into_bytes());
        assert_eq!(all(".h264"), format!("{MARKER} picture 0 {MARKER} picture 1 ").into_bytes());
        for nothing in
            [format!("{NAMED}/none"), format!("{OTHER}/av.audio-000000000000.pcm"), "../left".into()]
        {
            assert!(ask(&socket, &nothing).is_empty(), "{nothing}");
        }
        let mode = std::fs::metadata(&socket).expect("the socket").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let found = Command::new("grep").args(["-rqa", MARKER]).arg(&vault).status().expect("grep");
        assert_eq!(found.code(), Some(1), "no file has it in clear");

        stop.stop();
        keeping.join().expect("it ends").expect("well");
    });
    assert!(!socket.exists());
    assert_eq!(health.report().counts["files_shredded"], 1);
}
