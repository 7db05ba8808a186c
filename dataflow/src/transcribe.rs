//! The operator that asks what was said, placed via the log: an answer enters as a record at the epoch that holds
//! it, or, in a bounded run that finds none in the log, at the first epoch that is `answer_delay_ms` after its
//! request.
//!
//! So an epoch waits here for a model only in the second case, and only until the model is through with what is
//! due by then; in a live run it never waits.

use std::collections::BTreeMap;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, unbounded};
use lsie_operators::align::Aligned;
use lsie_operators::logic::Logic;
use lsie_operators::utterance::{Input, Output, Request, Utterances};
use lsie_schemas::LogTime;
use lsie_schemas::record::{Inference, Record};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;
use timely::scheduling::SyncActivator;
use uuid::Uuid;

use crate::adapter::Time;
use crate::answers::Answers;
use crate::checkpoint::Station;
use crate::ingest::Shared;
use crate::recorded::Recomputed;
use crate::speech::{Scribe, SpeechPool};

/// Who answers what the log does not.
#[derive(Clone)]
pub enum Answering {
    /// A live run: the scribe, through the log.
    Live(Scribe),
    /// A bounded run: the run itself, so much log time after the request, in ms.
    InRun(SpeechPool, u64),
}

/// What the operator needs besides the words of alignment.
#[derive(Clone)]
pub struct Hearing {
    /// Who answers.
    pub answering: Answering,
    /// The answers in the log.
    pub answers: Arc<Answers>,
    /// A run that computes also those, and compares.
    pub recompute: Option<Arc<Recomputed>>,
}

/// What reaches the operator.
#[derive(Clone, Debug)]
pub enum Heard {
    /// A word of alignment.
    Word(Aligned),
    /// The epoch exists: an answer may be due in it.
    Tick,
}

/// Asks about the segments among the words of alignment. `owner` says to which worker, modulo their number, a
/// session belongs.
pub fn transcribe<'scope>(
    words: StreamVec<'scope, Time, Heard>,
    hearing: Hearing,
    mut station: Station,
    owner: impl Fn(&Uuid) -> u64,
) -> StreamVec<'scope, Time, Output> {
    let scope = words.scope();
    let mut utterances = Utterances::default();
    if let Some(snapshot) = station.restored(owner) {
        utterances.restore(snapshot);
    }
    let (resumed, shared) = (station.keep().resumed, station.keep().shared.clone());
    words.unary_frontier(Pipeline, station.name(), move |_capability, info| {
        let activator = scope.worker().sync_activator_for(info.address.to_vec());
        let mut asking = Asking::new(hearing, activator, shared);
        let mut asked_again = false;
        let mut open: BTreeMap<Time, (Capability<Time>, Vec<Input>)> = BTreeMap::new();
        move |(input, frontier), output| {
            input.for_each(|capability, batch| {
                let Some(kept) = capability.retain_least(output.output_index()) else { return };
                let (_, inputs) = open.entry(*kept.time()).or_insert_with(|| (kept, Vec::new()));
                inputs.extend(batch.drain(..).filter_map(|heard| match heard {
                    Heard::Word(word) => Some(Input::Aligned(word)),
                    Heard::Tick => None,
                }));
            });
            while let Some(mut entry) = open.first_entry().filter(|entry| !frontier.less_equal(entry.key())) {
                let epoch = LogTime(*entry.key());
                if epoch.0 <= resumed {
                    let (_, inputs) = entry.remove();
                    utterances.rebuild(epoch, inputs, &mut Vec::new());
                    continue;
                }
                if !std::mem::replace(&mut asked_again, true) {
                    asking.ask_again(utterances.unanswered());
                }
                hand_over(&mut station, &utterances, &|chosen| chosen < epoch.0);
                let is_computed = asking.recompute(&mut entry.get_mut().1);
                let Some(due) = asking.due(epoch).filter(|_| is_computed) else { break };
                let (capability, mut inputs) = entry.remove();
                inputs.extend(due.into_iter().map(Input::Answered));
                let mut said = Vec::new();
                utterances.on_epoch(epoch, inputs, &mut said);
                said.retain(|word| !asking.hear(epoch, word));
                output.session(&capability).give_iterator(said.into_iter());
            }
            let next = open.keys().next().copied();
            let is_past =
                |chosen: Time| next.is_none_or(|next| chosen < next) && !frontier.less_equal(&chosen);
            hand_over(&mut station, &utterances, &is_past);
        }
    })
}

/// Hands over the state as of the chosen epochs that have passed: words and open requests.
fn hand_over(station: &mut Station, utterances: &Utterances, passed: &dyn Fn(Time) -> bool) {
    while let Some(epoch) = station.due(passed) {
        let rewind = utterances.rewind().map(|rewind| rewind.0);
        station.hand_over(epoch, rewind, Some(0), station.pieces(utterances.snapshot()));
    }
}

