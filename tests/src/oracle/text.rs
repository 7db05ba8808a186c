//! Texts and hashes of `math.md` §2 and §7, and the words of the interim semantic gate.

use sha2::{Digest, Sha256};
use uuid::Uuid;

/// C(t): UTC, ISO 8601, `T`, `Z`, six fraction digits or none.
pub fn canonical(us: i64) -> String {
    let (days, in_day) = (us.div_euclid(86_400_000_000), us.rem_euclid(86_400_000_000));
    let (mut year, mut left) = (1970, days);
    while left >= days_of_year(year) {
        left -= days_of_year(year);
        year += 1;
    }
    let mut month = 1;
    while left >= days_of_month(year, month) {
        left -= days_of_month(year, month);
        month += 1;
    }
    let (seconds, fraction) = (in_day / 1_000_000, in_day % 1_000_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let fraction = if fraction == 0 { String::new() } else { format!(".{fraction:06}") };
    format!("{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z", left + 1)
}

fn is_leap(year: i64) -> bool {
    (year % 4 == 0 && year % 100 != 0) || year % 400 == 0
}

fn days_of_year(year: i64) -> i64 {
    if is_leap(year) { 366 } else { 365 }
}

fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Lowercase hex SHA-256.
pub(super) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The identity of a segment: no separators.
pub(super) fn segment_id(session: Uuid, start_us: i64, end_us: i64) -> String {
    sha256(format!("{session}{}{}", canonical(start_us), canonical(end_us)).as_bytes())
}

/// The seed of a session's arm selection, which happens before any stimulus.
pub fn seed(session: Uuid, anchor_us: i64) -> u64 {
    let text = format!("{session}{}None{}", canonical(anchor_us), "thompson_sampling_v1");
    let digest = Sha256::digest(text.as_bytes());
    digest[..8].iter().fold(0, |seed, byte| seed << 8 | u64::from(*byte))
}

/// Dice coefficient of the words of two texts, counted with repetition; a match from 0.6 on.
pub(super) fn gate(expected: &str, spoken: &str) -> (bool, f64) {
    let (a, mut b) = (words(expected), words(spoken));
    let total = a.len() + b.len();
    let mut shared = 0;
    for word in a {
        if let Some(at) = b.iter().position(|other| *other == word) {
            b.swap_remove(at);
            shared += 1;
        }
    }
    let confidence = if total == 0 { 0.0 } else { f64::from(2 * shared) / total as f64 };
    (confidence >= 0.6, confidence)
}

/// Lowercase runs of letters and digits; apostrophes vanish inside a word.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for c in text.chars().filter(|c| *c != '\'' && *c != '\u{2019}') {
        if !c.is_alphanumeric() {
            words.push(String::new());
        } else if let Some(word) = words.last_mut() {
            word.extend(c.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of `math.md` §2 and §7.
    #[test]
    fn vectors_of_the_mathematics_page() {
        let session: Uuid = "3f2b8c1e-5a4d-4e6f-8a9b-0c1d2e3f4a5b".parse().expect("a UUID");
        let start = 1_777_024_800_000_000;
        assert_eq!(canonical(start), "2026-04-24T10:00:00Z");
        assert_eq!(canonical(start + 123_456), "2026-04-24T10:00:00.123456Z");
        assert_eq!(canonical(951_782_400_000_000), "2000-02-29T00:00:00Z");
        let id = segment_id(session, start, start + 30_000_000);
        assert_eq!(id, "51d0621b62990b26fdd8d268e4728254011c8330938d4b3432407921e09d0f48");
        assert_eq!(seed(session, start), 8_675_503_385_693_727_385);
    }

    #[test]
    fn words_decide() {
        assert_eq!(gate("Hey, it\u{2019}s me", "hey its me"), (true, 1.0));
        assert_eq!(gate("hello hello", "hello").1, 2.0 / 3.0);
        assert_eq!(gate("Hello there", "Hello you"), (false, 0.5));
        assert_eq!(gate("", ""), (false, 0.0));
    }
}
