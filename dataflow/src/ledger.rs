//! The attribution ledger's operator: encounters and outcomes of a session meet on one worker, whichever comes
//! first and however late.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use lsie_operators::align::{Class, Classified};
use lsie_operators::attribution::ledger::{LedgerEvent, outcome_row};
use lsie_operators::attribution::link::{Horizon, LedgerRow, LinkOutput, LinkRecord, LinkSnapshot, Linker};
use lsie_operators::logic::{Keyed, Logic};
use lsie_schemas::record::{DeadLetter, Outcome};
use lsie_schemas::row::OutcomeEventRow;
use lsie_schemas::{LogTime, Topic};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::checkpoint::state_file::{pack, unpack};
use crate::ingest::Shared;

/// What reaches the ledger.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Input {
    /// An encounter's event.
    Event(Box<LedgerEvent>),
    /// An outcome, and its dead letter should it be late, if a record of its own brought it.
    Outcome(Outcome, Option<Box<DeadLetter>>),
    /// There is this epoch, also on this worker: horizons close by log time.
    Tick(u64),
}

impl Input {
    /// What an epoch is to the ledger of a worker.
    pub fn tick<T>(worker: usize) -> impl Fn(&T) -> Option<Input> {
        move |_| Some(Input::Tick(worker as u64))
    }

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

/// How long nothing has reached a session that is put to rest, ms of log time.
const REST_AFTER_MS: u64 = 120_000;
/// How many sessions are put to rest at an epoch: some ms of work.
const AT_ONCE: usize = 20;

/// The ledger of one worker's sessions, with the default horizon. Each session has a linker of its own, so that an epoch
/// costs what happens in it, however many sessions wait for their horizons; those that nothing reaches wait as bytes.
pub struct Ledger {
    sessions: BTreeMap<Uuid, Held>,
    /// When something is due in a session; each once.
    due: BTreeSet<(LogTime, Uuid)>,
    /// When to look whether a session may rest; each that is awake, once.
    looks: BTreeSet<(LogTime, Uuid)>,
    /// When what was restored counts as touched.
    resumed: LogTime,
    /// Told when what rests cannot be read.
    shared: Arc<Shared>,
}

/// What is held of a session.
enum Held {
    /// Something happened lately, then.
    Awake(Box<Linker>, LogTime),
    /// Nothing did, and nothing will before this.
    Resting(LogTime, Bytes),
}

/// What reaches one session at an epoch.
#[derive(Default)]
struct Arrived {
    records: Vec<LinkRecord>,
    letters: Vec<(Outcome, Box<DeadLetter>)>,
}

impl Ledger {
    /// A ledger that knows nothing yet, or is given at this epoch what it knew.
    pub fn new(resumed: LogTime, shared: Arc<Shared>) -> Ledger {
        Ledger { sessions: BTreeMap::new(), due: BTreeSet::new(), looks: BTreeSet::new(), resumed, shared }
    }

    /// An epoch of one session.
    fn session(&mut self, epoch: LogTime, session: Uuid, arrived: Arrived, out: &mut Vec<Output>) {
        let mut linker = self.take(session);
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
        self.hold(session, linker, epoch);
    }

    /// What is known of a session.
    fn take(&mut self, session: Uuid) -> Linker {
        let (linker, due) = match self.sessions.remove(&session) {
            None => (Linker::new(Horizon::default()), None),
            Some(Held::Awake(linker, touched)) => {
                self.looks.remove(&(touched.plus_ms(REST_AFTER_MS), session));
                let due = linker.due();
                (*linker, due)
            }
            Some(Held::Resting(due, bytes)) => {
                let mut linker = Linker::new(Horizon::default());
                match unpack(&bytes) {
                    Ok(snapshot) => linker.restore(snapshot),
                    Err(why) => self.shared.fail(format!("the ledger of session {session}: {why}")),
                }
                (linker, Some(due))
            }
        };
        due.map(|at| self.due.remove(&(at, session)));
        linker
    }

