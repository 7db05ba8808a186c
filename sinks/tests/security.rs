//! Tokens, roles, cookies, other sites, rates, headers: what stands before every route.

mod common;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, Response};
use common::{change, drive, session};
use lsie_sinks::views::{Access, Api, Role, Shutdown, Token};
use lsie_sinks::{Catalog, Views};

/// An API with a token of each role.
struct Desk {
    router: Router,
    viewer: String,
    operator: String,
    ingest: String,
}

impl Desk {
    fn new(requests_per_s: u32) -> Desk {
        let token = |name, role| Token::fresh(name, role).expect("randomness");
        let (viewer, operator, ingest) =
            (token("ana", Role::Viewer), token("olga", Role::Operator), token("ida", Role::Ingest));
        let access = Access::new(vec![viewer.1, operator.1, ingest.1]);
        let router = Api::new(&views()).guarded(access, requests_per_s, true).router(Shutdown::never());
        Desk { router, viewer: viewer.0, operator: operator.0, ingest: ingest.0 }
    }

    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response<Body> {
        send(&self.router, method, path, headers, body).await
    }

    async fn status(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> u16 {
        self.send(method, path, headers, "").await.status().as_u16()
    }
}

async fn send(
    router: &Router,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Response<Body> {
    use tower::ServiceExt;
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::from(body.to_owned())).expect("a request");
    router.clone().oneshot(request).await.expect("infallible")
}

fn views() -> Views {
    let views = Views::new(Catalog::all());
    drive(&mut views.sink(), &[(1000, vec![change(1000, &session(1, 0, None), 1)])]);
    views
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).unwrap_or_else(|| panic!("{name}")).to_str().expect("text")
}

#[tokio::test]
async fn a_role_allows_what_it_says() {
    let desk = Desk::new(0);
    let bearer = |token: &str| format!("Bearer {token}");
    let (viewer, operator, ingest) = (bearer(&desk.viewer), bearer(&desk.operator), bearer(&desk.ingest));
    let read = "/api/v1/sessions";
    // An API without a log: who gets as far as that may act.
    let cases = [
        ("GET", read, viewer.as_str(), 200),
        ("GET", read, operator.as_str(), 200),
        ("GET", read, ingest.as_str(), 403),
        ("GET", read, "Bearer lsie_wrong", 401),
        ("GET", read, "Basic dTpw", 401),
        ("POST", "/api/v1/stimulus", viewer.as_str(), 403),
        ("POST", "/api/v1/stimulus", operator.as_str(), 503),
        ("POST", "/api/v1/stimulus", ingest.as_str(), 403),
        ("POST", "/api/v1/ingest/physio", operator.as_str(), 403),
        ("POST", "/api/v1/ingest/physio", ingest.as_str(), 404),
    ];
    for (method, path, authorization, status) in cases {
        let found = desk.status(method, path, &[("authorization", authorization)]).await;
        assert_eq!(found, status, "{method} {path} {authorization}");
    }
    assert_eq!(desk.status("GET", read, &[]).await, 401);
    assert_eq!(desk.status("GET", "/api/v1/views/sessions/changes", &[]).await, 401);
    assert_eq!(desk.status("GET", "/api/v1/nowhere", &[]).await, 401, "what there is, is not told");
    assert_eq!(desk.status("GET", "/health", &[]).await, 200);
    let refused = desk.send("GET", read, &[], "").await;
    assert_eq!(header(refused.headers(), "www-authenticate"), "Bearer");
    assert_eq!(header(refused.headers(), "x-lsie-epoch"), "1000");
}

