//! Language models over records: who passes, who waits, whose answer counts, and what a restart asks again.

use std::sync::Arc;

use lsie_operators::align::{Arrived, Class};
use lsie_operators::band::{self, Band, Coming, Input, Output};
use lsie_operators::judging::Question;
use lsie_operators::logic::Logic;
use lsie_operators::semantic::{Attempt, CROSS_ENCODER, Evaluation, Method, Reason, Role};
use lsie_operators::utterance::Said;
use lsie_schemas::log::{LogRecord, TopicPartition};
use lsie_schemas::record::{Inference, Record};
use lsie_schemas::{EventTime, LogTime, Topic};
use uuid::Uuid;

const VERSION: &str = "azure-openai:judge:v1";

fn question(action: u128) -> Question {
    Question {
        session: Uuid::from_u128(1),
        action: Uuid::from_u128(action),
        said: Said {
            at: EventTime(10_000_000),
            segment_id: "segment".into(),
            window_end: EventTime(30_000_000),
            text: format!("hello {action}"),
        },
        experiment: "greeting_line_v1".into(),
        arm: "arm".into(),
        expected_greeting: "hello".into(),
    }
}

fn opinion(action: u128, p: Option<f64>) -> Input {
    Input::Opinion(Box::new(question(action)), Some(CROSS_ENCODER.decide(p)))
}

fn band(coming: Coming) -> Band {
    Band::new(Role::GrayBand, Arc::new(move |_, _| coming))
}

fn record(offset: i64, answer: Inference) -> Input {
    let new = answer.encode(Some(LogTime(1)));
    let raw = LogRecord {
        at: TopicPartition { topic: Topic::Inference, partition: 0 },
        offset,
        log_time: LogTime(1),
        key: Some(new.key),
        value: new.value,
        headers: Vec::new(),
    };
    Input::Answer(Arc::new(Arrived { raw, record: Record::Inference(answer) }))
}

