//! The attribution ledger's operator: encounters and outcomes of a session meet on one worker, whichever comes
//! first and however late.

use lsie_operators::align::{Class, Classified};
use lsie_operators::attribution::ledger::{LedgerEvent, outcome_row};
use lsie_operators::attribution::link::{Horizon, LedgerRow, LinkOutput, LinkRecord, LinkSnapshot, Linker};
use lsie_operators::logic::Logic;
use lsie_schemas::record::{DeadLetter, Outcome};
use lsie_schemas::{LogTime, Topic};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What reaches the ledger.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Input {
    /// An encounter's event.
    Event(Box<LedgerEvent>),
    /// An outcome, and its dead letter should it be late, if a record of its own brought it.
    Outcome(Outcome, Option<Box<DeadLetter>>),
    /// The epoch is complete on this worker: horizons close by log time.
    Tick(u64),
}

impl Input {
    /// What decides the worker: the session, or the worker itself.
    pub fn route(&self) -> u64 {
        match self {
            Input::Event(event) => event.row().session_id.as_u64_pair().0,
            Input::Outcome(outcome, _) => outcome.session_id.as_u64_pair().0,
            Input::Tick(worker) => *worker,
        }
    }
}

/// What comes out of the ledger.
#[derive(Clone, Debug)]
pub enum Output {
    /// A row came (+1) or went (-1).
    Change(Box<LedgerRow>, i64),
    /// What became of an outcome's record.
    Classified(Classified),
    /// An outcome's record came after its horizon had closed.
    Dead(DeadLetter),
}

/// The ledger of one worker's sessions, with the default horizon.
pub struct Ledger {
    linker: Linker,
}

impl Default for Ledger {
    fn default() -> Ledger {
        Ledger { linker: Linker::new(Horizon::default()) }
    }
}

impl Logic for Ledger {
    type Record = Input;
    type Output = Output;
    type Snapshot = LinkSnapshot;

    fn on_epoch(&mut self, epoch: LogTime, inputs: Vec<Input>, out: &mut Vec<Output>) {
        let mut records = Vec::new();
        let mut letters = Vec::new();
        for input in inputs {
            match input {
                Input::Event(event) => records.push(LinkRecord::Event(event)),
                Input::Outcome(outcome, letter) => {
                    letters.extend(letter.map(|letter| (outcome.clone(), letter)));
                    records.push(LinkRecord::Outcome(outcome));
                }
                Input::Tick(_) => {}
            }
        }
        letters.sort_by_key(|(_, letter)| (letter.at, letter.offset));
        let mut judged: Vec<(Uuid, Class, Box<DeadLetter>)> = Vec::new();
        for (outcome, letter) in letters {
            let row = outcome_row(&outcome);
            let id = row.outcome_id;
            let again = self.linker.knows(&row) || judged.iter().any(|(other, _, _)| *other == id);
            judged.push((id, if again { Class::Duplicate } else { Class::Used }, letter));
        }
        let mut said = Vec::new();
        self.linker.on_epoch(epoch, records, &mut said);
        for word in said {
            match word {
                LinkOutput::Change(row, diff) => out.push(Output::Change(row, diff)),
                LinkOutput::Late(id) => {
                    for (_, class, _) in judged.iter_mut().filter(|(of, _, _)| *of == id) {
                        *class = Class::Late;
                    }
                }
                LinkOutput::Unlisted(session, at) => {
                    tracing::warn!(%session, at = %at.canonical(), "its segment has an earlier attribution event");
                }
            }
        }
        for (_, class, letter) in judged {
            let late = class == Class::Late;
            let reason = if late { letter.rejection.reason.clone() } else { String::new() };
            let session = letter.session_id;
            out.push(Output::Classified(Classified { session, topic: Topic::Outcomes, class, reason }));
            if late {
                out.push(Output::Dead(*letter));
            }
        }
    }
    fn snapshot(&self) -> LinkSnapshot {
        self.linker.snapshot()
    }

    fn restore(&mut self, snapshot: LinkSnapshot) {
        self.linker.restore(snapshot);
    }
}
