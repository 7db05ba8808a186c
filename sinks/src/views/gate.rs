//! Where connections come in, in the clear or by TLS. A handshake, which a client may draw out, holds up nobody else.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::ServerConfig;

use crate::Error;

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Handshakes at a time; the next connection waits for one of them.
const MAX_HANDSHAKES: usize = 256;

/// The address that a connection comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

impl Connected<IncomingStream<'_, Gate>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Gate>) -> Peer {
        Peer(*stream.remote_addr())
    }
}

/// A certificate and its key, as PEM files.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The certificate, with those that vouch for it.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl Tls {
    fn acceptor(&self) -> Result<TlsAcceptor, Error> {
        let bad = |path: &Path, why: String| Error::refused(path, why);
        let chain = CertificateDer::pem_file_iter(&self.certificate).and_then(Iterator::collect);
        let chain: Vec<_> = chain.map_err(|why| bad(&self.certificate, why.to_string()))?;
        let key = PrivateKeyDer::from_pem_file(&self.key);
        // What a parser says of a key is not passed on: it could quote it.
        let key = key.map_err(|_| bad(&self.key, "no private key in PEM form".into()))?;
        let versions = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions();
        let config = versions.and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
        let mut config = config.map_err(|why| bad(&self.certificate, why.to_string()))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// A connection.
pub(crate) trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

type Accepted = (Box<dyn Connection>, SocketAddr);

/// A listener.
pub(crate) struct Gate {
    tcp: TcpListener,
    tls: Option<TlsAcceptor>,
    handshakes: Arc<Semaphore>,
    ready: (mpsc::Sender<Accepted>, mpsc::Receiver<Accepted>),
}

impl Gate {
    pub(crate) fn new(tcp: TcpListener, tls: Option<&Tls>) -> Result<Gate, Error> {
        let tls = tls.map(Tls::acceptor).transpose()?;
        Ok(Gate { tcp, tls, handshakes: Arc::new(Semaphore::new(MAX_HANDSHAKES)), ready: mpsc::channel(16) })
    }
}

impl Listener for Gate {
    type Io = Box<dyn Connection>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> Accepted {
        loop {
            let (stream, address) = tokio::select! {
                Some(ready) = self.ready.1.recv() => return ready,
                accepted = Listener::accept(&mut self.tcp) => accepted,
            };
            // Answers and events are small, and wanted at once; a connection that refuses this works without.
            let _ = stream.set_nodelay(true);
            let Some(tls) = self.tls.clone() else { return (Box::new(stream), address) };
            let Ok(permit) = self.handshakes.clone().acquire_owned().await else { continue };
            let ready = self.ready.0.clone();
            tokio::spawn(async move {
                let greeted = tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await;
                drop(permit);
                // A client that gives up, or speaks something else, is no event.
                if let Ok(Ok(stream)) = greeted {
                    let _ = ready.send((Box::new(stream), address)).await;
                }
            });
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}
