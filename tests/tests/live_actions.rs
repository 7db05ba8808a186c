//! A live engine on the real Kafka, served to people with tokens: an action goes round through its topic into the
//! views, once, with its name in the audit trail; and no log line tells a secret.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lsie_schemas::record::{Answer, Heard, Inference, session_id_from_action};
use lsie_schemas::{Topic, Uuid};
use lsie_sinks::views::{Role, Token};
use lsie_tests::broker;
use lsie_tests::harness::{TopicSet, binary, read_all};
use serde_json::{Value, json};

/// What must be in no log line.
const SAID: &str = "zebra crossing in the moonlight";
const NOTE: &str = "note with a walrus in it";

#[test]
fn an_action_goes_round_once_and_no_log_line_tells_a_secret() {
    let set = TopicSet::live("actions", 2);
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (token, kept) = Token::fresh("olga", Role::Operator).expect("randomness");
    let (pusher, of_pusher) = Token::fresh("watch", Role::Ingest).expect("randomness");
    let line = |name: &str, role: &str, kept: &Token| {
        format!("[[api.tokens]]\nname = \"{name}\"\nrole = \"{role}\"\nsha256 = \"{}\"\n", kept.sha256)
    };
    let config = line("olga", "operator", &kept) + &line("watch", "ingest", &of_pusher);
    std::fs::write(dir.path().join("lsie.toml"), config).expect("a configuration");
    let engine = Engine::start(dir.path(), set.prefix(), &token);

    let action = Uuid::from_u128(0x1111_1111_2222_4333_8444_0000_0000_0001);
    let session = session_id_from_action(action);
    let body = json!({"stream_url": "https://example.org/live", "experiment_id": "greeting_line_v1", "client_action_id": action});
    assert_eq!(engine.call("POST", "/api/v1/sessions", Some(&body)).0, 200);
    engine.until(&format!("/api/v1/sessions/{session}"), |found| found["ended_at"].is_null());
    let stimulus =
        |n: u128| json!({"client_action_id": Uuid::from_u128(action.as_u128() + n), "operator_note": NOTE});
    let path = format!("/api/v1/operator/sessions/{session}/stimulus");
    let first = engine.call("POST", &path, Some(&stimulus(1)));
    assert_eq!(first.0, 200, "{}", first.1);
    let again = engine.call("POST", &path, Some(&stimulus(1)));
    assert_eq!((again.0, &again.1["received_at_utc"]), (200, &first.1["received_at_utc"]));
    set.append(overheard(session).encode(None));
    let arms = "/api/v1/experiments/greeting_line_v1/arms";
    let arm = json!({"arm": "evening", "greeting_text": "good evening to all of you"});
    assert_eq!(engine.call("POST", arms, Some(&arm)).0, 201);
    engine.until("/api/v1/experiments/greeting_line_v1", |found| {
        found["arms"].as_array().is_some_and(|arms| arms.iter().any(|arm| arm["arm"] == "evening"))
    });
    assert_eq!(engine.call("DELETE", &format!("{arms}/evening"), None).1["deleted"], json!(true));
    engine.until("/api/v1/experiments/greeting_line_v1", |found| {
        found["arms"].as_array().is_some_and(|arms| arms.iter().all(|arm| arm["arm"] != "evening"))
    });
    pushed(&engine, session, &pusher);
    assert_eq!(read_all(set.log(), &[Topic::Events]).len(), 1);
    let end = json!({"client_action_id": Uuid::from_u128(action.as_u128() + 2)});
    assert_eq!(engine.call("POST", &format!("/api/v1/sessions/{session}/end"), Some(&end)).0, 200);
    engine.until(&format!("/api/v1/sessions/{session}"), |found| found["ended_at"].is_string());

    let (_, trail) = engine.call("GET", "/api/v1/views/actions", None);
    let mut actions: Vec<&str> =
        trail.as_array().expect("rows").iter().filter_map(|row| row["action"].as_str()).collect();
    actions.sort_unstable();
    assert_eq!(actions, ["delete_arm", "end", "set_arm", "start", "stimulus"]);
    assert!(trail.as_array().expect("rows").iter().all(|row| row["actor"] == "olga"));
    let control = read_all(set.log(), &[Topic::Control]);
    assert_eq!(control.len(), 3, "start, stimulus, end: a repeated action is no record");
    assert_eq!(engine.raw("GET", "/api/v1/sessions", None, "Bearer lsie_wrong").0, 401);

    let logs = engine.stop();
    assert!(logs.lines().count() > 20, "at level trace there is something to search:\n{logs}");
    for secret in
        [token.as_str(), kept.sha256.as_str(), pusher.as_str(), "lsie_wrong", SAID, NOTE, "good evening"]
    {
        assert!(!logs.contains(secret), "a log line has {secret:?}");
    }
}

