//! `/login`, `/logout` and `/whoami`: a browser trades a token for a cookie that no script can read and no other site can send.

use axum::body::to_bytes;
use axum::extract::{Request, State as Extract};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::{Extension, Json};

use crate::views::access::{COOKIE, Caller, SESSION};
use crate::views::guard::{Guard, address};
use crate::views::reply::Fault;

/// Largest form, in bytes.
const MAX_FORM: usize = 1_024;

const PAGE: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>LSIE: log in</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 24rem; margin: 4rem auto; padding: 0 1rem }
  input, button { font: inherit; width: 100%; box-sizing: border-box; padding: .4rem; margin: .3rem 0 }
</style>
<h1>LSIE</h1>
<form method="post" action="/login">
<label>Token <input type="password" name="token" autocomplete="current-password" required autofocus></label>
<button>Log in</button>
</form>
"#;

/// `GET /login`: the form.
pub(crate) async fn form() -> Html<&'static str> {
    Html(PAGE)
}

/// `POST /login`: the form with a token.
pub(crate) async fn log_in(Extract(guard): Extract<Guard>, request: Request) -> Response {
    let peer = address(&request);
    let Ok(body) = to_bytes(request.into_body(), MAX_FORM).await else {
        return Fault::TooLarge.into_response();
    };
    // Tokens are made of characters that forms do not change.
    let token = std::str::from_utf8(&body).ok().and_then(|form| form.trim().strip_prefix("token="));
    match token.and_then(|token| guard.access.log_in(token)) {
        Some(id) => with_cookie(Redirect::to("/").into_response(), &guard, &id, SESSION.as_secs()),
        None if guard.may_try(peer) => (StatusCode::UNAUTHORIZED, Html(PAGE)).into_response(),
        None => Fault::TooMany.into_response(),
    }
}

/// `GET /whoami`: name and role of the caller; the role is null where no token is asked for.
pub(crate) async fn who(Extension(caller): Extension<Caller>) -> Json<Caller> {
    Json(caller)
}

/// `POST /logout`: ends the browser's session.
pub(crate) async fn log_out(Extract(guard): Extract<Guard>, headers: HeaderMap) -> Response {
    guard.access.log_out(&headers);
    with_cookie(Redirect::to("/login").into_response(), &guard, "", 0)
}

fn with_cookie(mut response: Response, guard: &Guard, id: &str, seconds: u64) -> Response {
    let secure = if guard.is_secure { "; Secure" } else { "" };
    let cookie = format!("{COOKIE}={id}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}");
    // Hexadecimal digits and names: always a header's value.
    if let Ok(cookie) = HeaderValue::try_from(cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}
