//! Hydration against a stand-in for the provider that can fail in every way.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lsie_connectors::file_log::{FileLog, FileLogOptions};
use lsie_connectors::oura::{Access, Settings, hydrate_requests};
use lsie_connectors::{Backoff, Health, Stop};
use lsie_schemas::log::{AppendRecord, Fetch, Log, LogRecord, TimestampType, TopicPartition, TopicSpec};
use lsie_schemas::record::{
    Answered, Control, EndSession, HydrateAnswer, HydrateRequest, Hydrated, PhysioRecord, Record, Request,
    StartSession, Stream, Subjects,
};
use lsie_schemas::{Topic, codec};
use serde_json::{Value, json};
use uuid::Uuid;

const A: Uuid = Uuid::from_u128(0x0b1f_8f5e_6f0e_4c55_9d3c_6d1d_5bb0_a001);
const B: Uuid = Uuid::from_u128(0x0b1f_8f5e_6f0e_4c55_9d3c_6d1d_5bb0_a002);
const TOPICS: [Topic; 4] = [Topic::Control, Topic::Requests, Topic::Answers, Topic::Physio];

/// What came in: the request line, the authorisation, the body.
#[derive(Clone, Debug, PartialEq)]
struct Call {
    line: String,
    authorisation: String,
    body: String,
}

/// The stand-in: answers each call, numbered from 0, as a function says: status, further headers, body.
struct Provider {
    address: String,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Provider {
    fn new(answer: impl Fn(usize, &Call) -> (u16, &'static str, String) + Send + 'static) -> Provider {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let calls: Arc<Mutex<Vec<Call>>> = Arc::default();
        let seen = calls.clone();
        let serve = move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                let Some(call) = read(&mut stream) else { continue };
                let number = {
                    let mut seen = seen.lock().expect("calls");
                    seen.push(call.clone());
                    seen.len() - 1
                };
                let (status, headers, body) = answer(number, &call);
                // 0: hang up; 1: say nothing until the client has had enough.
                match status {
                    0 => {}
                    1 => std::thread::sleep(Duration::from_millis(2_000)),
                    _ => {
                        let head = format!(
                            "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n",
                            body.len()
                        );
                        let _ = stream.write_all(format!("{head}{body}").as_bytes());
                    }
                }
            }
        };
        std::thread::Builder::new().name("provider".into()).spawn(serve).expect("a thread");
        Provider { address, calls }
    }

    fn calls(&self) -> Vec<Call> {
        self.calls.lock().expect("calls").clone()
    }
}

fn read(stream: &mut TcpStream) -> Option<Call> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let (mut headers, mut header) = (BTreeMap::new(), String::new());
    while reader.read_line(&mut header).ok()? > 2 {
        if let Some((name, value)) = header.trim().split_once(": ") {
            headers.insert(name.to_lowercase(), value.to_owned());
        }
        header.clear();
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let authorisation = headers.get("authorization").cloned().unwrap_or_default();
    Some(Call { line: line.trim().to_owned(), authorisation, body: String::from_utf8(body).ok()? })
}

struct Bench {
    dir: tempfile::TempDir,
    log: FileLog,
    health: Health,
    settings: Settings,
}

impl Bench {
    /// With good tokens of the streamer, and one session of theirs.
    fn new(provider: &Provider) -> Bench {
        let dir = tempfile::tempdir().expect("a folder");
        let log = FileLog::open(dir.path().join("log"), FileLogOptions::default()).expect("a log");
        let spec = |topic| TopicSpec {
            topic,
            partitions: 2,
            timestamps: TimestampType::LogAppend,
            retention_ms: None,
        };
        log.create_topics(&TOPICS.map(spec)).expect("topics");
        let base = format!("http://{}", provider.address);
        let mut access = Access::new(&base, &format!("{base}/oauth/token"), "us", "our secret");
        let short = |give_up_after| Backoff {
            first: Duration::from_millis(5),
            longest: Duration::from_millis(20),
            give_up_after: Some(give_up_after),
        };
        (access.limit, access.tries) = (Duration::from_millis(1_500), short(3));
        let mut settings = Settings::new(access, dir.path().join("tokens"));
        settings.later = short(3);
        std::fs::create_dir(&settings.tokens).expect("a folder");
        let bench = Bench { dir, log, health: Health::new("hydration"), settings };
        bench.tokens("9999-12-31T00:00:00Z", 0o600);
        bench.session(A, Some("ana"), None);
        bench
    }

