//! The server by TLS, spoken to by OpenSSL: another implementation, with a certificate of its own making.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use lsie_sinks::testing::catalog;
use lsie_sinks::views::{Access, Api, Server, Tls};
use lsie_sinks::{Error, Views};

/// A certificate for this machine.
fn certificate(dir: &Path) -> Tls {
    let tls = Tls { certificate: dir.join("certificate.pem"), key: dir.join("key.pem") };
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-addext"])
        .arg("basicConstraints=critical,CA:FALSE")
        .arg("-keyout")
        .arg(&tls.key)
        .arg("-out")
        .arg(&tls.certificate)
        .stderr(Stdio::null())
        .status();
    assert!(made.expect("openssl is installed with the certificates of authorities").success());
    tls
}

fn start(tls: &Tls) -> Result<Server, Error> {
    let api = Api::new(&Views::new(catalog())).guarded(Access::default(), 0, true);
    Server::start(SocketAddr::from(([127, 0, 0, 1], 0)), Some(tls), |shutdown| api.router(shutdown))
}

#[test]
fn openssl_verifies_the_certificate_and_gets_its_answer() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let tls = certificate(dir.path());
    let server = start(&tls).expect("a certificate and its key");
    // Two that never finish their handshakes, and one that does not know it should.
    let _silent = TcpStream::connect(server.address()).expect("a connection");
    let mut plain = TcpStream::connect(server.address()).expect("a connection");
    plain.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("a request");

    let mut client = Command::new("openssl")
        .args(["s_client", "-quiet", "-verify_return_error", "-ign_eof", "-servername", "localhost"])
        .args(["-verify_hostname", "localhost", "-connect", &server.address().to_string(), "-CAfile"])
        .arg(&tls.certificate)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl");
    let request = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    client.stdin.take().expect("its input").write_all(request).expect("a request");
    let mut answer = String::new();
    client.stdout.take().expect("its output").read_to_string(&mut answer).expect("text");
    client.wait().expect("its end");
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("{\"status\":\"ok\"}"), "{answer}");
    assert!(answer.contains("strict-transport-security"), "{answer}");

    let mut refused = Vec::new();
    // An alert of TLS, or the end; no HTTP.
    let _ = plain.read_to_end(&mut refused);
    assert!(!refused.starts_with(b"HTTP"), "nothing is answered in the clear");
    server.stop().expect("a clean stop");
}

#[test]
fn files_that_are_no_certificate_are_refused_without_being_quoted() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut tls = certificate(dir.path());
    std::fs::write(dir.path().join("secret"), "very secret").expect("a file");
    tls.key = dir.path().join("secret");
    let error = start(&tls).expect_err("no key").to_string();
    assert!(error.contains("no private key") && !error.contains("very"), "{error}");
    tls.certificate = dir.path().join("nowhere");
    assert!(matches!(start(&tls), Err(Error::Refused { .. })));
}
