//! One visit: a browser of its own goes to a page, as far as the site and the host list allow, and says what is there.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lsie_schemas::record::{EnrichRequest, PageData};
use serde_json::{Value, json};
use ureq::http::Uri;

use super::browser::Browser;
use super::guard::Refusal;
use super::proxy::Proxy;
use super::robots::{self, Robots};
use super::{Failure, Settings};
use crate::Stop;
use crate::clock::now;

/// A visit takes at most so long, whatever is asked for, s.
const MOST_SECONDS: u32 = 300;
/// How long a robots.txt is waited for.
const ROBOTS: Duration = Duration::from_secs(15);
/// Redirects on the way to a robots.txt (RFC 9309 §2.3.1.2).
const MOST_REDIRECTS: u32 = 5;

/// What is kept of a page: title, the first 10000 characters of what its body shows, meta tags; bounded, and well-formed.
const EXTRACT: &str = r#"(() => {
  const cut = (text, most) => [...String(text ?? "").toWellFormed().slice(0, 2 * most)].slice(0, most).join("");
  const attribute = (tag, name) => tag.hasAttribute(name) ? cut(tag.getAttribute(name), 2000) : null;
  const tags = [...document.querySelectorAll("meta")].slice(0, 200);
  return JSON.stringify({
    title: cut(document.title, 1000),
    text_content: cut(document.body?.innerText, 10000),
    meta_tags: tags.map((tag) => ({
      name: attribute(tag, "name"), property: attribute(tag, "property"), content: attribute(tag, "content"),
    })),
  });
})()"#;

/// Where an address leads: an authority, its default port, and a path with its query.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    site: String,
    authority: String,
    default_port: u16,
    path: String,
}

impl Target {
    /// Reads an address of http or https, without user and password.
    fn read(url: &str) -> Option<Target> {
        let url = url.split('#').next()?;
        let parsed: Uri = url.parse().ok()?;
        let scheme = parsed.scheme_str()?;
        let default_port = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return None,
        };
        let authority = parsed.authority()?.as_str();
        if authority.contains('@') {
            return None;
        }
        let path = parsed.path_and_query().map_or("/", |path| path.as_str());
        let site = format!("{scheme}://{authority}");
        Some(Target { site, authority: authority.into(), default_port, path: path.into() })
    }
}

/// A visit under way.
struct Visit<'a> {
    settings: &'a Settings,
    proxy: &'a Proxy,
    browser: Browser,
    session: String,
    until: Instant,
    robots: BTreeMap<String, Robots>,
    frame: String,
    status: u16,
    loaded: Vec<String>,
    blocked: Option<&'static str>,
}

/// Visits the page of a request.
pub(super) fn visit(settings: &Settings, request: &EnrichRequest, stop: &Stop) -> Result<PageData, Failure> {
    let target = Target::read(&request.target_url).ok_or(Failure::Because("bad_url"))?;
    // Nothing is started for a host that nobody has named.
    if !settings.hosts.names(&target.authority, target.default_port) {
        return Err(Failure::Because("host"));
    }
    let until = now() + Duration::from_secs(request.timeout_seconds.clamp(1, MOST_SECONDS).into());
    let proxy = Proxy::start(settings.hosts.clone()).map_err(|error| Failure::Crashed(error.to_string()))?;
    let browser = Browser::start(&settings.chromium, &proxy.url(), &settings.agent, stop)?;
    let mut visit = Visit {
        settings,
        proxy: &proxy,
        browser,
        session: String::new(),
        until,
        robots: BTreeMap::new(),
        frame: String::new(),
        status: 0,
        loaded: Vec::new(),
        blocked: None,
    };
    visit.go(request, &target)
}

