//! Where every operator stands, as table `operators` shows it. It follows the pace of the process, so it is no
//! result: nothing of it goes into a permanent table.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lsie_schemas::LogTime;
use lsie_schemas::row::OperatorRow;
use serde::{Deserialize, Serialize};

/// The places of all operators of a process.
#[derive(Debug, Default)]
pub struct Board {
    operators: Mutex<Vec<(usize, String, Arc<Place>)>>,
}

/// Where one operator stands; written by its worker, read by anybody.
#[derive(Debug, Default)]
pub struct Place {
    frontier: AtomicU64,
    backlog: AtomicU64,
    busy_ns: AtomicU64,
}

/// What an operator has to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Load {
    /// Its worker.
    pub worker: usize,
    /// Its name.
    pub operator: String,
    /// Its input is complete before this log time, ms; none: for good.
    pub frontier: Option<u64>,
    /// Epochs that wait in it.
    pub backlog: u64,
    /// How long its worker has been in it.
    pub busy: Duration,
}

thread_local! {
    /// The board of the graph that this worker builds. Operators find it here, so that no signature carries it.
    static BUILDING: RefCell<Option<(Arc<Board>, usize)>> = const { RefCell::new(None) };
}

impl Board {
    /// Builds a graph whose operators are on this board.
    pub fn building<T>(self: &Arc<Self>, worker: usize, build: impl FnOnce() -> T) -> T {
        BUILDING.with_borrow_mut(|building| *building = Some((self.clone(), worker)));
        let built = build();
        BUILDING.with_borrow_mut(|building| *building = None);
        built
    }

    /// What every operator has to do.
    pub fn loads(&self) -> Vec<Load> {
        let operators = self.operators.lock().unwrap_or_else(PoisonError::into_inner);
        let load = |(worker, operator, place): &(usize, String, Arc<Place>)| {
            let frontier = place.frontier.load(Ordering::Relaxed);
            Load {
                worker: *worker,
                operator: operator.clone(),
                frontier: (frontier != u64::MAX).then_some(frontier),
                backlog: place.backlog.load(Ordering::Relaxed),
                busy: Duration::from_nanos(place.busy_ns.load(Ordering::Relaxed)),
            }
        };
        operators.iter().map(load).collect()
    }

    fn place(&self, worker: usize, name: &str) -> Arc<Place> {
        let mut operators = self.operators.lock().unwrap_or_else(PoisonError::into_inner);
        let numbered = |number: usize| if number == 1 { name.to_owned() } else { format!("{name} {number}") };
        let is_free = |name: &String| !operators.iter().any(|(of, other, _)| *of == worker && other == name);
        let name = (1..).map(numbered).find(is_free).unwrap_or_default();
        let place = Arc::new(Place::default());
        operators.push((worker, name, place.clone()));
        place
    }
}

/// A row for every operator, in order of worker and name.
pub fn rows(loads: Vec<Load>) -> Vec<OperatorRow> {
    let row = |load: Load| OperatorRow {
        worker: load.worker as i64,
        operator: load.operator,
        frontier_utc: load.frontier.map(|frontier| LogTime(frontier).as_event()),
        backlog: load.backlog as i64,
    };
    let mut rows: Vec<OperatorRow> = loads.into_iter().map(row).collect();
    rows.sort();
    rows
}

impl Place {
    /// The place of an operator of the graph that is being built; one that nobody sees elsewhere.
    pub fn of(name: &str) -> Arc<Place> {
        BUILDING.with_borrow(|building| match building {
            Some((board, worker)) => board.place(*worker, name),
            None => Arc::default(),
        })
    }

    /// The worker was in the operator since then.
    pub fn worked(&self, since: Instant) {
        self.busy_ns.fetch_add(since.elapsed().as_nanos() as u64, Ordering::Relaxed);
    }

    /// The operator's input is complete before `frontier` (none: for good), and so many epochs wait.
    pub fn stands(&self, frontier: Option<u64>, waiting: usize) {
        self.frontier.store(frontier.unwrap_or(u64::MAX), Ordering::Relaxed);
        self.backlog.store(waiting as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_of_one_name_are_told_apart() {
        let board = Arc::new(Board::default());
        let places = board.building(1, || [Place::of("rows"), Place::of("align"), Place::of("rows")]);
        places[0].stands(Some(2_000), 3);
        places[2].stands(None, 0);
        let rows = rows(board.loads());
        let shown: Vec<_> = rows
            .iter()
            .map(|row| (row.operator.as_str(), row.frontier_utc.map(|at| at.0), row.backlog))
            .collect();
        assert_eq!(shown, [("align", Some(0), 0), ("rows", Some(2_000_000), 3), ("rows 2", None, 0)]);
        Place::of("elsewhere").stands(None, 0);
        assert_eq!(board.loads().len(), 3);
    }
}
