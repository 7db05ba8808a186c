//! Language models end to end: a live run puts what its scorer leaves open, or everything, to a local stand-in of one; the decision is a
//! record, and a replay, which asks nobody, says the same. And the shadow, which changes nothing.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use lsie_connectors::feed::{Pace, TimedRecord, session_id};
use lsie_dataflow::Run;
use lsie_operators::semantic::Role;
use lsie_schemas::record::{Control, EndSession};
use lsie_schemas::row::{EncounterRow, EvaluationRow, InferenceRow, PosteriorUpdateRow};
use lsie_schemas::{LogTime, Topic};
use lsie_tests::harness::{Settings, TopicSet, assert_law_4, assert_same, now, read_all, wait_for};
use lsie_tests::sessions::{RECORDED_AT, recording, records};
use lsie_tests::tables::Tables;
use serde_json::{Value, json};
use uuid::Uuid;

/// Length of the session that is fed in real time: one greeting, at 8 s.
const SHORTENED_MS: u64 = 13_000;
const MATCH: &str = r#"{"reasoning":"gray_band_llm_match","is_match":true,"confidence_score":0.83}"#;

/// A stand-in that answers its calls in order with these contents; nothing where there is none. And what it is asked.
fn stand_in(contents: Vec<Option<&'static str>>) -> (SocketAddr, Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let (told, calls) = channel();
    let serve = move || {
        for content in contents {
            let (mut stream, _) = listener.accept().expect("a connection");
            let (mut reader, mut head) =
                (BufReader::new(stream.try_clone().expect("a handle")), String::new());
            while reader.read_line(&mut head).expect("a head") > 2 {}
            let head = head.to_lowercase();
            let length =
                head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
            let mut body = vec![0; length.trim().parse().expect("a number")];
            reader.read_exact(&mut body).expect("a body");
            let _ = told.send(serde_json::from_slice(&body).expect("JSON"));
            match content {
                Some(content) => {
                    let body = json!({ "choices": [{ "message": { "content": content } }] }).to_string();
                    let head = format!(
                        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                        body.len()
                    );
                    let _ = stream.write_all(format!("{head}{body}").as_bytes());
                }
                // Longer than the client waits.
                None => std::thread::sleep(Duration::from_millis(800)),
            }
        }
    };
    std::thread::Builder::new().name("stand-in".into()).spawn(serve).expect("a thread");
    (address, calls)
}

/// A live run over a session of 13 s with one greeting, and its replays; the live run's tables and what was asked.
fn live(role: Role, name: &str, contents: Vec<Option<&'static str>>) -> (Tables, Vec<Value>) {
    let (address, calls) = stand_in(contents);
    let set = TopicSet::live(name, 2);
    let (id, begin) = (session_id(name, 0), now());
    let ending = Arc::new(AtomicBool::new(false));
    let settings = Settings { asked: Some((role, address)), ..Settings::WITHOUT_MODELS };
    let live = set.run(settings, Run::Live(ending.clone()), |store| {
        set.feed(vec![shortened(id, begin)], Pace::RealTime);
        let is_judged = |row: &InferenceRow| row.what == role.name();
        wait_for(store, |tables| tables.rows::<InferenceRow>().iter().any(is_judged));
        ending.store(true, Ordering::SeqCst);
    });
    assert_law_4(set.log(), &live.tables);
    // Nobody listens any more: a replay does not ask.
    for workers in [1, 2] {
        let replay = set.replay(Settings { workers, ..settings });
        assert_same(live.path(), replay.path(), "live and replayed");
    }
    for record in read_all(set.log(), &[Topic::Inference]) {
        let text = String::from_utf8_lossy(&record.value).into_owned();
        assert!(
            !text.contains("\"greeting\"") || !text.contains("hello"),
            "a body went into the log: {text}"
        );
    }
    (live.tables, calls.try_iter().collect())
}

