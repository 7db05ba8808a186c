//! What every request passes: the rate of its address, where it comes from, who sends it; and the headers that every
//! answer has.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::{ConnectInfo, Request, State as Extract};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use tokio::time::Instant;

use crate::views::access::{Access, Refusal};
use crate::views::gate::Peer;
use crate::views::limiter::Limiter;
use crate::views::reply::Fault;

/// What an attempt with a wrong token costs, in requests: nobody guesses quickly.
const WRONG_TOKEN_COST: f64 = 20.0;

/// What guards the routes.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    pub(crate) access: Access,
    pub(crate) limiter: Limiter,
    /// Whether browsers reach the server by TLS only.
    pub(crate) is_secure: bool,
}

/// Lets a request pass, or says why not.
pub(crate) async fn pass(Extract(guard): Extract<Guard>, request: Request, next: Next) -> Response {
    let mut response = match guard.judge(request) {
        Ok(request) => next.run(request).await,
        Err(refused) => refused,
    };
    harden(response.headers_mut(), guard.is_secure);
    response
}

impl Guard {
    #[allow(clippy::result_large_err, reason = "a response is large, and made once a request")]
    fn judge(&self, mut request: Request) -> Result<Request, Response> {
        let peer = address(&request);
        if !self.limiter.take(peer, 1.0, Instant::now()) {
            return Err(too_many());
        }
        if let Some(why) = foreign(request.method(), request.uri(), request.headers(), self.access.is_open())
        {
            return Err(Fault::Forbidden(why).into_response());
        }
        match self.access.admit(request.method(), request.uri().path(), request.headers()) {
            Ok(caller) => {
                request.extensions_mut().insert(caller);
                Ok(request)
            }
            Err(Refusal::Forbidden) => Err(Fault::Forbidden("your role does not allow this").into_response()),
            Err(Refusal::Unknown) if is_page(&request) => Err(Redirect::to("/login").into_response()),
            Err(Refusal::Unknown) => {
                let tried = request.headers().contains_key(header::AUTHORIZATION);
                match !tried || self.limiter.take(peer, WRONG_TOKEN_COST, Instant::now()) {
                    true => Err(Fault::Unauthorized.into_response()),
                    false => Err(too_many()),
                }
            }
        }
    }

    /// Counts a log-in that failed against its address; whether it may still try.
    pub(crate) fn may_try(&self, address: IpAddr) -> bool {
        self.limiter.take(address, WRONG_TOKEN_COST, Instant::now())
    }
}

/// The address that a request comes from; loopback where a router is called without a server.
pub(crate) fn address(request: &Request) -> IpAddr {
    let peer = request.extensions().get::<ConnectInfo<Peer>>();
    peer.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |ConnectInfo(Peer(address))| address.ip())
}

/// Whether a browser asks for something to show.
fn is_page(request: &Request) -> bool {
    let accept = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let shows = accept.is_some_and(|accept| accept.starts_with("text/html"));
    request.method() == Method::GET && !request.uri().path().starts_with("/api/") && shows
}

/// Why a request may have been made by another site's page in someone's browser, if it looks so.
fn foreign(method: &Method, uri: &Uri, headers: &HeaderMap, is_open: bool) -> Option<&'static str> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST).or(uri.authority().map(|authority| authority.as_str()));
    // Without tokens only this machine is served, by its own names: no other name may be made to point at it.
    if is_open && host.is_some_and(|host| !is_loopback(host)) {
        return Some("without tokens only loopback names are served");
    }
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return None;
    }
    let origin = headers.get(header::ORIGIN)?.to_str().unwrap_or_default();
    let of_host = origin.split_once("://").map(|(_, host)| host);
    (of_host != host || host.is_none()).then_some("the request comes from another site")
}

/// Whether a host, with or without port, is a name of this machine.
fn is_loopback(host: &str) -> bool {
    let without_port =
        host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map(|(host, _)| host);
    let name = without_port.unwrap_or(host);
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        || host.parse::<SocketAddr>().is_ok_and(|address| address.ip().is_loopback())
}

fn too_many() -> Response {
    let mut response = Fault::TooMany.into_response();
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// Headers for browsers: nothing from elsewhere, no frame around it, nothing kept.
fn harden(headers: &mut HeaderMap, is_secure: bool) {
    let policy = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; \
                  frame-ancestors 'none'";
    let mut add = |name: HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    add(header::CONTENT_SECURITY_POLICY, policy);
    add(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    add(header::X_FRAME_OPTIONS, "DENY");
    // Not "no-referrer": browsers would send a form, also that of the log-in, without the origin that proves it ours.
    add(header::REFERRER_POLICY, "same-origin");
    add(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    add(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    add(header::CACHE_CONTROL, "no-store");
    if is_secure {
        add(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_these_names() {
        for name in
            ["localhost", "LOCALHOST:8000", "127.0.0.1", "127.0.0.1:1", "127.9.9.9", "[::1]", "[::1]:80"]
        {
            assert!(is_loopback(name), "{name}");
        }
        for name in
            ["", "example.org", "localhost.example.org", "10.0.0.1:8000", "127.0.0.1.nip.io", "[::2]:80"]
        {
            assert!(!is_loopback(name), "{name}");
        }
    }

    #[test]
    fn a_write_from_another_site_is_foreign() {
        let judged = |method: Method, host: &'static str, origin: &'static str, is_open| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static(host));
            if !origin.is_empty() {
                headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            }
            foreign(&method, &Uri::from_static("/"), &headers, is_open).is_some()
        };
        assert!(!judged(Method::POST, "localhost:8000", "http://localhost:8000", true));
        assert!(!judged(Method::POST, "localhost:8000", "", true), "not a browser");
        assert!(judged(Method::POST, "localhost:8000", "http://evil.example", true));
        assert!(judged(Method::POST, "localhost:8000", "null", false));
        assert!(judged(Method::GET, "rebound.example", "", true));
        assert!(!judged(Method::GET, "lsie.example", "", false));
    }
}
