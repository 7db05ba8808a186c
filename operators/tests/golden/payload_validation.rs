//! Interface payloads: what is accepted, where a refusal points, and the normal form.

use lsie_schemas::payload::{Model, Reason, Violation};
use lsie_schemas::record::PhysiologicalChunk;
use serde_json::Value;

use crate::read::{Case, assert_committed, cases};

#[derive(serde::Deserialize)]
struct Input {
    model: String,
    payload: Option<Value>,
    json_text: Option<String>,
}

#[derive(serde::Deserialize)]
struct Expected {
    accept: bool,
    accepted_only_by_coercion: bool,
    first_error: Option<FirstError>,
    error_paths: Vec<String>,
    canonical: Option<Value>,
}

#[derive(serde::Deserialize)]
struct FirstError {
    path: String,
}

/// A rule of the contracts by which we refuse what the original takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// §1: nothing is coerced: a text is no number, 0 no boolean, and a key or an instant has one spelling.
    NoCoercion,
    /// §10.3: a lag is at most the horizon; the original leaves this check to the database.
    LagWithinHorizon,
    /// §10.2: these keys are required; the original fills them in.
    NoDefaults,
}

fn departure(model: &str, expected: &Expected, violation: &Violation) -> Option<Rule> {
    let defaulted = ["/outcome_value", "/source_system", "/confidence"];
    match (model, violation) {
        ("EventOutcomeLink", Violation { path, reason: Reason::Rule(_) }) if path == "/lag_s" => {
            Some(Rule::LagWithinHorizon)
        }
        ("OutcomeEvent", Violation { path, reason: Reason::Missing })
            if defaulted.contains(&path.as_str()) =>
        {
            Some(Rule::NoDefaults)
        }
        _ => expected.accepted_only_by_coercion.then_some(Rule::NoCoercion),
    }
}

fn read(case: &Case) -> (String, Result<Value, Violation>) {
    let input: Input = case.input();
    let model =
        Model::named(&input.model).unwrap_or_else(|| panic!("{}: no model {}", case.name, input.model));
    let text = match (input.json_text, input.payload) {
        (Some(text), _) => text,
        (None, Some(payload)) => payload.to_string(),
        (None, None) => "null".to_owned(),
    };
    (input.model, model.read(text.as_bytes()))
}

#[test]
fn golden_payload_validation_decisions() {
    let mut departures = [0; 3];
    for case in cases("payload_validation", 315) {
        let expected: Expected = case.expected();
        let (model, ours) = read(&case);
        let name = &case.name;
        match (&ours, expected.accept) {
            (Ok(_), true) | (Err(_), false) => {}
            (Ok(_), false) => panic!("{name}: accepted"),
            (Err(violation), true) => {
                let rule = departure(&model, &expected, violation);
                let rule = rule.unwrap_or_else(|| panic!("{name}: refused by no rule: {violation}"));
                departures[rule as usize] += 1;
            }
        }
        // What only a conversion would make valid is refused, and nothing else by that rule.
        assert!(ours.is_err() || !expected.accepted_only_by_coercion, "{name}");
    }
    assert_committed(departures == [25, 1, 0], &format!("departures {departures:?}"));
}

/// The decoder of chunk records decides as their model does.
#[test]
fn golden_payload_validation_of_chunk_records() {
    for case in cases("payload_validation", 315) {
        let input: Input = case.input();
        if input.model == "PhysiologicalChunkEvent" {
            let text =
                input.json_text.or(input.payload.map(|payload| payload.to_string())).unwrap_or_default();
            let decoded = PhysiologicalChunk::read_event(text.as_bytes());
            assert_eq!(decoded.is_ok(), read(&case).1.is_ok(), "{}: {decoded:?}", case.name);
        }
    }
}

/// Ours is the place of the original's first error, or lies within it where the original blames a whole list.
#[test]
fn golden_payload_validation_places() {
    for case in cases("payload_validation", 315) {
        let expected: Expected = case.expected();
        let (_, Err(violation)) = read(&case) else { continue };
        let Some(first) = expected.first_error else { continue };
        let is_within = |place: &String| {
            let rest = violation.path.strip_prefix(place.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        assert!(is_within(&first.path), "{}: {violation}, not {}", case.name, first.path);
        assert!(expected.error_paths.iter().any(is_within), "{}: {violation}", case.name);
    }
}

#[test]
fn golden_payload_validation_normal_form() {
    for case in cases("payload_validation", 315) {
        let expected: Expected = case.expected();
        if let ((model, Ok(ours)), Some(mut theirs)) = (read(&case), expected.canonical) {
            one_text_per_instant(&mut theirs);
            omit_nulls(&mut theirs);
            assert_eq!(ours, theirs, "{}", case.name);
            let again = Model::named(&model).expect("a model").check(ours.clone());
            assert_eq!(again, Ok(ours), "{}", case.name);
        }
    }
}

/// Contracts §1: the canonical text is in UTC; the original keeps the offset it was given.
fn one_text_per_instant(value: &mut Value) {
    match value {
        Value::String(text) if text.len() >= 25 && text.contains(['+', '-']) => {
            if let Ok(us) = lsie_schemas::canonical::parse(text) {
                *text = lsie_schemas::canonical::to_text(us);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(one_text_per_instant),
        Value::Object(map) => map.values_mut().for_each(one_text_per_instant),
        _ => {}
    }
}

/// Contracts §1, §2, §9: these keys do not appear at all when there is no value; the original writes null.
fn omit_nulls(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(omit_nulls),
        Value::Object(map) => {
            let omitted = ["_physiological_context", "sampled_theta_by_arm", "decision_context_hash"];
            map.retain(|key, value| !(value.is_null() && omitted.contains(&key.as_str())));
            map.values_mut().for_each(omit_nulls);
        }
        _ => {}
    }
}
