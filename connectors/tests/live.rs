//! The live connector against a platform on this machine: it replays frames, cuts connections, sends rubbish, and
//! its signature service fails.
#![allow(clippy::result_large_err, reason = "the handshake's callback has the library's error")]

mod away;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use away::Away;
use lsie_connectors::file_log::{FileLog, FileLogOptions};
use lsie_connectors::live::webcast::{Chat, Common, Envelope, PushFrame, Response, RoomControl, User};
use lsie_connectors::live::{Fixed, Mode, Service, Settings, Sign, SignError, Signed, live};
use lsie_connectors::{Backoff, Health, Stop};
use lsie_schemas::log::{AppendRecord, Fetch, Log, TimestampType, TopicPartition, TopicSpec};
use lsie_schemas::record::{Control, EndSession, LiveEvent, Record, StartSession, Stream, Subjects};
use lsie_schemas::{Topic, codec};
use prost::Message as _;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response as Opened};
use tokio_tungstenite::tungstenite::protocol::Role as SocketRole;
use tokio_tungstenite::tungstenite::{Message, WebSocket, accept_hdr};
use uuid::Uuid;

const A: Uuid = Uuid::from_u128(0x0b1f_8f5e_6f0e_4c55_9d3c_6d1d_5bb0_a001);
const B: Uuid = Uuid::from_u128(0x0b1f_8f5e_6f0e_4c55_9d3c_6d1d_5bb0_a002);

type Socket = WebSocket<TcpStream>;

/// A platform that does with its connections, one after the other, what a script says.
struct Platform {
    address: String,
    /// The path of each connection.
    paths: Arc<Mutex<Vec<String>>>,
}

impl Platform {
    fn new(mut script: impl FnMut(usize, &mut Socket) + Send + 'static) -> Platform {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let paths: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = paths.clone();
        thread("platform", move || {
            for (number, stream) in listener.incoming().enumerate() {
                let note = |request: &Request, answer: Opened| {
                    seen.lock().expect("paths").push(request.uri().to_string());
                    Ok(answer)
                };
                if let Ok(mut socket) = accept_hdr(stream.expect("a connection"), note) {
                    script(number, &mut socket);
                }
            }
        });
        Platform { address, paths }
    }

    fn paths(&self) -> Vec<String> {
        self.paths.lock().expect("paths").clone()
    }
}

fn thread(name: &str, run: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().name(name.into()).spawn(run).expect("a thread");
}

/// Signs with a number that is another one each time.
struct Numbered(String, AtomicU64);

impl Sign for Numbered {
    fn sign(&self, account: &str) -> Result<Signed, SignError> {
        let number = self.1.fetch_add(1, Ordering::SeqCst);
        Ok(Signed { url: format!("ws://{}/{account}?signature={number}", self.0), headers: Vec::new() })
    }
}

struct Bench {
    log: Away,
    health: Health,
    _dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Bench {
        let dir = tempfile::tempdir().expect("a folder");
        let log = FileLog::open(dir.path().join("log"), FileLogOptions::default()).expect("a log");
        let spec = |topic| TopicSpec {
            topic,
            partitions: 1,
            timestamps: TimestampType::LogAppend,
            retention_ms: None,
        };
        log.create_topics(&[Topic::Control, Topic::Events].map(spec)).expect("topics");
        let log = Away::new(log);
        Bench { log, health: Health::new("live_events"), _dir: dir }
    }

    fn begin(&self, session_id: Uuid, account: &str) {
        let start = StartSession {
            session_id,
            streams: vec![Stream::Audio],
            subjects: Subjects::default(),
            watched_account: Some(account.into()),
            source_url: "capture:phone".into(),
            experiment_id: "greeting_line_v1".into(),
            client_action_id: None,
        };
        self.log.append(vec![Control::Start(start).encode(None)]).expect("an append");
    }

    fn end(&self, session_id: Uuid) {
        let end = Control::End(EndSession { session_id, client_action_id: None });
        self.log.append(vec![end.encode(None)]).expect("an append");
    }

    fn run(&self, mode: Mode, sign: impl Sign + 'static, beside: impl FnOnce()) {
        let mut settings = Settings::new("ana", mode, Arc::new(sign));
        let (first, longest) = (Duration::from_millis(5), Duration::from_millis(20));
        settings.backoff = Backoff { first, longest, give_up_after: Some(10) };
        settings.heartbeat = Duration::from_millis(20);
        let stop = Stop::default();
        std::thread::scope(|scope| {
            let running = scope.spawn(|| live(&self.log, &settings, &self.health, &stop));
            let beside = std::panic::catch_unwind(std::panic::AssertUnwindSafe(beside));
            stop.stop();
            running.join().expect("no panic").expect("a clean end");
            if let Err(panic) = beside {
                std::panic::resume_unwind(panic);
            }
        });
    }

