//! The views against recomputation from scratch, at every epoch, while rows come, go and are corrected.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use crossbeam_channel::unbounded;
use differential_dataflow::input::Input as _;
use lsie_schemas::{Cell, Change, TableRow};
use proptest::prelude::*;
use timely::dataflow::StreamVec;
use timely::dataflow::operators::Probe;
use timely::dataflow::operators::vec::Map;

use super::Rows;
use super::feed::Fact;
use crate::adapter::Time;
use crate::checkpoint::gate::Gate;
use crate::checkpoint::state_file::{Shelved, StateFile};
use crate::checkpoint::{Content, Keep, Restored};
use crate::commit::{Message, Written};

mod actions;
mod arms;
mod encounters;
mod evaluations;
mod ledger;
pub(super) mod places;
mod posterior_history;
mod record_classes;
mod sessions;
mod summaries;
mod watch;

/// Rows of some tables, with the number of copies of each.
type Table = BTreeMap<(String, Vec<Cell>), i64>;

/// A view, from facts to the changes of its tables.
type View = for<'scope> fn(Rows<'scope, Fact>, &Keep) -> StreamVec<'scope, Time, Written>;

/// How a view is run.
#[derive(Clone, Copy, Debug)]
struct Run {
    workers: usize,
    /// Whether the workers wait after an epoch, a bit for each; else they get the next one at once.
    waits: u16,
    /// Whether an epoch is a checkpoint, a bit for each; after the last, other workers go on.
    chosen: u16,
    /// From one epoch to the next, ms: with the longer one, what nothing has touched for some epochs is put to rest.
    apart: Time,
}

prop_compose! {
    fn run()(
        workers in 1..=2usize,
        waits in any::<u16>(),
        chosen in any::<u16>(),
        apart in prop::sample::select(&[1, 50_000][..]),
    ) -> Run {
        Run { workers, waits, chosen, apart }
    }
}

impl Run {
    /// The same without checkpoints: of a view over inputs that the graph keeps.
    fn whole(self) -> Run {
        Run { chosen: 0, ..self }
    }
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 32, ..ProptestConfig::default() }
}

/// Epochs of edits: a value is put where none is or corrects the one that is there, however late; none takes
/// it back.
fn epochs<K: Debug, V: Debug>(
    places: impl Strategy<Value = K>,
    values: impl Strategy<Value = V>,
) -> impl Strategy<Value = Vec<Vec<(K, Option<V>)>>> {
    let edit = (places, prop::option::weighted(0.75, values));
    prop::collection::vec(prop::collection::vec(edit, 0..12), 1..14)
}

/// Runs a view over the facts of these epochs, and compares its rows as of each with those from scratch.
fn check<K: Ord + Copy, V: Copy>(
    view: View,
    run: Run,
    epochs: Vec<Vec<(K, Option<V>)>>,
    fact: impl Fn(K, V) -> Fact,
    from_scratch: impl Fn(&BTreeMap<K, V>) -> Table,
) -> Result<(), TestCaseError> {
    let mut world = BTreeMap::new();
    let (mut worlds, mut updates) = (Vec::new(), Vec::new());
    for edits in epochs {
        let mut changed = Vec::new();
        for (place, value) in edits {
            changed.extend(world.remove(&place).map(|before| (fact(place, before), -1)));
            if let Some(value) = value {
                world.insert(place, value);
                changed.push((fact(place, value), 1));
            }
        }
        worlds.push(world.clone());
        updates.push(changed);
    }
    let tables = maintain(view, run, updates);
    prop_assert_eq!(tables.len(), worlds.len());
    for (epoch, (table, world)) in (1..).zip(tables.iter().zip(&worlds)) {
        prop_assert_eq!(table, &from_scratch(world), "epoch {}", epoch);
    }
    Ok(())
}

