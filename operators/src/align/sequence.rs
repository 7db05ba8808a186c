//! Which sequence numbers of a stream have been seen: a high mark and the gaps below it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Most gaps that are remembered; beyond it the oldest are forgotten, and what fills them counts as a
/// duplicate.
const MAX_GAPS: usize = 1_024;

/// Numbers that may be missing at once: about an hour of video.
const MAX_JUMP: u64 = 100_000;

/// What a sequence number says about its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The next one, or later: in order.
    InOrder,
    /// Seen before.
    Duplicate,
    /// Not seen, but a later one was: too late for a stream that is worked on in order.
    OutOfOrder,
    /// So far ahead that it must be a damaged number; it moves nothing.
    Jump,
}

/// The sequence numbers of one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sequence {
    next: u64,
    begun: bool,
    /// First missing number → one past the last, below `next`.
    gaps: BTreeMap<u64, u64>,
}

impl Sequence {
    /// Takes note of a number.
    pub(crate) fn observe(&mut self, seq: u64) -> Seen {
        if !self.begun {
            // A capture may have been running before its session.
            self.begun = true;
            self.next = seq;
        }
        if seq >= self.next.saturating_add(MAX_JUMP) {
            return Seen::Jump;
        }
        if seq >= self.next {
            if seq > self.next {
                self.gaps.insert(self.next, seq);
                if self.gaps.len() > MAX_GAPS {
                    self.gaps.pop_first();
                }
            }
            self.next = seq.saturating_add(1);
            return Seen::InOrder;
        }
        let Some((&from, &to)) = self.gaps.range(..=seq).next_back().filter(|(_, to)| **to > seq) else {
            return Seen::Duplicate;
        };
        self.gaps.remove(&from);
        if from < seq {
            self.gaps.insert(from, seq);
        }
        if seq + 1 < to {
            self.gaps.insert(seq + 1, to);
        }
        Seen::OutOfOrder
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_told_from_duplicates() {
        let mut sequence = Sequence::default();
        let seen: Vec<Seen> = [0, 1, 5, 3, 3, 2, 4, 4, 5, 6].map(|seq| sequence.observe(seq)).into();
        use Seen::*;
        let expected = [
            InOrder, InOrder, InOrder, OutOfOrder, Duplicate, OutOfOrder, OutOfOrder, Duplicate, Duplicate,
            InOrder,
        ];
        assert_eq!(seen, expected);
        assert!(sequence.gaps.is_empty());
    }
}
