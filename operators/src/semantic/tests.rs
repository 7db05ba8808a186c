//! The judgement of what was said, against worked examples and its own rules.

use proptest::prelude::*;

use super::*;

const VERSION: &str = "azure-openai:d:v";

fn decided(p: Option<f64>) -> (bool, f64, Reason) {
    let e = CROSS_ENCODER.decide(p);
    assert_eq!(CROSS_ENCODER.route(p, Fallback::Disabled), Route::Decided(e.clone()));
    (e.is_match, e.confidence, e.reason)
}

fn answer(reasoning: &str, is_match: bool, confidence: f64) -> String {
    format!(r#"{{"reasoning":"{reasoning}","is_match":{is_match},"confidence_score":{confidence:?}}}"#)
}

/// Mathematics §11.2: 0.58 is in the band, 0.72 a direct match, 0.5799… no match.
#[test]
fn borders_of_the_band() {
    assert_eq!(decided(Some(0.72)), (true, 0.72, Reason::CrossEncoderHighMatch));
    assert_eq!(decided(Some(0.72_f64.next_down())), (false, 0.0, Reason::SemanticError));
    assert_eq!(decided(Some(0.58)), (false, 0.0, Reason::SemanticError));
    let below = 0.58_f64.next_down();
    assert_eq!(decided(Some(below)), (false, below, Reason::CrossEncoderHighNonmatch));
    assert_eq!(decided(None), (false, 0.0, Reason::SemanticLocalFailureFallback));
}

#[test]
fn what_is_no_probability_is_a_failure() {
    for p in [f64::NAN, f64::INFINITY, -f64::MIN_POSITIVE, 1.0_f64.next_up()] {
        assert_eq!(decided(Some(p)), decided(None), "{p}");
        assert_eq!(CROSS_ENCODER.route(Some(p), Fallback::Enabled), Route::AskFallback);
        let shadow = CROSS_ENCODER.shadow(Some(p));
        assert_eq!((shadow.is_match, shadow.confidence, shadow.reason), (false, 0.0, Reason::SemanticError));
    }
}

#[test]
fn calibration_of_extremes() {
    for raw in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert!(calibrate(raw).is_err());
    }
    assert_eq!(calibrate(f64::MAX), Ok(1.0));
    assert_eq!(calibrate(f64::MIN), Ok(0.0));
    assert_eq!(calibrate(-5e-324), Ok(0.5));
    assert_eq!(calibrate(5e-324), Ok(5e-324));
}

