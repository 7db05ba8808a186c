//! `GET /views/{view}/changes`: a view as server-sent events, exactly once per epoch for who follows the
//! rules below.
//!
//! - `change`: `{"epoch", "diff", "row"}`; a row went (-1) or came (+1).
//! - `progress`: `{"epoch"}`; everything up to this epoch was sent. Only this event has an id, the epoch: a
//!   client applies the changes it has at each `progress`, so that a connection lost within an epoch repeats
//!   that epoch's changes and loses none.
//! - `reset`: `{"epoch", "rows"}`; forget everything. The current rows follow as changes by +1, then
//!   `progress`. Sent first to a client without `Last-Event-ID`, and to one whose epoch is too long ago.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::http::Method;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::Stream;
use lsie_schemas::{LogTime, Uuid};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::views::Shutdown;
use crate::views::generic::has_session;
use crate::views::inputs::Inputs;
use crate::views::reading::Reading;
use crate::views::reply::{Fault, with_epoch};
use crate::views::route::{Answer, Input, Kind, Place, Returns, Route};
use crate::views::router::App;
use crate::views::row::Row;
use crate::views::state::{Entry, State, Views};

const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What a client sends that comes back to a stream.
pub(crate) const LAST_EVENT_ID: Input = Input {
    place: Place::Header,
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
        at: inputs.text("last-event-id").and_then(|id| id.trim().parse().ok()).map(LogTime),
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

/// One client's place in the history of a view.
struct Subscriber {
    views: Views,
    position: usize,
    session: Option<Uuid>,
    /// Everything up to here is sent or queued.
    at: Option<LogTime>,
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

    /// Queues what happened since the last time.
    fn fill(&mut self) {
        let views = self.views.clone();
        let state = views.read();
        let Some(epoch) = state.epoch() else { return };
        let known = self.at.filter(|at| *at <= epoch);
        match known.and_then(|at| state.ring.after(at)) {
            Some(epochs) => {
                for changes in epochs {
                    let rows = changes.of_table(self.position).iter();
                    let wanted: Vec<_> = rows.filter(|(entry, _)| self.wants(entry)).collect();
                    let (items, is_last) = (wanted.len(), changes.epoch == epoch);
                    let change =
                        |(entry, diff): &(Entry, i64)| Item::Change(changes.epoch, entry.clone(), *diff);
                    self.queue.extend(wanted.into_iter().map(change));
                    if items > 0 && !is_last {
                        self.queue.push_back(Item::Progress(changes.epoch));
                    }
                }
                if known < Some(epoch) {
                    self.queue.push_back(Item::Progress(epoch));
                }
            }
            None => self.snapshot(&state, epoch),
        }
        self.at = Some(epoch);
    }

    fn snapshot(&mut self, state: &State, epoch: LogTime) {
        let name = self.views.catalog().tables()[self.position].name;
        let Ok(view) = Reading::of(&self.views, state).table(name) else { return };
        let rows: Vec<Entry> = view.rows(self.session).map(|row| row.entry.clone()).collect();
        self.queue.push_back(Item::Reset(epoch, rows.len()));
        self.queue.extend(rows.into_iter().map(|entry| Item::Change(epoch, entry, 1)));
        self.queue.push_back(Item::Progress(epoch));
    }

    fn wants(&self, entry: &Entry) -> bool {
        let row = Row { table: &self.views.catalog().tables()[self.position], entry };
        self.session.is_none_or(|session| row.uuid("session_id") == Some(session))
    }

    fn event(&self, item: Item) -> Event {
        let table = &self.views.catalog().tables()[self.position];
        match item {
            // The empty id makes the client forget its own: it has nothing to resume from until `progress`.
            Item::Reset(epoch, rows) => {
                let data = json!({"epoch": epoch.0, "rows": rows});
                Event::default().event("reset").id("").data(data.to_string())
            }
            Item::Change(epoch, entry, diff) => {
                let row = Row { table, entry: &entry }.object();
                let data = json!({"epoch": epoch.0, "diff": diff, "row": row});
                Event::default().event("change").data(data.to_string())
            }
            Item::Progress(epoch) => {
                let data = json!({"epoch": epoch.0});
                Event::default().event("progress").id(epoch.0.to_string()).data(data.to_string())
            }
        }
    }
}
