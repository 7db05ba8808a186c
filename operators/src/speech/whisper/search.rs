//! From logits to tokens: the best one each time, or several transcripts followed at once.
//!
//! Both as the `transformers` library does it (its 4.36, length penalty 1, no early stopping), so that results
//! can be held against it.

use std::collections::BTreeSet;

use crate::runtime::ModelError;

/// What may follow what.
pub(super) struct Rules {
    /// Token that ends a transcript.
    pub(super) end: u32,
    /// Tokens that never come.
    pub(super) never: BTreeSet<u32>,
    /// Tokens that do not come first.
    pub(super) not_first: BTreeSet<u32>,
    /// Tokens of the prompt.
    pub(super) prompt: usize,
    /// Tokens that may follow it.
    pub(super) most: usize,
}

/// Continues transcripts: a decoder, or a script in tests.
pub(super) trait Steps {
    /// Logits after `tokens`, each of which continues the transcript of the step before that `parents` names.
    fn next(&mut self, parents: &[usize], tokens: &[u32]) -> Result<Vec<Vec<f32>>, ModelError>;
}

/// A transcript: its tokens without prompt and end, and the logarithms of their probabilities.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Found {
    pub(super) tokens: Vec<u32>,
    pub(super) logs: Vec<f64>,
    /// Whether it ended by itself, and was not cut off.
    pub(super) ended: bool,
}

/// Takes the most probable token each time.
pub(super) fn greedy(first: Vec<f32>, rules: &Rules, steps: &mut impl Steps) -> Result<Found, ModelError> {
    let mut found = Found::default();
    let mut logits = first;
    while found.tokens.len() < rules.most {
        let logs = allowed(&logits, rules, found.tokens.is_empty());
        let Some((token, log)) = best(&logs) else { break };
        if token == rules.end {
            found.ended = true;
            break;
        }
        found.tokens.push(token);
        found.logs.push(log);
        if found.tokens.len() < rules.most {
            logits = steps.next(&[0], &[token])?.pop().unwrap_or_default();
        }
    }
    Ok(found)
}

/// A transcript that is followed; its score is the sum of its logarithms.
#[derive(Clone, Default)]
struct Beam {
    found: Found,
    score: f64,
}

/// One more token.
struct Candidate {
    beam: usize,
    token: u32,
    log: f64,
    score: f64,
}

/// Follows `width` transcripts and returns the best by mean logarithm.
pub(super) fn beams(
    first: Vec<f32>,
    width: usize,
    rules: &Rules,
    steps: &mut impl Steps,
) -> Result<Found, ModelError> {
    let mut done = Done { best: Vec::new(), width };
    let mut beams = vec![Beam::default()];
    let mut logits = vec![first];
    for at in 0..rules.most {
        // The start token does not count; the token that is being added does.
        let length = (rules.prompt + at) as f64;
        let candidates = candidates(&beams, &logits, rules, 2 * width);
        let Some(top) = candidates.first().map(|candidate| candidate.score) else { break };
        let mut next = Vec::new();
        let mut parents = Vec::new();
        for (rank, candidate) in candidates.into_iter().enumerate() {
            let mut found = beams[candidate.beam].found.clone();
            if candidate.token == rules.end {
                if rank < width {
                    found.ended = true;
                    done.add(candidate.score / length, found);
                }
                continue;
            }
            found.tokens.push(candidate.token);
            found.logs.push(candidate.log);
            next.push(Beam { found, score: candidate.score });
            parents.push(candidate.beam);
            if next.len() == width {
                break;
            }
        }
        if done.is_full_with_at_least(top / length) {
            return Ok(done.take());
        }
        beams = next;
        if beams.is_empty() || at + 1 == rules.most {
            break;
        }
        let tokens: Vec<u32> = beams.iter().filter_map(|beam| beam.found.tokens.last().copied()).collect();
        logits = steps.next(&parents, &tokens)?;
    }
    let length = (rules.prompt + rules.most).saturating_sub(1).max(1) as f64;
    for beam in beams {
        done.add(beam.score / length, beam.found);
    }
    Ok(done.take())
}

/// The best continuations of all beams, best first; of equals, that of the earlier beam and the lower token.
fn candidates(beams: &[Beam], logits: &[Vec<f32>], rules: &Rules, count: usize) -> Vec<Candidate> {
    let mut all = Vec::new();
    for (index, (beam, logits)) in beams.iter().zip(logits).enumerate() {
        let mut of_beam = allowed(logits, rules, beam.found.tokens.is_empty());
        let order = |(a, x): &(u32, f64), (b, y): &(u32, f64)| y.total_cmp(x).then(a.cmp(b));
        if of_beam.len() > count {
            of_beam.select_nth_unstable_by(count, order);
            of_beam.truncate(count);
        }
        of_beam.sort_by(order);
        all.extend(of_beam.into_iter().map(|(token, log)| Candidate {
            beam: index,
            token,
            log,
            score: beam.score + log,
        }));
    }
    all.sort_by(|a, b| b.score.total_cmp(&a.score));
    all.truncate(count);
    all
}

