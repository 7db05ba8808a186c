//! Where the other processes of a run stand, as the first one shows it: their operators, inboxes and sessions. None of it
//! reaches a result.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lsie_schemas::LogTime;
use lsie_schemas::row::SourceRow;
use serde::{Deserialize, Serialize};

use crate::board::Load;
use crate::ingest::{Shared, Standing};

/// Where a process stands.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Stand {
    /// Its operators.
    pub loads: Vec<Load>,
    /// The inboxes of its workers.
    pub inboxes: Vec<Standing>,
    /// How the live sessions do that its workers own.
    pub sessions: Vec<SourceRow>,
}

impl Stand {
    /// Where this process stands.
    pub(crate) fn of(shared: &Shared) -> Stand {
        let now = LogTime(shared.committed.load(Ordering::SeqCst));
        Stand {
            loads: shared.board.loads(),
            inboxes: shared.inboxes.get().into_iter().flatten().map(|inbox| inbox.standing()).collect(),
            sessions: shared.sources.rows(now, std::iter::empty()),
        }
    }
}

/// What the others have said last.
#[derive(Debug, Default)]
pub struct Elsewhere {
    stands: Mutex<BTreeMap<usize, Stand>>,
}

impl Elsewhere {
    /// A process says where it stands.
    pub fn hear(&self, process: usize, stand: Stand) {
        self.lock().insert(process, stand);
    }

    /// The operators of all others, in order of process.
    pub fn loads(&self) -> Vec<Load> {
        self.lock().values().flat_map(|stand| stand.loads.clone()).collect()
    }

    /// The inboxes of all others, each with the number of its worker among those of the run. All processes have as many.
    pub fn inboxes(&self) -> Vec<(usize, Standing)> {
        let stands = self.lock();
        let numbered = |(process, stand): (&usize, &Stand)| {
            let first = process * stand.inboxes.len();
            (first..).zip(stand.inboxes.clone()).collect::<Vec<_>>()
        };
        stands.iter().flat_map(numbered).collect()
    }

    /// The sessions of all others.
    pub fn sessions(&self) -> Vec<SourceRow> {
        self.lock().values().flat_map(|stand| stand.sessions.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<usize, Stand>> {
        // Plain values.
        self.stands.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stand(bytes: &[usize]) -> Stand {
        let inbox =
            |bytes: &usize| Standing { partitions: Vec::new(), bytes: *bytes, budget: 100, pauses: 0 };
        Stand { inboxes: bytes.iter().map(inbox).collect(), ..Stand::default() }
    }

    #[test]
    fn inboxes_have_their_numbers_before_all_have_spoken() {
        let elsewhere = Elsewhere::default();
        let numbers =
            || elsewhere.inboxes().into_iter().map(|(worker, at)| (worker, at.bytes)).collect::<Vec<_>>();
        elsewhere.hear(3, stand(&[60, 70]));
        assert_eq!(numbers(), [(6, 60), (7, 70)]);
        elsewhere.hear(1, stand(&[20, 30]));
        assert_eq!(numbers(), [(2, 20), (3, 30), (6, 60), (7, 70)]);
        elsewhere.hear(3, stand(&[61, 71]));
        assert_eq!(numbers(), [(2, 20), (3, 30), (6, 61), (7, 71)], "the last word holds");
    }
}