/// The rows of a view as of each epoch from 1 on.
fn maintain(view: View, run: Run, epochs: Vec<Vec<(Fact, isize)>>) -> Vec<Table> {
    let last = epochs.len();
    let epochs: Vec<(Time, Vec<(Fact, isize)>)> =
        (1..).zip(epochs).map(|(number, updates)| (number * run.apart, updates)).collect();
    let stop = (1..=last).rfind(|number| run.chosen >> number & 1 == 1).unwrap_or(0);
    let (before, after) = epochs.split_at(stop);
    let mut keep = Keep::nothing(0, run.workers, Arc::default());
    let mut seen = Vec::new();
    if stop > 0 {
        let (parts, handed) = unbounded();
        let keeping = Keep { parts: Some(parts), gate: Arc::new(Gate::following()), ..keep };
        seen.extend(part_of(view, run, before, keeping));
        // It goes on with another number of workers.
        let restored =
            Restored { epoch: stop as Time * run.apart, state: state(handed.try_iter()), weight: 0 };
        let run = Run { workers: 3 - run.workers, ..run };
        keep = Keep { resumed: restored.epoch, ..Keep::nothing(0, run.workers, Arc::default()) };
        keep.restored = Arc::new(Mutex::new(Some(Arc::new(restored))));
        seen.extend(part_of(view, run, after, keep));
    } else {
        seen.extend(part_of(view, run, after, keep));
    }
    let mut changes: BTreeMap<Time, Vec<Change>> = BTreeMap::new();
    for change in seen {
        changes.entry(change.epoch.0).or_default().push(change);
    }
    let mut table = Table::new();
    let tables = epochs.iter().map(|(epoch, _)| {
        for change in changes.remove(epoch).unwrap_or_default() {
            *table.entry((change.table.to_string(), change.row)).or_default() += change.diff;
        }
        table.retain(|_, copies| *copies != 0);
        table.clone()
    });
    let tables = tables.collect();
    assert!(changes.is_empty(), "no change is of another epoch");
    tables
}

/// The changes of a view over the facts of some epochs, after what it has kept.
fn part_of(view: View, run: Run, epochs: &[(Time, Vec<(Fact, isize)>)], keep: Keep) -> Vec<Change> {
    let epochs = epochs.to_vec();
    let workers = timely::execute(timely::Config::process(run.workers), move |worker| {
        let seen = Rc::new(RefCell::new(Vec::<Written>::new()));
        let kept = seen.clone();
        let (index, peers) = (worker.index(), worker.peers());
        let keep = Keep { worker: index, ..keep.clone() };
        let (mut input, probe) = worker.dataflow::<Time, _, _>(|scope| {
            let (input, facts) = scope.new_collection::<Fact, isize>();
            let (probe, _) = view(facts, &keep).map(move |written| kept.borrow_mut().push(written)).probe();
            (input, probe)
        });
        // What a run resumed from is known, epoch 0 if it did not.
        input.advance_to(keep.resumed + 1);
        for (at, (epoch, updates)) in epochs.iter().enumerate() {
            let number = epoch / run.apart;
            input.advance_to(*epoch);
            for (fact, diff) in updates.iter().skip(index).step_by(peers) {
                input.update(fact.clone(), *diff);
            }
            if index == 0 {
                keep.gate.follow(*epoch, keep.is_on() && run.chosen >> number & 1 == 1);
            }
            input.advance_to(epoch + 1);
            input.flush();
            if at + 1 == epochs.len() || run.waits >> number & 1 == 1 {
                worker.step_while(|| probe.less_than(input.time()));
            }
        }
        seen.take()
    });
    let seen =
        workers.expect("workers").join().into_iter().flat_map(|seen| seen.expect("a worker's changes"));
    let change = |written| match written {
        Written::Change(change) => Some(change),
        _ => None,
    };
    seen.filter_map(change).collect()
}

/// The state that checkpoints of these parts make.
fn state(parts: impl Iterator<Item = Message>) -> StateFile {
    let mut files: BTreeMap<Time, StateFile> = BTreeMap::new();
    for message in parts {
        let Message::Part(part) = message else { unreachable!("only state is handed over") };
        let file = files.entry(part.epoch).or_default();
        let station = part.station.to_string();
        match part.content {
            Content::Pieces(encode) => {
                let pieces = encode().expect("state").into_iter().map(|(key, piece)| (key, Some(piece)));
                file.pieces.entry(station).or_default().then(pieces.collect());
            }
            Content::Rows(_) => unreachable!("the graph keeps inputs"),
            Content::Shelf(encode) => {
                let Shelved { rows, resting } = encode().expect("state");
                file.rows.entry(station.clone()).or_default().before.add(rows);
                file.resting.entry(station).or_default().then(resting);
            }
        }
    }
    let read = |file: StateFile| StateFile::decode(&file.encode().expect("a file")).expect("the same file");
    let all = StateFile::of(files.into_values().map(read));
    let mut rows = all.rows.values().flat_map(|added| &added.before);
    assert!(rows.all(|(_, copies)| *copies > 0), "what is held is there");
    all
}

fn put<R: TableRow>(table: &mut Table, row: &R) {
    *table.entry((R::TABLE.name.into(), row.cells())).or_default() += 1;
}
