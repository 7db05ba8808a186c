//! The operator of docs/ADDING.md: when was nothing heard of a session for long? Held to the laws like all others.

use proptest::prelude::*;

use crate::laws::{
    Script, order_changes_nothing, restarts_change_nothing, restarts_in_pieces_change_nothing, run,
};

// ANCHOR: operator
use std::collections::BTreeMap;

use lsie_operators::logic::{Keyed, Logic};
use lsie_schemas::{EventTime, LogTime, Uuid};
use serde::{Deserialize, Serialize};

/// Something that happened in a session, at its own time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Seen(Uuid, EventTime);

/// Nothing happened in between.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pause {
    session: Uuid,
    from: EventTime,
    to: EventTime,
}

/// Says which pauses of a session were long. Keeps one time for each session.
struct Pauses {
    /// How long a pause must be, µs. Configuration: no part of the snapshot.
    at_least_us: i64,
    newest: BTreeMap<Uuid, EventTime>,
}

#[derive(Default, Serialize, Deserialize)]
struct PausesSnapshot(Vec<(Uuid, EventTime)>);

impl Logic for Pauses {
    type Record = Seen;
    type Output = Pause;
    type Snapshot = PausesSnapshot;

    fn on_epoch(&mut self, _epoch: LogTime, mut records: Vec<Seen>, out: &mut Vec<Pause>) {
        // Within an epoch there is no order but the one that the operator makes.
        records.sort();
        for Seen(session, at) in records {
            let newest = *self.newest.get(&session).unwrap_or(&at);
            if at.0 - newest.0 >= self.at_least_us {
                out.push(Pause { session, from: newest, to: at });
            }
            // What comes again, or late, moves nothing.
            self.newest.insert(session, at.max(newest));
        }
    }

    fn snapshot(&self) -> PausesSnapshot {
        PausesSnapshot(self.newest.iter().map(|(session, at)| (*session, *at)).collect())
    }

    fn restore(&mut self, snapshot: PausesSnapshot) {
        self.newest = snapshot.0.into_iter().collect();
    }
}

impl Keyed for PausesSnapshot {
    type Key = Uuid;

    fn apart(self) -> Vec<(Option<Uuid>, PausesSnapshot)> {
        self.0.into_iter().map(|piece| (Some(piece.0), PausesSnapshot(vec![piece]))).collect()
    }

    fn join(&mut self, piece: PausesSnapshot) {
        self.0.extend(piece.0);
    }
}
// ANCHOR_END: operator

// ANCHOR: laws
fn pauses() -> Pauses {
    Pauses { at_least_us: 5_000_000, newest: BTreeMap::new() }
}

prop_compose! {
    /// Two sessions; what happens in them comes in any order, and sometimes again.
    fn script()(epochs in prop::collection::vec(prop::collection::vec((0..2u128, 0..60i64), 0..5), 1..20))
        -> Script<Seen>
    {
        let seen = |(session, s)| Seen(Uuid::from_u128(session), EventTime(s * 1_000_000));
        let epoch = |(n, records): (u64, Vec<_>)| (LogTime(n * 250), records.into_iter().map(seen).collect());
        (1..).zip(epochs).map(epoch).collect()
    }
}

proptest! {
    #[test]
    fn restarts(script in script()) {
        restarts_change_nothing(pauses, &script);
        restarts_in_pieces_change_nothing(pauses, &script);
    }

    #[test]
    fn order(script in script(), turns in prop::collection::vec(0usize..8, 1..5)) {
        order_changes_nothing(pauses, &script, &turns);
    }
}
// ANCHOR_END: laws

#[test]
fn a_long_pause_is_said_once() {
    let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let at = |s: i64| EventTime(s * 1_000_000);
    let script = [
        (LogTime(250), vec![Seen(a, at(10)), Seen(a, at(12)), Seen(b, at(11))]),
        (LogTime(500), vec![Seen(a, at(17)), Seen(b, at(12))]),
        (LogTime(750), vec![Seen(a, at(17)), Seen(a, at(13))]),
    ];
    let pause = Pause { session: a, from: at(12), to: at(17) };
    assert_eq!(run(pauses(), &script), [vec![], vec![pause], vec![]]);
}