    fn file(&self) -> PathBuf {
        self.settings.tokens.join("streamer.json")
    }

    fn tokens(&self, expires_at_utc: &str, mode: u32) {
        let tokens =
            json!({"access_token": "old", "refresh_token": "again", "expires_at_utc": expires_at_utc});
        std::fs::write(self.file(), tokens.to_string()).expect("a file");
        std::fs::set_permissions(self.file(), PermissionsExt::from_mode(mode)).expect("a mode");
    }

    fn session(&self, session_id: Uuid, streamer: Option<&str>, operator: Option<&str>) {
        let start = StartSession {
            session_id,
            streams: vec![Stream::Audio],
            subjects: Subjects {
                streamer: streamer.map(str::to_owned),
                operator: operator.map(str::to_owned),
            },
            watched_account: None,
            source_url: "capture:phone".into(),
            experiment_id: "greeting_line_v1".into(),
            client_action_id: None,
        };
        self.log.append(vec![Control::Start(start).encode(None)]).expect("an append");
    }

    fn request(&self, number: u128, data_type: &str) -> Uuid {
        let unique_id = Uuid::from_u128(number);
        let request = Request::Hydrate(HydrateRequest {
            unique_id,
            subject_role: "streamer".into(),
            event_type: "update".into(),
            data_type: data_type.into(),
            start_datetime: "2026-04-24T10:00:00+02:00".into(),
            end_datetime: "2026-04-24T10:05:00+02:00".into(),
            attempt: 0,
        });
        self.log.append(vec![request.encode(None)]).expect("an append");
        unique_id
    }

    /// Runs until there are so many answers.
    fn run(&self, answers: usize) {
        let stop = Stop::default();
        std::thread::scope(|scope| {
            let running = scope.spawn(|| hydrate_requests(&self.log, &self.settings, &self.health, &stop));
            let waited = (0..6_000).any(|_| {
                std::thread::sleep(Duration::from_millis(10));
                self.answers().len() >= answers
            });
            stop.stop();
            running.join().expect("no panic").expect("a clean end");
            assert!(waited, "in a minute not {answers} answers: {:?}", self.health.report());
        });
    }

    fn records(&self, topic: Topic) -> Vec<LogRecord> {
        let mut records = Vec::new();
        for at in (0..2).map(|partition| TopicPartition { topic, partition }) {
            let (from, to) = self.log.bounds(at).expect("the log");
            let mut reader = self.log.reader(&[(at, from)], Fetch::default()).expect("a reader");
            while reader.position(at).is_none_or(|position| position < to) {
                records.extend(reader.poll(Duration::from_millis(20)).expect("records"));
            }
        }
        records
    }

    fn answers(&self) -> Vec<HydrateAnswer> {
        let answer = |record: &LogRecord| match Answered::decode(record) {
            Ok(Answered::Hydrated(answer)) => answer,
            other => panic!("{other:?}"),
        };
        self.records(Topic::Answers).iter().map(answer).collect()
    }

    fn outcome(&self) -> Hydrated {
        let answers = self.answers();
        assert_eq!(answers.len(), 1);
        answers[0].outcome
    }

    fn chunks(&self) -> Vec<PhysioRecord> {
        let chunk = |record: &LogRecord| match codec::decode(record) {
            Ok(Record::Physio(chunk)) => chunk,
            other => panic!("{other:?}"),
        };
        self.records(Topic::Physio).iter().map(chunk).collect()
    }
}

fn item(id: &str) -> Value {
    json!({"id": id, "timestamp": "2026-04-24T10:00:00Z", "ibi_ms": [800, 810], "note": "marker-of-a-provider-s-body"})
}

