//! Results of models that an earlier run has recorded: taken in the place of the models (`recorded`), or computed once more
//! and compared with them (`strict`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, ensure};
use lsie_operators::align::FrameJob;
use lsie_operators::judging::Question;
use lsie_operators::semantic::{CROSS_ENCODER, Method, Thresholds};
use lsie_operators::utterance::Request;
use lsie_schemas::codec::Rejection;
use lsie_schemas::record::{Answer, Inference, NoAnswer};
use lsie_schemas::row::{DeadLetterRow, EvaluationRow, FaceRow, InferenceRow};
use lsie_schemas::{LogTime, TableRow, Topic};
use lsie_sinks::parquet::Reader;
use uuid::Uuid;

use crate::adapter::Time;
use crate::healing::rows;
use crate::pool::{Measurer, MeasurerFactory, Outcome, Task};

/// Where the results of models come from.
#[derive(Clone, Default)]
pub enum Inferring {
    /// From the models; of speech, what the log has been told.
    #[default]
    AsLogged,
    /// From the tables of an earlier run. No model is needed.
    Recorded(Arc<Recorded>),
    /// From the models. Where the log has an answer already, another is computed and enters at that answer's epoch.
    Strict(Arc<Recomputed>),
}

/// What an earlier run has recorded of models.
#[derive(Debug)]
pub struct Recorded {
    dir: PathBuf,
    until: LogTime,
    /// Measured frames by session and the epoch at which they came.
    faces: BTreeMap<Uuid, BTreeMap<Time, Vec<FaceRow>>>,
    /// Access units that could not be decoded, by partition and offset.
    rejected: BTreeMap<(i64, i64), Rejection>,
    answers: BTreeMap<(Uuid, String), InferenceRow>,
    /// Which local scorer decided, from an epoch on.
    scorers: BTreeMap<LogTime, (Method, String)>,
}

impl Recorded {
    /// Reads the tables in a directory.
    pub fn read(dir: &Path) -> anyhow::Result<Recorded> {
        let reader = Reader::open(dir).with_context(|| format!("the tables in {}", dir.display()))?;
        let until = reader.committed().with_context(|| format!("{} holds no epoch", dir.display()))?;
        let mut recorded = Recorded {
            dir: dir.to_owned(),
            until,
            faces: BTreeMap::new(),
            rejected: BTreeMap::new(),
            answers: BTreeMap::new(),
            scorers: BTreeMap::new(),
        };
        each(&reader, |epoch, row: FaceRow| {
            recorded.faces.entry(row.session_id).or_default().entry(epoch.0).or_default().push(row);
        })?;
        each(&reader, |_, row: DeadLetterRow| {
            if row.topic == Topic::AvVideo.name() {
                let why = Rejection { reason: row.reason, detail: row.detail };
                recorded.rejected.insert((row.partition, row.record_offset), why);
            }
        })?;
        each(&reader, |_, row: InferenceRow| {
            recorded.answers.insert((row.session_id, row.request_id.clone()), row);
        })?;
        each(&reader, |epoch, row: EvaluationRow| {
            let method = row.semantic_method.as_deref().and_then(Method::by_name);
            if let (Some(method), Some(version)) =
                (method.filter(Method::is_local), row.semantic_method_version)
            {
                recorded.scorers.insert(epoch, (method, version));
            }
        })?;
        recorded.faces.values_mut().flat_map(BTreeMap::values_mut).for_each(|rows| rows.sort());
        Ok(recorded)
    }

    /// Refuses a run that goes on behind what is recorded.
    pub fn reach(&self, last: LogTime) -> anyhow::Result<()> {
        ensure!(
            last <= self.until,
            "the results in {} end at epoch {}, and the replay goes on to {}: end it with --until {}, or let the models \
             compute what is new (without --inference recorded)",
            self.dir.display(),
            self.until.0,
            last.0,
            self.until.0
        );
        Ok(())
    }

    /// Whether a model has scored anything: words alone are compared anew.
    pub(crate) fn has_scores(&self) -> bool {
        self.answers.values().any(|row| row.what == "greeting")
    }

    /// The score that a model gave, its rows, and who decided by it.
    pub(crate) fn score(
        &self,
        question: &Question,
        epoch: Time,
    ) -> anyhow::Result<(Option<f64>, Vec<InferenceRow>, Thresholds)> {
        let row = |id: String| self.answers.get(&(question.session, id)).cloned();
        let judged =
            row(question.id()).with_context(|| self.missing(question.session, "the score of a greeting"))?;
        let p = judged.answer.as_ref().and_then(|answer| {
            let answer: serde_json::Value = serde_json::from_str(answer.as_str()).ok()?;
            answer.get("p_match")?.as_f64()
        });
        let mut before = self.scorers.range(..=LogTime(epoch));
        // None ever decided if all was left to the fallback, and then none of these names is told.
        let known = before.next_back().or_else(|| self.scorers.first_key_value());
        let thresholds = known.map_or(CROSS_ENCODER, |(_, (method, version))| Thresholds {
            method: *method,
            version: version.clone().into(),
            ..CROSS_ENCODER
        });
        let rows = [Some(judged), row(question.reduced_id()), row(question.shadow_id())];
        Ok((p, rows.into_iter().flatten().collect(), thresholds))
    }