#[test]
fn the_fallback_decides_by_a_record() {
    let (tables, calls) = live(Role::GrayBand, "gray-match", vec![Some(MATCH)]);
    let [row] = &tables.rows::<EvaluationRow>()[..] else { panic!("one evaluation") };
    assert_eq!((row.is_match, row.reasoning.as_deref()), (Some(true), Some("gray_band_llm_match")));
    assert_eq!(row.confidence.map(|confidence| confidence.0), Some(0.83));
    assert_eq!(row.semantic_method.as_deref(), Some("llm_gray_band"));
    assert_eq!(row.semantic_method_version.as_deref(), Some("azure-openai:stand-in:v1"));
    let [encounter] = &tables.rows::<EncounterRow>()[..] else { panic!("one encounter") };
    assert_eq!(encounter.semantic_gate, 1);
    let facts = tables.rows::<InferenceRow>();
    assert_eq!(facts.iter().filter(|row| row.what == "gray_band" && row.answer.is_some()).count(), 1);

    let [call] = &calls[..] else { panic!("asked once: {calls:?}") };
    for (key, value) in [("temperature", 0.0), ("top_p", 1.0), ("max_tokens", 500.0), ("seed", 42.0)] {
        assert_eq!(call[key].as_f64(), Some(value), "{key}");
    }
    assert_eq!(call["response_format"]["json_schema"]["strict"], json!(true));
    let asked = call["messages"][1]["content"].as_str().expect("the question");
    assert_eq!(asked.lines().count(), 2, "{asked}");
    assert!(asked.starts_with("Expected greeting rule: "), "{asked}");
}

/// What is not exactly the answer that was asked for counts as a failed attempt, whoever has talked the model into it.
#[test]
fn one_bad_answer_is_asked_again_and_two_decide() {
    let injected =
        r#"{"reasoning":"gray_band_llm_match","is_match":true,"confidence_score":1,"note":"as you wished"}"#;
    let (tables, calls) = live(Role::GrayBand, "gray-again", vec![Some(injected), Some(MATCH)]);
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[0], calls[1], "the same question twice");
    assert_eq!(tables.rows::<EvaluationRow>()[0].reasoning.as_deref(), Some("gray_band_llm_match"));

    let (tables, calls) =
        live(Role::GrayBand, "gray-bad", vec![Some("Sure, it is a match!"), Some(injected)]);
    assert_eq!(calls.len(), 2);
    let [row] = &tables.rows::<EvaluationRow>()[..] else { panic!("one evaluation") };
    assert_eq!((row.is_match, row.reasoning.as_deref()), (Some(false), Some("semantic_error")));
    assert_eq!(row.confidence.map(|confidence| confidence.0), Some(0.0));
    let [encounter] = &tables.rows::<EncounterRow>()[..] else { panic!("one encounter") };
    assert_eq!(encounter.semantic_gate, 0);
}

#[test]
fn an_answer_that_never_comes_is_a_record_too() {
    let (tables, calls) = live(Role::GrayBand, "gray-late", vec![None, None]);
    assert_eq!(calls.len(), 2);
    let [row] = &tables.rows::<EvaluationRow>()[..] else { panic!("one evaluation") };
    assert_eq!((row.is_match, row.reasoning.as_deref()), (Some(false), Some("semantic_timeout")));
    assert_eq!(row.semantic_method.as_deref(), Some("llm_gray_band"));
}

/// A log without an answer, and nobody who may be asked: undecided, at once, and the same in every replay.
#[test]
fn a_replay_without_an_answer_leaves_it_undecided() {
    let set = TopicSet::recorded("gray-none", 2);
    set.feed(vec![records(&recording("short"), session_id("gray-none", 0), RECORDED_AT, 0)], Pace::Max);
    let (address, calls) = stand_in(vec![Some(MATCH)]);
    let settings = Settings { asked: Some((Role::GrayBand, address)), ..Settings::WITHOUT_MODELS };
    let first = set.replay(settings);
    let [row] = &first.tables.rows::<EvaluationRow>()[..] else { panic!("one evaluation") };
    assert_eq!((row.is_match, row.reasoning.as_deref()), (Some(false), Some("semantic_error")));
    assert_eq!(row.semantic_method.as_deref(), Some("cross_encoder"));
    let again = set.replay(Settings { workers: 2, ..settings });
    assert_same(first.path(), again.path(), "1 and 2 workers");
    assert!(calls.try_recv().is_err(), "a replay asks nobody");
}

const IN_ITS_WORDS: &str =
    r#"{"reasoning":"Both greet everyone; a filler word.","is_match":true,"confidence_score":0.91}"#;

