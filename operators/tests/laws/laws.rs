//! The laws of `Logic`, as checks that any logic and any script of epochs can be put through.

use lsie_operators::logic::{Keyed, Logic};
use lsie_schemas::LogTime;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What happens at each epoch.
pub(crate) type Script<R> = Vec<(LogTime, Vec<R>)>;

/// What a logic emits at each epoch of a script.
pub(crate) fn run<L: Logic>(mut logic: L, script: &[(LogTime, Vec<L::Record>)]) -> Vec<Vec<L::Output>>
where
    L::Record: Clone,
{
    let step = |(epoch, records): &(LogTime, Vec<L::Record>)| {
        let mut out = Vec::new();
        logic.on_epoch(*epoch, records.clone(), &mut out);
        out
    };
    script.iter().map(step).collect()
}

/// A restart before every line of the script changes nothing. The snapshot passes through bytes.
pub(crate) fn restarts_change_nothing<L: Logic>(make: impl Fn() -> L, script: &[(LogTime, Vec<L::Record>)])
where
    L::Record: Clone,
    L::Output: PartialEq + std::fmt::Debug,
{
    restarts(make, script, through_bytes);
}

/// The same if the snapshot comes apart on the way, and is put together in another order.
pub(crate) fn restarts_in_pieces_change_nothing<L>(make: impl Fn() -> L, script: &[(LogTime, Vec<L::Record>)])
where
    L: Logic<Snapshot: Keyed>,
    L::Record: Clone,
    L::Output: PartialEq + std::fmt::Debug,
{
    restarts(make, script, |snapshot| {
        let mut whole = L::Snapshot::default();
        for (_, piece) in snapshot.apart().into_iter().rev() {
            whole.join(through_bytes(piece));
        }
        whole
    });
}

fn through_bytes<S: Serialize + DeserializeOwned>(snapshot: S) -> S {
    let bytes = serde_json::to_vec(&snapshot).expect("a snapshot can be written");
    serde_json::from_slice(&bytes).expect("a snapshot can be read")
}

fn restarts<L: Logic>(
    make: impl Fn() -> L,
    script: &[(LogTime, Vec<L::Record>)],
    through: impl Fn(L::Snapshot) -> L::Snapshot,
) where
    L::Record: Clone,
    L::Output: PartialEq + std::fmt::Debug,
{
    let whole = run(make(), script);
    let mut first = make();
    for (at, (epoch, records)) in script.iter().enumerate() {
        let second = restarted(&first, &make, &script[..at], &through);
        assert_eq!(run(second, &script[at..]), whole[at..], "restarted before line {at}");
        first.on_epoch(*epoch, records.clone(), &mut Vec::new());
    }
    // And again and again: each goes on from one that was itself restarted, a line after it or a few.
    let (mut value, mut said) = (make(), Vec::new());
    for at in 0..script.len() {
        if at % 5 < 2 {
            value = restarted(&value, &make, &script[..at], &through);
        }
        let mut out = Vec::new();
        value.on_epoch(script[at].0, script[at].1.clone(), &mut out);
        said.push(out);
    }
    assert_eq!(said, whole, "restarted again and again");
}

/// Another value in the place of one that has come through these lines.
fn restarted<L: Logic>(
    value: &L,
    make: impl Fn() -> L,
    past: &[(LogTime, Vec<L::Record>)],
    through: impl Fn(L::Snapshot) -> L::Snapshot,
) -> L
where
    L::Record: Clone,
{
    let mut again = make();
    again.restore(through(value.snapshot()));
    assert_eq!(value.rewind(), again.rewind(), "the value and the restored one, after {} lines", past.len());
    if let Some(from) = again.rewind() {
        for (epoch, records) in past.iter().filter(|(epoch, _)| *epoch >= from) {
            again.rebuild(*epoch, records.clone(), &mut Vec::new());
        }
    }
    again
}

/// Another order of the records within their epochs changes nothing. `turns` says how each epoch's are turned.
pub(crate) fn order_changes_nothing<L: Logic>(
    make: impl Fn() -> L,
    script: &[(LogTime, Vec<L::Record>)],
    turns: &[usize],
) where
    L::Record: Clone,
    L::Output: PartialEq + std::fmt::Debug,
{
    let whole = run(make(), script);
    let mut reversed = script.to_vec();
    reversed.iter_mut().for_each(|(_, records)| records.reverse());
    assert_eq!(run(make(), &reversed), whole, "reversed");
    let mut turned = script.to_vec();
    for (line, (_, records)) in turned.iter_mut().enumerate().filter(|(_, (_, records))| !records.is_empty())
    {
        let by = turns.get(line % turns.len().max(1)).copied().unwrap_or(1) % records.len();
        records.rotate_left(by);
    }
    assert_eq!(run(make(), &turned), whole, "turned");
}