impl Visit<'_> {
    fn go(&mut self, request: &EnrichRequest, target: &Target) -> Result<PageData, Failure> {
        let page = self.browser_call("Target.createTarget", json!({"url": "about:blank"}))?;
        let target_id = text(&page, "targetId")?;
        self.frame.clone_from(&target_id);
        let attached =
            self.browser_call("Target.attachToTarget", json!({"targetId": target_id, "flatten": true}))?;
        self.session = text(&attached, "sessionId")?;
        self.browser_call("Browser.setDownloadBehavior", json!({"behavior": "deny"}))?;
        for (method, params) in [
            ("Page.enable", json!({})),
            ("Page.setLifecycleEventsEnabled", json!({"enabled": true})),
            ("Network.enable", json!({})),
            // Every document is asked about before it is fetched, at each step of a redirect, too.
            ("Fetch.enable", json!({"patterns": [{"resourceType": "Document", "requestStage": "Request"}]})),
        ] {
            self.call(method, params)?;
        }
        let navigated = self.call("Page.navigate", json!({"url": request.target_url}))?;
        if let Some(why) = self.blocked {
            return Err(Failure::Because(why));
        }
        if self.status >= 400 {
            // The proxy says no in the same way.
            let refused = self.status == 403 && self.proxy.refusal(&target.authority).is_some();
            return Err(Failure::Because(if refused { self.why_unreachable(target) } else { "status" }));
        }
        if navigated.get("errorText").is_some() || self.status == 0 {
            return Err(Failure::Because(self.why_unreachable(target)));
        }
        let loader = text(&navigated, "loaderId")?;
        while !self.loaded.contains(&loader) {
            let message = self.browser.next(self.until)?;
            self.event(&message)?;
        }
        self.extract()
    }

    fn extract(&mut self) -> Result<PageData, Failure> {
        // In a world of its own: what scripts of the page have bent is straight there.
        let world =
            self.call("Page.createIsolatedWorld", json!({"frameId": self.frame, "worldName": "lsie"}))?;
        let context = world.get("executionContextId").cloned().unwrap_or_default();
        let evaluated = self.call(
            "Runtime.evaluate",
            json!({"expression": EXTRACT, "contextId": context, "returnByValue": true}),
        )?;
        let found = evaluated.pointer("/result/value").and_then(Value::as_str).unwrap_or_default();
        let mut found: Value = serde_json::from_str(found).map_err(|_| Failure::Because("page"))?;
        found["status_code"] = self.status.into();
        serde_json::from_value(found).map_err(|_| Failure::Because("page"))
    }

    /// Why the page could not be fetched, in a word.
    fn why_unreachable(&self, target: &Target) -> &'static str {
        match self.proxy.refusal(&target.authority) {
            Some(Refusal::Private) => "private_address",
            Some(Refusal::Host) => "host",
            _ => "unreachable",
        }
    }

    /// Whether a document may be fetched; if not, why.
    fn judge(&mut self, url: &str) -> Option<&'static str> {
        let Some(target) = Target::read(url) else { return Some("bad_url") };
        if !self.settings.hosts.names(&target.authority, target.default_port) {
            return Some("host");
        }
        if !self.robots.contains_key(&target.site) {
            let robots = fetch_robots(&target.site, self.proxy, &self.settings.agent, self.until);
            self.robots.insert(target.site.clone(), robots);
        }
        let allowed = self.robots.get(&target.site).is_some_and(|robots| robots.allows(&target.path));
        match self.proxy.refusal(&target.authority) {
            Some(Refusal::Private) => Some("private_address"),
            _ if allowed => None,
            _ => Some("robots"),
        }
    }

    fn browser_call(&mut self, method: &str, params: Value) -> Result<Value, Failure> {
        let asked = self.browser.ask(None, method, params)?;
        self.answer(asked)
    }

    fn call(&mut self, method: &str, params: Value) -> Result<Value, Failure> {
        let asked = self.browser.ask(Some(&self.session), method, params)?;
        self.answer(asked)
    }

    /// Waits for the answer to a question, and attends to what happens meanwhile.
    fn answer(&mut self, asked: u64) -> Result<Value, Failure> {
        loop {
            let mut message = self.browser.next(self.until)?;
            if message.get("id").and_then(Value::as_u64) == Some(asked) {
                return match message.get_mut("result") {
                    Some(result) => Ok(result.take()),
                    None => Err(Failure::Because("page")),
                };
            }
            self.event(&message)?;
        }
    }

    fn event(&mut self, message: &Value) -> Result<(), Failure> {
        let at = |pointer: &str| message.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let of_page = at("/params/frameId") == self.frame;
        match at("/method") {
            "Fetch.requestPaused" => {
                let (id, url) = (at("/params/requestId"), at("/params/request/url"));
                let (method, params) = match self.judge(url) {
                    None => ("Fetch.continueRequest", json!({"requestId": id})),
                    Some(why) => {
                        if of_page {
                            self.blocked = Some(why);
                        }
                        ("Fetch.failRequest", json!({"requestId": id, "errorReason": "BlockedByClient"}))
                    }
                };
                self.browser.ask(Some(&self.session), method, params)?;
            }
            "Network.responseReceived" if of_page && at("/params/type") == "Document" => {
                let status = message.pointer("/params/response/status").and_then(Value::as_u64);
                self.status = status.and_then(|status| u16::try_from(status).ok()).unwrap_or(0);
            }
            "Page.lifecycleEvent" if of_page && at("/params/name") == "load" => {
                self.loaded.push(at("/params/loaderId").to_owned());
            }
            "Page.javascriptDialogOpening" => {
                let params = json!({"accept": false});
                self.browser.ask(Some(&self.session), "Page.handleJavaScriptDialog", params)?;
            }
            "Inspector.targetCrashed" | "Target.targetCrashed" => {
                return Err(Failure::Crashed("the page has crashed".into()));
            }
            _ => {}
        }
        Ok(())
    }
}

