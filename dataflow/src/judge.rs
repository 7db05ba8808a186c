//! Whether what was said is the greeting: a scorer on a thread of its own, held placement. The operator keeps the
//! capability of the epoch in which something was said, and emits the judgement at that epoch, however long the
//! scorer took (milliseconds).

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use lsie_operators::gate;
use lsie_operators::judging::Question;
use lsie_operators::runtime::{RUNTIME_FILE, Runtime};
use lsie_operators::semantic::{CrossEncoder, Evaluation, MiniLm, Scorer, Thresholds};
use lsie_operators::utterance::{AFTER_US, BEFORE_US};
use lsie_schemas::row::InferenceRow;
use lsie_schemas::table::Json;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;
use timely::scheduling::SyncActivator;

use crate::adapter::Time;
use crate::ingest::Shared;
use crate::metrics::Meter;
use crate::recorded::Recorded;

/// Judges one utterance.
pub enum Judge {
    /// A model of meaning.
    Model(Box<dyn Scorer>),
    /// The words alone.
    TokenOverlap,
    /// The scores of an earlier run, and its shadow's.
    Recorded(Arc<Recorded>),
}

/// Makes the judge of a run; a failure ends the start.
pub type JudgeFactory = Arc<dyn Fn() -> anyhow::Result<Judge> + Send + Sync>;

/// A judge by the words alone.
pub fn token_overlap() -> JudgeFactory {
    Arc::new(|| Ok(Judge::TokenOverlap))
}

/// A judge by what an earlier run has recorded.
pub fn recorded(recorded: Arc<Recorded>) -> JudgeFactory {
    Arc::new(move || Ok(Judge::Recorded(recorded.clone())))
}

/// A judge by the sentence model of a folder.
pub fn sentence_model(folder: PathBuf) -> JudgeFactory {
    Arc::new(move || {
        let model =
            MiniLm::load(&folder).context("the sentence model cannot be used; `make models` gets it")?;
        Ok(Judge::Model(Box::new(model)))
    })
}

/// A judge by the cross-encoder of a directory, on the runtime of a folder. Its name is that of the directory.
pub fn cross_encoder(folder: PathBuf, directory: PathBuf) -> JudgeFactory {
    Arc::new(move || {
        let runtime = Runtime::load(&folder.join(RUNTIME_FILE))?;
        let name = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let model = CrossEncoder::load(runtime, &directory, &name).context("models.scorer")?;
        Ok(Judge::Model(Box::new(model)))
    })
}

/// The judgement of what was said to one stimulus, and the fact that a model gave it.
#[derive(Clone, Debug)]
pub(crate) struct Judged {
    /// What was asked.
    pub(crate) question: Box<Question>,
    /// What was decided; none where no scorer is there, since a language model decides.
    pub(crate) opinion: Option<Evaluation>,
    /// The models' results: of the judge, if it is a model, of the same on the reduced utterance, if that is wanted, and of the
    /// shadow, if there is one.
    pub(crate) inferences: Vec<InferenceRow>,
}

struct Job {
    epoch: Time,
    questions: Vec<Question>,
    reply: Sender<Reply>,
    activator: SyncActivator,
}

struct Reply {
    epoch: Time,
    judged: Vec<Judged>,
}

/// The judge's thread, shared by all workers of a process.
#[derive(Clone)]
pub struct Bench {
    jobs: Sender<Job>,
    meter: Meter,
}

impl Bench {
    /// Starts the thread and waits until it has made its judge.
    pub fn start(
        make: Option<JudgeFactory>,
        shadow: Option<JudgeFactory>,
        reduced: bool,
        shared: &Arc<Shared>,
    ) -> anyhow::Result<Bench> {
        let (jobs, received) = unbounded::<Job>();
        let (ready, started) = bounded::<anyhow::Result<()>>(1);
        let (shared, meter) = (shared.clone(), shared.metrics.model("judge"));
        let bench = Bench { jobs, meter: meter.clone() };
        let both = move || -> anyhow::Result<(Option<Judge>, Option<Judge>)> {
            Ok((
                make.map(|make| make()).transpose()?,
                shadow.map(|make| make()).transpose().context("models.shadow")?,
            ))
        };
        std::thread::Builder::new().name("judge".into()).spawn(move || match both() {
            Ok((judge, shadow)) => {
                let _ = ready.send(Ok(()));
                let worked =
                    catch_unwind(AssertUnwindSafe(|| work(judge, shadow, reduced, &received, &meter)));
                if let Err(why) = worked.unwrap_or_else(|_| Err(anyhow::anyhow!("it panicked"))) {
                    shared.fail(format!("the scorer: {why:#}"));
                }
            }
            Err(error) => {
                let _ = ready.send(Err(error));
            }
        })?;
        started.recv().map_err(|_| anyhow::anyhow!("the judge's thread died at its start"))??;
        Ok(bench)
    }
}

fn work(
    mut judge: Option<Judge>,
    mut shadow: Option<Judge>,
    reduced: bool,
    jobs: &Receiver<Job>,
    meter: &Meter,
) -> anyhow::Result<()> {
    for Job { epoch, questions, reply, activator } in jobs {
        let _timer = meter.begun(questions.len());
        let judged = questions.into_iter().map(|question| {
            let mut judged = match &mut judge {
                Some(judge) => judge.decide(epoch, question)?,
                None => Judged { question: Box::new(question), opinion: None, inferences: Vec::new() },
            };
            // These take nothing of the judgement and give it nothing.
            let question = &judged.question;
            let again = judge.as_mut().filter(|_| reduced).and_then(|judge| judge.reduced(question));
            judged.inferences.extend(again);
            judged.inferences.extend(shadow.as_mut().and_then(|shadow| shadow.shadow(&judged.question)));
            Ok(judged)
        });
        let judged = judged.collect::<anyhow::Result<_>>()?;
        // The operator is gone only when the run is over.
        if reply.send(Reply { epoch, judged }).is_ok() {
            let _ = activator.activate();
        }
    }
    Ok(())
}