fn page(items: &[Value], next: Option<&str>) -> String {
    json!({ "data": items, "next_token": next }).to_string()
}

fn good() -> (u16, &'static str, String) {
    (200, "", page(&[item("a")], None))
}

#[test]
fn pages_become_chunks_for_every_session_of_the_subject_and_bodies_go_nowhere() {
    let provider = Provider::new(|number, _| match number {
        0 => (200, "", page(&[item("a"), json!({"id": "without a start"})], Some("p 2&x"))),
        _ => (200, "", page(&[item("b")], None)),
    });
    let bench = Bench::new(&provider);
    bench.session(B, Some("ana"), None);
    bench.session(Uuid::from_u128(0x0b1f_8f5e_6f0e_4c55_9d3c_6d1d_5bb0_a003), None, Some("olaf"));
    bench.request(1, "heartrate");
    bench.run(1);
    let mut chunks: Vec<_> =
        bench.chunks().iter().map(|record| (record.session_id, record.chunk.unique_id)).collect();
    chunks.sort_unstable();
    assert_eq!(chunks.len(), 4, "two chunks for each of two sessions");
    assert_eq!((chunks[0].0, chunks[3].0), (A, B));
    let answer = &bench.answers()[0];
    assert_eq!((answer.outcome, answer.chunks, answer.refused), (Hydrated::Done, 4, 1));
    let lines: Vec<String> = provider.calls().into_iter().map(|call| call.line).collect();
    let query = "start_datetime=2026-04-24T10:00:00%2B02:00&end_datetime=2026-04-24T10:05:00%2B02:00";
    let decoded: Vec<String> = lines.iter().map(|line| line.replace("%3A", ":")).collect();
    assert_eq!(decoded[0], format!("GET /v2/usercollection/heartrate?{query} HTTP/1.1"));
    assert!(
        decoded[1].contains("&next_token=p%202%26x") || decoded[1].contains("&next_token=p+2%26x"),
        "{}",
        decoded[1]
    );
    let stored = TOPICS.map(|topic| bench.records(topic)).concat();
    assert!(!stored.iter().any(|record| record.value.windows(6).any(|part| part == b"marker")));
}

