//! The decision context hash: SHA-256 of one canonical JSON text (mathematics §7).
//!
//! Compact, keys sorted by code point at every level, characters beyond printable ASCII as `\uXXXX`, floats
//! as in [`canonical::float_text`]. Written by hand because each of these bytes is part of the identity.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use lsie_schemas::canonical;
use sha2::{Digest as _, Sha256};

use crate::posterior::Posterior;
use crate::segment_id::hex;

/// What a decision depended on.
#[derive(Clone, Copy, Debug)]
pub struct DecisionContext<'a> {
    /// Text code of the experiment.
    pub experiment_code: &'a str,
    /// Row id of the experiment; 0 for a fallback.
    pub experiment_row_id: i64,
    /// Candidates in their order.
    pub candidate_arms: &'a [String],
    /// Posterior of each arm at selection.
    pub posterior_by_arm: &'a BTreeMap<String, Posterior>,
    /// The arm that was selected.
    pub selected_arm: &'a str,
    /// Policy that selected it.
    pub policy_version: &'a str,
}

impl DecisionContext<'_> {
    /// Lowercase hex SHA-256 of [`Self::canonical_json`].
    pub fn hash(&self) -> String {
        hex(&Sha256::digest(self.canonical_json()))
    }

    /// The text that is hashed.
    pub fn canonical_json(&self) -> String {
        let candidates: Vec<String> = self.candidate_arms.iter().map(|arm| quoted(arm)).collect();
        let posteriors: Vec<String> =
            self.posterior_by_arm.iter().map(|(arm, p)| posterior(arm, p)).collect();
        format!(
            concat!(
                r#"{{"candidate_arm_ids":[{}],"experiment_code":{},"experiment_row_id":{},"#,
                r#""policy_version":{},"posterior_by_arm":{{{}}},"selected_arm_id":{}}}"#
            ),
            candidates.join(","),
            quoted(self.experiment_code),
            self.experiment_row_id,
            quoted(self.policy_version),
            posteriors.join(","),
            quoted(self.selected_arm),
        )
    }
}

fn posterior(arm: &str, posterior: &Posterior) -> String {
    let (alpha, beta) = (canonical::float_text(posterior.alpha), canonical::float_text(posterior.beta));
    format!(r#"{}:{{"alpha":{alpha},"beta":{beta}}}"#, quoted(arm))
}

/// A JSON string in printable ASCII only.
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='~' => out.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing into a `String` cannot fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_ascii() {
        assert_eq!(quoted("a\"\\\n\u{7f}é😀"), r#""a\"\\\n\u007f\u00e9\ud83d\ude00""#);
    }

    #[test]
    fn vector_of_the_mathematics_page() {
        let posterior_by_arm = BTreeMap::from([
            ("a".to_owned(), Posterior { alpha: 1.0, beta: 1.0 }),
            ("b".to_owned(), Posterior { alpha: 1.5, beta: 2.25 }),
        ]);
        let context = DecisionContext {
            experiment_code: "greeting_line_v1",
            experiment_row_id: 1,
            candidate_arms: &["a".to_owned(), "b".to_owned()],
            posterior_by_arm: &posterior_by_arm,
            selected_arm: "b",
            policy_version: "thompson_sampling_v1",
        };
        assert_eq!(context.hash(), "4d6ba0a3aa519f62668fbcf4d82fc72ccb0acf5b5b74ceca51c7d6f2c78c5bc7");
    }
}
