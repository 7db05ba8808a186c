//! Law 5, on disk: after sound, pictures and notifications that bear a marker went through the whole product, no disk of
//! any part has it. The same scan finds it where it is: in the segments of a broker that media go to unsealed, and in a file.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use lsie_connectors::feed::session_id;
use lsie_dataflow::checkpoint::state_file::{self, StateFile};
use lsie_schemas::row::{self, SessionRow};
use lsie_schemas::{TableRow, Topic};
use lsie_sinks::parquet::Reader;
use lsie_tests::faults::servers::Servers;
use lsie_tests::harness::{binary, read_all};
use lsie_tests::webhook::signature;

/// What is planted: in samples, in a picture's user data, in the body of a notification.
const SOUND: &str = "lsie-marker-in-sound-7f3a";
const PICTURE: &str = "lsie-marker-in-picture-91c2";
const NOTICE: &str = "lsie-marker-in-notice-d04e";
const SECRET: &str = "the provider's secret";

/// A part of the product under test, with what it says in a file. Killed if a test fails before it ends.
struct Running(Child);

impl Running {
    fn start(dir: &Path, config: &str, arguments: &[&str], said: &str) -> Running {
        let file = |name: String| std::fs::File::create(dir.join(name)).expect("a file");
        let errors = file(format!("{said}.err"));
        let child = Command::new(binary())
            .args(["--config", config])
            .args(arguments)
            .current_dir(dir)
            .stdout(file(format!("{said}.out")))
            .stderr(errors)
            .spawn();
        Running(child.expect("the binary starts"))
    }

