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

    /// The inboxes of all others, likewise.
    pub fn inboxes(&self) -> Vec<Standing> {
        self.lock().values().flat_map(|stand| stand.inboxes.clone()).collect()
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