#[tokio::test]
async fn a_browser_logs_in_to_a_cookie_and_out_again() {
    let desk = Desk::new(0);
    let page = desk.send("GET", "/", &[("accept", "text/html,*/*")], "").await;
    assert_eq!((page.status().as_u16(), header(page.headers(), "location")), (303, "/login"));
    assert_eq!(desk.status("GET", "/login", &[]).await, 200);
    let wrong = desk.send("POST", "/login", &[], "token=lsie_wrong").await;
    assert_eq!((wrong.status().as_u16(), wrong.headers().get("set-cookie")), (401, None));

    let right = desk.send("POST", "/login", &[], &format!("token={}", desk.operator)).await;
    assert_eq!((right.status().as_u16(), header(right.headers(), "location")), (303, "/"));
    let cookie = header(right.headers(), "set-cookie");
    for part in ["lsie_session=", "HttpOnly", "SameSite=Strict", "Secure", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains(&desk.operator), "the cookie is not the token");
    let cookie = cookie.split(';').next().expect("a pair");
    let with = [("cookie", cookie)];
    assert_eq!(desk.status("GET", "/api/v1/sessions", &with).await, 200);
    assert_eq!(desk.status("POST", "/api/v1/stimulus", &with).await, 503);
    let foreign = [("cookie", cookie), ("host", "lsie.example"), ("origin", "https://evil.example")];
    assert_eq!(desk.status("POST", "/api/v1/stimulus", &foreign).await, 403);
    let own = [("cookie", cookie), ("host", "lsie.example"), ("origin", "https://lsie.example")];
    assert_eq!(desk.status("POST", "/api/v1/stimulus", &own).await, 503);
    assert_eq!(desk.status("POST", "/logout", &with).await, 303);
    assert_eq!(desk.status("GET", "/api/v1/sessions", &with).await, 401);
}

#[tokio::test]
async fn without_tokens_only_this_machine_is_served_by_its_own_names() {
    let router = Api::new(&views()).router(Shutdown::never());
    let status = async |method: &str, path: &str, headers: &[(&str, &str)]| {
        send(&router, method, path, headers, "").await.status().as_u16()
    };
    assert_eq!(status("GET", "/api/v1/sessions", &[("host", "localhost:8000")]).await, 200);
    assert_eq!(status("GET", "/api/v1/sessions", &[("host", "rebound.example")]).await, 403);
    let foreign = [("host", "localhost:8000"), ("origin", "http://evil.example")];
    assert_eq!(status("POST", "/api/v1/stimulus", &foreign).await, 403);
    assert_eq!(status("POST", "/api/v1/stimulus", &[]).await, 503);
}

#[tokio::test]
async fn every_answer_has_the_headers_and_none_opens_it_to_other_sites() {
    let desk = Desk::new(0);
    for path in ["/health", "/login", "/api/v1/sessions", "/nowhere"] {
        let response = desk.send("GET", path, &[("origin", "https://evil.example")], "").await;
        let headers = response.headers();
        assert_eq!(header(headers, "x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header(headers, "x-frame-options"), "DENY");
        assert_eq!(header(headers, "referrer-policy"), "same-origin");
        assert_eq!(header(headers, "cache-control"), "no-store");
        assert!(header(headers, "content-security-policy").starts_with("default-src 'none'"));
        assert!(header(headers, "strict-transport-security").contains("max-age"));
        assert!(headers.keys().all(|name| !name.as_str().starts_with("access-control")), "{path}");
    }
}

#[tokio::test]
async fn who_guesses_too_quickly_is_told_to_wait() {
    // A guess costs as much as twenty requests, and a bucket holds what two seconds fill.
    let desk = Desk::new(11);
    let guess = [("authorization", "Bearer lsie_guess")];
    assert_eq!(desk.status("GET", "/api/v1/sessions", &guess).await, 401);
    for _ in 0..50 {
        let response = desk.send("GET", "/api/v1/sessions", &guess, "").await;
        if response.status() == 429 {
            assert_eq!(header(response.headers(), "retry-after"), "1");
            let body = to_bytes(response.into_body(), 1_000).await.expect("a body");
            assert_eq!(body.as_ref(), br#"{"detail":"too many requests"}"#.as_slice());
            return;
        }
    }
    panic!("fifty guesses were all looked at");
}