    fn end(mut self) {
        let told = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
        assert!(told.is_ok_and(|status| status.success()));
        assert!(self.0.wait().is_ok_and(|status| status.success()), "an orderly end");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait(what: &str, mut until: impl FnMut() -> bool) {
    for _ in 0..900 {
        if until() {
            return;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    panic!("in three minutes not: {what}");
}

/// A recording of 8 s whose samples are the one marker and whose key frames bear the other; it lies where nobody scans.
fn source(dir: &Path) -> (PathBuf, PathBuf) {
    let (sound, pictures) = (dir.join("sound.wav"), dir.join("pictures.mkv"));
    let samples: Vec<u8> = SOUND.bytes().chain(*b".").cycle().take(8 * 96_000).collect();
    let mut wav = b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0\x01\0\x80\xbb\0\0\0\x77\x01\0\x02\0\x10\0data\xff\xff\xff\xff".to_vec();
    wav.extend_from_slice(&samples);
    std::fs::write(&sound, wav).expect("a file");
    let short = Path::new(env!("CARGO_MANIFEST_DIR")).join("sessions/short/video.mkv");
    let marked = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(short)
        .args(["-an", "-c:v", "copy", "-frames:v", "200", "-bsf:v"])
        .arg(format!("h264_metadata=sei_user_data=086f3693b7b34f2c965321492feee5b8+{PICTURE}"))
        .args(["-f", "matroska", "-y"])
        .arg(&pictures)
        .status();
    assert!(marked.is_ok_and(|status| status.success()), "ffmpeg marks the pictures");
    assert!(found(dir, &[SOUND]) && found(dir, &[PICTURE]), "the recording bears its markers");
    (sound, pictures)
}

/// The configuration of every part. Producers write the recording and keep their pipes open.
fn configuration(
    servers: &Servers,
    prefix: &str,
    key: Option<&Path>,
    source: &(PathBuf, PathBuf),
    dir: &Path,
) -> String {
    let producer =
        |what: String| format!("[\"sh\", \"-c\", 'exec 3>\"$0\"; {what} >&3; exec sleep 600', \"{{pipe}}\"]");
    let sound = producer(format!("cat {}", source.0.display()));
    let pictures = producer(format!("cat {}", source.1.display()));
    let key = key.map_or(String::new(), |key| format!("key_file = \"{}\"\n", key.display()));
    let secret = dir.join("secret");
    format!(
        "[log]\naddress = \"kafka:{}\"\nprefix = \"{prefix}\"\n{key}[parquet]\ndir = \"tables\"\nflush_ms = 1000\n\
         [checkpoint]\ninterval_ms = 2000\n[api]\nlisten = \"127.0.0.1:0\"\n[postgres]\nurl = \"{}\"\nend_wait_ms = 60000\n\
         [capture]\nsource = \"capture:marked\"\ndir = \"pipes\"\nadb = \"\"\nsilence_s = 0\naudio = {sound}\nvideo = {pictures}\n\
         [ingest]\nlisten = \"127.0.0.1:0\"\noura_secret_file = \"{}\"\n",
        servers.bootstrap,
        servers.postgres,
        secret.display(),
    )
}

fn private_file(path: &Path, content: &str) {
    std::fs::write(path, content).expect("a file");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("a mode");
}

/// Whether a file below a folder has one of these markers in it, as GNU grep says.
fn found(dir: &Path, markers: &[&str]) -> bool {
    let mut grep = Command::new("grep");
    grep.args([
        "--recursive",
        "--files-with-matches",
        "--text",
        "--null-data",
        "--fixed-strings",
        "--devices=skip",
    ]);
    for marker in markers {
        grep.args(["-e", marker]);
    }
    grep.arg(dir);
    // 2: a file went while it was read, as servers' files do. That must not pass for "nothing found".
    for _ in 0..20 {
        let output = grep.output().expect("grep");
        let files = String::from_utf8_lossy(&output.stdout);
        match output.status.code() {
            Some(0) => {
                eprintln!("{markers:?} in {files}");
                return true;
            }
            Some(1) => return false,
            _ => eprintln!("once more: {}", String::from_utf8_lossy(&output.stderr)),
        }
    }
    panic!("grep does not get through {}", dir.display());
}

/// All rows of all tables as text: Parquet compresses.
fn rows(tables: &Path) -> String {
    let reader = Reader::open(tables).expect("result tables");
    let changes = row::tables().iter().flat_map(|table| reader.changes(table));
    changes.map(|change| format!("{:?}\n", change.expect("a readable row").row)).collect()
}

/// What the checkpoints hold, unpacked.
fn checkpoints(folder: &Path) -> Vec<u8> {
    let mut held = Vec::new();
    for entry in std::fs::read_dir(folder.join(state_file::FOLDER)).expect("checkpoints") {
        let packed = std::fs::read(entry.expect("an entry").path()).expect("a state file");
        let state = StateFile::decode(&packed).expect("a state file");
        for (key, piece) in state.pieces.into_values().flatten() {
            held.extend([key, piece.unwrap_or_default()].concat());
        }
        for added in state.rows.into_values() {
            held.extend(added.before.into_iter().chain(added.last).flat_map(|(row, _)| row));
        }
        for (_, piece) in state.resting.into_values().flatten() {
            let piece = piece.unwrap_or_default();
            held.extend(state_file::decompress(&piece).expect("what rests is compressed"));
        }
    }
    held
}

/// Sends a notification with a marker in it, signed; the status of the answer.
fn notify(address: &str) -> String {
    let body = format!(
        "{{\"subject_role\":\"streamer\",\"event_type\":\"update\",\"data_type\":\"ibi\",\
         \"start_datetime\":\"2026-04-24T10:00:00Z\",\"end_datetime\":\"2026-04-24T10:05:00Z\",\
         \"id\":\"evt-1\",\"note\":\"{NOTICE}\"}}"
    );
    let signature = signature(SECRET.as_bytes(), body.as_bytes());
    let mut stream = TcpStream::connect(address).expect("ingest listens");
    write!(
        stream,
        "POST /api/v1/ingest/oura/webhook HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nx-oura-signature: {signature}\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer.lines().next().unwrap_or_default().to_owned()
}

fn said(dir: &Path, name: &str, begins: &str) -> Option<String> {
    let file = std::fs::File::open(dir.join(name)).ok()?;
    BufReader::new(file)
        .lines()
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix(begins).map(str::to_owned))
}

fn must(dir: &Path, arguments: &[&str]) {
    let done = Command::new(binary()).args(arguments).current_dir(dir).output().expect("the binary starts");
    assert!(done.status.success(), "lsie {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn no_disk_has_what_was_seen_heard_or_told() {
    let (servers, hidden) = (Servers::start(), tempfile::tempdir().expect("a folder"));
    let source = source(hidden.path());
    private_file(&hidden.path().join("key"), &"5c".repeat(32));
    private_file(&hidden.path().join("secret"), SECRET);
    let dir = servers.dir().join("product");
    std::fs::create_dir(&dir).expect("a folder");
    let key = hidden.path().join("key");
    let sealed = configuration(&servers, "sealed.", Some(&key), &source, hidden.path());
    let open = configuration(&servers, "open.", None, &source, hidden.path());
    std::fs::write(dir.join("sealed.toml"), sealed).expect("a configuration");
    std::fs::write(dir.join("open.toml"), open).expect("a configuration");

    must(&dir, &["--config", "sealed.toml", "topics", "create", "--partitions", "1"]);
    let engine = Running::start(&dir, "sealed.toml", &["run", "--port", "0"], "engine");
    let ingest = Running::start(&dir, "sealed.toml", &["ingest"], "ingest");
    wait("ingest", || said(&dir, "ingest.out", "ingest on http://").is_some());
    let address =
        said(&dir, "ingest.out", "ingest on http://").expect("an address").replace("/api/v1/ingest/", "");
    assert!(notify(&address).contains(" 200 "), "the notification is taken");
    let session = session_id("marker-scan", 0).to_string();
    let capture = Running::start(&dir, "sealed.toml", &["capture", "--session", &session], "capture");
    let log = servers.log("sealed.");
    let held = |topic| read_all(&*log, &[topic]);
    let bytes = |topic| held(topic).iter().map(|record| record.value.len()).sum::<usize>();
    wait("sound and pictures", || bytes(Topic::AvAudio) >= 8 * 96_000 && held(Topic::AvVideo).len() >= 200);
    capture.end();
    wait("the session in the tables", || {
        Reader::open(&dir.join("tables")).is_ok_and(|reader| {
            let mut rows = reader.changes(&SessionRow::TABLE).filter_map(Result::ok);
            rows.any(|change| format!("{:?}", change.row).contains(&session))
        })
    });
    std::thread::sleep(Duration::from_secs(3));
    ingest.end();
    engine.end();
    let requests = held(Topic::Requests);
    assert_eq!(requests.len(), 1, "the notification led to a request");
    checkpoint_database(&servers);

    let tables = rows(&dir.join("tables"));
    let classes: BTreeSet<&str> = tables.lines().filter(|line| line.contains("\"used\"")).collect();
    for topic in ["av.audio", "av.video"] {
        assert!(classes.iter().any(|line| line.contains(topic)), "{topic} was used: {classes:?}");
    }
    let all = [SOUND, PICTURE, NOTICE];
    assert!(!all.iter().any(|marker| tables.contains(marker)), "a table has a marker");
    let state = checkpoints(&dir.join("tables-checkpoints"));
    assert!(!state.is_empty(), "there are checkpoints");
    let has = |marker: &str| state.windows(marker.len()).any(|part| part == marker.as_bytes());
    assert!(!all.iter().any(|marker| has(marker)), "a checkpoint has a marker");
    // The broker's segments and logs, the database's files, tables, checkpoints, and what every part has said.
    assert!(!found(servers.dir(), &all), "a disk has a marker");

    // The same scan finds media that are not sealed, and what lies in a file.
    must(&dir, &["--config", "open.toml", "topics", "create", "--partitions", "1"]);
    let capture = Running::start(&dir, "open.toml", &["capture", "--session", &session], "open-capture");
    wait("the markers in the broker's segments", || {
        found(servers.dir(), &[SOUND]) && found(servers.dir(), &[PICTURE])
    });
    capture.end();
    assert!(!found(servers.dir(), &[NOTICE]));
    std::fs::write(dir.join("planted"), format!("\0\0{NOTICE}\0")).expect("a file");
    assert!(found(servers.dir(), &[NOTICE]));
}

/// Has the database write to its files what it still holds in memory.
fn checkpoint_database(servers: &Servers) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (client, connection) =
            tokio_postgres::connect(&servers.postgres, tokio_postgres::NoTls).await.expect("the database");
        let driver = tokio::spawn(connection);
        client.batch_execute("CHECKPOINT").await.expect("a checkpoint");
        drop(client);
        let _ = driver.await;
    });
}