impl Judge {
    fn decide(&mut self, epoch: Time, question: Question) -> anyhow::Result<Judged> {
        let (evaluation, inferences) = match self {
            Judge::TokenOverlap => {
                (gate::judge(&question.expected_greeting, &question.said.text), Vec::new())
            }
            Judge::Model(scorer) => {
                let p = score(&mut **scorer, &question);
                let evaluation = Thresholds::of(&**scorer).decide(p);
                let inference = inference(&question, scorer.model(), p, &evaluation);
                (evaluation, vec![inference])
            }
            Judge::Recorded(recorded) => {
                let (p, rows, thresholds) = recorded.score(&question, epoch)?;
                (thresholds.decide(p), rows)
            }
        };
        Ok(Judged { question: Box::new(question), opinion: Some(evaluation), inferences })
    }

    /// What this judge would have said, as a row beside the one that counts.
    fn shadow(&mut self, question: &Question) -> Option<InferenceRow> {
        let (request_id, what) = (question.shadow_id(), "greeting_shadow".into());
        Some(InferenceRow { request_id, what, ..self.beside(question)? })
    }

    /// What it says of the reduced utterance, likewise.
    fn reduced(&mut self, question: &Question) -> Option<InferenceRow> {
        let (request_id, what) = (question.reduced_id(), "greeting_reduced".into());
        Some(InferenceRow { request_id, what, ..self.beside(&question.reduced())? })
    }

    fn beside(&mut self, question: &Question) -> Option<InferenceRow> {
        let (model, p, evaluation) = match self {
            Judge::TokenOverlap => {
                let evaluation = gate::judge(&question.expected_greeting, &question.said.text);
                (evaluation.version.to_string(), Some(evaluation.confidence), evaluation)
            }
            Judge::Model(scorer) => {
                let p = score(&mut **scorer, question);
                (scorer.model().to_string(), p, Thresholds::of(&**scorer).shadow(p))
            }
            // These rows come with those of the judge.
            Judge::Recorded(_) => return None,
        };
        let told = serde_json::json!({
            "p_match": p,
            "is_match": evaluation.is_match,
            "confidence_score": evaluation.confidence,
            "reasoning": evaluation.reason.code(),
        });
        let row = inference(question, &model, p, &evaluation);
        Some(InferenceRow { answer: p.map(|_| Json::new(&told)), ..row })
    }
}

/// The probability of a match; none if the scorer failed.
fn score(scorer: &mut dyn Scorer, question: &Question) -> Option<f64> {
    let score = scorer.score(&question.expected_greeting, &question.said.text);
    if let Err(why) = &score {
        tracing::warn!(session = %question.session, %why, "the scorer failed on an utterance");
    }
    score.ok()
}

/// The fact of a score, so that a replay can reuse it.
fn inference(question: &Question, model: &str, p: Option<f64>, evaluation: &Evaluation) -> InferenceRow {
    InferenceRow {
        session_id: question.session,
        request_id: question.id(),
        what: "greeting".into(),
        segment_id: question.said.segment_id.clone(),
        from_utc: question.said.at.plus_us(-BEFORE_US),
        to_utc: question.said.at.plus_us(AFTER_US),
        input_sha256: question.input_sha256(),
        model: model.to_string(),
        answer: p.map(|p| Json::new(&serde_json::json!({ "p_match": p }))),
        reason: p.is_none().then(|| evaluation.reason.into()),
    }
}

/// Questions of one open epoch.
struct Open {
    capability: Capability<Time>,
    outstanding: usize,
    judged: Vec<Judged>,
}

/// Judges every question at its epoch.
pub(crate) fn judge<'scope>(
    questions: StreamVec<'scope, Time, Question>,
    bench: Bench,
) -> StreamVec<'scope, Time, Judged> {
    let scope = questions.scope();
    questions.unary_frontier(Pipeline, "judge", move |_capability, info| {
        let activator = scope.worker().sync_activator_for(info.address.to_vec());
        let (reply, replies) = unbounded::<Reply>();
        let mut open: BTreeMap<Time, Open> = BTreeMap::new();
        move |(input, frontier), output| {
            input.for_each(|capability, batch| {
                let Some(kept) = capability.retain_least(output.output_index()) else { return };
                let epoch = *kept.time();
                let none = || Open { capability: kept, outstanding: 0, judged: Vec::new() };
                open.entry(epoch).or_insert_with(none).outstanding += 1;
                let (questions, reply, activator) = (std::mem::take(batch), reply.clone(), activator.clone());
                bench.meter.asked();
                // The thread is gone only when it has failed and said so: the run is about to end.
                let _ = bench.jobs.send(Job { epoch, questions, reply, activator });
            });
            for Reply { epoch, judged } in replies.try_iter() {
                if let Some(entry) = open.get_mut(&epoch) {
                    entry.outstanding -= 1;
                    entry.judged.extend(judged);
                }
            }
            while let Some(entry) = open.first_entry() {
                if entry.get().outstanding > 0 || frontier.less_equal(entry.key()) {
                    break;
                }
                let Open { capability, mut judged, .. } = entry.remove();
                judged.sort_by(|a, b| a.question.cmp(&b.question));
                output.session(&capability).give_iterator(judged.into_iter());
            }
        }
    })
}
