//! The attribution ledger's operator: encounters and outcomes of a session meet on one worker, whichever comes
//! first and however late.

use std::collections::{BTreeMap, BTreeSet};

use lsie_operators::align::{Class, Classified};
use lsie_operators::attribution::ledger::{LedgerEvent, outcome_row};
use lsie_operators::attribution::link::{Horizon, LedgerRow, LinkOutput, LinkRecord, LinkSnapshot, Linker};
use lsie_operators::logic::{Keyed, Logic};
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
    /// A row of a session came (+1) or went (-1).
    Change(Uuid, Box<LedgerRow>, i64),
    /// What became of an outcome's record.
    Classified(Classified),
    /// An outcome's record came after its horizon had closed.
    Dead(DeadLetter),
}

/// The ledger of one worker's sessions, with the default horizon. Each session has a linker of its own, so that an epoch
/// costs what happens in it, however many sessions wait for their horizons.
#[derive(Default)]
pub struct Ledger {
    sessions: BTreeMap<Uuid, Linker>,
    /// When something is due in a session.
    due: BTreeSet<(LogTime, Uuid)>,
}

/// What reaches one session at an epoch.
#[derive(Default)]
struct Arrived {
    records: Vec<LinkRecord>,
    letters: Vec<(Outcome, Box<DeadLetter>)>,
}

impl Ledger {
    /// An epoch of one session.
    fn session(&mut self, epoch: LogTime, session: Uuid, arrived: Arrived, out: &mut Vec<Output>) {
        let mut linker = self.sessions.remove(&session).unwrap_or_else(|| Linker::new(Horizon::default()));
        if let Some(at) = linker.due() {
            self.due.remove(&(at, session));
        }
        let Arrived { records, mut letters } = arrived;
        letters.sort_by_key(|(_, letter)| (letter.at, letter.offset));
        let mut judged: Vec<(Uuid, Class, Box<DeadLetter>)> = Vec::new();
        for (outcome, letter) in letters {
            let row = outcome_row(&outcome);
            let id = row.outcome_id;
            let again = linker.knows(&row) || judged.iter().any(|(other, _, _)| *other == id);
            judged.push((id, if again { Class::Duplicate } else { Class::Used }, letter));
        }
        let mut said = Vec::new();
        linker.on_epoch(epoch, records, &mut said);
        for word in said {
            match word {
                LinkOutput::Change(row, diff) => out.push(Output::Change(session, row, diff)),
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
        self.hold(session, linker);
    }

    /// Holds a session for which something is due.
    fn hold(&mut self, session: Uuid, linker: Linker) {
        if let Some(at) = linker.due() {
            self.due.insert((at, session));
            self.sessions.insert(session, linker);
        }
    }
}

impl Logic for Ledger {
    type Record = Input;
    type Output = Output;
    type Snapshot = LinkSnapshot;

    fn on_epoch(&mut self, epoch: LogTime, inputs: Vec<Input>, out: &mut Vec<Output>) {
        let mut sessions: BTreeMap<Uuid, Arrived> = BTreeMap::new();
        while let Some((_, session)) = self.due.first().copied().filter(|(at, _)| *at <= epoch) {
            self.due.pop_first();
            sessions.entry(session).or_default();
        }
        for input in inputs {
            match input {
                Input::Event(event) => {
                    let arrived = sessions.entry(event.row().session_id).or_default();
                    arrived.records.push(LinkRecord::Event(event));
                }
                Input::Outcome(outcome, letter) => {
                    let arrived = sessions.entry(outcome.session_id).or_default();
                    arrived.letters.extend(letter.map(|letter| (outcome.clone(), letter)));
                    arrived.records.push(LinkRecord::Outcome(outcome));
                }
                Input::Tick(_) => {}
            }
        }
        for (session, arrived) in sessions {
            self.session(epoch, session, arrived, out);
        }
    }

    fn snapshot(&self) -> LinkSnapshot {
        let mut all = LinkSnapshot::default();
        self.sessions.values().for_each(|linker| all.join(linker.snapshot()));
        all
    }

    fn restore(&mut self, snapshot: LinkSnapshot) {
        *self = Ledger::default();
        for (session, piece) in snapshot.apart() {
            let mut linker = Linker::new(Horizon::default());
            linker.restore(piece);
            session.into_iter().for_each(|session| self.hold(session, linker.clone()));
        }
    }
}