/// Transcripts that have ended, at most `width`, with their mean logarithms.
struct Done {
    best: Vec<(f64, Found)>,
    width: usize,
}

impl Done {
    fn add(&mut self, score: f64, found: Found) {
        if self.best.len() < self.width || self.worst().is_some_and(|worst| score > worst) {
            // Before its equals: of equals, the last that came is the best.
            let place = self.best.partition_point(|(other, _)| *other > score);
            self.best.insert(place, (score, found));
            self.best.truncate(self.width);
        }
    }

    fn worst(&self) -> Option<f64> {
        self.best.last().map(|(score, _)| *score)
    }

    fn is_full_with_at_least(&self, score: f64) -> bool {
        self.best.len() == self.width && self.worst().is_some_and(|worst| worst >= score)
    }

    fn take(self) -> Found {
        self.best.into_iter().next().map(|(_, found)| found).unwrap_or_default()
    }
}

/// Logarithms of the probabilities of all tokens that may come.
fn allowed(logits: &[f32], rules: &Rules, is_first: bool) -> Vec<(u32, f64)> {
    let most = logits.iter().fold(f32::NEG_INFINITY, |most, logit| most.max(*logit));
    let sum: f64 = logits.iter().map(|logit| f64::from(logit - most).exp()).sum();
    let total = f64::from(most) + sum.ln();
    let may = |token: &u32| !(rules.never.contains(token) || is_first && rules.not_first.contains(token));
    let logs = logits.iter().zip(0u32..).map(|(logit, token)| (token, f64::from(*logit) - total));
    logs.filter(|(token, log)| log.is_finite() && may(token)).collect()
}

fn best(logs: &[(u32, f64)]) -> Option<(u32, f64)> {
    let better = |best: (u32, f64), next: &(u32, f64)| if next.1 > best.1 { *next } else { best };
    let (first, rest) = logs.split_first()?;
    Some(rest.iter().fold(*first, better))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A grammar: logits after a last token, whatever came before it.
    struct Script([[f32; 4]; 4]);

    impl Steps for Script {
        fn next(&mut self, _: &[usize], tokens: &[u32]) -> Result<Vec<Vec<f32>>, ModelError> {
            Ok(tokens.iter().map(|token| self.0[*token as usize].to_vec()).collect())
        }
    }

    const END: u32 = 3;
    /// 0 looks best and leads to nothing much; 1 leads to 2, and 2 to the end.
    const SCRIPT: [[f32; 4]; 4] =
        [[0.0, 0.0, 0.0, 0.1], [-9.0, -9.0, 9.0, -9.0], [-9.0, -9.0, -9.0, 9.0], [0.0; 4]];
    const FIRST: [f32; 4] = [1.0, 0.9, -5.0, -9.0];

    fn rules(most: usize) -> Rules {
        Rules { end: END, never: BTreeSet::new(), not_first: BTreeSet::new(), prompt: 1, most }
    }

    #[test]
    fn the_best_token_is_not_always_the_best_transcript() {
        let greedy = greedy(FIRST.to_vec(), &rules(9), &mut Script(SCRIPT)).expect("found");
        assert_eq!((greedy.tokens, greedy.ended), (vec![0], true));
        let found = beams(FIRST.to_vec(), 3, &rules(9), &mut Script(SCRIPT)).expect("found");
        assert_eq!((found.tokens.as_slice(), found.ended), (&[1, 2][..], true));
        assert_eq!(found.logs.len(), 2);
    }

    #[test]
    fn forbidden_tokens_do_not_come() {
        let rules = Rules { never: [0].into(), not_first: [1].into(), ..rules(3) };
        let found = greedy(FIRST.to_vec(), &rules, &mut Script(SCRIPT)).expect("found");
        assert_eq!(found.tokens, vec![2]);
        let found = beams(FIRST.to_vec(), 2, &rules, &mut Script(SCRIPT)).expect("found");
        assert!(!found.tokens.contains(&0) && found.tokens.first() != Some(&1), "{found:?}");
    }

    #[test]
    fn length_is_bounded_and_nothing_is_no_fault() {
        let endless = [[0.0, 5.0, 0.0, -9.0]; 4];
        for most in [0, 1, 7] {
            let found = greedy(FIRST.to_vec(), &rules(most), &mut Script(endless)).expect("found");
            assert_eq!((found.tokens.len(), found.ended), (most, false));
            let found = beams(FIRST.to_vec(), 4, &rules(most), &mut Script(endless)).expect("found");
            assert_eq!((found.tokens.len(), found.ended), (most, false));
        }
        let nan = vec![f32::NAN; 4];
        assert_eq!(greedy(nan.clone(), &rules(3), &mut Script(endless)).expect("found"), Found::default());
        assert_eq!(beams(nan, 2, &rules(3), &mut Script(endless)).expect("found"), Found::default());
    }
}
