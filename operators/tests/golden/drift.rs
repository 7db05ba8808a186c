//! Drift polls: offsets, freeze, reset, corrected instants.

use lsie_operators::drift::{DriftState, Poll, PollEffect, TOLERANCE_US};
use lsie_schemas::canonical::{from_epoch_s, parse_epoch_decimal, to_epoch_s};

use crate::read::{assert_absolute, assert_committed, cases};

#[derive(serde::Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
enum Step {
    Poll { monotonic_s: f64, host_utc_s: f64, adb: Answer },
    Correct { timestamps_s: Vec<f64> },
}

#[derive(serde::Deserialize)]
struct Answer {
    result: String,
    returncode: Option<i32>,
    stdout: Option<String>,
}

#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Expected {
    Poll(ExpectedPoll),
    Correct { corrected_s: Vec<f64> },
}

#[derive(serde::Deserialize)]
struct ExpectedPoll {
    offset_s: f64,
    frozen: bool,
    consecutive_failures: u32,
    adb_called: bool,
    exceeds_tolerance: bool,
}

#[test]
fn golden_polls_move_the_machine_as_in_the_original() {
    let mut on_the_tolerance = 0;
    for case in cases("drift", 120) {
        let steps: Vec<Step> = serde_json::from_value(case.input["steps"].clone()).expect("steps");
        let expected: Vec<Expected> = serde_json::from_value(case.expected["steps"].clone()).expect("steps");
        assert_eq!(steps.len(), expected.len());
        let mut drift = DriftState::default();
        let mut host_error_us = 0.0;
        for (step, expected) in steps.iter().zip(expected) {
            // A restart between any two records changes nothing.
            let snapshot = serde_json::to_string(&drift).expect("a snapshot");
            drift = serde_json::from_str(&snapshot).expect("the snapshot");
            match (step, expected) {
                (Step::Poll { monotonic_s, host_utc_s, adb }, Expected::Poll(expected)) => {
                    // Ages: the original's monotonic clock, here the log time of the record.
                    let log_ms = (monotonic_s * 1e3).round() as i64;
                    let effect = drift.observe(log_ms, poll(*host_utc_s, adb));
                    if matches!(effect, PollEffect::Updated { .. }) {
                        // Some host clocks are doubles between two microseconds; ours are whole ones.
                        let is_whole = from_epoch_s(*host_utc_s).map(to_epoch_s) == Some(*host_utc_s);
                        host_error_us = if is_whole { 0.0 } else { 0.5 };
                    }
                    on_the_tolerance += check_poll(&drift, effect, &expected, host_error_us, &case.name);
                }
                (Step::Correct { timestamps_s }, Expected::Correct { corrected_s }) => {
                    for (original, corrected) in timestamps_s.iter().zip(corrected_s) {
                        check_corrected(&drift, *original, corrected, host_error_us, &case.name);
                    }
                }
                _ => panic!("{}: step and expectation differ in kind", case.name),
            }
        }
    }
    assert_committed(on_the_tolerance > 0, "offsets on the tolerance occur");
}

fn poll(host_utc_s: f64, answer: &Answer) -> Poll {
    let text = answer.stdout.as_deref().filter(|_| answer.result == "output" && answer.returncode == Some(0));
    match text.and_then(parse_epoch_decimal) {
        Some(device_us) => {
            Poll::Success { host_before_us: from_epoch_s(host_utc_s).expect("a time"), device_us }
        }
        None => Poll::Failure,
    }
}

/// Returns 1 when the poll lay exactly on the tolerance.
fn check_poll(
    drift: &DriftState,
    effect: PollEffect,
    expected: &ExpectedPoll,
    host_error_us: f64,
    case: &str,
) -> u32 {
    // The original subtracts two doubles near 1.8e9, each at most 0.12 µs off its decimal; we subtract whole
    // microseconds. So its offset is within 0.24 µs of ours and rounds to it, for clocks of whole microseconds.
    assert_absolute(drift.offset_us() as f64, expected.offset_s * 1e6, 0.24 + host_error_us, case);
    assert_eq!(drift.is_frozen(), expected.frozen, "{case}");
    assert_eq!(drift.consecutive_failures(), expected.consecutive_failures, "{case}");
    let was_looked_at = !matches!(effect, PollEffect::IgnoredWhileFrozen | PollEffect::Reset);
    assert_eq!(was_looked_at, expected.adb_called, "{case}");
    // For the same reason an offset of 150 ms may exceed 150 ms in doubles; in microseconds it does not.
    let is_on_the_tolerance = drift.offset_us().abs() == TOLERANCE_US;
    let warns = matches!(effect, PollEffect::Updated { exceeds_tolerance: true });
    assert_eq!(warns, expected.exceeds_tolerance && !is_on_the_tolerance, "{case}");
    u32::from(is_on_the_tolerance)
}

/// Bound: 0.5 µs for taking the double as whole microseconds, 0.24 and more for the offset, 0.12 for the sum.
fn check_corrected(drift: &DriftState, original_s: f64, corrected_s: f64, host_error_us: f64, case: &str) {
    let ours = drift.correct(from_epoch_s(original_s).expect("a time"));
    let theirs_us = (corrected_s.fract() * 1e6, corrected_s.trunc() as i64 * 1_000_000);
    assert_absolute((ours - theirs_us.1) as f64, theirs_us.0, 0.86 + host_error_us, case);
}
