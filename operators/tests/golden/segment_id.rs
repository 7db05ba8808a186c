//! Segment identity and canonical text, exact to the character.

use lsie_operators::segment_id::{Window, segment_id, window};
use lsie_schemas::canonical::{TimestampError, from_epoch_s, parse, to_text};
use lsie_schemas::record::session_id_from_action;
use uuid::Uuid;

use crate::read::of_kind;

#[derive(serde::Deserialize)]
struct Identity {
    session_id: Uuid,
    window_start: String,
    window_end: String,
}

#[derive(serde::Deserialize)]
struct ExpectedIdentity {
    canonical_session_id: String,
    canonical_start: String,
    canonical_end: String,
    segment_id: String,
    segment_id_with_bars: String,
}

#[derive(serde::Deserialize)]
struct Counter {
    session_id: Uuid,
    anchor: Option<String>,
    timestamp_utc: String,
}

#[derive(serde::Deserialize)]
struct ExpectedCounter {
    anchor_after: String,
    windows: Vec<ExpectedWindow>,
}

#[derive(serde::Deserialize)]
struct ExpectedWindow {
    segment_number: i64,
    window_start_utc: String,
    window_end_utc: String,
    segment_id: String,
}

#[test]
fn golden_identity_is_the_plain_concatenation() {
    for case in of_kind("segment_id", 124, "segment_id", 84) {
        let (input, expected): (Identity, ExpectedIdentity) = (case.input(), case.expected());
        let (start, end) = (instant(&input.window_start), instant(&input.window_end));
        assert_eq!(input.session_id.hyphenated().to_string(), expected.canonical_session_id, "{}", case.name);
        assert_eq!(to_text(start), expected.canonical_start, "{}", case.name);
        assert_eq!(to_text(end), expected.canonical_end, "{}", case.name);
        let id = segment_id(input.session_id, start, end);
        assert_eq!(id, expected.segment_id, "{}", case.name);
        // DM-12: one printed listing joins the parts with bars; we follow the prose and the running code.
        assert_ne!(id, expected.segment_id_with_bars, "{}", case.name);
    }
}

#[test]
fn golden_windows_of_ordinals() {
    for case in of_kind("segment_id", 124, "window_for_counter", 16) {
        let (input, expected): (Counter, ExpectedCounter) = (case.input(), case.expected());
        // Mathematics §2: without an anchor the original takes its first assembly time minus 30 s. The engine
        // always has one, the first media sample's corrected capture time, so this is the test's business.
        let anchor = match &input.anchor {
            Some(anchor) => instant(anchor),
            None => instant(&input.timestamp_utc) - 30_000_000,
        };
        assert_eq!(to_text(anchor), expected.anchor_after, "{}", case.name);
        for expected in expected.windows {
            let Window { start_us, end_us } = window(anchor, expected.segment_number).expect("an ordinal");
            assert_eq!(to_text(start_us), expected.window_start_utc, "{}", case.name);
            assert_eq!(to_text(end_us), expected.window_end_utc, "{}", case.name);
            assert_eq!(segment_id(input.session_id, start_us, end_us), expected.segment_id, "{}", case.name);
        }
    }
}

#[test]
fn golden_float_seconds_round_half_to_even() {
    for case in of_kind("segment_id", 124, "epoch_to_text", 24) {
        let epoch_s = case.input["epoch_s"].as_f64().expect("a number");
        let expected = case.expected["canonical"].as_str();
        assert_eq!(from_epoch_s(epoch_s).map(to_text).as_deref(), expected, "{}", case.name);
    }
}

#[test]
fn golden_session_of_a_client_action() {
    let action = "11111111-2222-4333-8444-555555555555".parse().expect("a uuid");
    assert_eq!(session_id_from_action(action).to_string(), "5af9bb17-cdaf-48e6-bba7-dad6896dcd82");
}

/// Contracts §1: the original reads a text without zone as UTC, we refuse it; with the zone added both agree.
fn instant(text: &str) -> i64 {
    match parse(text) {
        Err(TimestampError::Naive) => parse(&format!("{text}Z")).expect("only the zone was missing"),
        instant => instant.expect("a timestamp"),
    }
}
