//! The views against recomputation from scratch, at every epoch, while rows come, go and are corrected.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::rc::Rc;

use differential_dataflow::input::Input as _;
use lsie_schemas::{Cell, Change, TableRow};
use proptest::prelude::*;
use timely::dataflow::StreamVec;
use timely::dataflow::operators::Probe;
use timely::dataflow::operators::vec::Map;

use super::Rows;
use super::feed::Fact;
use crate::adapter::Time;
use crate::commit::Written;

mod actions;
mod arms;
mod encounters;
mod evaluations;
mod ledger;
mod places;
mod posterior_history;
mod record_classes;
mod sessions;
mod summaries;
mod watch;

/// Rows of some tables, with the number of copies of each.
type Table = BTreeMap<(String, Vec<Cell>), i64>;

/// A view, from facts to the changes of its tables.
type View = for<'scope> fn(Rows<'scope, Fact>) -> StreamVec<'scope, Time, Written>;

/// How a view is run.
#[derive(Clone, Copy, Debug)]
struct Run {
    workers: usize,
    /// Whether the workers wait after an epoch, a bit for each; else they get the next one at once.
    waits: u16,
}

prop_compose! {
    fn run()(workers in 1..=2usize, waits in any::<u16>()) -> Run {
        Run { workers, waits }
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
    let last = epochs.len() as Time;
    let workers = timely::execute(timely::Config::process(run.workers), move |worker| {
        let seen = Rc::new(RefCell::new(Vec::<Written>::new()));
        let kept = seen.clone();
        let (mut input, probe) = worker.dataflow::<Time, _, _>(|scope| {
            let (input, facts) = scope.new_collection::<Fact, isize>();
            let (probe, _) = view(facts).map(move |written| kept.borrow_mut().push(written)).probe();
            (input, probe)
        });
        let (index, peers) = (worker.index(), worker.peers());
        // What a run resumed from, epoch 0 here, is known.
        input.advance_to(1);
        for (epoch, updates) in (1..).zip(&epochs) {
            for (fact, diff) in updates.iter().skip(index).step_by(peers) {
                input.update(fact.clone(), *diff);
            }
            input.advance_to(epoch + 1);
            input.flush();
            if epoch == last || run.waits >> epoch & 1 == 1 {
                worker.step_while(|| probe.less_than(input.time()));
            }
        }
        seen.take()
    });
    let mut changes: BTreeMap<Time, Vec<Change>> = BTreeMap::new();
    let seen = workers.expect("workers").join().into_iter().map(|seen| seen.expect("a worker's changes"));
    for written in seen.flatten() {
        let Written::Change(change) = written else { continue };
        changes.entry(change.epoch.0).or_default().push(change);
    }
    let mut table = Table::new();
    let tables = (1..=last).map(|epoch| {
        for change in changes.remove(&epoch).unwrap_or_default() {
            *table.entry((change.table.to_string(), change.row)).or_default() += change.diff;
        }
        table.retain(|_, copies| *copies != 0);
        table.clone()
    });
    let tables = tables.collect();
    assert!(changes.is_empty(), "no change is of another epoch");
    tables
}

fn put<R: TableRow>(table: &mut Table, row: &R) {
    *table.entry((R::TABLE.name.into(), row.cells())).or_default() += 1;
}