    /// Holds a session, as long as something is due in it.
    fn hold(&mut self, session: Uuid, linker: Linker, touched: LogTime) {
        if let Some(at) = linker.due() {
            self.due.insert((at, session));
            self.looks.insert((touched.plus_ms(REST_AFTER_MS), session));
            self.sessions.insert(session, Held::Awake(Box::new(linker), touched));
        }
    }

    /// Puts to rest what nothing has reached for long enough.
    fn put_to_rest(&mut self, epoch: LogTime) {
        for _ in 0..AT_ONCE {
            let Some((at, session)) = self.looks.first().copied().filter(|(at, _)| *at <= epoch) else {
                break;
            };
            self.looks.remove(&(at, session));
            let Some(Held::Awake(linker, _)) = self.sessions.get(&session) else { continue };
            match (linker.due(), pack(&linker.snapshot())) {
                (Some(due), Ok(bytes)) => {
                    self.sessions.insert(session, Held::Resting(due, bytes.into()));
                }
                (None, _) => {}
                (_, Err(why)) => self.shared.fail(format!("the ledger of session {session}: {why}")),
            }
        }
    }
}

/// What the ledger holds, in checkpoints.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct LedgerSnapshot {
    events: Vec<(LedgerEvent, bool)>,
    outcomes: Vec<OutcomeEventRow>,
    /// Sessions at rest, and when something is due in each.
    #[serde(default)]
    resting: Vec<(Uuid, LogTime, Bytes)>,
}

impl Keyed for LedgerSnapshot {
    type Key = Uuid;

    fn apart(self) -> Vec<(Option<Uuid>, LedgerSnapshot)> {
        let LedgerSnapshot { events, outcomes, resting } = self;
        let awake = LinkSnapshot { events, outcomes }.apart().into_iter().map(|(session, piece)| {
            let LinkSnapshot { events, outcomes } = piece;
            (session, LedgerSnapshot { events, outcomes, resting: Vec::new() })
        });
        let at_rest = resting.into_iter().map(|piece| {
            (Some(piece.0), LedgerSnapshot { resting: vec![piece], ..LedgerSnapshot::default() })
        });
        awake.chain(at_rest).collect()
    }

    fn join(&mut self, piece: LedgerSnapshot) {
        self.events.extend(piece.events);
        self.outcomes.extend(piece.outcomes);
        self.resting.extend(piece.resting);
    }
}

