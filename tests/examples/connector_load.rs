//! Connectors under load, against a Kafka of its own; docs/BENCHMARKS.md has what it gave.
//!
//! ```text
//! connector_load capture [STREAMS [SECONDS]]   so many captures at a time, each of 720p30 and 48 kHz sound in real time
//! connector_load webhooks [SECONDS]            signed notifications to one `lsie ingest` on one core; Kafka is paused for 30 s
//! ```

#![allow(clippy::disallowed_methods, reason = "a load is measured")]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lsie_connectors::feed::session_id;
use lsie_schemas::Topic;
use lsie_tests::faults::servers::Servers;
use lsie_tests::harness::{binary, read_all, signal};
use lsie_tests::webhook::signature;
use serde_json::Value;

const SECRET: &[u8] = b"a secret of the load";
/// Connections that send at a time.
const SENDERS: usize = 64;
/// How long the broker is paused.
const PAUSE: Duration = Duration::from_secs(30);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number =
        |at: usize, default: u64| arguments.get(at).map_or(default, |text| text.parse().expect("a number"));
    match arguments.first().map(String::as_str) {
        Some("capture") => capture(number(1, 20), number(2, 30)),
        Some("webhooks") => webhooks(Duration::from_secs(number(1, 20))),
        _ => panic!("what load? capture or webhooks; see the head of this file"),
    }
}

