//! The interim semantic gate: does the transcript say the expected greeting, judged by its words alone.
//!
//! A named stand-in scorer until a sentence model is in place. It is not the cross-encoder of mathematics
//! §11.2, knows nothing of meaning or word order, and says so: every result carries its own method and
//! version, so that rows judged by it are told apart from all others for ever.

use std::collections::BTreeMap;

/// Name of this scorer in results.
pub const METHOD: &str = "token_overlap";
/// Version of the rule below; any change of the rule changes it.
pub const VERSION: &str = "token-overlap-v1";
/// Dice coefficient at which a transcript counts as a match, inclusive.
pub const MATCH_AT: f64 = 0.6;

/// Judgement of one utterance; `reason` is one of two bounded codes, never free text (contracts §8).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GateResult {
    /// Whether the gate opens.
    pub is_match: bool,
    /// The Dice coefficient, in [0, 1].
    pub confidence: f64,
    /// [`METHOD`].
    pub method: &'static str,
    /// [`VERSION`].
    pub version: &'static str,
    /// `token_overlap_match` or `token_overlap_nonmatch`.
    pub reason: &'static str,
}

/// Compares a transcript with the expected greeting: 2·|A ∩ B| / (|A| + |B|) over multisets of words.
///
/// A text without words matches nothing.
///
/// ```
/// use lsie_operators::gate::judge;
/// assert!(judge("Hello! Just joined, happy to be here!", "hello just joined happy to be here").is_match);
/// assert!(!judge("Hello! Just joined, happy to be here!", "what song is that").is_match);
/// ```
pub fn judge(expected_greeting: &str, transcript: &str) -> GateResult {
    let (expected, spoken) = (words(expected_greeting), words(transcript));
    let total: u64 = expected.values().sum::<u64>() + spoken.values().sum::<u64>();
    let shared: u64 = expected.iter().map(|(word, n)| *n.min(spoken.get(word).unwrap_or(&0))).sum();
    let confidence = if total == 0 { 0.0 } else { 2.0 * shared as f64 / total as f64 };
    let is_match = confidence >= MATCH_AT;
    let reason = if is_match { "token_overlap_match" } else { "token_overlap_nonmatch" };
    GateResult { is_match, confidence, method: METHOD, version: VERSION, reason }
}

/// Lowercase words with their counts. Apostrophes vanish inside a word (`it's` is `its`), any other character
/// that is neither letter nor digit ends it.
fn words(text: &str) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    let joined: String = text.chars().filter(|c| !matches!(c, '\'' | '\u{2019}')).collect();
    for word in joined.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        *counts.entry(word.to_lowercase()).or_insert(0) += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(expected: &str, spoken: &str, is_match: bool, confidence: f64) {
        let result = judge(expected, spoken);
        assert_eq!((result.is_match, result.confidence), (is_match, confidence), "{expected} / {spoken}");
    }

    #[test]
    fn words_decide() {
        check("Hello!", "hello", true, 1.0);
        check("Hey, it\u{2019}s me", "hey its me", true, 1.0);
        check("Hello there", "Hello you", false, 0.5);
        check("one two three", "three one, four five... six seven!", false, 4.0 / 9.0);
        check("", "", false, 0.0);
        check("Hello", "...", false, 0.0);
        check("Привет, стрим", "привет стрим", true, 1.0);
    }

    /// Six of ten words: exactly on the threshold, which belongs to the match.
    #[test]
    fn the_threshold_is_a_match() {
        check("a b c d e", "a b c x y", true, 0.6);
    }

    #[test]
    fn repeated_words_count_as_often_as_both_say_them() {
        check("hello hello", "hello", true, 2.0 / 3.0);
        check("hello", "hello hello hello hello", false, 0.4);
    }

    proptest! {
        #[test]
        fn symmetric_bounded_and_blind_to_order(a in "[a-c ]{0,20}", b in "[a-c ]{0,20}") {
            let result = judge(&a, &b);
            prop_assert_eq!(result, judge(&b, &a));
            let mut words: Vec<&str> = b.split(' ').collect();
            words.reverse();
            prop_assert_eq!(result, judge(&a, &words.join(" ")));
            prop_assert!((0.0..=1.0).contains(&result.confidence));
        }

        #[test]
        fn a_text_with_words_matches_itself(text in "\\PC{0,40}") {
            let result = judge(&text, &text);
            prop_assert_eq!(result.is_match, text.chars().any(char::is_alphanumeric));
        }
    }
}
