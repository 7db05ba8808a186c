//! `GET /pulse`: which views changed, as server-sent events; one connection for all that a console shows.
//!
//! `pulse`: `{"epoch", "views"}`; these views changed since the last event, and everything up to this epoch can
//! be read. Sent for each epoch with changes, or once for several; and about once a second without any, so that
//! a reader knows how far the engine is. Its id is the epoch: a reader that comes back is told what it missed.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use axum::http::Method;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::Stream;
use lsie_schemas::LogTime;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::views::changes::LAST_EVENT_ID;
use crate::views::inputs::Inputs;
use crate::views::reply::{Fault, with_epoch};
use crate::views::route::{Answer, Returns, Route};
use crate::views::router::App;
use crate::views::{Shutdown, Views};

const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Log time between events without changes, ms.
const QUIET_MS: u64 = 1_000;

pub(crate) const ROUTES: &[Route] = &[Route {
    method: Method::GET,
    path: "/pulse",
    doc: "Which views changed, as server-sent events `pulse`, resumable from the last one.",
    inputs: &[LAST_EVENT_ID],
    answer: Answer::Stream(stream),
    returns: Returns::Events,
    orders: &[],
}];

/// Opens the stream.
fn stream(app: &App, inputs: &Inputs) -> Response {
    let (is_serving, epoch) = {
        let state = app.views.read();
        (state.serving, state.epoch())
    };
    if !is_serving {
        return Fault::unavailable().into_response();
    }
    let response = match app.streams.clone().try_acquire_owned() {
        Err(_) => Fault::Unavailable("too many streams of changes").into_response(),
        Ok(permit) => {
            let at = inputs.text("last-event-id").and_then(|id| id.trim().parse().ok()).map(LogTime);
            let (views, shutdown) = (app.views.clone(), app.shutdown.clone());
            let signal = views.subscribe();
            let listener = Listener { at, told: None, signal, views, shutdown, _permit: permit };
            let events = KeepAlive::new().interval(KEEP_ALIVE);
            Sse::new(listener.into_stream()).keep_alive(events).into_response()
        }
    };
    with_epoch(response, epoch)
}

/// One reader's place in time.
struct Listener {
    /// Changes up to here are known to the reader; `None`: it asks for everything anyway.
    at: Option<LogTime>,
    /// The epoch of the last event.
    told: Option<LogTime>,
    signal: watch::Receiver<Option<LogTime>>,
    views: Views,
    shutdown: Shutdown,
    _permit: OwnedSemaphorePermit,
}

impl Listener {
    fn into_stream(self) -> impl Stream<Item = Result<Event, Infallible>> {
        futures::stream::unfold(self, async |mut listener| {
            let event = listener.next().await?;
            Some((Ok(event), listener))
        })
    }

    /// The next event; waits for an epoch. `None` ends the stream.
    async fn next(&mut self) -> Option<Event> {
        loop {
            self.signal.mark_unchanged();
            if let Some((epoch, changed)) = self.look() {
                let data = json!({"epoch": epoch.0, "views": changed});
                return Some(Event::default().event("pulse").id(epoch.0.to_string()).data(data.to_string()));
            }
            tokio::select! {
                changed = self.signal.changed() => changed.ok()?,
                () = self.shutdown.wait() => return None,
            }
        }
    }

    /// What there is to tell: the newest epoch and the views that changed up to it.
    fn look(&mut self) -> Option<(LogTime, BTreeSet<&'static str>)> {
        let epoch = self.views.read().epoch()?;
        let changed = match self.at {
            Some(at) if at <= epoch => self.changed(at),
            _ => BTreeSet::new(),
        };
        self.at = Some(epoch);
        let quiet = self.told.is_some_and(|told| epoch.0 < told.0 + QUIET_MS);
        if changed.is_empty() && quiet {
            return None;
        }
        self.told = Some(epoch);
        Some((epoch, changed))
    }

    fn changed(&self, at: LogTime) -> BTreeSet<&'static str> {
        let state = self.views.read();
        let tables = self.views.catalog().tables();
        match state.ring.after(at) {
            Some(epochs) => {
                let positions = epochs.flat_map(|epoch| epoch.tables.iter().map(|(position, _)| *position));
                positions.filter_map(|position| tables.get(position)).map(|table| table.name).collect()
            }
            // Too long ago to know: anything may have changed.
            None => tables.iter().map(|table| table.name).collect(),
        }
    }
}
