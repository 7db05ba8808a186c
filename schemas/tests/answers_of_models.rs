//! Answers of models through the log, and each fault of one with its reason.

mod common;

use common::logged;
use lsie_schemas::codec;
use lsie_schemas::record::{
    Answer, Heard, HeardWord, Inference, Judgement, MAX_WORDS, NoAnswer, Reasoning, Record,
};
use lsie_schemas::{EventTime, Real};
use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::{Builder, Uuid};

const SESSION: &str = "3f2b8c1e-5a4d-4e6f-8a9b-0c1d2e3f4a5b";

fn answer() -> impl Strategy<Value = Answer> {
    let word = (any::<String>(), 0..1i64 << 50, 0..1i64 << 40, 0.0..=1.0f64).prop_map(
        |(text, from, length, confidence)| HeardWord {
            text,
            from_us: EventTime(from),
            to_us: EventTime(from + length),
            confidence: Real(confidence),
        },
    );
    let words = prop::collection::vec(word, 0..9);
    let heard = (any::<String>(), "[a-z]{0,3}", words)
        .prop_map(|(text, language, words)| Answer::Heard(Heard { text, language, words }));
    let none = prop::sample::select(vec![NoAnswer::Deadline, NoAnswer::ModelError, NoAnswer::SoundGone]);
    let judged = (any::<bool>(), any::<bool>(), 0.0..=1.0f64).prop_map(|(is_match, primary, confidence)| {
        let reasoning = match (primary, is_match) {
            (false, true) => Reasoning::GrayBandLlmMatch,
            (false, false) => Reasoning::GrayBandLlmNonmatch,
            (true, true) => Reasoning::LlmMatch,
            (true, false) => Reasoning::LlmNonmatch,
        };
        Answer::Judged(Judgement { reasoning, is_match, confidence_score: Real(confidence) })
    });
    prop_oneof![heard, none.prop_map(Answer::None), judged]
}

fn read(record: &Value) -> Result<Inference, String> {
    let mut raw = logged(inference(Answer::None(NoAnswer::Deadline)).encode(None));
    raw.value = record.to_string().into();
    match codec::decode(&raw) {
        Ok(Record::Inference(inference)) => Ok(inference),
        Ok(other) => panic!("{other:?}"),
        Err(rejection) => Err(rejection.reason),
    }
}

fn inference(answer: Answer) -> Inference {
    Inference {
        session_id: SESSION.parse().expect("a UUID"),
        request_id: "a".repeat(64),
        ordinal: i64::from(!matches!(answer, Answer::Judged(_))),
        input_sha256: "0".repeat(64),
        model: "ctc-demo".into(),
        answer,
    }
}

/// A record with these fields put over the required ones.
fn with(changes: Value) -> Value {
    let word = json!({"text": "hello", "from_us": 1, "to_us": 2, "confidence": 0.5});
    let mut record = json!({
        "v": 1, "type": "speech", "session_id": SESSION, "request_id": "a".repeat(64), "ordinal": 1,
        "input_sha256": "0".repeat(64), "model": "ctc-demo",
        "heard": {"text": "hello", "language": "en", "words": [word]},
    });
    for (name, value) in changes.as_object().expect("changes") {
        record[name] = value.clone();
    }
    record
}

proptest! {
    #[test]
    fn answers_round_trip(session: [u8; 16], ordinal in 1..i64::MAX, answer in answer()) {
        let session_id: Uuid = Builder::from_random_bytes(session).into_uuid();
        let ordinal = if matches!(answer, Answer::Judged(_)) { 0 } else { ordinal };
        let record = Inference { session_id, ordinal, ..inference(answer) };
        prop_assert_eq!(codec::decode(&logged(record.encode(None))), Ok(Record::Inference(record)));
    }
}

