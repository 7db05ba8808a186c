//! The interim semantic gate: does the transcript say the expected greeting, judged by its words alone.
//!
//! A named stand-in scorer until a sentence model is in place. It is not the cross-encoder of mathematics
//! §11.2, knows nothing of meaning or word order, and says so: every result carries its own method and
//! version, so that rows judged by it are told apart from all others for ever.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::semantic::{Evaluation, Method, Thresholds};

/// This scorer. It knows no gray band: both thresholds are one Dice coefficient. Any change of the rule
/// changes the version.
pub const TOKEN_OVERLAP: Thresholds = Thresholds {
    method: Method::TokenOverlap,
    version: Cow::Borrowed("token-overlap-v1"),
    nonmatch_below: 0.6,
    match_at: 0.6,
};

/// Compares a transcript with the expected greeting: 2·|A ∩ B| / (|A| + |B|) over multisets of words.
///
/// A text without words matches nothing.
///
/// ```
/// use lsie_operators::gate::judge;
/// assert!(judge("Hello! Just joined, happy to be here!", "hello just joined happy to be here").is_match);
/// assert!(!judge("Hello! Just joined, happy to be here!", "what song is that").is_match);
/// ```
pub fn judge(expected_greeting: &str, transcript: &str) -> Evaluation {
    let (expected, spoken) = (words(expected_greeting), words(transcript));
    let total: u64 = expected.values().sum::<u64>() + spoken.values().sum::<u64>();
    let shared: u64 = expected.iter().map(|(word, n)| *n.min(spoken.get(word).unwrap_or(&0))).sum();
    let overlap = if total == 0 { 0.0 } else { 2.0 * shared as f64 / total as f64 };
    TOKEN_OVERLAP.decide(Some(overlap))
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
            prop_assert_eq!(&result, &judge(&b, &a));
            let mut words: Vec<&str> = b.split(' ').collect();
            words.reverse();
            prop_assert_eq!(&result, &judge(&a, &words.join(" ")));
            prop_assert!((0.0..=1.0).contains(&result.confidence));
        }

        #[test]
        fn a_text_with_words_matches_itself(text in "\\PC{0,40}") {
            let result = judge(&text, &text);
            prop_assert_eq!(result.is_match, text.chars().any(char::is_alphanumeric));
        }
    }
}