    fn wait(&self, what: &str, mut until: impl FnMut() -> bool) {
        for _ in 0..6_000 {
            if until() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("in a minute not: {what}; {:?}", self.health.report());
    }

    fn events(&self) -> Vec<LiveEvent> {
        let at = TopicPartition { topic: Topic::Events, partition: 0 };
        let (from, to) = self.log.bounds(at).expect("the log");
        let mut reader = self.log.reader(&[(at, from)], Fetch::default()).expect("a reader");
        let mut events = Vec::new();
        while reader.position(at).is_none_or(|position| position < to) {
            for record in reader.poll(Duration::from_millis(20)).expect("records") {
                match codec::decode(&record) {
                    Ok(Record::Event(event)) => events.push(event),
                    other => panic!("{other:?}"),
                }
            }
        }
        events
    }

    fn count(&self, what: &str) -> u64 {
        self.health.report().counts.get(what).copied().unwrap_or(0)
    }

    fn says(&self, text: &str) -> bool {
        serde_json::to_string(&self.health.report()).expect("JSON").contains(text)
    }
}

fn common(msg_id: u64) -> Option<Common> {
    Some(Common { msg_id, create_time: 1_767_607_200_500, display_text: None })
}

fn frame(messages: Vec<Envelope>) -> Message {
    let payload = Response { messages, internal_ext: b"ext".to_vec(), need_ack: true }.encode_to_vec();
    let frame = PushFrame { log_id: 9, payload_type: "msg".into(), payload, ..PushFrame::default() };
    Message::Binary(frame.encode_to_vec().into())
}

fn chat(msg_id: u64) -> Envelope {
    let user = Some(User { unique_id: "ben".into() });
    let chat = Chat { common: common(msg_id), user };
    Envelope { method: "WebcastChatMessage".into(), payload: chat.encode_to_vec() }
}

fn room_end() -> Envelope {
    let control = RoomControl { common: common(99), action: 3 };
    Envelope { method: "WebcastControlMessage".into(), payload: control.encode_to_vec() }
}

/// Reads until the connection ends; the types of the frames that came.
fn rest(socket: &mut Socket) -> Vec<String> {
    let mut types = Vec::new();
    while let Ok(message) = socket.read() {
        if let Message::Binary(bytes) = message {
            types.push(PushFrame::decode(bytes).expect("a frame").payload_type);
        }
    }
    types
}

#[test]
fn frames_become_events_and_are_acknowledged_until_the_room_ends() {
    let (tell, told) = mpsc::channel();
    let platform = Platform::new(move |_, socket| {
        let unknown = Envelope { method: "WebcastRankUpdateMessage".into(), payload: vec![1, 2, 3] };
        socket.send(frame(vec![chat(1), unknown, chat(2)])).expect("a connection");
        let mut kinds = Vec::new();
        while !(kinds.contains(&"ack".to_owned()) && kinds.contains(&"hb".to_owned())) {
            if let Message::Binary(bytes) = socket.read().expect("a frame") {
                kinds.push(PushFrame::decode(bytes).expect("a frame").payload_type);
            }
        }
        socket.send(frame(vec![room_end()])).expect("a connection");
        rest(socket);
        tell.send(()).expect("a test");
    });
    let bench = Bench::new();
    bench.begin(A, "ana");
    bench.run(Mode::Webcast, Fixed(format!("ws://{}/{{account}}", platform.address)), || {
        bench.wait("three events", || bench.events().len() == 3);
        told.recv_timeout(Duration::from_secs(60)).expect("the connection is closed after the room's end");
    });
    let events = bench.events();
    let kinds: Vec<&str> = events.iter().map(|event| event.event_type.as_str()).collect();
    assert_eq!(kinds, ["chat", "chat", "room_end"]);
    assert!(events.iter().all(|event| event.session_id == A));
    assert_eq!(events[0].unique_id.as_deref(), Some("ben"));
    assert_eq!(bench.count("messages_unknown"), 1);
    assert_eq!(platform.paths(), ["/ana"], "a room that has ended is not connected to again");
}

#[test]
fn a_cut_connection_is_made_again_with_another_signature() {
    let platform = Platform::new(|number, socket| {
        socket.send(frame(vec![chat(number as u64 + 1)])).expect("a connection");
        if number < 3 {
            // Waits for the acknowledgement, then hangs up without a word.
            while !matches!(socket.read(), Ok(Message::Binary(bytes)) if PushFrame::decode(bytes.clone()).is_ok_and(|f| f.payload_type == "ack"))
            {
            }
            return;
        }
        rest(socket);
    });
    let bench = Bench::new();
    bench.begin(A, "ana");
    bench.run(Mode::Webcast, Numbered(platform.address.clone(), AtomicU64::new(0)), || {
        bench.wait("four events", || bench.events().len() == 4);
    });
    let paths = platform.paths();
    assert_eq!(paths, (0..4).map(|n| format!("/ana?signature={n}")).collect::<Vec<_>>());
    assert_eq!(bench.count("connections_failed"), 3);
    let ids: Vec<_> = bench.events().iter().map(|event| event.event_id.clone().expect("an id")).collect();
    assert_eq!(ids, ["1", "2", "3", "4"]);
}

#[test]
fn rubbish_is_counted_and_the_connection_goes_on() {
    let platform = Platform::new(|_, socket| {
        socket.send(Message::Binary(vec![0xff; 40].into())).expect("a connection");
        socket.send(Message::Text("no binary frame".into())).expect("a connection");
        socket.send(frame(vec![Envelope { payload: vec![0xff; 3], ..chat(1) }])).expect("a connection");
        socket.send(frame(vec![chat(2)])).expect("a connection");
        rest(socket);
    });
    let bench = Bench::new();
    bench.begin(A, "ana");
    bench.run(Mode::Webcast, Fixed(format!("ws://{}/", platform.address)), || {
        bench.wait("an event", || bench.events().len() == 1);
    });
    assert_eq!(bench.count("messages_malformed"), 3);
    assert_eq!(platform.paths().len(), 1);
}

#[test]
fn json_events_of_the_sessions_that_watch_the_account() {
    let platform = Platform::new(|number, socket| {
        let text =
            format!(r#"[{{"event_type":"gift","gift_value":7,"event_id":"g-{number}"}},{{"typo":1}}]"#);
        socket.send(Message::Text(text.into())).expect("a connection");
        while socket.read().is_ok() {}
    });
    let bench = Bench::new();
    bench.run(Mode::Json, Fixed(format!("ws://{}/", platform.address)), || {
        bench.begin(Uuid::from_u128(0x0b1f_8f5e_6f0e_4c55_9d3c_6d1d_5bb0_a009), "somebody else");
        bench.begin(A, "ana");
        bench.wait("an event", || bench.events().len() == 1);
        bench.end(A);
        bench.wait("quiet", || bench.says("no session runs"));
        bench.begin(B, "ana");
        bench.wait("another", || bench.events().len() == 2);
    });
    let events = bench.events();
    assert_eq!(events.iter().map(|event| event.session_id).collect::<Vec<_>>(), [A, B]);
    assert_eq!(events[1].gift_value, Some(7));
    assert_eq!(bench.count("messages_malformed"), 2);
}

#[test]
fn after_ten_failures_it_gives_up_until_the_next_session() {
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let bench = Bench::new();
    bench.begin(A, "ana");
    bench.run(Mode::Json, Numbered(nobody.to_string(), AtomicU64::new(0)), || {
        bench.wait("the end of patience", || bench.says("given up after 10 failures"));
        assert_eq!(bench.count("connections_failed"), 10);
        bench.begin(B, "ana");
        bench.wait("new patience", || bench.count("connections_failed") == 20);
    });
}

#[test]
fn without_signatures_there_are_no_events_and_with_them_there_are() {
    let platform = Platform::new(|_, socket| {
        socket.send(Message::Text(r#"{"event_type":"like"}"#.into())).expect("a connection");
        while socket.read().is_ok() {}
    });
    let service = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = service.local_addr().expect("an address");
    let url = format!("ws://{}/signed", platform.address);
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = asked.clone();
    thread("platform", move || {
        for (number, stream) in service.incoming().enumerate() {
            let mut stream = stream.expect("a connection");
            let mut request = [0; 4_096];
            let length = stream.read(&mut request).unwrap_or(0);
            let line = String::from_utf8_lossy(&request[..length]);
            seen.lock().expect("requests").push(line.lines().next().unwrap_or("").to_owned());
            let (status, body) = match number {
                0 => ("500 Internal Server Error", "down".to_owned()),
                1 => ("200 OK", "no JSON".to_owned()),
                // Silence: the client's limit ends it.
                2 => {
                    std::thread::sleep(Duration::from_millis(400));
                    continue;
                }
                _ => ("200 OK", format!(r#"{{"url":"{url}","headers":{{"Cookie":"msToken=x"}}}}"#)),
            };
            let length = body.len();
            let _ = write!(
                stream,
                "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            );
        }
    });
    let bench = Bench::new();
    bench.begin(A, "ana");
    let signer =
        Service::with_limit(format!("http://{address}/sign?user={{account}}"), Duration::from_millis(300));
    bench.run(Mode::Json, signer, || bench.wait("an event", || bench.events().len() == 1));
    assert_eq!(bench.count("signatures_failed"), 3);
    assert_eq!(
        asked.lock().expect("requests").last().map(String::as_str),
        Some("GET /sign?user=ana HTTP/1.1")
    );
    assert_eq!(platform.paths(), ["/signed"]);
}

/// More events than may wait, while the log is away: the connection is read no further, and nothing is lost.
#[test]
fn events_wait_for_a_log_that_is_away() {
    const EVENTS: usize = 25_000;
    let sent = Arc::new(AtomicU64::new(0));
    let counting = sent.clone();
    let platform = Platform::new(move |_, socket| {
        for number in 0..EVENTS {
            let text = format!(
                r#"{{"event_type":"like","event_id":"e-{number}","timestamp_utc":"2026-01-05T10:00:00Z","payload":{{"text":"{}"}}}}"#,
                "x".repeat(1_000)
            );
            if socket.send(Message::Text(text.into())).is_err() {
                return;
            }
            counting.fetch_add(1, Ordering::SeqCst);
        }
        while socket.read().is_ok() {}
    });
    let bench = Bench::new();
    bench.begin(A, "ana");
    bench.log.away.store(true, Ordering::SeqCst);
    bench.run(Mode::Json, Fixed(format!("ws://{}/", platform.address)), || {
        bench.wait("more events than may wait", || sent.load(Ordering::SeqCst) > 10_000);
        bench.wait("a log that is missed", || bench.says("switched off"));
        assert!(bench.events().is_empty());
        bench.log.away.store(false, Ordering::SeqCst);
        bench.wait("all events", || bench.count("events_appended") == EVENTS as u64);
    });
    let ids: Vec<_> = bench.events().into_iter().filter_map(|event| event.event_id).collect();
    assert_eq!(ids, (0..EVENTS).map(|number| format!("e-{number}")).collect::<Vec<_>>());
    assert_eq!(platform.paths().len(), 1, "one connection");
}

/// A crash between an event and its acknowledgement: the platform sends it again, and it is the same event.
#[test]
fn a_restarted_connector_connects_again_and_an_event_that_comes_again_is_the_same() {
    let platform = Platform::new(|_, socket| {
        socket.send(frame(vec![chat(1)])).expect("a connection");
        rest(socket);
    });
    let bench = Bench::new();
    bench.begin(A, "ana");
    for run in 1..=2 {
        bench.run(Mode::Webcast, Numbered(platform.address.clone(), AtomicU64::new(run)), || {
            bench.wait("an event", || bench.events().len() == run as usize);
        });
    }
    assert_eq!(platform.paths(), ["/ana?signature=1", "/ana?signature=2"]);
    let events = bench.events();
    assert_eq!(events[0], events[1], "the engine knows it by user, type, time and the platform's id");
}

/// Keeps what is written.
#[derive(Default)]
struct Written(Vec<u8>);

impl std::io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl std::io::Read for Written {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::WouldBlock.into())
    }
}

#[test]
fn however_the_network_cuts_what_is_sent_the_events_are_the_same() {
    let mut socket = WebSocket::from_raw_socket(Written::default(), SocketRole::Server, None);
    for msg_id in 1..=20 {
        socket.send(frame(vec![chat(msg_id), chat(msg_id + 100)])).expect("memory");
    }
    let sent = socket.get_ref().0.clone();
    for piece in [1, 7, 100, sent.len()] {
        let sent = sent.clone();
        let platform = Platform::new(move |_, socket| {
            let stream = socket.get_mut();
            stream.set_nodelay(true).expect("a socket");
            for piece in sent.chunks(piece) {
                stream.write_all(piece).expect("a connection");
            }
            rest(socket);
        });
        let bench = Bench::new();
        bench.begin(A, "ana");
        bench.run(Mode::Webcast, Fixed(format!("ws://{}/", platform.address)), || {
            bench.wait("all events", || bench.events().len() == 40);
        });
        let ids: Vec<_> = bench.events().into_iter().filter_map(|event| event.event_id).collect();
        let expected: Vec<_> =
            (1..=20).flat_map(|id: u64| [id.to_string(), (id + 100).to_string()]).collect();
        assert_eq!(ids, expected, "in pieces of {piece} bytes");
    }
}
