//! Several sessions as one timeline.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::timeline::TimedRecord;

/// Merges timelines by due time; of records due together, the earlier timeline's comes first.
pub fn merge<I: Iterator<Item = TimedRecord>>(timelines: Vec<I>) -> impl Iterator<Item = TimedRecord> {
    let mut timelines: Vec<_> = timelines.into_iter().map(Iterator::peekable).collect();
    let mut due: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
    for (i, timeline) in timelines.iter_mut().enumerate() {
        due.extend(timeline.peek().map(|next| Reverse((next.at_ms, i))));
    }
    std::iter::from_fn(move || {
        let Reverse((_, i)) = due.pop()?;
        let timeline = &mut timelines[i];
        let record = timeline.next();
        due.extend(timeline.peek().map(|next| Reverse((next.at_ms, i))));
        record
    })
}
