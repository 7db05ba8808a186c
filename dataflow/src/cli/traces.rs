//! Sends traces of segments to a collector, on a thread of its own: one that is away or slow holds nobody up.

use std::sync::mpsc::{Receiver, TrySendError, sync_channel};
use std::time::Duration;

use anyhow::Context;
use lsie_schemas::LogTime;
use lsie_sinks::{Sink, Traces};
use serde_json::Value;

use crate::config::TracesConfig;

/// Requests that may wait for the collector; what comes beyond them is lost, and said to be.
const WAITING: usize = 256;
/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The sink that makes traces, if there is to be one. The thread ends with it.
pub(super) fn sink(config: &TracesConfig, held: Option<LogTime>) -> anyhow::Result<Option<Box<dyn Sink>>> {
    if config.endpoint.is_empty() {
        return Ok(None);
    }
    let (sender, requests) = sync_channel::<Value>(WAITING);
    let endpoint = config.endpoint.clone();
    let send = move || send(&endpoint, &requests);
    std::thread::Builder::new().name("traces".into()).spawn(send).context("a thread for traces")?;
    let export = move |request| {
        if let Err(TrySendError::Full(_)) = sender.try_send(request) {
            tracing::warn!("a trace is lost: the collector is slow or away");
        }
    };
    Ok(Some(Box::new(Traces::after(held, Box::new(export)))))
}

fn send(endpoint: &str, requests: &Receiver<Value>) {
    let agent: ureq::Agent = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).build().into();
    for request in requests {
        let sent = agent.post(endpoint).content_type("application/json").send(request.to_string());
        if let Err(why) = sent {
            tracing::warn!(%why, "a trace could not be sent");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use lsie_schemas::{Change, EventTime, TableRow, Uuid, row::SegmentRow};

    use super::*;

    #[test]
    fn a_closed_segment_reaches_the_collector() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let endpoint = format!("http://{}/v1/traces", listener.local_addr().expect("an address"));
        let config = TracesConfig { endpoint };
        let mut sink = sink(&config, None).expect("a thread").expect("a sink");
        let row = SegmentRow {
            session_id: Uuid::nil(),
            ordinal: 1,
            segment_id: "ab".repeat(32),
            window_start_utc: EventTime(0),
            window_end_utc: EventTime(30_000_000),
            closed_by: "complete".into(),
            closed_at: EventTime(32_000_000),
            evidence_stream: None,
            evidence_offset: None,
            evidence_event_time: None,
            audio_samples: 0,
            audio_sha256: String::new(),
            video_frames: 0,
            face_frames: 0,
        };
        let (epoch, diff) = (LogTime(32_000), 1);
        let change = Change { table: SegmentRow::TABLE.name.into(), row: row.cells(), epoch, diff };
        sink.write(epoch, &[change]).expect("a row");
        sink.commit(epoch).expect("an epoch");

        let (mut connection, _) = listener.accept().expect("a request");
        let (head, body) = received(&mut connection);
        assert!(head.starts_with("POST /v1/traces HTTP/1.1"), "{head}");
        let request: Value = serde_json::from_str(&body).expect("JSON");
        let spans = &request["resourceSpans"][0]["scopeSpans"][0]["spans"];
        assert_eq!(spans[0]["name"], "segment");
        assert_eq!(spans[0]["traceId"], "ab".repeat(16));
    }

    /// Head and body of a request, which is answered.
    fn received(connection: &mut std::net::TcpStream) -> (String, String) {
        let mut text = String::new();
        let mut buffer = [0; 4_096];
        loop {
            let read = connection.read(&mut buffer).expect("bytes");
            text.push_str(std::str::from_utf8(&buffer[..read]).expect("text"));
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head
                    .lines()
                    .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
                if length == Some(body.len()) {
                    connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").expect("an answer");
                    return (head.to_string(), body.to_string());
                }
            }
        }
    }
}