/// Processor seconds that a process has used, without its children.
fn cpu_s(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

fn lsie(dir: &Path, arguments: &[&str], core: Option<&str>, said: &str) -> Child {
    let mut command = match core {
        Some(core) => {
            let mut command = Command::new("taskset");
            command.args(["-c", core]).arg(binary());
            command
        }
        None => Command::new(binary()),
    };
    let output = std::fs::File::create(dir.join(said)).expect("a file");
    command
        .args(arguments)
        .current_dir(dir)
        .stdout(output)
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts")
}

fn end(child: &mut Child) {
    signal(child.id(), "TERM");
    let _ = child.wait();
}

fn configure(servers: &Servers, dir: &Path, more: &str) {
    let log = format!("[log]\naddress = \"kafka:{}\"\nprefix = \"load.\"\n", servers.bootstrap);
    std::fs::write(dir.join("lsie.toml"), log + more).expect("a configuration");
    let made =
        Command::new(binary()).args(["topics", "create", "--partitions", "4"]).current_dir(dir).status();
    assert!(made.is_ok_and(|status| status.success()), "topics");
}

fn capture(streams: u64, seconds: u64) {
    let servers = Servers::start();
    let dir = servers.dir().join("load");
    std::fs::create_dir(&dir).expect("a folder");
    // What a phone sends: 720p30 at 4 Mbit/s, with a key frame a second.
    let (video, audio) = (dir.join("source.mkv"), dir.join("source.wav"));
    let made = Command::new("sh")
        .args([
            "-c",
            "ffmpeg -v error -f lavfi -i testsrc2=size=1280x720:rate=30 -t \"$0\" -c:v libx264 -preset ultrafast -b:v 4M \
             -maxrate 4M -bufsize 4M -g 30 -pix_fmt yuv420p -f matroska -y \"$1\" && \
             ffmpeg -v error -f lavfi -i sine=sample_rate=48000 -t \"$0\" -c:a pcm_s16le -ac 1 -y \"$2\"",
        ])
        .arg(seconds.to_string())
        .args([&video, &audio])
        .status();
    assert!(made.is_ok_and(|status| status.success()), "ffmpeg makes the source");
    let producer = |file: &Path, format: &str| {
        let play = format!("ffmpeg -v error -re -i {} -c copy -flush_packets 1 -f {format}", file.display());
        format!(
            "[\"sh\", \"-c\", 'exec 3>\"$0\"; {play} -y \"$0\" </dev/null; exec sleep 600', \"{{pipe}}\"]"
        )
    };
    let section = format!(
        "[capture]\nadb = \"\"\nsilence_s = 0\naudio = {}\nvideo = {}\n",
        producer(&audio, "wav"),
        producer(&video, "matroska")
    );
    configure(&servers, &dir, &section);
    let began = Instant::now();
    let mut captures: Vec<Child> = (0..streams)
        .map(|number| {
            let (source, pipes) = (format!("capture:{number}"), format!("pipes-{number}"));
            let session = session_id("load", number).to_string();
            let arguments = ["capture", "--source", &source, "--dir", &pipes, "--session", &session];
            lsie(&dir, &arguments, None, &format!("capture-{number}"))
        })
        .collect();
    // Pictures begin 4 s after sound.
    std::thread::sleep(Duration::from_secs(seconds + 6));
    let (took, used) = (began.elapsed(), captures.iter().map(|child| cpu_s(child.id())).collect::<Vec<_>>());
    captures.iter_mut().for_each(end);
    let total: f64 = used.iter().sum();
    let log = servers.log("load.");
    let bytes = |topic| read_all(&*log, &[topic]).iter().map(|record| record.value.len() as u64).sum::<u64>();
    let (sound, frames) = (bytes(Topic::AvAudio), read_all(&*log, &[Topic::AvVideo]).len());
    let dropped: u64 = (0..streams).map(|number| dropped(&dir.join(format!("capture-{number}")))).sum();
    println!(
        "{streams} captures for {seconds} s: {:.2} % of a core each ({total:.1} s in {:.0} s); {dropped} bytes dropped; \
         {sound} bytes of sound of {}, {frames} frames of {}, {} bytes of pictures",
        100.0 * total / took.as_secs_f64() / streams as f64,
        took.as_secs_f64(),
        streams * seconds * 96_000,
        streams * seconds * 30,
        bytes(Topic::AvVideo),
    );
    assert_eq!((dropped, sound), (0, streams * seconds * 96_000), "bytes were dropped");
    assert_eq!(frames as u64, streams * seconds * 30, "frames are missing");
}

/// Bytes that the last line of a capture's health says were dropped.
fn dropped(said: &Path) -> u64 {
    let lines = std::fs::read_to_string(said).expect("what it said");
    let report: Value =
        lines.lines().last().and_then(|line| serde_json::from_str(line).ok()).expect("a report");
    report["counts"]["bytes_dropped"].as_u64().unwrap_or(0)
}

/// What the senders have seen so far.
#[derive(Default)]
struct Seen {
    accepted: AtomicU64,
    unavailable: AtomicU64,
    stop: AtomicBool,
    ids: Mutex<BTreeSet<String>>,
}

fn webhooks(time: Duration) {
    let servers = Servers::start();
    let dir = servers.dir().join("load");
    std::fs::create_dir(&dir).expect("a folder");
    let secret = dir.join("secret");
    std::fs::write(&secret, SECRET).expect("a file");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).expect("a mode");
    let section =
        format!("[ingest]\nlisten = \"127.0.0.1:0\"\noura_secret_file = \"{}\"\n", secret.display());
    configure(&servers, &dir, &section);
    let mut ingest = lsie(&dir, &["ingest"], Some("0"), "ingest");
    let address = loop {
        let said = std::fs::read_to_string(dir.join("ingest")).unwrap_or_default();
        if let Some(rest) = said.strip_prefix("ingest on http://").filter(|rest| rest.contains('\n')) {
            break rest.split('/').next().expect("an address").to_owned();
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    let seen = Arc::new(Seen::default());
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let (seen, address) = (seen.clone(), address.clone());
            let name = std::thread::Builder::new().name(format!("sender-{sender}"));
            name.spawn(move || send(sender, &address, &seen)).expect("a thread")
        })
        .collect();
    let rate = |what: &str, time: Duration| {
        let count = || (seen.accepted.load(Ordering::SeqCst), seen.unavailable.load(Ordering::SeqCst));
        let (before, used, began) = (count(), cpu_s(ingest.id()), Instant::now());
        std::thread::sleep(time);
        let (after, took) = (count(), began.elapsed().as_secs_f64());
        let cpu = 100.0 * (cpu_s(ingest.id()) - used) / took;
        println!(
            "{what}: {:.0} accepted a second, {:.0} answers 503 a second, {cpu:.0} % of its core",
            (after.0 - before.0) as f64 / took,
            (after.1 - before.1) as f64 / took
        );
        after.0
    };
    rate("warming up", Duration::from_secs(3));
    rate("in peace", time);
    signal(servers.broker_pid(), "STOP");
    let before = rate("the broker hangs", PAUSE);
    signal(servers.broker_pid(), "CONT");
    let back = Instant::now();
    while seen.accepted.load(Ordering::SeqCst) < before + 100 {
        assert!(back.elapsed() < Duration::from_secs(120), "it does not come back");
        std::thread::sleep(Duration::from_millis(10));
    }
    println!("accepted again {:.1} s after the broker came back", back.elapsed().as_secs_f64());
    rate("after that", time);
    seen.stop.store(true, Ordering::SeqCst);
    senders.into_iter().for_each(|sender| sender.join().expect("a sender"));
    end(&mut ingest);
    let held = read_all(&*servers.log("load."), &[Topic::Requests]);
    let mut keys: Vec<_> = held.into_iter().filter_map(|record| record.key).collect();
    let records = keys.len();
    keys.sort();
    keys.dedup();
    let accepted = seen.ids.lock().expect("ids").len();
    println!(
        "{accepted} notifications were accepted; the topic holds {records} requests, {} different ones",
        keys.len()
    );
    assert!(keys.len() >= accepted, "accepted and lost");
}