/// A language model as the only judge: its code decides, its words stay outside.
#[test]
fn a_primary_judges_everything() {
    let (tables, calls) = live(Role::Primary, "llm-match", vec![Some(IN_ITS_WORDS)]);
    let [row] = &tables.rows::<EvaluationRow>()[..] else { panic!("one evaluation") };
    assert_eq!((row.is_match, row.reasoning.as_deref()), (Some(true), Some("llm_match")));
    assert_eq!(row.confidence.map(|confidence| confidence.0), Some(0.91));
    assert_eq!(row.semantic_method.as_deref(), Some("llm_primary"));
    let [encounter] = &tables.rows::<EncounterRow>()[..] else { panic!("one encounter") };
    assert_eq!(encounter.semantic_gate, 1);
    let facts = tables.rows::<InferenceRow>();
    assert!(facts.iter().all(|row| row.what != "greeting"), "no local scorer: {facts:?}");
    assert!(!format!("{facts:?}").contains("filler"), "its words are kept nowhere");
    let [call] = &calls[..] else { panic!("asked once: {calls:?}") };
    for (key, value) in [("temperature", 0.0), ("top_p", 1.0), ("max_tokens", 500.0), ("seed", 42.0)] {
        assert_eq!(call[key].as_f64(), Some(value), "{key}");
    }
    let reasoning = &call["response_format"]["json_schema"]["schema"]["properties"]["reasoning"];
    assert_eq!(reasoning, &json!({ "type": "string" }));
}

/// Failed twice, a primary has said nothing (contracts §14): no evaluation, no encounter, no reward, and the reason is a fact.
#[test]
fn a_primary_that_fails_twice_says_nothing() {
    let injected = r#"{"reasoning":"as you wished","is_match":true,"confidence_score":7}"#;
    for (name, contents, reason) in [
        ("llm-bad", vec![Some("It is a match."), Some(injected)], "semantic_error"),
        ("llm-late", vec![Some(injected), None], "semantic_timeout"),
    ] {
        let (tables, calls) = live(Role::Primary, name, contents);
        assert_eq!(calls.len(), 2);
        assert!(tables.rows::<EvaluationRow>().is_empty());
        assert!(tables.rows::<EncounterRow>().is_empty());
        assert!(tables.rows::<PosteriorUpdateRow>().is_empty());
        let facts = tables.rows::<InferenceRow>();
        let fact = facts.iter().find(|row| row.what == "language_model").expect("the failure is a fact");
        assert_eq!((fact.answer.as_ref(), fact.reason.as_deref()), (None, Some(reason)));
    }
}

/// With a shadow, and with a second look at the utterance without its stop words, there are their rows, and everything else is the same
/// to the last bit.
#[test]
fn what_is_asked_beside_changes_nothing() {
    let set = TopicSet::recorded("shadow", 2);
    set.feed(vec![records(&recording("demo"), session_id("shadow", 0), RECORDED_AT, 0)], Pace::Max);
    let without = set.replay(Settings::WITHOUT_MODELS).tables;
    let with = set.replay(Settings { shadow: true, reduced: true, ..Settings::WITHOUT_MODELS }).tables;
    let inputs = |what: &str| -> Vec<String> {
        let rows = with.rows::<InferenceRow>().into_iter().filter(|row| row.what == what);
        let told = |row: &InferenceRow| row.answer.as_ref().is_some_and(|a| a.as_str().contains("p_match"));
        rows.inspect(|row| assert!(told(row), "{row:?}")).map(|row| row.input_sha256).collect()
    };
    let (shadows, reduced) = (inputs("greeting_shadow"), inputs("greeting_reduced"));
    assert_eq!((shadows.len(), reduced.len()), (3, 3), "one for each greeting");
    assert!(shadows.iter().all(|input| !reduced.contains(input)), "other words were looked at");
    assert_eq!(with.rows::<EvaluationRow>(), without.rows::<EvaluationRow>());
    assert_eq!(with.rows::<EncounterRow>(), without.rows::<EncounterRow>());
    assert_eq!(with.rows::<PosteriorUpdateRow>(), without.rows::<PosteriorUpdateRow>());
}

/// A session of 13 s with one greeting.
fn shortened(id: Uuid, base: LogTime) -> Vec<TimedRecord> {
    let all = records(&recording("strong"), id, base, 0).into_iter();
    let mut kept: Vec<TimedRecord> = all.filter(|timed| timed.at_ms < SHORTENED_MS).collect();
    let end = Control::End(EndSession { session_id: id, client_action_id: None });
    let record = end.encode(Some(base.plus_ms(SHORTENED_MS)));
    kept.push(TimedRecord { at_ms: SHORTENED_MS, record });
    kept
}
