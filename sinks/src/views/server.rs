//! A thread that serves a router until it is told to stop; it has its own runtime.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use crate::Error;
use crate::views::gate::{Gate, Peer, Tls};

/// How long requests in progress may take after a stop.
const GRACE: Duration = Duration::from_secs(5);
/// Threads that answer requests; queries are short, and the dataflow wants the other cores.
const THREADS: usize = 2;

/// Says when a server stops. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shutdown {
    stopping: watch::Receiver<bool>,
    /// Held by [`Shutdown::never`] only.
    _sender: Option<Arc<watch::Sender<bool>>>,
}

impl Shutdown {
    /// One that never comes; for a router without a server.
    pub fn never() -> Shutdown {
        let (sender, stopping) = watch::channel(false);
        Shutdown { stopping, _sender: Some(Arc::new(sender)) }
    }

    /// Waits for the stop.
    pub async fn wait(&mut self) {
        // An error means that the server is gone.
        let _ = self.stopping.wait_for(|stopping| *stopping).await;
    }
}

/// A running server. It stops when it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

impl Server {
    /// Binds the address, port 0 for any free one, and serves the router that `router` makes, by TLS if it is given.
    pub fn start(
        address: SocketAddr,
        tls: Option<&Tls>,
        router: impl FnOnce(Shutdown) -> Router,
    ) -> Result<Server, Error> {
        let builder = &mut Builder::new_multi_thread();
        let runtime = builder.worker_threads(THREADS).thread_name("http").enable_all().build();
        let runtime = runtime.map_err(Error::Serve)?;
        let listener = runtime.block_on(TcpListener::bind(address)).map_err(Error::Serve)?;
        let address = listener.local_addr().map_err(Error::Serve)?;
        let listener = Gate::new(listener, tls)?;
        let (stop, stopping) = watch::channel(false);
        let shutdown = Shutdown { stopping, _sender: None };
        let router = router(shutdown.clone());
        let thread = std::thread::Builder::new().name("http".into());
        let thread =
            thread.spawn(move || serve(runtime, listener, router, shutdown)).map_err(Error::Serve)?;
        Ok(Server { address, stop, thread: Some(thread) })
    }

    /// The bound address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no new requests, ends streams, and waits a bounded time for requests in progress.
    pub fn stop(mut self) -> Result<(), Error> {
        self.join()
    }

    fn join(&mut self) -> Result<(), Error> {
        self.stop.send_replace(true);
        let Some(thread) = self.thread.take() else { return Ok(()) };
        let result = thread.join().unwrap_or_else(|_| Err(std::io::Error::other("the thread panicked")));
        result.map_err(Error::Serve)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.join() {
            tracing::warn!(%error, "the API server did not stop cleanly");
        }
    }
}

fn serve(runtime: Runtime, listener: Gate, router: Router, shutdown: Shutdown) -> std::io::Result<()> {
    let (mut graceful, mut deadline) = (shutdown.clone(), shutdown);
    let result = runtime.block_on(async {
        let server = axum::serve(listener, router.into_make_service_with_connect_info::<Peer>())
            .with_graceful_shutdown(async move { graceful.wait().await });
        tokio::select! {
            result = server => result,
            () = async { deadline.wait().await; tokio::time::sleep(GRACE).await } => Ok(()),
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}
