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
        let mut second = make();
        second.restore(through(first.snapshot()));
        assert_eq!(
            first.rewind(),
            second.rewind(),
            "the running value and the restored one, before line {at}"
        );
        if let Some(from) = second.rewind() {
            for (epoch, records) in script[..at].iter().filter(|(epoch, _)| *epoch >= from) {
                second.rebuild(*epoch, records.clone(), &mut Vec::new());
            }
        }
        assert_eq!(run(second, &script[at..]), whole[at..], "restarted before line {at}");
        first.on_epoch(*epoch, records.clone(), &mut Vec::new());
    }
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