/// Sends one notification after the other on one connection; one that is not accepted again.
fn send(sender: usize, address: &str, seen: &Seen) {
    let (mut connection, mut number) = (None, 0_u64);
    let mut ids = Vec::new();
    while !seen.stop.load(Ordering::SeqCst) {
        let id = format!("evt-{sender}-{number}");
        let body = format!(
            "{{\"subject_role\":\"streamer\",\"event_type\":\"update\",\"data_type\":\"ibi\",\
             \"start_datetime\":\"2026-04-24T10:00:00Z\",\"end_datetime\":\"2026-04-24T10:05:00Z\",\"id\":\"{id}\"}}"
        );
        let request = format!(
            "POST /api/v1/ingest/oura/webhook HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
             x-oura-signature: {}\r\nContent-Length: {}\r\n\r\n{body}",
            signature(SECRET, body.as_bytes()),
            body.len()
        );
        match exchange(&mut connection, address, &request) {
            Some(200) => {
                seen.accepted.fetch_add(1, Ordering::SeqCst);
                ids.push(id);
                number += 1;
            }
            Some(503) => {
                seen.unavailable.fetch_add(1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(50));
            }
            Some(other) => panic!("status {other}"),
            None => connection = None,
        }
    }
    seen.ids.lock().expect("ids").extend(ids);
}

/// Sends a request and reads the answer; its status.
fn exchange(connection: &mut Option<BufReader<TcpStream>>, address: &str, request: &str) -> Option<u16> {
    if connection.is_none() {
        let stream = TcpStream::connect(address).ok()?;
        stream.set_nodelay(true).ok()?;
        *connection = Some(BufReader::new(stream));
    }
    let stream = connection.as_mut()?;
    stream.get_mut().write_all(request.as_bytes()).ok()?;
    let (mut line, mut length) = (String::new(), 0);
    stream.read_line(&mut line).ok()?;
    let status = line.split(' ').nth(1)?.parse().ok()?;
    loop {
        line.clear();
        stream.read_line(&mut line).ok()?;
        match line.trim().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().ok()?
            }
            None if line.trim().is_empty() => break,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(status)
}