    /// What was heard.
    pub(crate) fn heard(&self, request: &Request) -> anyhow::Result<Inference> {
        let missing = || self.missing(request.session, "what was heard in a segment");
        let row = self.answers.get(&(request.session, request.id.clone())).with_context(missing)?;
        let answer = match (&row.answer, row.reason.as_deref().and_then(NoAnswer::by_code)) {
            (Some(heard), _) => Answer::Heard(serde_json::from_str(heard.as_str()).with_context(missing)?),
            (None, Some(why)) => Answer::None(why),
            (None, None) => return Err(anyhow::anyhow!(missing())),
        };
        Ok(Inference {
            session_id: request.session,
            request_id: request.id.clone(),
            ordinal: request.ordinal,
            input_sha256: request.input_sha256.clone(),
            model: row.model.clone(),
            answer,
        })
    }

    fn missing(&self, session: Uuid, what: &str) -> String {
        let dir = self.dir.display();
        format!(
            "{dir} does not have {what} of session {session}: these tables are of another log or of other settings"
        )
    }
}

/// Every row that came, with its epoch.
fn each<R: TableRow>(reader: &Reader, mut take: impl FnMut(LogTime, R)) -> anyhow::Result<()> {
    for change in reader.changes(&R::TABLE) {
        let change = change.with_context(|| format!("table {}", R::TABLE.name))?;
        if change.diff > 0 {
            let row = R::from_cells(&change.row);
            take(change.epoch, row.with_context(|| format!("table {} has another layout", R::TABLE.name))?);
        }
    }
    Ok(())
}

/// Measurers that hand out the recorded faces at their epochs, and measure voices, which needs no model.
pub fn faces(recorded: Arc<Recorded>) -> MeasurerFactory {
    Arc::new(move |_thread| {
        let (recorded, known) = (recorded.clone(), recorded.clone());
        let mut voices = crate::faces::voices();
        // The epochs of each session from which on faces are still to be handed out.
        let mut from: BTreeMap<Uuid, Time> = BTreeMap::new();
        let mut faces = move |epoch: Time, session: Uuid| -> Vec<FaceRow> {
            let from = from.entry(session).or_default();
            let range = std::mem::replace(from, epoch + 1)..=epoch;
            let known = known.faces.get(&session).filter(|_| range.start() <= range.end());
            known
                .into_iter()
                .flat_map(|known| known.range(range.clone()))
                .flat_map(|(_, rows)| rows)
                .cloned()
                .collect()
        };
        Ok(Box::new(move |epoch, task: &Task| match task {
            Task::Frame(job) => {
                let rejected = recorded.frame(job)?;
                Ok(Outcome { faces: faces(epoch, job.session), rejected, ..Outcome::default() })
            }
            Task::End(session) => Ok(Outcome { faces: faces(epoch, *session), ..Outcome::default() }),
            Task::Voice(job) => Ok(voices(job)),
            // A bounded run keeps no state.
            Task::Snapshot(_) | Task::Restore(..) | Task::Again(_) => Ok(Outcome::default()),
        }) as Measurer)
    })
}

impl Recorded {
    /// Why an access unit could not be decoded, if it could not.
    fn frame(&self, job: &FrameJob) -> anyhow::Result<Option<Rejection>> {
        let at = (i64::from(job.raw.at.partition), job.raw.offset);
        let rejected = self.rejected.get(&at).cloned();
        let known = rejected.is_some() || self.faces.contains_key(&job.session);
        ensure!(known, self.missing(job.session, "any face"));
        Ok(rejected)
    }
}

/// How the model results in two directories compare: of each table how many rows are the same, and how many of the
/// first are others in the second or not there.
pub fn recomputed(recorded: &Path, now: &Path) -> anyhow::Result<Vec<(&'static str, usize, usize)>> {
    fn table<R: TableRow + Ord>(then: &Reader, now: &Reader) -> anyhow::Result<(&'static str, usize, usize)> {
        let rows = |reader| Ok::<BTreeSet<R>, anyhow::Error>(rows::<R>(reader)?.into_iter().collect());
        let (then, now) = (rows(then)?, rows(now)?);
        let same = then.intersection(&now).count();
        Ok((R::TABLE.name, same, then.len() - same))
    }
    let (then, now) = (Reader::open(recorded)?, Reader::open(now)?);
    Ok(vec![table::<FaceRow>(&then, &now)?, table::<InferenceRow>(&then, &now)?])
}

/// How answers that were computed once more compare with those in the log.
#[derive(Debug, Default)]
pub struct Recomputed {
    found: Mutex<Found>,
}

#[derive(Debug, Default)]
struct Found {
    same: u64,
    other: BTreeSet<Other>,
}

/// An answer that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Other {
    /// The session.
    pub session: Uuid,
    /// The segment it is about, 1 for the first.
    pub ordinal: i64,
    /// What differs: `model`, `text`, `words`, or `presence` where one of the two is none.
    pub what: &'static str,
}

impl Recomputed {
    /// Compares an answer of the log with what its model says now.
    pub(crate) fn compare(&self, logged: &Inference, now: &Inference) {
        let what = match (&logged.answer, &now.answer) {
            (Answer::Heard(then), Answer::Heard(now)) if then.text != now.text => Some("text"),
            (Answer::Heard(then), Answer::Heard(now)) if then != now => Some("words"),
            (then, now) if then != now => Some("presence"),
            _ => (logged.model != now.model).then_some("model"),
        };
        let mut found = self.lock();
        match what {
            None => found.same += 1,
            Some(what) => {
                found.other.insert(Other { session: logged.session_id, ordinal: logged.ordinal, what });
            }
        }
    }

    /// How many were the same, and those that were not.
    pub fn found(&self) -> (u64, Vec<Other>) {
        let found = self.lock();
        (found.same, found.other.iter().cloned().collect())
    }

    fn lock(&self) -> MutexGuard<'_, Found> {
        // Plain values.
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
