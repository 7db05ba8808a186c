//! Why a broker cannot be reached, in words: librdkafka's error codes do not say.

use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(1);
/// More addresses would make the error late.
const ADDRESSES: usize = 3;

/// Tries to connect to the addresses, and tells of each what happened.
pub(super) fn probe(bootstrap: &str) -> String {
    let told: Vec<String> = bootstrap.split(',').take(ADDRESSES).map(|address| one(address.trim())).collect();
    told.join("; ")
}

fn one(address: &str) -> String {
    let address = address.rsplit_once("://").map_or(address, |(_, address)| address);
    let resolved = match address.to_socket_addrs() {
        Ok(mut resolved) => resolved.next(),
        Err(e) => return format!("{address}: {e}"),
    };
    match resolved.map(|resolved| TcpStream::connect_timeout(&resolved, TIMEOUT)) {
        None => format!("{address} has no network address"),
        Some(Err(e)) => format!("{address}: {e}; is the broker running?"),
        Some(Ok(_)) => {
            format!("{address} accepts connections; is it a Kafka broker, and is the protocol right?")
        }
    }
}
