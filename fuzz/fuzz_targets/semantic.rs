//! Raw scores, answers of the fallback and evaluations from elsewhere: a bounded code and a confidence in [0, 1].

#![no_main]

use libfuzzer_sys::fuzz_target;
use lsie_operators::semantic::{Attempt, CROSS_ENCODER, Evaluation, Foreign, Role, calibrate};

fn check(evaluation: &Evaluation) {
    assert!((0.0..=1.0).contains(&evaluation.confidence), "{evaluation:?}");
}

fuzz_target!(|input: (f64, Vec<&str>, bool, Option<f64>, Option<&str>, Option<&str>)| {
    let (raw_score, answers, is_match, confidence, method, reason) = input;
    let p = calibrate(raw_score);
    assert_eq!(p.is_ok(), raw_score.is_finite());
    check(&CROSS_ENCODER.decide(p.ok()));
    check(&CROSS_ENCODER.decide(Some(raw_score)));
    check(&CROSS_ENCODER.shadow(confidence));
    let attempts: Vec<Attempt> = answers.iter().map(|text| Attempt::Answer(text)).collect();
    for role in [Role::Primary, Role::GrayBand] {
        if let Some(evaluation) = role.resolve(&attempts, "v") {
            check(&evaluation);
        }
    }
    let foreign = Foreign { is_match, confidence, method, version: None, reason };
    if let Ok(evaluation) = foreign.normalised() {
        check(&evaluation);
    }
});
