//! `GET /views/{view}/changes`: a view as server-sent events, exactly once per epoch for who follows the
//! rules below.
//!
//! - `change`: `{"epoch", "diff", "row"}`; a row went (-1) or came (+1).
//! - `progress`: `{"epoch"}`; everything up to this epoch was sent. Only this event has an id, the epoch: a
//!   client applies the changes it has at each `progress`, so that a connection lost within an epoch repeats
//!   that epoch's changes and loses none.
//! - `reset`: `{"epoch", "rows"}`; forget everything. The current rows follow as changes by +1, then
//!   `progress`. Sent first to a client without `Last-Event-ID`, and to one whose epoch is too long ago.
//!
//! A subscriber is a place in what the views hold anyway, and a few items ahead of it: what a slow client has not
//! taken costs nothing, and once its place is forgotten it is told to start anew.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::Stream;
use lsie_schemas::{Cell, LogTime, Uuid};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::views::Shutdown;
use crate::views::generic::has_session;
use crate::views::inputs::Inputs;
use crate::views::reading::Reading;
use crate::views::reply::{Fault, with_epoch};
use crate::views::ring::EpochChanges;
use crate::views::route::{self, Answer, Input, Kind, Returns, Route};
use crate::views::router::App;
use crate::views::row::Row;
use crate::views::rows::Shown;
use crate::views::state::{Entry, State, Views};

const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Items that are ready for a client at a time.
const PAGE: usize = 256;

/// What a client sends that comes back to a stream.
pub(crate) const LAST_EVENT_ID: Input = Input {
    place: route::Place::Header,
    name: "last-event-id",
    kind: Kind::Word,
    required: false,
    doc: "The epoch to go on from.",
};

pub(crate) const ROUTES: &[Route] = &[Route {
    method: Method::GET,
    path: "/views/{view}/changes",
    doc: "A view as server-sent events: `reset`, `change` and `progress`, resumable from the last `progress`.",
    inputs: &[
        Input::path("view", Kind::Word, "The view."),
        Input::query("session_id", Kind::Uuid, "Only rows of this session."),
        LAST_EVENT_ID,
    ],
    answer: Answer::Stream(stream),
    returns: Returns::Events,
    orders: &[],
}];

/// Opens a stream of changes.
fn stream(app: &App, inputs: &Inputs) -> Response {
    let epoch = app.views.read().epoch();
    let response = match subscribe(app, inputs) {
        Ok(subscriber) => {
            let events = KeepAlive::new().interval(KEEP_ALIVE);
            Sse::new(subscriber.into_stream()).keep_alive(events).into_response()
        }
        Err(fault) => fault.into_response(),
    };
    with_epoch(response, epoch)
}

fn subscribe(app: &App, inputs: &Inputs) -> Result<Subscriber, Fault> {
    let (name, session) = (inputs.word("view"), inputs.uuid("session_id"));
    let position = app.views.catalog().position(name);
    let position = position.ok_or_else(|| Fault::NotFound(format!("no view {name}")))?;
    if session.is_some() {
        has_session(&app.views.catalog().tables()[position])?;
    }
    if !app.views.read().serving {
        return Err(Fault::unavailable());
    }
    let permit = app.streams.clone().try_acquire_owned();
    let permit = permit.map_err(|_| Fault::Unavailable("too many streams of changes"))?;
    Ok(Subscriber {
        views: app.views.clone(),
        position,
        session,
        shown: Shown::all(&app.views.catalog().tables()[position]),
        place: inputs
            .text("last-event-id")
            .and_then(|id| id.trim().parse().ok())
            .map_or(Place::Nowhere, |at| Place::After(LogTime(at))),
        queue: VecDeque::new(),
        signal: app.views.subscribe(),
        shutdown: app.shutdown.clone(),
        _permit: permit,
    })
}

/// What a client is told next.
enum Item {
    Reset(LogTime, usize),
    Change(LogTime, Entry, i64),
    Progress(LogTime),
}

/// How far a client is.
enum Place {
    /// It has nothing.
    Nowhere,
    /// It gets the rows as of an epoch, and has those up to a key.
    Rows(LogTime, Option<Vec<Cell>>),
    /// It gets the changes of an epoch, and has so many of them.
    Within(Arc<EpochChanges>, usize),
    /// It has everything up to an epoch.
    After(LogTime),
}

/// One client's place in the history of a view.
struct Subscriber {
    views: Views,
    position: usize,
    session: Option<Uuid>,
    shown: Shown,
    /// What comes after the queue.
    place: Place,
    queue: VecDeque<Item>,
    signal: watch::Receiver<Option<LogTime>>,
    shutdown: Shutdown,
    _permit: OwnedSemaphorePermit,
}

impl Subscriber {
    fn into_stream(self) -> impl Stream<Item = Result<Event, Infallible>> {
        futures::stream::unfold(self, async |mut subscriber| {
            let item = subscriber.next().await?;
            Some((Ok(subscriber.event(item)), subscriber))
        })
    }

