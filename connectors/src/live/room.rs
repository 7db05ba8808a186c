//! From session to session, and within one from connection to connection.

use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use lsie_schemas::EventTime;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};
use uuid::Uuid;

use super::queue::Events;
use super::sign::{SignError, Signed};
use super::webcast::{self, Read};
use super::{Mode, Settings, generic};
use crate::Health;
use crate::clock::wall_us;
use crate::health::State;

/// How long opening a connection may take.
const OPEN: Duration = Duration::from_secs(10);
/// A message may have as many bytes.
const MOST_MESSAGE_BYTES: usize = 16 << 20;
/// The part of the health report.
const PART: &str = "connection";

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Attends the rooms of one account.
pub(super) struct Room<'a> {
    pub(super) settings: &'a Settings,
    pub(super) health: &'a Health,
    pub(super) events: Events,
    pub(super) sessions: watch::Receiver<Option<Uuid>>,
}

/// How attending a session ended.
enum Ended {
    /// Another session, none, or nobody any more who could begin one.
    Session,
    /// The room is over, or it was tried too often: until the next session.
    Room,
}

/// How a connection ended.
enum Closed {
    Session,
    RoomEnded,
    Broken(String),
}

impl Room<'_> {
    /// Attends one session after the other, until whoever says which one runs is gone.
    pub(super) async fn attend(mut self) {
        loop {
            let session = *self.sessions.borrow_and_update();
            let waits = match session {
                Some(session) => matches!(self.session(session).await, Ended::Room),
                None => {
                    self.health.set(PART, State::Ok, "no session runs");
                    true
                }
            };
            if (waits && self.sessions.changed().await.is_err()) || self.sessions.has_changed().is_err() {
                return;
            }
        }
    }

    /// Connects again and again for one session.
    async fn session(&mut self, session: Uuid) -> Ended {
        let mut failures = 0;
        loop {
            let (why, state) = match self.connect().await {
                Err(unsigned) => {
                    self.health.count("signatures_failed", 1);
                    (unsigned.to_string(), State::Degraded)
                }
                Ok(Err(why)) => (why, State::Recovering),
                Ok(Ok(socket)) => {
                    failures = 0;
                    self.health.set(PART, State::Ok, "connected");
                    self.health.count("connections", 1);
                    match self.listen(session, socket).await {
                        Closed::Session => return Ended::Session,
                        Closed::RoomEnded => {
                            self.health.set(PART, State::Ok, "the room has ended");
                            return Ended::Room;
                        }
                        Closed::Broken(why) => (why, State::Recovering),
                    }
                }
            };
            failures += 1;
            self.health.count("connections_failed", 1);
            let Some(wait) = self.settings.backoff.wait(failures) else {
                self.health.set(PART, State::Error, format!("given up after {failures} failures: {why}"));
                return Ended::Room;
            };
            self.health.set(PART, state, why);
            tokio::select! {
                () = sleep(wait) => {}
                _ = self.sessions.changed() => return Ended::Session,
            }
        }
    }

    /// Opens a connection at an address that is signed for it alone.
    async fn connect(&self) -> Result<Result<Socket, String>, SignError> {
        let (sign, account) = (self.settings.sign.clone(), self.settings.account.clone());
        let signed = tokio::task::spawn_blocking(move || sign.sign(&account)).await;
        let signed = signed.unwrap_or_else(|_| Err(SignError("the signer failed".into())))?;
        // What goes wrong may quote the address, which is signed: only its kind is told.
        let opened = timeout(OPEN, open(signed)).await;
        Ok(opened.unwrap_or_else(|_| Err("the platform does not answer in time".into())))
    }

    async fn listen(&mut self, session: Uuid, mut socket: Socket) -> Closed {
        let mut heartbeat = interval(self.settings.heartbeat);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        loop {
            let message = tokio::select! {
                changed = self.sessions.changed() => {
                    let _ = (changed, socket.close(None).await);
                    return Closed::Session;
                }
                _ = heartbeat.tick() => {
                    if heard.elapsed() >= self.settings.silence {
                        return Closed::Broken("nothing comes any more".into());
                    }
                    let sign = match self.settings.mode {
                        Mode::Webcast => Message::Binary(webcast::heartbeat().into()),
                        Mode::Json => Message::Ping(Bytes::new()),
                    };
                    match socket.send(sign).await {
                        Ok(()) => continue,
                        Err(_) => return Closed::Broken("the connection broke".into()),
                    }
                }
                message = socket.next() => message,
            };
            heard = Instant::now();
            let now = EventTime(wall_us());
            let read = match (message, self.settings.mode) {
                (Some(Ok(Message::Binary(bytes))), Mode::Webcast) => webcast::read(&bytes, session, now),
                (Some(Ok(Message::Text(text))), Mode::Json) => generic::read(&text, session, now),
                (Some(Ok(Message::Binary(_) | Message::Text(_))), _) => {
                    Read { malformed: 1, ..Read::default() }
                }
                (Some(Ok(Message::Close(_))) | None, _) => {
                    return Closed::Broken("the platform closed".into());
                }
                (Some(Ok(_)), _) => continue,
                (Some(Err(_)), _) => return Closed::Broken("the connection broke".into()),
            };
            if let Some(closed) = self.take(read, &mut socket).await {
                return closed;
            }
            // What was waited for the log is no silence of the platform's.
            heard = Instant::now();
        }
    }

    /// Hands events on, and acknowledges only then: what was not handed on comes again.
    async fn take(&self, read: Read, socket: &mut Socket) -> Option<Closed> {
        self.health.count("messages_unknown", read.unknown);
        self.health.count("messages_malformed", read.malformed);
        for event in read.events {
            if self.events.send(event).await.is_err() {
                return Some(Closed::Broken("the log is lost".into()));
            }
        }
        if let Some(acknowledge) = read.acknowledge
            && socket.send(Message::Binary(acknowledge.into())).await.is_err()
        {
            return Some(Closed::Broken("the connection broke".into()));
        }
        read.ended.then_some(Closed::RoomEnded)
    }
}

async fn open(signed: Signed) -> Result<Socket, String> {
    let mut request = signed.url.into_client_request().map_err(|_| "the address is none".to_owned())?;
    for (name, value) in signed.headers {
        let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) else {
            return Err("a header of the signature is none".into());
        };
        request.headers_mut().insert(name, value);
    }
    let config = WebSocketConfig::default()
        .max_message_size(Some(MOST_MESSAGE_BYTES))
        .max_frame_size(Some(MOST_MESSAGE_BYTES));
    match connect_async_with_config(request, Some(config), false).await {
        Ok((socket, _)) => Ok(socket),
        Err(_) => Err("the platform cannot be reached, or refuses".into()),
    }
}
