//! The client of the language model against a local stand-in: what it sends, and what it makes of every kind of answer.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use lsie_connectors::llm::{Access, AskError, Llm};
use serde_json::{Value, json};

/// A stand-in that answers one call with these bytes, after a pause; and what it was asked: the head and the body.
fn stand_in(answer: String, pause: Duration) -> (Llm, Receiver<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/v1/", listener.local_addr().expect("an address"));
    let (told, calls) = channel();
    let serve = move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let (mut reader, mut head) = (BufReader::new(stream.try_clone().expect("a handle")), String::new());
        while reader.read_line(&mut head).expect("a head") > 2 {}
        let length = head.to_lowercase();
        let length = length.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
        let mut body = vec![0; length.trim().parse().expect("a number")];
        reader.read_exact(&mut body).expect("a body");
        let _ = told.send((head, serde_json::from_slice(&body).unwrap_or(Value::Null)));
        std::thread::sleep(pause);
        let _ = stream.write_all(answer.as_bytes());
    };
    std::thread::Builder::new().name("stand-in".into()).spawn(serve).expect("a thread");
    let access = Access { url, model: "judge".into(), key: "k3y".into(), limit: Duration::from_millis(400) };
    (Llm::new(access), calls)
}

fn http(status: u16, body: &str) -> String {
    format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

fn completion(content: &str) -> String {
    http(200, &json!({ "choices": [{ "message": { "role": "assistant", "content": content } }] }).to_string())
}

fn ask(answer: String, pause_ms: u64) -> Result<String, AskError> {
    stand_in(answer, Duration::from_millis(pause_ms)).0.ask("judge", "a question", &json!({}))
}

#[test]
fn the_four_parameters_are_pinned_and_the_schema_is_strict() {
    let (llm, calls) = stand_in(completion("whatever it says"), Duration::ZERO);
    let format = json!({ "type": "json_schema", "json_schema": { "strict": true } });
    assert_eq!(llm.ask("an instruction", "a question", &format), Ok("whatever it says".into()));
    let (head, body) = calls.recv().expect("a call");
    assert!(head.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("Bearer k3y"), "{head}");
    assert_eq!(
        body,
        json!({
            "model": "judge",
            "messages": [
                { "role": "system", "content": "an instruction" },
                { "role": "user", "content": "a question" },
            ],
            "temperature": 0.0, "top_p": 1.0, "max_tokens": 500, "seed": 42,
            "response_format": format,
        })
    );
}

#[test]
fn what_is_no_answer_has_failed() {
    for answer in [
        http(500, &json!({ "choices": [{ "message": { "content": "x" } }] }).to_string()),
        http(401, "no"),
        "HTTP/1.1 302 X\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n".into(),
        http(200, "not JSON"),
        http(200, "{}"),
        http(200, r#"{"choices":[]}"#),
        http(200, r#"{"choices":[{"message":{"content":null}}]}"#),
        http(200, r#"{"choices":[{"message":{"refusal":"no"}}]}"#),
        completion(&"x".repeat(100_000)),
        "garbage\r\n\r\n".into(),
        String::new(),
    ] {
        let head: String = answer.chars().take(60).collect();
        assert_eq!(ask(answer, 0), Err(AskError::Failed), "{head}");
    }
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let (url, key) = (format!("http://{nobody}"), String::new());
    let llm = Llm::new(Access { url, model: "judge".into(), key, limit: Duration::from_secs(1) });
    assert_eq!(llm.ask("", "", &json!({})), Err(AskError::Failed));
}

#[test]
fn what_takes_too_long_has_timed_out() {
    assert_eq!(ask(completion("late"), 1_500), Err(AskError::TimedOut));
    // It began to answer, and never ended.
    let half = "HTTP/1.1 200 X\r\nContent-Length: 1000\r\n\r\n{";
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let serve = move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let _ = stream.write_all(half.as_bytes());
        std::thread::sleep(Duration::from_millis(1_500));
    };
    std::thread::Builder::new().name("stand-in".into()).spawn(serve).expect("a thread");
    let access = Access { url, model: "judge".into(), key: String::new(), limit: Duration::from_millis(400) };
    assert_eq!(Llm::new(access).ask("", "", &json!({})), Err(AskError::TimedOut));
}

/// What a probe of the endpoint tells: whether it is there, takes the key and lists the model; nothing of the key.
#[test]
fn a_look_says_how_the_endpoint_is() {
    let look = |answer: String, pause_ms| {
        let (llm, calls) = stand_in(answer, Duration::from_millis(pause_ms));
        let found = llm.look();
        let (head, body) = calls.recv().expect("a call");
        assert!(head.starts_with("GET /v1/models HTTP/1.1\r\n") && head.contains("Bearer k3y"), "{head}");
        assert_eq!(body, Value::Null, "a look sends nothing");
        assert!(!format!("{found:?}").contains("k3y"));
        found
    };
    let list = |id: &str| http(200, &json!({ "object": "list", "data": [{ "id": id }] }).to_string());
    assert_eq!(look(list("judge"), 0), Ok("the model is there".into()));
    for other in [list("another"), http(200, "no list")] {
        assert_eq!(look(other, 0), Ok("the endpoint answers; it does not list the model".into()));
    }
    assert_eq!(look(http(401, ""), 0), Err("the endpoint refuses the key".into()));
    assert_eq!(look(http(500, "k3y"), 0), Err("the endpoint answers with status 500".into()));
    assert_eq!(look(list("judge"), 1_500), Err("no answer in time".into()));
}