#[test]
fn faults_of_answers() {
    let check = |changes: Value, reason: &str| {
        assert_eq!(read(&with(changes.clone())), Err(reason.into()), "{changes}");
    };
    assert!(read(&with(json!({}))).is_ok());
    assert!(read(&with(json!({"heard": null, "none": "deadline"}))).is_ok());
    check(json!({"v": 2}), "unknown_version");
    check(json!({"type": "face"}), "unknown_type");
    check(json!({"session_id": "studio-one"}), "bad_session_id");
    check(json!({"surprise": 1}), "unknown_field");
    check(json!({"none": "deadline"}), "bad_field");
    check(json!({"heard": null}), "bad_field");
    check(json!({"heard": null, "none": "tired"}), "bad_field");
    check(json!({"ordinal": 0}), "bad_field");
    check(json!({"model": "  "}), "bad_field");
    check(json!({"model": "m".repeat(2_000)}), "bad_field");
    for hash in ["A".repeat(64), "a".repeat(63), "g".repeat(64), String::new()] {
        check(json!({"request_id": hash}), "bad_field");
        check(json!({"input_sha256": hash}), "bad_field");
    }
    let words = |words: Value| json!({"heard": {"text": "", "language": "", "words": words}});
    let word = |from: i64, to: i64, sure: Value| json!({"text": "a", "from_us": from, "to_us": to, "confidence": sure});
    check(words(json!([word(2, 1, json!(0.5))])), "bad_field");
    check(words(json!([word(-1, 1, json!(0.5))])), "bad_field");
    check(words(json!([word(1, i64::MAX, json!(0.5))])), "bad_field");
    check(words(json!([word(1, 2, json!(1.5))])), "bad_field");
    check(words(json!([word(1, 2, json!(null))])), "bad_field");
    check(words(Value::Array(vec![word(1, 2, json!(0)); MAX_WORDS + 1])), "bad_field");
    assert!(read(&with(words(Value::Array(vec![word(1, 2, json!(0)); MAX_WORDS])))).is_ok());
}

/// A judgement that contradicts itself is no answer.
#[test]
fn judgements_are_bounded() {
    let record = |judged: Value| {
        json!({
            "v": 1, "type": "greeting", "session_id": SESSION, "request_id": "a".repeat(64),
            "input_sha256": "0".repeat(64), "model": "azure-openai:m:v", "judged": judged,
        })
    };
    let judged = |reasoning: &str, is_match: bool, confidence: f64| {
        record(json!({"reasoning": reasoning, "is_match": is_match, "confidence_score": confidence}))
    };
    assert!(read(&judged("gray_band_llm_match", true, 0.7)).is_ok());
    assert!(read(&judged("gray_band_llm_nonmatch", false, 1.0)).is_ok());
    assert!(read(&judged("llm_match", true, 0.7)).is_ok());
    assert!(read(&judged("llm_nonmatch", false, 0.7)).is_ok());
    assert!(read(&judged("semantic_timeout", false, 0.0)).is_ok());
    for bad in [
        judged("gray_band_llm_match", false, 0.7),
        judged("gray_band_llm_nonmatch", true, 0.7),
        judged("llm_match", false, 0.7),
        judged("llm_nonmatch", true, 0.7),
        judged("semantic_error", true, 0.0),
        judged("semantic_error", false, 0.1),
        judged("gray_band_llm_match", true, 1.1),
        judged("gray_band_llm_match", true, -0.1),
    ] {
        assert_eq!(read(&bad), Err("bad_field".into()), "{bad}");
    }
    assert!(read(&judged("because", true, 1.0)).is_err());
    assert!(
        read(&record(
            json!({"reasoning": "semantic_error", "is_match": false, "confidence_score": 0, "why": "x"})
        ))
        .is_err()
    );
    let mut speech = judged("gray_band_llm_match", true, 0.7);
    speech["type"] = json!("speech");
    speech["ordinal"] = json!(1);
    assert_eq!(read(&speech), Err("bad_field".into()));
}
