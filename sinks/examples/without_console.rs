//! Serves views without rows as a binary does that was built without Node, on a free port, until it is killed: for the
//! browser test of the page that stands for the console.

use lsie_schemas::LogTime;
use lsie_sinks::views::{Api, Server};
use lsie_sinks::{Catalog, Error, Sink, Views};

fn main() -> Result<(), Error> {
    let views = Views::new(Catalog::served());
    views.sink().commit(LogTime(1_000))?;
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let server =
        Server::start(address, None, |shutdown| Api::new(&views).without_console().router(shutdown))?;
    println!("http://{}/", server.address());
    loop {
        std::thread::park();
    }
}