/// The record of an answer with this text, and of failures before it.
fn answered(action: u128, attempts: &[Attempt<'_>]) -> Inference {
    of_role(Role::GrayBand, action, attempts)
}

fn of_role(role: Role, action: u128, attempts: &[Attempt<'_>]) -> Inference {
    band::answer(role, &question(action), &role.resolve(attempts, VERSION).expect("decided"))
}

const MATCH: &str = r#"{"reasoning":"gray_band_llm_match","is_match":true,"confidence_score":0.9}"#;

fn step(band: &mut Band, epoch: u64, inputs: Vec<Input>) -> Vec<Output> {
    let mut out = Vec::new();
    band.on_epoch(LogTime(epoch), inputs, &mut out);
    out
}

fn decisions(out: &[Output]) -> Vec<(u128, &Evaluation)> {
    let mut decided = Vec::new();
    for output in out {
        if let Output::Decided(question, evaluation) = output {
            decided.push((question.action.as_u128(), evaluation));
        }
    }
    decided
}

fn classes(out: &[Output]) -> Vec<(Class, String)> {
    let class = |output: &Output| match output {
        Output::Classified(classified) => Some((classified.class, classified.reason.to_string())),
        _ => None,
    };
    out.iter().filter_map(class).collect()
}

/// 0.58 and what is just below 0.72 wait; 0.72, what is just below 0.58, and 0 pass; so does a failure without a fallback.
#[test]
fn the_band_has_its_edges() {
    let inputs = || {
        let below = |edge: f64| edge.next_down();
        [0.58, below(0.72), 0.72, below(0.58), 0.0]
            .into_iter()
            .enumerate()
            .map(|(i, p)| opinion(i as u128, Some(p)))
    };
    let out = step(&mut band(Coming::ToBeAsked), 1, inputs().collect());
    assert_eq!(decisions(&out).iter().map(|(action, _)| *action).collect::<Vec<_>>(), [2, 3, 4]);
    let asked = out.iter().filter(|output| matches!(output, Output::Asked(_, true)));
    assert_eq!(asked.count(), 2);
    let out = step(&mut band(Coming::ToBeAsked), 1, vec![opinion(0, None)]);
    assert!(matches!(&out[..], [Output::Asked(_, true)]), "a local failure is put to the fallback: {out:?}");

    let out = step(&mut band(Coming::Never), 1, inputs().chain([opinion(9, None)]).collect());
    let reasons: Vec<Reason> = decisions(&out).iter().map(|(_, evaluation)| evaluation.reason).collect();
    assert_eq!(out.len(), 6, "without a fallback everything passes");
    assert_eq!(
        reasons,
        [
            Reason::SemanticError,
            Reason::SemanticError,
            Reason::CrossEncoderHighMatch,
            Reason::CrossEncoderHighNonmatch,
            Reason::CrossEncoderHighNonmatch,
            Reason::SemanticLocalFailureFallback
        ]
    );
}

#[test]
fn the_first_answer_decides_and_every_record_has_a_class() {
    let mut band = band(Coming::ToBeAsked);
    let early = step(&mut band, 1, vec![record(0, answered(1, &[Attempt::Answer(MATCH)]))]);
    assert_eq!(classes(&early), [(Class::Filed, "unrequested".to_string())]);
    assert!(decisions(&step(&mut band, 2, vec![opinion(1, Some(0.6))])).is_empty());
    assert!(step(&mut band, 900_000, vec![Input::Tick]).is_empty(), "no clock decides");

    let other = Inference { input_sha256: "0".repeat(64), ..answered(1, &[Attempt::Answer(MATCH)]) };
    let failed = answered(1, &[Attempt::Failed, Attempt::TimedOut]);
    let out = step(
        &mut band,
        900_250,
        vec![record(3, failed), record(2, answered(1, &[Attempt::Answer(MATCH)])), record(1, other)],
    );
    assert_eq!(
        classes(&out),
        [
            (Class::Filed, "other_input".to_string()),
            (Class::Used, String::new()),
            (Class::Duplicate, String::new())
        ]
    );
    let decided = decisions(&out);
    let [(1, evaluation)] = &decided[..] else { panic!("{decided:?}") };
    assert_eq!((evaluation.is_match, evaluation.confidence), (true, 0.9));
    assert_eq!((evaluation.method, evaluation.reason), (Method::LlmGrayBand, Reason::GrayBandLlmMatch));
    assert_eq!(evaluation.version, VERSION);
    let facts: Vec<_> = out.iter().filter(|output| matches!(output, Output::Inference(_))).collect();
    let [Output::Inference(row)] = &facts[..] else { panic!("{facts:?}") };
    assert_eq!((row.what.as_str(), row.reason.as_deref()), ("gray_band", None));
    assert_ne!(row.request_id, question(1).id(), "the local score has a row of its own");
}

#[test]
fn a_fallback_that_fails_is_a_bounded_code() {
    for (attempts, reason) in [
        ([Attempt::Failed, Attempt::TimedOut], Reason::SemanticTimeout),
        ([Attempt::TimedOut, Attempt::Failed], Reason::SemanticError),
        ([Attempt::Answer("I think so"), Attempt::Answer("{}")], Reason::SemanticError),
    ] {
        let mut band = band(Coming::Recorded);
        step(&mut band, 1, vec![opinion(1, Some(0.6))]);
        let out = step(&mut band, 2, vec![record(0, answered(1, &attempts))]);
        let decided = decisions(&out);
        let [(1, evaluation)] = &decided[..] else { panic!("{decided:?}") };
        assert_eq!((evaluation.is_match, evaluation.confidence, evaluation.reason), (false, 0.0, reason));
        assert_eq!(evaluation.method, Method::LlmGrayBand);
    }
}

#[test]
fn a_restart_asks_again_and_forgets_nothing() {
    let mut first = band(Coming::ToBeAsked);
    step(&mut first, 1, vec![opinion(1, Some(0.6)), opinion(2, Some(0.6))]);
    step(&mut first, 2, vec![record(0, answered(2, &[Attempt::Answer(MATCH)]))]);
    let bytes = serde_json::to_vec(&first.snapshot()).expect("a snapshot can be written");
    let restored = |coming| {
        let mut second = band(coming);
        second.restore(serde_json::from_slice(&bytes).expect("a snapshot can be read"));
        second
    };
    let mut second = restored(Coming::ToBeAsked);
    let out = step(&mut second, 3, vec![Input::Tick]);
    assert!(matches!(&out[..], [Output::Asked(question, true)] if question.action.as_u128() == 1), "{out:?}");
    let out = step(&mut second, 4, vec![record(1, answered(2, &[Attempt::Answer(MATCH)]))]);
    assert_eq!(classes(&out), [(Class::Duplicate, String::new())]);
    let out = step(&mut second, 5, vec![record(2, answered(1, &[Attempt::Answer(MATCH)]))]);
    assert_eq!(decisions(&out).len(), 1);
    // Where the log is known to hold no answer, the question stays undecided.
    let out = step(&mut restored(Coming::Never), 3, vec![Input::Tick]);
    assert_eq!(decisions(&out)[0].1.reason, Reason::SemanticError);
}

const IN_ITS_WORDS: &str = r#"{"reasoning":"it greets everyone","is_match":true,"confidence_score":0.9}"#;

/// Where a language model judges everything, every question waits, and one without an answer has no evaluation.
#[test]
fn a_primary_decides_all_and_its_failure_is_none() {
    let primary = |coming| Band::new(Role::Primary, Arc::new(move |_, _| coming));
    let unjudged = |action| Input::Opinion(Box::new(question(action)), None);
    let answered = |action, attempts: &[Attempt<'_>]| of_role(Role::Primary, action, attempts);
    let good = answered(1, &[Attempt::Answer(IN_ITS_WORDS)]);
    let words = String::from_utf8(good.encode(None).value.to_vec()).expect("text");
    assert!(!words.contains("everyone"), "none of its words are kept: {words}");

    let mut band = primary(Coming::ToBeAsked);
    let out = step(&mut band, 1, vec![unjudged(1), unjudged(2), unjudged(3)]);
    assert_eq!(out.iter().filter(|output| matches!(output, Output::Asked(_, true))).count(), 3);
    assert_eq!(out.len(), 3);
    // The answer of the other role is another request, and its codes under this one's id are refused.
    let fallback = of_role(Role::GrayBand, 1, &[Attempt::Answer(MATCH)]);
    let forged = Inference { request_id: good.request_id.clone(), ..fallback.clone() };
    let out = step(&mut band, 2, vec![record(0, fallback), record(1, forged)]);
    let filed = |reason: &str| (Class::Filed, reason.to_string());
    assert_eq!(classes(&out), [filed("unrequested"), filed("other_code")]);

    let out = step(&mut band, 3, vec![record(2, good)]);
    let decided = decisions(&out);
    let [(1, evaluation)] = &decided[..] else { panic!("{decided:?}") };
    assert_eq!((evaluation.method, evaluation.reason), (Method::LlmPrimary, Reason::LlmMatch));
    assert_eq!((evaluation.is_match, evaluation.confidence), (true, 0.9));

    let late = answered(2, &[Attempt::Failed, Attempt::TimedOut]);
    let bad = answered(3, &[Attempt::Answer("yes"), Attempt::Answer(r#"{"is_match":true}"#)]);
    let out = step(&mut band, 4, vec![record(3, late), record(4, bad)]);
    assert!(decisions(&out).is_empty());
    let mut failed = Vec::new();
    for output in &out {
        if let Output::Failed(question, reason) = output {
            failed.push((question.action.as_u128(), *reason));
        }
    }
    assert_eq!(failed, [(2, Reason::SemanticTimeout), (3, Reason::SemanticError)]);
    let facts = out.iter().filter(
        |output| matches!(output, Output::Inference(row) if row.what == "language_model" && row.answer.is_none()),
    );
    assert_eq!(facts.count(), 2);
    let out = step(&mut primary(Coming::Never), 1, vec![unjudged(1)]);
    assert!(matches!(&out[..], [Output::Failed(_, Reason::SemanticError)]), "{out:?}");
}

#[test]
fn a_restart_asks_the_primary_again() {
    let primary = |coming| Band::new(Role::Primary, Arc::new(move |_, _| coming));
    let mut first = primary(Coming::ToBeAsked);
    step(&mut first, 1, vec![Input::Opinion(Box::new(question(1)), None)]);
    let bytes = serde_json::to_vec(&first.snapshot()).expect("a snapshot can be written");
    let mut second = primary(Coming::ToBeAsked);
    second.restore(serde_json::from_slice(&bytes).expect("a snapshot can be read"));
    let out = step(&mut second, 2, vec![Input::Tick]);
    assert!(matches!(&out[..], [Output::Asked(_, true)]), "{out:?}");
    let answer = of_role(Role::Primary, 1, &[Attempt::Answer(IN_ITS_WORDS)]);
    assert_eq!(decisions(&step(&mut second, 3, vec![record(0, answer)])).len(), 1);
}
