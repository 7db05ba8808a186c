//! Identities of ledger records: UUIDv5 over a kind and its parts, so that reprocessing finds the same row
//! (mathematics §13.1).

use lsie_schemas::{EventTime, Uuid};
use sha2::{Digest as _, Sha256};

use crate::segment_id::hex;

/// UUIDv5 of the URL namespace and `urn:lsie-mlf:attribution-ledger:v3.4`.
pub const NAMESPACE: Uuid = Uuid::from_u128(0xc2a16638_0e23_5c9f_8748_5fb3e30e0867);

/// What stands for a part that is null.
const NULL: &str = "<null>";

/// Identity of an attribution event: at most one per segment, type and reward path.
pub fn event_id(session_id: Uuid, segment_id: &str, event_type: &str, reward_path_version: &str) -> Uuid {
    id("attribution_event", &[&text(session_id), segment_id, event_type, reward_path_version])
}

/// Identity of an outcome.
pub fn outcome_id(
    session_id: Uuid,
    outcome_type: &str,
    outcome_time: EventTime,
    source_system: &str,
    source_event_ref: Option<&str>,
) -> Uuid {
    let (session, time) = (text(session_id), outcome_time.canonical());
    id("outcome_event", &[&session, outcome_type, &time, source_system, source_event_ref.unwrap_or(NULL)])
}

/// Identity of the link of an event and an outcome.
pub fn link_id(event_id: Uuid, outcome_id: Uuid, link_rule_version: &str) -> Uuid {
    id("event_outcome_link", &[&text(event_id), &text(outcome_id), link_rule_version])
}

/// Identity of a score. Finality is no part of it, so that finalising updates the row (DM-13).
pub fn score_id(event_id: Uuid, outcome_id: Option<Uuid>, method: &str, method_version: &str) -> Uuid {
    let outcome = outcome_id.map_or_else(|| NULL.to_owned(), text);
    id("attribution_score", &[&text(event_id), &outcome, method, method_version])
}

/// The text of a greeting rule with every run of whitespace as one blank and none around it.
pub fn normalised_rule_text(rule_text: &str) -> String {
    // The four separators of ASCII are whitespace to the original and not to Unicode.
    let is_blank = |c: char| c.is_whitespace() || ('\x1c'..='\x1f').contains(&c);
    let words: Vec<&str> = rule_text.split(is_blank).filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

/// Lowercase hex SHA-256 of [`normalised_rule_text`].
///
/// ```
/// use lsie_operators::attribution::identity::rule_text_hash;
/// assert_eq!(rule_text_hash("  Hello   there\n friend "), rule_text_hash("Hello there friend"));
/// ```
pub fn rule_text_hash(rule_text: &str) -> String {
    hex(&Sha256::digest(normalised_rule_text(rule_text)))
}

fn text(id: Uuid) -> String {
    id.hyphenated().to_string()
}

fn id(kind: &str, parts: &[&str]) -> Uuid {
    let name = format!("{kind}|{}", parts.join("|"));
    Uuid::new_v5(&NAMESPACE, name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_of_the_mathematics_page() {
        assert_eq!(Uuid::new_v5(&Uuid::NAMESPACE_URL, b"urn:lsie-mlf:attribution-ledger:v3.4"), NAMESPACE);
        let session = Uuid::from_u128(0x3f2b8c1e_5a4d_4e6f_8a9b_0c1d2e3f4a5b);
        let segment = "51d0621b62990b26fdd8d268e4728254011c8330938d4b3432407921e09d0f48";
        let event = event_id(session, segment, "greeting_interaction", "7B.v3.4");
        assert_eq!(event.to_string(), "5277c9d1-b492-54e2-b325-f77b926e86ea");
        let time = EventTime(1_777_024_860_000_000);
        let outcome = outcome_id(session, "creator_follow", time, "tiktok_webcast", None);
        assert_eq!(outcome.to_string(), "74dba203-aa4b-5b25-9715-47a17491280b");
        let link = link_id(event, outcome, "event_outcome_lag_horizon_v1");
        assert_eq!(link.to_string(), "26fbb030-fe95-5ede-8208-05a9443770ad");
        let score = score_id(event, None, "au12_lift_p90", "7E.v1");
        assert_eq!(score.to_string(), "4415d8bd-8521-55d5-beb0-143987e4b705");
        assert_eq!(
            rule_text_hash("  Hello   there\n friend "),
            "a7e891f45f579f27d810b8ad8b7f719ffa229276f1e35012f1f9d14e33d60281"
        );
    }

    #[test]
    fn every_blank_is_whitespace() {
        assert_eq!(normalised_rule_text("\u{a0}a\x1c\u{2003}b\u{85}c\t"), "a b c");
        assert_eq!(normalised_rule_text(" \n "), "");
    }
}