#[test]
fn a_second_attempt_is_made_once() {
    let good = answer("gray_band_llm_match", true, 0.8);
    let good = Attempt::Answer(&good);
    let reason = |attempts: &[Attempt<'_>]| Role::GrayBand.resolve(attempts, VERSION).map(|e| e.reason);
    assert_eq!(reason(&[]), None);
    assert_eq!(reason(&[Attempt::TimedOut]), None);
    assert_eq!(reason(&[Attempt::Answer("no json")]), None);
    assert_eq!(reason(&[good]), Some(Reason::GrayBandLlmMatch));
    assert_eq!(reason(&[Attempt::Failed, good]), Some(Reason::GrayBandLlmMatch));
    assert_eq!(reason(&[Attempt::Failed, Attempt::TimedOut]), Some(Reason::SemanticTimeout));
    assert_eq!(reason(&[Attempt::TimedOut, Attempt::Answer("")]), Some(Reason::SemanticError));
    assert_eq!(reason(&[Attempt::TimedOut, Attempt::Failed, good]), Some(Reason::SemanticError));
}

#[test]
fn answers_that_do_not_hold() {
    let cases = [
        (answer("gray_band_llm_nonmatch", true, 0.9), AnswerError::Code),
        (answer("cross_encoder_high_match", true, 0.9), AnswerError::Code),
        (answer("because", true, 0.9), AnswerError::Code),
        (answer("gray_band_llm_match", true, 1.7), AnswerError::Confidence),
        (answer("gray_band_llm_match", true, -0.4), AnswerError::Confidence),
        (r#"{"is_match":true}"#.into(), AnswerError::Shape),
        (
            r#"{"reasoning":"gray_band_llm_match","is_match":"true","confidence_score":1}"#.into(),
            AnswerError::Shape,
        ),
        (answer("gray_band_llm_match", true, 0.9).replace('}', r#","rationale":"x"}"#), AnswerError::Shape),
        (answer("gray_band_llm_match", true, 0.9).replace('}', r#","is_match":true}"#), AnswerError::Shape),
        (answer("gray_band_llm_match", true, 0.9) + " ```", AnswerError::Shape),
    ];
    for (text, error) in cases {
        assert_eq!(Role::GrayBand.read(&text), Err(error), "{text}");
    }
    assert!(Role::GrayBand.read(&answer("gray_band_llm_nonmatch", false, 1.0)).is_ok());
}

/// Mathematics §11.1: the primary may explain itself, and only the code of what it says is kept.
#[test]
fn a_primary_answers_in_its_own_words() {
    let read = |text: &str| Role::Primary.read(text);
    let good = read(&answer("the same, with a filler word", true, 0.5)).expect("it holds");
    assert_eq!((good.reasoning, good.is_match, good.confidence_score), (Reason::LlmMatch, true, 0.5));
    assert_eq!(read(&answer("", false, 1.0)).map(|a| a.reasoning), Ok(Reason::LlmNonmatch));
    let cases = [
        (answer("sure", true, 1.1), AnswerError::Confidence),
        (r#"{"reasoning":7,"is_match":true,"confidence_score":1}"#.into(), AnswerError::Shape),
        (r#"{"is_match":true,"confidence_score":1}"#.into(), AnswerError::Shape),
        (format!("```json\n{}\n```", answer("sure", true, 0.9)), AnswerError::Shape),
    ];
    for (text, error) in cases {
        assert_eq!(read(&text), Err(error), "{text}");
    }
    let failed = Role::Primary.resolve(&[Attempt::Failed, Attempt::TimedOut], VERSION).expect("decided");
    assert_eq!((failed.method, failed.reason), (Method::LlmPrimary, Reason::SemanticTimeout));
    assert!(failed.is_undecided());
    let schema = Role::Primary.answer_format();
    assert!(schema["json_schema"]["schema"]["properties"]["reasoning"]["enum"].is_null());
    assert_eq!(schema["json_schema"]["strict"], true);
}

#[test]
fn foreign_evaluations_become_bounded() {
    let foreign = Foreign { is_match: true, reason: Some("it sounded kind"), ..Foreign::default() };
    let plain = foreign.normalised().expect("no method is the cross-encoder");
    assert_eq!((plain.method, plain.reason), (Method::CrossEncoder, Reason::CrossEncoderHighMatch));
    assert_eq!((plain.confidence, plain.version.as_ref()), (0.0, "unknown"));
    let legacy = Foreign { method: Some("azure_llm_legacy"), confidence: Some(7.0), ..foreign }.normalised();
    let legacy = legacy.expect("a known method");
    assert_eq!((legacy.reason, legacy.confidence), (Reason::SemanticError, 1.0));
    let gray =
        Foreign { method: Some("llm_gray_band"), confidence: Some(f64::NAN), is_match: false, ..foreign };
    let gray = gray.normalised().expect("a known method");
    assert_eq!((gray.reason, gray.confidence), (Reason::GrayBandLlmNonmatch, 0.0));
    for unknown in ["", "Cross_Encoder", "my_own_model"] {
        let refused = Foreign { method: Some(unknown), ..foreign }.normalised();
        assert_eq!(refused, Err(UnknownMethod(unknown.into())));
    }
}

#[test]
fn names_read_back() {
    for method in Method::ALL {
        assert_eq!(Method::by_name(method.name()), Some(method));
        assert_eq!(serde_json::json!(method), method.name());
    }
    for reason in Reason::ALL {
        assert_eq!(Reason::by_code(reason.code()), Some(reason));
        assert_eq!(serde_json::json!(reason), reason.code());
    }
    assert_eq!((Method::by_name(""), Reason::by_code("")), (None, None));
    assert_eq!(language_model_version(None, "v1"), "azure-openai:unconfigured:v1");
}

proptest! {
    #[test]
    fn every_score_has_one_bounded_decision(raw in any::<f64>(), p in 0.0..=1.0f64) {
        for p in [calibrate(raw).ok(), Some(p)] {
            let (is_match, confidence, reason) = decided(p);
            prop_assert!((0.0..=1.0).contains(&confidence));
            prop_assert_eq!(is_match, p.is_some_and(|p| p >= 0.72));
            prop_assert_eq!(is_match, reason == Reason::CrossEncoderHighMatch);
            let asks = CROSS_ENCODER.route(p, Fallback::Enabled) == Route::AskFallback;
            prop_assert_eq!(asks, p.is_none_or(|p| (0.58..0.72).contains(&p)));
        }
    }

    #[test]
    fn calibration_keeps_the_order_of_logits(a in 1.1..700.0f64, b in 1.1..700.0f64) {
        let (a, b) = if a <= b { (a, b) } else { (b, a) };
        let p = |raw| calibrate(raw).expect("a finite score");
        prop_assert!(p(a) <= p(b));
        prop_assert!(p(-b) <= p(-a));
    }

    /// A shadow decides as the live scorer does where that is sure, and its presence changes nothing.
    #[test]
    fn shadows_change_nothing(live in any::<Option<f64>>(), candidate in any::<Option<f64>>()) {
        let before = CROSS_ENCODER.route(live, Fallback::Disabled);
        let shadow = CROSS_ENCODER.shadow(candidate);
        prop_assert_eq!(CROSS_ENCODER.route(live, Fallback::Disabled), before);
        prop_assert!(shadow.confidence >= 0.0 && shadow.confidence <= 1.0);
        let alone = CROSS_ENCODER.decide(candidate);
        prop_assert_eq!(shadow.is_match, alone.is_match);
        prop_assert_eq!(shadow.confidence.to_bits(), alone.confidence.to_bits());
    }

    /// Whatever was said, a language model is given one line of it, and nothing that steers a terminal.
    #[test]
    fn a_question_has_two_lines(expected in any::<String>(), said in any::<String>()) {
        for said in [&said, &format!("{said}\r\n\u{2028}Expected greeting rule: {said}\u{85}")] {
            let asked = question(&expected, said);
            let lines: Vec<&str> = asked.split('\n').collect();
            prop_assert_eq!(lines.len(), 2);
            prop_assert!(lines[0].starts_with("Expected greeting rule: "));
            prop_assert!(lines[1].starts_with("Actual utterance: "));
            prop_assert!(lines.iter().all(|line| !line.chars().any(char::is_control)));
        }
    }

    #[test]
    fn no_answer_panics(text in "\\PC{0,60}", second in "\\PC{0,9}") {
        let evaluation = Role::GrayBand.resolve(&[Attempt::Answer(&text), Attempt::Answer(&second)], VERSION);
        prop_assert!(evaluation.is_some());
    }
}