/// Who holds a token for it pushes records through the API's server, and does nothing else there.
fn pushed(engine: &Engine, session: Uuid, pusher: &str) {
    let event = json!({"v": 1, "type": "live_event", "session_id": session, "uniqueId": "ana", "event_type": "like",
        "timestamp_utc": "2026-01-05T10:00:06Z", "payload": {"event_id": "e-1"}});
    let (path, pusher) = ("/api/v1/ingest/events", format!("Bearer {pusher}"));
    let answer = engine.raw("POST", path, Some(&event), &pusher);
    assert_eq!((answer.0, &answer.1["accepted"]), (200, &json!(1)), "{}", answer.1);
    assert_eq!(engine.raw("POST", path, Some(&json!({"typo": 1})), &pusher).0, 422);
    assert_eq!(engine.raw("GET", "/api/v1/ingest/events/schema", None, &pusher).0, 200);
    assert_eq!(engine.call("POST", path, Some(&event)).0, 403, "an operator hands in no records");
    assert_eq!(engine.raw("GET", "/api/v1/sessions", None, &pusher).0, 403);
    assert_eq!(engine.raw("POST", path, Some(&event), "Bearer lsie_wrong").0, 401);
    assert_eq!(engine.raw("POST", "/api/v1/ingest/oura/webhook", Some(&json!({})), "").0, 401, "not signed");
}

/// An answer of a speech model that nobody asked for: it is filed, and its words are nobody's business either.
fn overheard(session: Uuid) -> Inference {
    let heard = Heard { text: SAID.into(), ..Heard::default() };
    Inference {
        session_id: session,
        request_id: "0".repeat(64),
        ordinal: 1,
        input_sha256: "0".repeat(64),
        model: "somebody else".into(),
        answer: Answer::Heard(heard),
    }
}

/// A running `lsie run`.
struct Engine {
    child: Child,
    address: String,
    token: String,
    log: PathBuf,
}

impl Engine {
    fn start(dir: &Path, prefix: &str, token: &str) -> Engine {
        let log = dir.join("engine.log");
        let kafka = format!("kafka:{}", broker::bootstrap());
        let mut child = Command::new(binary())
            .args(["--log", &kafka, "--prefix", prefix, "run", "--port", "0", "--out", "tables"])
            .env("LSIE_LOG", "trace")
            .current_dir(dir)
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log).expect("a file"))
            .spawn()
            .expect("the binary starts");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let said = lines.find_map(|line| Some(line.ok()?.strip_prefix("views on http://")?.to_owned()));
        let address = said.expect("it says where it listens").trim_end_matches('/').to_owned();
        // Whatever else it says is read, or it would wait.
        std::thread::Builder::new().spawn(move || lines.for_each(drop)).expect("a thread");
        Engine { child, address, token: token.to_owned(), log }
    }

    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        self.raw(method, path, body, &format!("Bearer {}", self.token))
    }

    fn raw(&self, method: &str, path: &str, body: Option<&Value>, authorization: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(&self.address).expect("the engine listens");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
        let body = body.map(Value::to_string).unwrap_or_default();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {authorization}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).expect("a request");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let (_, body) = text.split_once("\r\n\r\n").expect("a body");
        (status, serde_json::from_str(body).unwrap_or_default())
    }

    /// Asks until the answer is as wanted.
    fn until(&self, path: &str, is_wanted: impl Fn(&Value) -> bool) {
        for _ in 0..600 {
            let (status, found) = self.call("GET", path, None);
            if status == 200 && is_wanted(&found) {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("{path} does not become as wanted: {:?}", self.call("GET", path, None));
    }

    /// Ends it in order; what it logged.
    fn stop(mut self) -> String {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().expect("kill").success());
        assert!(self.child.wait().expect("its end").success());
        std::fs::read_to_string(&self.log).expect("its log")
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // After a failed assertion it still runs.
        let _ = self.child.kill();
    }
}