#[test]
fn what_may_succeed_is_tried_again_and_what_failed_three_times_later() {
    // Three tries in vain: an error, a hang-up, silence. Then a limit to the rate, then all is well.
    let provider = Provider::new(|number, _| match number {
        0 => (500, "", String::new()),
        1 => (0, "", String::new()),
        2 => (1, "", String::new()),
        3 => (429, "Retry-After: 0\r\n", String::new()),
        _ => good(),
    });
    let bench = Bench::new(&provider);
    bench.request(1, "ibi");
    bench.run(1);
    assert_eq!(bench.outcome(), Hydrated::Done);
    assert_eq!((provider.calls().len(), bench.chunks().len()), (5, 1));
    let attempts: Vec<u32> = bench
        .records(Topic::Requests)
        .iter()
        .map(|record| match Request::decode(record) {
            Ok(Request::Hydrate(request)) => request.attempt,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(attempts, [0, 1]);
}

#[test]
fn a_provider_that_stays_away_is_given_up_and_one_that_asks_for_more_time_gets_it() {
    let provider = Provider::new(|_, _| (503, "", String::new()));
    let bench = Bench::new(&provider);
    bench.request(1, "ibi");
    bench.run(1);
    assert_eq!(bench.outcome(), Hydrated::GivenUp);
    assert_eq!(provider.calls().len(), 9, "three times three tries");
    assert!(bench.chunks().is_empty());

    // A wait that is longer than we stay for it: the request is put off after a single try.
    let provider = Provider::new(|_, _| (429, "Retry-After: 3600\r\n", String::new()));
    let bench = Bench::new(&provider);
    bench.request(1, "ibi");
    bench.run(1);
    assert_eq!((bench.outcome(), provider.calls().len()), (Hydrated::GivenUp, 3));
}

#[test]
fn tokens_are_refreshed_before_they_end_and_when_they_are_refused() {
    for (expires, first) in [("2020-01-01T00:00:00Z", "POST"), ("9999-12-31T00:00:00Z", "GET")] {
        let provider = Provider::new(|_, call| match call.line.starts_with("POST") {
            true => {
                let tokens = json!({"access_token": "new", "refresh_token": "newer", "expires_in": 86_400, "token_type": "Bearer"});
                (200, "", tokens.to_string())
            }
            false if call.authorisation == "Bearer new" => good(),
            false => (401, "", String::new()),
        });
        let bench = Bench::new(&provider);
        bench.tokens(expires, 0o600);
        bench.request(1, "ibi");
        bench.run(1);
        assert_eq!(bench.outcome(), Hydrated::Done);
        let calls = provider.calls();
        assert!(calls[0].line.starts_with(first), "{calls:?}");
        let refresh = calls.iter().find(|call| call.line.starts_with("POST")).expect("a refresh");
        assert_eq!(refresh.line, "POST /oauth/token HTTP/1.1");
        for part in ["grant_type=refresh_token", "refresh_token=again", "client_id=us", "client_secret=our"] {
            assert!(refresh.body.contains(part), "{}", refresh.body);
        }
        let saved: Value =
            serde_json::from_slice(&std::fs::read(bench.file()).expect("a file")).expect("JSON");
        assert_eq!((&saved["access_token"], &saved["refresh_token"]), (&json!("new"), &json!("newer")));
        assert_eq!(std::fs::metadata(bench.file()).expect("a file").permissions().mode() & 0o777, 0o600);
        let stored = TOPICS.map(|topic| bench.records(topic)).concat();
        assert!(
            !stored.iter().any(|record| record.value.windows(5).any(|part| part == b"newer")),
            "a token in the log"
        );
    }
}

#[test]
fn a_token_file_that_others_may_read_is_not_used() {
    let provider = Provider::new(|_, _| good());
    let bench = Bench::new(&provider);
    bench.tokens("9999-12-31T00:00:00Z", 0o644);
    bench.request(1, "ibi");
    bench.run(1);
    assert_eq!((bench.outcome(), provider.calls().len()), (Hydrated::GivenUp, 0));
    assert!(format!("{:?}", bench.health.report()).contains("mode 644"));
}

#[test]
fn what_cannot_be_of_use_is_refused_at_once() {
    for (status, body) in [(404, ""), (403, ""), (200, "no JSON"), (302, "")] {
        let provider = Provider::new(move |_, _| (status, "", body.to_owned()));
        let bench = Bench::new(&provider);
        bench.request(1, "ibi");
        bench.run(1);
        assert_eq!((bench.outcome(), provider.calls().len()), (Hydrated::Refused, 1), "{status} {body}");
    }
    let provider = Provider::new(|_, _| good());
    let bench = Bench::new(&provider);
    bench.request(1, "tags");
    bench.run(1);
    assert_eq!(bench.answers()[0].reason.as_deref(), Some("unknown_data_type"));
    assert!(provider.calls().is_empty());
}

#[test]
fn a_restart_knows_what_is_done_and_which_sessions_run() {
    let provider = Provider::new(|_, _| good());
    let bench = Bench::new(&provider);
    bench.request(1, "ibi");
    bench.request(1, "ibi");
    bench.run(1);
    bench
        .log
        .append(vec![Control::End(EndSession { session_id: A, client_action_id: None }).encode(None)])
        .expect("an append");
    bench.request(2, "ibi");
    bench.run(2);
    assert_eq!(provider.calls().len(), 1, "the first was done once, the second has no session");
    let outcomes: Vec<Hydrated> = bench.answers().iter().map(|answer| answer.outcome).collect();
    assert!(outcomes.contains(&Hydrated::Done) && outcomes.contains(&Hydrated::NoSession), "{outcomes:?}");
    assert_eq!(bench.chunks().len(), 1);
    let _ = bench.dir.path();
}
