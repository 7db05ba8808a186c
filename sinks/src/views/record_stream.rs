//! The records of `/operator` as server-sent events, for who accepts `text/event-stream` first: the answer as of the
//! newest epoch as event `record`, and again when it has changed, at most once a second. Its id is the epoch.

use std::convert::Infallible;
use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::Stream;
use lsie_schemas::LogTime;
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::views::inputs::Inputs;
use crate::views::reading::Reading;
use crate::views::reply::{Fault, with_epoch};
use crate::views::route::{Answer, Route};
use crate::views::router::App;

const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The least time between two events.
const APART: Duration = Duration::from_secs(1);

/// Whether a route also answers with a stream.
pub(crate) fn is_offered(route: &Route) -> bool {
    route.path.starts_with("/operator/") && matches!(route.answer, Answer::Read(_) | Answer::Probed(_))
}

/// Whether a request wants the stream that a route offers.
pub(crate) fn is_wanted(route: &Route, headers: &HeaderMap) -> bool {
    let accepted = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let first = accepted.split([',', ';']).next().unwrap_or_default();
    is_offered(route) && first.trim().eq_ignore_ascii_case("text/event-stream")
}

/// Opens the stream; where there is no answer now, the fault is the response.
pub(crate) async fn open(app: App, route: &'static Route, inputs: Inputs) -> Response {
    let Ok(permit) = app.streams.clone().try_acquire_owned() else {
        let epoch = app.views.read().epoch();
        return with_epoch(Fault::Unavailable("too many streams").into_response(), epoch);
    };
    let signal = app.views.subscribe();
    let mut listener = Listener { app, route, inputs, signal, told: None, first: None, _permit: permit };
    match listener.look().await {
        Err((fault, epoch)) => with_epoch(fault.into_response(), Some(epoch)),
        Ok((epoch, record)) => {
            listener.first = Some((epoch, record));
            let events = KeepAlive::new().interval(KEEP_ALIVE);
            with_epoch(Sse::new(listener.into_stream()).keep_alive(events).into_response(), Some(epoch))
        }
    }
}

/// One reader.
struct Listener {
    app: App,
    route: &'static Route,
    inputs: Inputs,
    signal: watch::Receiver<Option<LogTime>>,
    /// What it was told last.
    told: Option<Vec<u8>>,
    /// What it is told first.
    first: Option<(LogTime, Vec<u8>)>,
    _permit: OwnedSemaphorePermit,
}

impl Listener {
    fn into_stream(self) -> impl Stream<Item = Result<Event, Infallible>> {
        futures::stream::unfold(self, async |mut listener| {
            let (epoch, record) = listener.next().await?;
            let text = String::from_utf8_lossy(&record).into_owned();
            listener.told = Some(record);
            Some((Ok(Event::default().event("record").id(epoch.0.to_string()).data(text)), listener))
        })
    }

    /// The next answer that is another one than the last; `None` ends the stream.
    async fn next(&mut self) -> Option<(LogTime, Vec<u8>)> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        let mut shutdown = self.app.shutdown.clone();
        tokio::select! {
            () = tokio::time::sleep(APART) => {}
            () = shutdown.wait() => return None,
        }
        loop {
            self.signal.mark_unchanged();
            // A fault ends the stream: who comes back is told which.
            let (epoch, record) = self.look().await.ok()?;
            if self.told.as_ref() != Some(&record) {
                return Some((epoch, record));
            }
            tokio::select! {
                changed = self.signal.changed() => changed.ok()?,
                () = shutdown.wait() => return None,
            }
        }
    }

    /// The answer as of the newest epoch.
    async fn look(&self) -> Result<(LogTime, Vec<u8>), (Fault, LogTime)> {
        let found = match self.route.answer {
            Answer::Probed(_) => self.app.probes.look().await,
            _ => Default::default(),
        };
        let state = self.app.views.read();
        let newest = state.epoch().unwrap_or_default();
        let answer = Reading::new(&self.app.views, &state, self.inputs.as_of()).and_then(|at| {
            let reply = match self.route.answer {
                Answer::Probed(read) => read(&at, &self.inputs, found),
                Answer::Read(read) => read(&at, &self.inputs),
                Answer::Act(_) | Answer::Stream(_) => Err(Fault::NotFound("no such stream".into())),
            };
            Ok((at.epoch(), reply?.json()))
        });
        answer.map_err(|fault| (fault, newest))
    }
}
