//! Calibration of raw scores and the whole decision, fallback included.

use lsie_operators::semantic::{
    ATTEMPTS, Attempt, CROSS_ENCODER, Evaluation, Fallback, Role, Route, calibrate, language_model_version,
};
use serde_json::Value;

use crate::read::{assert_committed, assert_relative, of_kind};

#[derive(serde::Deserialize)]
struct Input {
    primary: Primary,
    fallback_enabled: bool,
    #[serde(default)]
    fallback_script: Vec<Call>,
}

#[derive(serde::Deserialize)]
struct Primary {
    raw_score: Option<f64>,
}

#[derive(Clone, serde::Deserialize)]
struct Call {
    content: Option<String>,
    raise: Option<String>,
}

#[derive(serde::Deserialize)]
struct Expected {
    result: ExpectedResult,
    semantic_method: String,
    semantic_method_version: String,
    fallback_calls: usize,
}

#[derive(serde::Deserialize)]
struct ExpectedResult {
    reasoning: String,
    is_match: bool,
    confidence_score: f64,
}

#[test]
fn golden_semantic_calibration() {
    for case in of_kind("semantic", 123, "calibration", 47) {
        let raw = case.input["raw_score"].as_f64().expect("a score");
        let expected = case.expected["calibrated"].as_f64().expect("a number");
        let ours = calibrate(raw).expect("a finite score");
        // 1e-12: the exponential of another mathematics library; a score that is a probability stays as it is.
        assert_relative(ours, expected, 1e-12, &case.name);
        assert!(!(0.0..=1.0).contains(&raw) || ours == raw, "{}", case.name);
    }
}

#[test]
fn golden_semantic_evaluation() {
    let mut departures = 0;
    for case in of_kind("semantic", 123, "evaluate", 76) {
        let (input, expected): (Input, Expected) = (case.input(), case.expected());
        let name = &case.name;
        // A scorer that failed has no raw score.
        let p = input.primary.raw_score.and_then(|raw| calibrate(raw).ok());
        let fallback = if input.fallback_enabled { Fallback::Enabled } else { Fallback::Disabled };
        let (ours, calls) = match CROSS_ENCODER.route(p, fallback) {
            Route::Decided(evaluation) => (evaluation, 0),
            Route::AskFallback => {
                // Contracts §14 and §1: an answer out of range is a failed attempt, and nothing is converted.
                // The original clamps and converts, and so takes answers that we count as failed. With those
                // written as it read them, both agree in everything.
                let read: Vec<Call> = input.fallback_script.iter().map(|call| as_read(call, name)).collect();
                let as_it_is = ask(&input.fallback_script);
                let as_read = ask(&read).expect("a decision");
                if as_it_is.as_ref() != Some(&as_read) {
                    departures += 1;
                    let used = &input.fallback_script[..expected.fallback_calls];
                    let refused = used.iter().zip(&read).any(|(call, read)| call.content != read.content);
                    assert!(refused, "{name}: only an answer that is refused may make a difference");
                }
                as_read
            }
        };
        assert_eq!(ours.is_match, expected.result.is_match, "{name}");
        // 1e-12: as for calibration.
        assert_relative(ours.confidence, expected.result.confidence_score, 1e-12, name);
        assert_eq!(ours.reason.code(), expected.result.reasoning, "{name}");
        assert_eq!(ours.method.name(), expected.semantic_method, "{name}");
        assert_eq!(ours.version, expected.semantic_method_version, "{name}");
        assert_eq!(calls, expected.fallback_calls, "{name}");
        // Shadowing changes nothing: the same scorer in the shadow leaves the live evaluation as it was.
        let shadow = CROSS_ENCODER.shadow(p);
        assert!(calls > 0 || shadow.is_match == ours.is_match, "{name}");
    }
    assert_committed(departures == 3, "answers that the original clamps or converts");
}

/// The decision and the number of calls; none when the script ends before there is one.
fn ask(script: &[Call]) -> Option<(Evaluation, usize)> {
    let attempts: Vec<Attempt<'_>> = script.iter().map(attempt).collect();
    let version = language_model_version(Some("gb"), "2024-02-01");
    (1..=ATTEMPTS.min(attempts.len()))
        .find_map(|calls| Some((Role::GrayBand.resolve(&attempts[..calls], &version)?, calls)))
}

fn attempt(call: &Call) -> Attempt<'_> {
    match (call.content.as_deref(), call.raise.as_deref()) {
        (Some(text), _) => Attempt::Answer(text),
        (None, Some("timeout")) => Attempt::TimedOut,
        (None, _) => Attempt::Failed,
    }
}

/// An answer as the original reads it: confidences clamped, texts of booleans and numbers converted. What is
/// no such answer stays as it is, and what changes is one that we refuse.
fn as_read(call: &Call, name: &str) -> Call {
    let Some(text) = &call.content else { return call.clone() };
    let Ok(Value::Object(mut fields)) = serde_json::from_str(text) else { return call.clone() };
    let before = fields.clone();
    let flag = fields.get("is_match").and_then(Value::as_str).map(str::to_lowercase);
    if let Some(flag) = flag.and_then(|flag| flag.parse::<bool>().ok()) {
        fields.insert("is_match".into(), flag.into());
    }
    if let Some(confidence) = fields.get("confidence_score") {
        let number = confidence.as_f64().or_else(|| confidence.as_str()?.trim().parse().ok());
        if let Some(number) = number.filter(|number: &f64| number.is_finite()) {
            fields.insert("confidence_score".into(), number.clamp(0.0, 1.0).into());
        }
    }
    let is_same = |(key, value): (&String, &Value)| {
        before[key] == *value || before[key].as_f64() == value.as_f64() && value.is_f64()
    };
    if fields.iter().all(is_same) {
        return call.clone();
    }
    assert!(Role::GrayBand.read(text).is_err(), "{name}");
    Call { content: Some(Value::Object(fields).to_string()), raise: None }
}
