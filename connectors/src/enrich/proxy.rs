//! The way out of one browser: a forward proxy on loopback that makes every connection itself, to addresses that it has
//! judged. Pages, redirects, pictures, scripts and sockets all pass here; the browser resolves no name.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::guard::{Hosts, Refusal, split};

/// Connections at a time.
const MOST_CONNECTIONS: usize = 64;
/// Bytes of a head.
const MOST_HEAD_BYTES: usize = 32 << 10;
/// Bytes that one browser may be sent.
const MOST_BYTES: u64 = 64 << 20;
/// How long connecting may take, and silence may last.
const CONNECT: Duration = Duration::from_secs(10);
const SILENCE: Duration = Duration::from_secs(60);

/// A proxy that runs until it is dropped.
pub(super) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    hosts: Hosts,
    stopped: AtomicBool,
    open: AtomicUsize,
    received: AtomicU64,
    refused: Mutex<BTreeMap<String, Refusal>>,
}

impl Proxy {
    /// Listens on any free port of loopback.
    pub(super) fn start(hosts: Hosts) -> std::io::Result<Proxy> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            hosts,
            stopped: AtomicBool::new(false),
            open: AtomicUsize::new(0),
            received: AtomicU64::new(0),
            refused: Mutex::default(),
        });
        let accepting = std::thread::Builder::new().name("enrich-proxy".into()).spawn({
            let shared = shared.clone();
            move || accept(&listener, &shared)
        })?;
        Ok(Proxy { address, shared, accepting: Some(accepting) })
    }

    /// Its URL.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Why an authority was refused, if it was.
    pub(super) fn refusal(&self, authority: &str) -> Option<Refusal> {
        let host = |authority: &str| split(authority).map(|(host, _)| host.to_owned());
        let refused = self.shared.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.iter().find(|(known, _)| host(known) == host(authority)).map(|(_, why)| *why)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes whoever accepts.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for connection in listener.incoming() {
        if shared.stopped.load(Ordering::SeqCst) {
            return;
        }
        let Ok(client) = connection else { continue };
        if shared.open.fetch_add(1, Ordering::SeqCst) >= MOST_CONNECTIONS {
            shared.open.fetch_sub(1, Ordering::SeqCst);
            continue;
        }
        let for_thread = shared.clone();
        let started = std::thread::Builder::new().name("enrich-connection".into()).spawn(move || {
            // Whatever breaks a connection, the browser sees it broken.
            let _ = serve(client, &for_thread);
            for_thread.open.fetch_sub(1, Ordering::SeqCst);
        });
        if started.is_err() {
            shared.open.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// One request: a tunnel, or a plain request that is passed on.
fn serve(mut client: TcpStream, shared: &Arc<Shared>) -> std::io::Result<()> {
    client.set_read_timeout(Some(SILENCE))?;
    let Some((head, rest)) = read_head(&mut client)? else { return Ok(()) };
    let Some(asked) = Asked::read(&head) else {
        return client
            .write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    };
    let mut server = match connect(&asked, shared) {
        Ok(server) => server,
        Err(()) => {
            return client
                .write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    };
    server.set_read_timeout(Some(SILENCE))?;
    match &asked.passed_on {
        None => client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?,
        Some(head) => server.write_all(head.as_bytes())?,
    }
    server.write_all(&rest)?;
    let (up, down) = ((client.try_clone()?, server.try_clone()?), (server.try_clone()?, client.try_clone()?));
    let uploading = std::thread::Builder::new().name("enrich-upload".into()).spawn(move || {
        let (mut from, mut to) = up;
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    })?;
    let (from, mut to) = down;
    let _ = download(from, &mut to, asked.passed_on.is_some(), shared);
    let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
    let _ = uploading.join();
    Ok(())
}

/// Passes on what the server sends, within the budget of the browser. A plain answer ends its connection: the next
/// request may be for somebody else.
fn download(mut from: TcpStream, to: &mut TcpStream, is_plain: bool, shared: &Shared) -> std::io::Result<()> {
    if is_plain {
        let Some((head, rest)) = read_head(&mut from)? else { return Ok(()) };
        to.write_all(closing(&head).as_bytes())?;
        to.write_all(&rest)?;
        shared.received.fetch_add(rest.len() as u64, Ordering::SeqCst);
    }
    let mut piece = vec![0; 64 << 10];
    loop {
        let length = from.read(&mut piece)?;
        let received = shared.received.fetch_add(length as u64, Ordering::SeqCst);
        if length == 0 || received + length as u64 > MOST_BYTES || shared.stopped.load(Ordering::SeqCst) {
            return Ok(());
        }
        to.write_all(&piece[..length])?;
    }
}

fn connect(asked: &Asked, shared: &Shared) -> Result<TcpStream, ()> {
    let addresses = shared.hosts.resolve(&asked.authority, asked.default_port).map_err(|why| {
        let mut refused = shared.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.len() < 1_000 {
            refused.insert(asked.authority.clone(), why);
        }
    })?;
    let connected = addresses.iter().find_map(|address| TcpStream::connect_timeout(address, CONNECT).ok());
    connected.ok_or(())
}

/// A head up to its empty line, and what came behind it; none if the connection ended before.
fn read_head(stream: &mut TcpStream) -> std::io::Result<Option<(String, Vec<u8>)>> {
    let (mut read, mut piece) = (Vec::new(), [0; 4_096]);
    loop {
        let length = stream.read(&mut piece)?;
        read.extend_from_slice(&piece[..length]);
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = read.split_off(end + 4);
            return Ok(String::from_utf8(read).ok().map(|head| (head, rest)));
        }
        if length == 0 || read.len() > MOST_HEAD_BYTES {
            return Ok(None);
        }
    }
}

/// Who is to be reached, and with what.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    authority: String,
    default_port: u16,
    /// The head of a plain request as the server gets it; none for a tunnel.
    passed_on: Option<String>,
}

impl Asked {
    /// Reads the head of a request to a proxy.
    fn read(head: &str) -> Option<Asked> {
        let (line, fields) = head.split_once("\r\n")?;
        let mut words = line.split(' ');
        let (method, target, version) = (words.next()?, words.next()?, words.next()?);
        if words.next().is_some() || !version.starts_with("HTTP/1.") {
            return None;
        }
        if method == "CONNECT" {
            return Some(Asked { authority: target.into(), default_port: 443, passed_on: None });
        }
        let rest = target.strip_prefix("http://")?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let slash = if path.starts_with('/') { "" } else { "/" };
        let host = |line: &&str| !line.to_ascii_lowercase().starts_with("host:");
        let fields: String = kept(fields).filter(host).map(|line| format!("{line}\r\n")).collect();
        let passed_on = format!(
            "{method} {slash}{path} {version}\r\nHost: {authority}\r\nConnection: close\r\n{fields}\r\n"
        );
        Some(Asked { authority: authority.into(), default_port: 80, passed_on: Some(passed_on) })
    }
}

/// The head of an answer, saying that the connection ends with it.
fn closing(head: &str) -> String {
    let (line, fields) = head.split_once("\r\n").unwrap_or((head, ""));
    let fields: String = kept(fields).map(|line| format!("{line}\r\n")).collect();
    format!("{line}\r\nConnection: close\r\n{fields}\r\n")
}

/// The lines that are not about this one connection.
fn kept(fields: &str) -> impl Iterator<Item = &str> {
    let of_the_connection = ["connection:", "keep-alive:", "proxy-connection:", "proxy-authorization:"];
    let lines = fields.split("\r\n").filter(|line| !line.is_empty());
    lines.filter(move |line| {
        let line = line.to_ascii_lowercase();
        !of_the_connection.iter().any(|name| line.starts_with(name))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_browser_asks_of_a_proxy() {
        let head = "GET http://a.test:81/x?y HTTP/1.1\r\nHost: other\r\nProxy-Connection: keep-alive\r\nAccept: */*\r\n\r\n";
        let asked = Asked::read(head).expect("a request");
        assert_eq!(asked.authority, "a.test:81");
        assert_eq!(
            asked.passed_on.as_deref(),
            Some("GET /x?y HTTP/1.1\r\nHost: a.test:81\r\nConnection: close\r\nAccept: */*\r\n\r\n")
        );
        let tunnel = Asked::read("CONNECT a.test:443 HTTP/1.1\r\nHost: a.test\r\n\r\n").expect("a request");
        assert_eq!(tunnel, Asked { authority: "a.test:443".into(), default_port: 443, passed_on: None });
        for none in [
            "",
            "GET /x HTTP/1.1\r\n\r\n",
            "GET ftp://a/ HTTP/1.1\r\n\r\n",
            "GET http://a/ b HTTP/1.1\r\n\r\n",
        ] {
            assert_eq!(Asked::read(none), None, "{none}");
        }
        let query = Asked::read("GET http://a.test?y HTTP/1.1\r\n\r\n").and_then(|asked| asked.passed_on);
        assert!(query.is_some_and(|head| head.starts_with("GET /?y HTTP/1.1\r\nHost: a.test\r\n")));
        let answer = closing("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5\r\nContent-Length: 2\r\n\r\n");
        assert_eq!(answer, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n");
    }

    proptest! {
        #[test]
        fn no_head_panics(head in "\\PC*(\r\n\\PC*){0,3}") {
            let _ = (Asked::read(&head), closing(&head));
        }
    }
}
