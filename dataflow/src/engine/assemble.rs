//! What the workers of a process are handed, and what fills it: inboxes, models, and whoever answers.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossbeam_channel::Sender;
use lsie_operators::semantic::Role;

use super::{Engine, Kept};
use crate::checkpoint::Keep;
use crate::cluster::Begin;
use crate::commit::Message;
use crate::crash_book::CrashBook;
use crate::healing::Selections;
use crate::ingest::{Inbox, owns};
use crate::judge::{self, Bench};
use crate::language_model::{Asker, Asking};
use crate::pool::Pool;
use crate::recorded::{self, Inferring};
use crate::speech::{Scribe, SpeechPool};
use crate::transcribe::{Answering, Hearing};
use crate::workers::{Local, Threads};

/// What writes answers to the log.
#[derive(Default)]
pub(super) struct Writers {
    scribe: Option<Scribe>,
    asker: Option<Asker>,
}

impl Writers {
    /// Nothing more is asked.
    pub(super) fn end(&self) {
        self.scribe.iter().for_each(Scribe::end);
        self.asker.iter().for_each(Asker::end);
    }
}

impl Engine {
    /// Makes what the workers of this process are handed, and starts what fills it.
    pub(super) fn assemble(
        &self,
        begin: Begin,
        selections: Arc<Selections>,
        kept: Kept,
        book: &Arc<CrashBook>,
        epochs: Sender<Message>,
        threads: &mut Threads,
    ) -> anyhow::Result<(Local, Writers)> {
        let shared = threads.shared.clone();
        let all = self.workers * self.processes();
        let first = self.workers * self.cluster.as_ref().map_or(0, |cluster| cluster.process);
        let inboxes: Vec<Arc<Inbox>> = (first..first + self.workers)
            .map(|worker| {
                let owned = begin.from.iter().filter(|(at, _)| owns(worker, all, *at)).copied().collect();
                let inbox = Inbox::new(owned, self.budget_bytes, &begin.ends).without(begin.left_out.clone());
                let inbox = inbox.behind_gate(kept.gate.clone());
                // The first process fetches when all are there.
                Arc::new(if self.is_first_of_several() { inbox.shut() } else { inbox })
            })
            .collect();
        // The run's own, unless the same were shared by two runs.
        let _ = shared.inboxes.set(inboxes.clone());
        let speaking = || SpeechPool::start(self.speech.threads, &self.transcriber, &shared);
        let models = || (self.measurer.clone(), self.judge.clone(), self.shadow.clone());
        let (speech, (measurer, judge, shadow), recompute) = match &self.inferring {
            Inferring::AsLogged => (speaking()?, models(), None),
            Inferring::Strict(recomputed) => (speaking()?, models(), Some(recomputed.clone())),
            Inferring::Recorded(known) => {
                // Words alone are compared anew.
                let scored = || judge::recorded(known.clone());
                let judge = self.judge.clone().map(|judge| if known.has_scores() { scored() } else { judge });
                let faces = recorded::faces(known.clone());
                (SpeechPool::recorded(known.clone(), &shared), (faces, judge, None), None)
            }
        };
        let pool = Pool::start(self.pool_threads, measurer, book, &shared)?;
        let bench = Bench::start(judge, shadow, self.reduced, &shared)?;
        for (worker, inbox) in (first..).zip(&inboxes) {
            let (inbox, log, fetch) = (inbox.clone(), self.log.clone(), self.fetch);
            threads
                .spawn(&format!("fetch-{worker}"), move |shared| Ok(inbox.fetch(&*log, fetch, shared)?))?;
        }
        let (answering, scribe) = match begin.live {
            true => {
                let deadline = Duration::from_millis(self.speech.deadline_ms);
                let (scribe, write) = Scribe::new(speech, deadline);
                let log = self.log.clone();
                threads.spawn("scribe", move |shared| Ok(write(&*log, shared)?))?;
                (Answering::Live(scribe.clone()), Some(scribe))
            }
            false => (Answering::InRun(speech, self.speech.answer_delay_ms), None),
        };
        let answers = Arc::new(begin.answers);
        let role = self.judge.as_ref().map_or(Role::Primary, |_| Role::GrayBand);
        let asker = match self.language_model.clone().filter(|_| begin.live) {
            Some(model) => {
                let at_once = model.at_once;
                let (asker, work) = model.start(role);
                for _ in 0..at_once {
                    let (log, work) = (self.log.clone(), work.clone());
                    threads.spawn("language-model", move |shared| Ok(work(&*log, shared)?))?;
                }
                Some(asker)
            }
            None => None,
        };
        let asking = Asking::new(role, self.language_model.is_some(), answers.clone(), asker.clone());
        let hearing = Hearing { answering, answers, recompute };
        let keep = Keep {
            worker: first,
            workers: all,
            gate: kept.gate,
            stations: kept.stations,
            parts: begin.checkpoints.then(|| epochs.clone()),
            resumed: begin.resumed.0,
            restored: Arc::new(Mutex::new(kept.restored)),
            shared,
        };
        let local = Local {
            inboxes,
            models: (pool, hearing, bench, asking),
            limits: (self.limits, begin.partitions),
            told: (book.clone(), Arc::new(begin.quarantined), selections),
            epochs,
            keep,
        };
        Ok((local, Writers { scribe, asker }))
    }
}