impl Logic for Ledger {
    type Record = Input;
    type Output = Output;
    type Snapshot = LedgerSnapshot;

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
        self.put_to_rest(epoch);
    }

    fn snapshot(&self) -> LedgerSnapshot {
        let mut all = LedgerSnapshot::default();
        for (session, held) in &self.sessions {
            match held {
                Held::Awake(linker, _) => {
                    let LinkSnapshot { events, outcomes } = linker.snapshot();
                    all.events.extend(events);
                    all.outcomes.extend(outcomes);
                }
                Held::Resting(due, bytes) => all.resting.push((*session, *due, bytes.clone())),
            }
        }
        all
    }

    fn restore(&mut self, snapshot: LedgerSnapshot) {
        *self = Ledger::new(self.resumed, self.shared.clone());
        let LedgerSnapshot { events, outcomes, resting } = snapshot;
        for (session, piece) in (LinkSnapshot { events, outcomes }).apart() {
            let mut linker = Linker::new(Horizon::default());
            linker.restore(piece);
            session.into_iter().for_each(|session| self.hold(session, linker.clone(), self.resumed));
        }
        for (session, due, bytes) in resting {
            self.due.insert((due, session));
            self.sessions.insert(session, Held::Resting(due, bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use lsie_operators::attribution::lag_scan::SyncPeak;
    use lsie_operators::attribution::ledger::{Encounter, Judgement, Scanned};
    use lsie_operators::attribution::scores::Au12Metrics;
    use lsie_schemas::table::Json;
    use lsie_schemas::{EventTime, Real};
    use proptest::prelude::*;

    use super::*;

    const START: LogTime = LogTime(1_767_607_200_000);

    fn event(session: u8, segment: u8, at: LogTime) -> LedgerEvent {
        let encounter = Encounter {
            session_id: Uuid::from_u128(u128::from(session)),
            segment_id: format!("{segment:064x}"),
            stimulus: at.as_event(),
            arm: "hello".into(),
            expected_greeting: "hello".into(),
            semantic: None::<Judgement>,
            decision: Some(Json::new(&serde_json::json!({
                "candidate_arm_ids": ["hello"],
                "posterior_by_arm": {"hello": {"alpha": 1.0, "beta": 1.0}},
            }))),
            gated_reward: Some(0.5),
            au12: Au12Metrics::default(),
            scan: Some(Scanned { peak: SyncPeak { corr: 0.5, lag: 1 }, method_version: "v1".into() }),
        };
        LedgerEvent::of(&encounter).expect("an encounter with candidates")
    }

    fn outcome(session: u8, number: u8, at: EventTime) -> Outcome {
        Outcome {
            session_id: Uuid::from_u128(u128::from(session)),
            outcome_type: "creator_follow".into(),
            outcome_value: Real(1.0),
            outcome_time_utc: at,
            source_system: "test".into(),
            source_event_ref: Some(number.to_string()),
            confidence: Real(1.0),
        }
    }

    /// The changes of an epoch, without what cancels.
    fn net(said: impl IntoIterator<Item = (Box<LedgerRow>, i64)>) -> BTreeMap<LedgerRow, i64> {
        let mut net = BTreeMap::new();
        for (row, diff) in said {
            *net.entry(*row).or_insert(0) += diff;
        }
        net.retain(|_, diff| *diff != 0);
        net
    }

    proptest! {
        /// However long nothing happens between two epochs, and with a restart before any of them: one linker for each
        /// session, at rest or not, says what a single linker of all says.
        #[test]
        fn sessions_that_rest_say_what_one_linker_of_all_says(
            epochs in prop::collection::vec(
                (
                    // Some ms, minutes, and up to three days.
                    prop_oneof![1..500u64, 100_000..400_000u64, 3_600_000..260_000_000u64],
                    prop::collection::vec((0..3u8, any::<bool>(), 0..4u8, 0..600_000u64), 0..4),
                    any::<bool>(),
                ),
                1..14,
            ),
        ) {
            let mut ledger = Ledger::new(LogTime(0), Arc::default());
            let mut one = Linker::new(Horizon::default());
            let mut now = START;
            for (later, happened, restarts) in epochs {
                if restarts {
                    let pieces = ledger.snapshot().apart();
                    let mut joined = LedgerSnapshot::default();
                    pieces.into_iter().for_each(|(_, piece)| joined.join(piece));
                    ledger = Ledger::new(now, Arc::default());
                    ledger.restore(joined);
                }
                now = now.plus_ms(later);
                let (mut inputs, mut records) = (vec![Input::Tick(0)], Vec::new());
                for (session, is_event, number, before) in happened {
                    let at = LogTime(now.0 - before);
                    if is_event {
                        let event = Box::new(event(session, number, at));
                        inputs.push(Input::Event(event.clone()));
                        records.push(LinkRecord::Event(event));
                    } else {
                        let outcome = outcome(session, number, at.as_event());
                        inputs.push(Input::Outcome(outcome.clone(), None));
                        records.push(LinkRecord::Outcome(outcome));
                    }
                }
                let (mut said, mut expected) = (Vec::new(), Vec::new());
                ledger.on_epoch(now, inputs, &mut said);
                one.on_epoch(now, records, &mut expected);
                let said = said.into_iter().filter_map(|output| match output {
                    Output::Change(_, row, diff) => Some((row, diff)),
                    _ => None,
                });
                let expected = expected.into_iter().filter_map(|output| match output {
                    LinkOutput::Change(row, diff) => Some((row, diff)),
                    _ => None,
                });
                prop_assert_eq!(net(said), net(expected));
            }
            prop_assert!(!ledger.shared.stopped(), "what rests is read");
        }
    }
}