    /// The next item; waits for an epoch if there is none. `None` ends the stream.
    async fn next(&mut self) -> Option<Item> {
        loop {
            if let Some(item) = self.queue.pop_front() {
                return Some(item);
            }
            // Before looking: an epoch that is applied while we look is seen the next time.
            self.signal.mark_unchanged();
            self.fill();
            if self.queue.is_empty() {
                tokio::select! {
                    changed = self.signal.changed() => changed.ok()?,
                    () = self.shutdown.wait() => return None,
                }
            }
        }
    }

    /// Queues a page of what comes next, if anything does.
    fn fill(&mut self) {
        let views = self.views.clone();
        let state = views.read();
        let Some(newest) = state.epoch() else { return };
        while self.queue.is_empty() {
            self.place = match std::mem::replace(&mut self.place, Place::Nowhere) {
                Place::After(at) if at == newest => {
                    self.place = Place::After(at);
                    return;
                }
                Place::After(at) => self.onwards(&state, at, newest),
                Place::Within(changes, sent) => self.changes(changes, sent),
                Place::Rows(epoch, after) if state.ring.oldest() <= epoch => self.rows(&state, epoch, after),
                Place::Rows(..) | Place::Nowhere => self.reset(&state, newest),
            };
        }
    }

    /// To the next epoch that changed the view; to the newest one, without.
    fn onwards(&mut self, state: &State, at: LogTime, newest: LogTime) -> Place {
        // One of a later time is from another run.
        let Some(mut epochs) = Some(at).filter(|at| *at < newest).and_then(|at| state.ring.after(at)) else {
            return Place::Nowhere;
        };
        let is_wanted = |epoch: &&Arc<EpochChanges>| {
            epoch.of_table(self.position).iter().any(|(entry, _)| self.wants(entry))
        };
        match epochs.find(is_wanted) {
            Some(epoch) => Place::Within(epoch.clone(), 0),
            None => {
                self.queue.push_back(Item::Progress(newest));
                Place::After(newest)
            }
        }
    }

    /// The next changes of an epoch.
    fn changes(&mut self, epoch: Arc<EpochChanges>, sent: usize) -> Place {
        let all = epoch.of_table(self.position);
        let upto = all.len().min(sent + PAGE);
        for (entry, diff) in all.get(sent..upto).unwrap_or_default() {
            if self.wants(entry) {
                self.queue.push_back(Item::Change(epoch.epoch, entry.clone(), *diff));
            }
        }
        match upto == all.len() {
            true => {
                self.queue.push_back(Item::Progress(epoch.epoch));
                Place::After(epoch.epoch)
            }
            false => Place::Within(epoch, upto),
        }
    }

    fn reset(&mut self, state: &State, epoch: LogTime) -> Place {
        let name = self.views.catalog().tables()[self.position].name;
        let rows = Reading::of(&self.views, state).table(name).map_or(0, |view| match self.session {
            None => view.len(),
            session => view.rows(session).count(),
        });
        self.queue.push_back(Item::Reset(epoch, rows));
        Place::Rows(epoch, None)
    }

    /// The next rows as of an epoch.
    fn rows(&mut self, state: &State, epoch: LogTime, after: Option<Vec<Cell>>) -> Place {
        let table = &self.views.catalog().tables()[self.position];
        let page: Vec<Entry> = match Reading::at(&self.views, state, epoch).table(table.name) {
            Ok(view) => {
                let rows = match after {
                    None => view.rows(self.session),
                    Some(key) => view.rows_after(self.session, key),
                };
                rows.take(PAGE).map(|row| row.entry.clone()).collect()
            }
            Err(_) => Vec::new(),
        };
        let last = page.last().filter(|_| page.len() == PAGE).map(|entry| table.key_of(&entry.row));
        self.queue.extend(page.into_iter().map(|entry| Item::Change(epoch, entry, 1)));
        if last.is_some() {
            return Place::Rows(epoch, last);
        }
        self.queue.push_back(Item::Progress(epoch));
        Place::After(epoch)
    }

    fn wants(&self, entry: &Entry) -> bool {
        let row = Row { table: &self.views.catalog().tables()[self.position], entry };
        self.session.is_none_or(|session| row.uuid("session_id") == Some(session))
    }

    fn event(&self, item: Item) -> Event {
        match item {
            // The empty id makes the client forget its own: it has nothing to resume from until `progress`.
            Item::Reset(epoch, rows) => {
                let data = json!({"epoch": epoch.0, "rows": rows});
                Event::default().event("reset").id("").data(data.to_string())
            }
            Item::Change(epoch, entry, diff) => {
                let mut data = format!("{{\"epoch\":{},\"diff\":{diff},\"row\":", epoch.0).into_bytes();
                self.shown.object(&mut data, &entry, 0);
                data.push(b'}');
                // JSON is text.
                Event::default().event("change").data(String::from_utf8(data).unwrap_or_default())
            }
            Item::Progress(epoch) => {
                let data = json!({"epoch": epoch.0});
                Event::default().event("progress").id(epoch.0.to_string()).data(data.to_string())
            }
        }
    }
}
