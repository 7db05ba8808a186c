//! The server thread: any free port, several requests, and a stop that open streams do not hold up.

#![allow(clippy::disallowed_methods, reason = "it measures how long a stop takes")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use lsie_schemas::LogTime;
use lsie_sinks::testing::{catalog, total};
use lsie_sinks::views::{Api, Server};
use lsie_sinks::{Error, Sink, Views};

fn server(views: &Views) -> Server {
    let views = views.clone();
    Server::start(SocketAddr::from(([127, 0, 0, 1], 0)), None, |shutdown| Api::new(&views).router(shutdown))
        .expect("a free port")
}

fn connect(server: &Server, path: &str, connection: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: {connection}\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("a request");
    stream
}

fn views() -> Views {
    let views = Views::new(catalog());
    let mut sink = views.sink();
    sink.write(LogTime(1), &[total(1, "a", 1, 1)]).expect("a correct epoch");
    sink.commit(LogTime(1)).expect("a complete epoch");
    views
}

#[test]
fn answers_on_any_free_port() {
    let server = server(&views());
    assert_ne!(server.address().port(), 0);
    let mut text = String::new();
    connect(&server, "/api/v1/views/totals", "close").read_to_string(&mut text).expect("an answer");
    assert!(text.starts_with("HTTP/1.1 200 OK"), "{text}");
    assert!(text.contains("x-lsie-epoch: 1"), "{text}");
    assert!(text.contains("\"total\":1"), "{text}");
    let address = server.address();
    server.stop().expect("a clean stop");
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn a_port_in_use_is_an_error() {
    let server = server(&views());
    let other = Server::start(server.address(), None, |shutdown| Api::new(&views()).router(shutdown));
    assert!(matches!(other, Err(Error::Serve(_))));
}

#[test]
fn open_streams_end_with_the_server() {
    let server = server(&views());
    let mut stream = connect(&server, "/api/v1/views/totals/changes", "keep-alive");
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("event: progress") {
        let mut buffer = [0; 1024];
        let n = stream.read(&mut buffer).expect("events");
        assert_ne!(n, 0);
        seen.extend_from_slice(&buffer[..n]);
    }
    let started = Instant::now();
    server.stop().expect("a clean stop");
    assert!(started.elapsed() < Duration::from_secs(4), "the stop waited for the stream");
    // The body's end, then the connection's.
    stream.read_to_end(&mut seen).expect("the end");
}