/// The requests of one worker that are not answered yet.
struct Asking {
    hearing: Hearing,
    shared: Arc<Shared>,
    activator: SyncActivator,
    reply: Sender<Inference>,
    replies: Receiver<Inference>,
    /// Those that this run answers itself, by the time from which on the answer enters, with the answer when it
    /// is there.
    waiting: BTreeMap<LogTime, BTreeMap<String, Option<Inference>>>,
    /// Those that the log answers and that are computed all the same, with the answer when it is there.
    recomputing: BTreeMap<String, Option<Inference>>,
}

impl Asking {
    fn new(hearing: Hearing, activator: SyncActivator, shared: Arc<Shared>) -> Asking {
        let (reply, replies) = unbounded();
        let (waiting, recomputing) = (BTreeMap::new(), BTreeMap::new());
        Asking { hearing, shared, activator, reply, replies, waiting, recomputing }
    }

    /// The answers that enter at an epoch; none while one of them is still worked on, and then the operator is
    /// woken when that is done.
    fn due(&mut self, epoch: LogTime) -> Option<Vec<Inference>> {
        self.collect();
        let due = self.waiting.range(..=epoch);
        if due.flat_map(|(_, due)| due.values()).any(Option::is_none) {
            return None;
        }
        let due = self.waiting.extract_if(..=epoch, |_, _| true);
        Some(due.flat_map(|(_, due)| due.into_values().flatten()).collect())
    }

    fn collect(&mut self) {
        for answer in self.replies.try_iter() {
            let due = self.waiting.values_mut().chain([&mut self.recomputing]);
            if let Some(waits) = due.into_iter().find_map(|due| due.get_mut(&answer.request_id)) {
                *waits = Some(answer);
            }
        }
    }

    /// Puts what was computed in the place of the answers of the log among the inputs of an epoch; false while one of
    /// them is still worked on.
    fn recompute(&mut self, inputs: &mut [Input]) -> bool {
        let Some(report) = self.hearing.recompute.clone() else { return true };
        self.collect();
        let logged = |input: &Input| match input {
            Input::Aligned(Aligned::Answer(arrived)) => match &arrived.record {
                Record::Inference(answer) => Some(answer.clone()),
                _ => None,
            },
            _ => None,
        };
        let answers = || inputs.iter().filter_map(logged);
        if answers().any(|answer| self.recomputing.get(&answer.request_id).is_some_and(Option::is_none)) {
            return false;
        }
        for input in inputs {
            let Some(then) = logged(input) else { continue };
            let known = self.recomputing.get(&then.request_id).and_then(Option::as_ref);
            let agrees = known
                .is_some_and(|now| (now.ordinal, &now.input_sha256) == (then.ordinal, &then.input_sha256));
            // An answer about other sound is not the one that counts.
            let taken = agrees.then(|| self.recomputing.remove(&then.request_id)).flatten();
            let Some(now) = taken.flatten() else { continue };
            report.compare(&then, &now);
            if let Input::Aligned(Aligned::Answer(arrived)) = input {
                Arc::make_mut(arrived).record = Record::Inference(now);
            }
        }
        true
    }

    /// Takes what is meant for the pool; true if nobody else needs to hear it.
    fn hear(&mut self, epoch: LogTime, said: &Output) -> bool {
        match said {
            Output::Ask(request) => self.ask(epoch, request),
            Output::Answered(_) => self.shared.count_unanswered(-1),
            _ => return false,
        }
        true
    }

    /// Asks again what a restart has left unanswered. What can no longer be asked, for its sound is gone, has none.
    fn ask_again(&mut self, unanswered: Vec<(LogTime, Request)>) {
        for (epoch, request) in unanswered {
            if !request.sound.is_empty() {
                self.ask(epoch, &request);
                continue;
            }
            self.shared.count_unanswered(1);
            let Request { session, id, input_sha256, .. } = &request;
            if self.hearing.answers.will_come(*session, id, input_sha256, epoch) {
                continue;
            }
            match &self.hearing.answering {
                Answering::Live(scribe) => scribe.give_up(&request),
                Answering::InRun(pool, delay_ms) => {
                    let due = self.waiting.entry(epoch.plus_ms(*delay_ms)).or_default();
                    due.insert(id.clone(), Some(pool.sound_gone(&request)));
                }
            }
        }
    }

    fn ask(&mut self, epoch: LogTime, request: &Request) {
        self.shared.count_unanswered(1);
        let Request { session, id, input_sha256, .. } = request;
        let is_logged = self.hearing.answers.will_come(*session, id, input_sha256, epoch);
        match &self.hearing.answering {
            Answering::InRun(pool, _) if is_logged && self.hearing.recompute.is_some() => {
                self.recomputing.insert(id.clone(), None);
                pool.ask(request.clone(), &self.reply, &self.activator);
            }
            _ if is_logged => {}
            Answering::Live(scribe) => scribe.ask(request.clone()),
            Answering::InRun(pool, delay_ms) => {
                self.waiting.entry(epoch.plus_ms(*delay_ms)).or_default().insert(id.clone(), None);
                pool.ask(request.clone(), &self.reply, &self.activator);
            }
        }
    }
}
