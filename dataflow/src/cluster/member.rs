//! A process other than the first: it fetches, decodes and infers what its workers own, and is told everything
//! else.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use lsie_schemas::LogTime;

use super::wire::Wire;
use super::{Packet, State};
use crate::checkpoint::gate::{Gate, Passing};
use crate::checkpoint::state_file::StateError;
use crate::checkpoint::{Content, Part};
use crate::commit::Message;
use crate::coordinator::Intake;
use crate::crash_book::CrashBook;
use crate::elsewhere::Stand;
use crate::epochs::Positions;
use crate::ingest::{Inbox, News, Shared};

/// The first process.
const FIRST: usize = 0;
/// How often the first process is told what was fetched, and how often at least something: who is silent holds
/// log time back.
const TELL: Duration = Duration::from_millis(20);
const TELL_AT_LEAST: u32 = 10;
/// And how often where this one stands.
const STAND: u32 = 50;

/// What a process tells the first one, and does at its word.
pub(crate) struct Member {
    pub(crate) wire: Arc<Wire>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) book: Arc<CrashBook>,
    pub(crate) ending: Arc<AtomicBool>,
    begun: Mutex<Option<Underway>>,
}

/// A run that has begun.
struct Underway {
    inboxes: Vec<Arc<Inbox>>,
    /// The last epoch that was known at the start.
    last: LogTime,
    is_live: bool,
}

impl Member {
    pub(crate) fn new(wire: Arc<Wire>, book: Arc<CrashBook>, ending: Arc<AtomicBool>) -> Member {
        let to_first = wire.clone();
        let gate = Gate::following().telling(move |passing| {
            if let Passing::Took(epoch, bytes, last) = passing {
                to_first.send(FIRST, &Packet::Took { epoch, bytes, last });
            }
        });
        Member { wire, gate: Arc::new(gate), book, ending, begun: Mutex::default() }
    }

    /// Says that it is there.
    pub(crate) fn greet(&self, config: String) {
        self.wire.send(FIRST, &Packet::Hello { config, guilty: self.book.guilty().collect() });
    }

    /// The run has begun with these inboxes; `last` is the last epoch that is known.
    pub(crate) fn begin(&self, inboxes: Vec<Arc<Inbox>>, last: LogTime, is_live: bool) {
        *self.lock() = Some(Underway { inboxes, last, is_live });
    }

    /// Does what the first process says, apart from beginning.
    pub(crate) fn obey(&self, packet: Packet, shared: &Shared) {
        let begun = self.lock();
        let (inboxes, last) = match &*begun {
            Some(begun) => (&begun.inboxes[..], begun.last),
            None => (&[][..], LogTime(u64::MAX)),
        };
        match packet {
            Packet::Epoch(epoch, chosen) => {
                self.gate.follow(epoch.log_time.0, chosen);
                inboxes.iter().for_each(|inbox| inbox.release(epoch.clone()));
            }
            Packet::Finish => inboxes.iter().for_each(|inbox| inbox.finish()),
            Packet::Committed(epoch) => {
                shared.committed.store(epoch, Ordering::SeqCst);
                if LogTime(epoch) >= last {
                    self.book.calm();
                }
                inboxes.iter().for_each(|inbox| inbox.wake());
            }
            Packet::Written(epoch) => self.gate.written(epoch, None),
            Packet::Refused(why) => shared.fail(why),
            packet => shared.fail(format!("the first process sent what only the others send: {packet:?}")),
        }
    }

    /// Tells the first process of a signal, and in a live run what is fetched, until the run is over.
    pub(crate) fn tell(&self, over: &Receiver<()>, shared: &Shared) {
        let (mut told, mut before, mut ending) = (Positions::new(), None, false);
        for turn in 0u32.. {
            if shared.stopped() {
                return;
            }
            if self.ending.load(Ordering::SeqCst) && !std::mem::replace(&mut ending, true) {
                self.wire.send(FIRST, &Packet::Ending);
            }
            // Read before the rest: what is said is true of every epoch that was committed by then.
            let committed = shared.committed.load(Ordering::SeqCst);
            let unanswered = shared.unanswered.load(Ordering::SeqCst);
            let news = self
                .lock()
                .as_ref()
                .filter(|begun| begun.is_live)
                .map(|begun| news(&begun.inboxes, &mut told));
            let now = news.map(|news| (news, unanswered, committed));
            let is_news = now != before || turn.is_multiple_of(TELL_AT_LEAST);
            if let Some((news, unanswered, committed)) = now.clone().filter(|_| is_news) {
                self.wire.send(FIRST, &Packet::News { news, unanswered, committed });
            }
            if turn.is_multiple_of(STAND) && self.lock().is_some() {
                self.wire.send(FIRST, &Packet::Stand(Stand::of(shared)));
            }
            // Records are news once.
            before = now.map(|(news, ..)| (News { records: Vec::new(), ..news }, unanswered, committed));
            if over.recv_timeout(TELL) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    }

    /// Hands the state of this process's workers on, until they are gone; then nothing more is sent.
    pub(crate) fn hand_on(&self, messages: &Receiver<Message>) -> Result<(), StateError> {
        for message in messages {
            // Epochs are whole on the first worker only.
            let Message::Part(Part { epoch, station, rewind, further, content }) = message else { continue };
            let state = match content {
                Content::Pieces(encode) => State::Pieces(encode()?),
                Content::Rows(encode) => State::Rows(encode()?),
                Content::Shelf(encode) => State::Shelf(encode()?),
            };
            let station = station.to_string();
            self.wire.send(FIRST, &Packet::Part { epoch, station, rewind, further, state });
        }
        self.wire.close();
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Underway>> {
        // Plain values.
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What all inboxes together have fetched.
fn news(inboxes: &[Arc<Inbox>], told: &mut Positions) -> News {
    let mut all = News::default();
    for inbox in inboxes {
        let News { fetched, records, behind } = inbox.news(told);
        all.fetched.extend(fetched);
        all.records.extend(records);
        all.behind = [all.behind, behind].into_iter().flatten().min();
    }
    all
}