fn text(value: &Value, name: &str) -> Result<String, Failure> {
    let text = value.get(name).and_then(Value::as_str);
    text.map(str::to_owned).ok_or_else(|| Failure::Crashed("the browser answers with something else".into()))
}

/// The rules of a site. Without such a file everything may be visited; if it cannot be had, nothing (RFC 9309 §2.3.1).
fn fetch_robots(site: &str, proxy: &Proxy, agent: &str, until: Instant) -> Robots {
    let Ok(way_out) = ureq::Proxy::new(&proxy.url()) else { return Robots::none() };
    let config = ureq::Agent::config_builder()
        .proxy(Some(way_out))
        .user_agent(agent)
        .max_redirects(MOST_REDIRECTS)
        .http_status_as_error(false)
        .timeout_global(Some(until.saturating_duration_since(now()).min(ROBOTS)))
        .build();
    let Ok(mut response) = config.new_agent().get(format!("{site}/robots.txt")).call() else {
        return Robots::none();
    };
    match response.status().as_u16() {
        200..=299 => {
            let mut bytes = Vec::new();
            let body = response.body_mut().as_reader();
            match std::io::Read::read_to_end(
                &mut std::io::Read::take(body, robots::MOST_BYTES as u64),
                &mut bytes,
            ) {
                Ok(_) => Robots::read(&String::from_utf8_lossy(&bytes)),
                Err(_) => Robots::none(),
            }
        }
        400..=499 => Robots::all(),
        _ => Robots::none(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_addresses_of_the_web_are_targets() {
        let target = Target::read("https://a.test:8443/x?y=1#z").expect("an address");
        assert_eq!((target.site.as_str(), target.path.as_str()), ("https://a.test:8443", "/x?y=1"));
        assert_eq!((target.authority.as_str(), target.default_port), ("a.test:8443", 443));
        assert_eq!(Target::read("http://a.test").map(|target| target.path).as_deref(), Some("/"));
        for none in [
            "",
            "a.test",
            "/x",
            "file:///etc/passwd",
            "ftp://a.test/",
            "http://me:secret@a.test/",
            "data:text/html,x",
            "chrome://version",
            "javascript:alert(1)",
            "http://",
            "http:// a.test/",
        ] {
            assert_eq!(Target::read(none), None, "{none}");
        }
    }

    proptest! {
        #[test]
        fn no_address_panics(url in "\\PC*") {
            let _ = Target::read(&url);
        }
    }
}
