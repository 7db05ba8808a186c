//! Enrichment with a real Chromium, against sites on this machine that behave in every way.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lsie_connectors::enrich::{Chromium, Hosts, Page, Settings, ask, enrich};
use lsie_connectors::file_log::{FileLog, FileLogOptions};
use lsie_connectors::{Backoff, Health, Stop};
use lsie_schemas::Topic;
use lsie_schemas::log::{AppendRecord, Fetch, Log, TimestampType, TopicPartition, TopicSpec};
use lsie_schemas::record::{Answered, EnrichAnswer, EnrichRequest, Request};
use uuid::Uuid;

const SESSION: Uuid = Uuid::from_u128(0x0b1f_8f5e_6f0e_4c55_9d3c_6d1d_5bb0_a001);
const TOPICS: [Topic; 2] = [Topic::Requests, Topic::Answers];
/// What a visit may take on a machine that is busy, s.
const LONG_S: u32 = 200;
/// The robots.txt of sites that allow everything.
const FREE: &str = "User-agent: *\nDisallow:\n";

/// A site: answers each path as a function says: status, further headers, body. Knows what it was asked, and how many
/// were asking at a time.
struct Site {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
    most_at_once: Arc<AtomicUsize>,
}

type Answer = (u16, String, String);

impl Site {
    fn new(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Site {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let (asked, most_at_once): (Arc<Mutex<Vec<String>>>, Arc<AtomicUsize>) = Default::default();
        let (seen, most, answer) = (asked.clone(), most_at_once.clone(), Arc::new(answer));
        let now = Arc::new(AtomicUsize::new(0));
        let serve = move || {
            for stream in listener.incoming() {
                let (seen, answer, most, now) = (seen.clone(), answer.clone(), most.clone(), now.clone());
                let stream = stream.expect("a connection");
                let one = move || {
                    let Some((path, agent)) = read(&stream) else { return };
                    seen.lock().expect("asked").push(format!("{path} {agent}"));
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    let (status, headers, body) = answer(&path);
                    let head = format!(
                        "HTTP/1.1 {status} X\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\n{headers}\r\n",
                        body.len()
                    );
                    now.fetch_sub(1, Ordering::SeqCst);
                    let _ = (&stream).write_all(format!("{head}{body}").as_bytes());
                };
                std::thread::Builder::new().name("site-answer".into()).spawn(one).expect("a thread");
            }
        };
        std::thread::Builder::new().name("site".into()).spawn(serve).expect("a thread");
        Site { address, asked, most_at_once }
    }

    /// The paths that were asked for, and by whom.
    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("asked").clone()
    }

    fn was_asked(&self, path: &str) -> bool {
        self.asked().iter().any(|line| line.split(' ').next() == Some(path))
    }
}

/// Path and user agent of a request.
fn read(stream: &TcpStream) -> Option<(String, String)> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let (mut agent, mut header) = (String::new(), String::new());
    while reader.read_line(&mut header).ok()? > 2 {
        if let Some(value) = header.to_lowercase().strip_prefix("user-agent: ") {
            agent = value.trim().to_owned();
        }
        header.clear();
    }
    Some((line.split(' ').nth(1)?.to_owned(), agent))
}

struct Bench {
    _dir: tempfile::TempDir,
    log: FileLog,
    health: Health,
    settings: Settings,
}

impl Bench {
    fn new(public: &[&str], private: &[&str]) -> Bench {
        let dir = tempfile::tempdir().expect("a folder");
        let log = FileLog::open(dir.path().join("log"), FileLogOptions::default()).expect("a log");
        let spec = |topic| TopicSpec {
            topic,
            partitions: 2,
            timestamps: TimestampType::LogAppend,
            retention_ms: None,
        };
        log.create_topics(&TOPICS.map(spec)).expect("topics");
        let owned = |hosts: &[&str]| hosts.iter().map(|&host| host.to_owned()).collect::<Vec<_>>();
        let hosts = Hosts::new(&owned(public), &owned(private)).expect("hosts");
        // The tests may run as root, where Chromium cannot confine its renderers.
        let chromium = Chromium { program: "/usr/bin/chromium".into(), sandbox: false };
        let mut settings = Settings::new(chromium, hosts, 2);
        let wait = Duration::from_millis(50);
        settings.crashes = Backoff { first: wait, longest: wait, give_up_after: Some(3) };
        Bench { _dir: dir, log, health: Health::new("enrichment"), settings }
    }

    fn ask(&self, url: &str, timeout_s: u32) -> Uuid {
        let page = Page { session: Some(SESSION), url: url.into(), kind: "creator".into(), timeout_s };
        ask(&self.log, page).expect("a request")
    }

    /// Runs the connector until there are so many answers; gives them by the page that was asked for.
    fn run(&self, answers: usize) -> BTreeMap<String, EnrichAnswer> {
        let stop = Stop::default();
        std::thread::scope(|scope| {
            let running = std::thread::Builder::new()
                .name("enrich".into())
                .spawn_scoped(scope, || enrich(&self.log, &self.settings, &self.health, &stop))
                .expect("a thread");
            for _ in 0..6_000 {
                if self.answers().len() >= answers || running.is_finished() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            stop.stop();
            running.join().expect("no panic").expect("a log that works");
        });
        let all = self.answers();
        assert_eq!(all.len(), answers, "{all:?} {:?}", self.health.report());
        all.into_iter().map(|answer| (answer.source_url.clone(), answer)).collect()
    }

    fn answers(&self) -> Vec<EnrichAnswer> {
        let from: Vec<_> =
            (0..2).map(|partition| (TopicPartition { topic: Topic::Answers, partition }, 0)).collect();
        let ends: i64 = from.iter().map(|(at, _)| self.log.bounds(*at).expect("bounds").1).sum();
        let mut reader = self.log.reader(&from, Fetch::default()).expect("a reader");
        let mut records = Vec::new();
        while (records.len() as i64) < ends {
            records.extend(reader.poll(Duration::from_millis(20)).expect("a log that works"));
        }
        records
            .iter()
            .map(|record| match Answered::decode(record) {
                Ok(Answered::Enriched(answer)) => answer,
                other => panic!("{other:?}"),
            })
            .collect()
    }
}

fn page(body: &str) -> Answer {
    (
        200,
        String::new(),
        format!("<!doctype html><html><head><title>A page</title></head><body>{body}</body></html>"),
    )
}

fn redirect(to: &str) -> Answer {
    (302, format!("Location: {to}\r\n"), String::new())
}

fn missing() -> Answer {
    (404, String::new(), "<title>not here</title>".into())
}

#[test]
fn a_page_is_visited_as_a_machine_and_what_is_kept_of_it_is_bounded() {
    let site = Site::new(|path| match path {
        "/robots.txt" => (200, String::new(), FREE.into()),
        "/" => (
            200,
            String::new(),
            format!(
                "<!doctype html><html><head><title>Ana \u{1f600}</title><meta charset=utf-8>\
                 <meta name=description content=\"A &lt;creator&gt;\"><meta property=og:type content=profile></head>\
                 <body><p id=p>first</p><script>document.getElementById('p').textContent = 'made by a script';\
                 JSON.stringify = () => 'bent';</script><p>{}</p></body></html>",
                "\u{1f600}".repeat(12_000)
            ),
        ),
        _ => missing(),
    });
    let bench = Bench::new(&[], &[&site.address]);
    let url = format!("http://{}/", site.address);
    let id = bench.ask(&url, LONG_S);
    let answer = bench.run(1).remove(&url).expect("an answer");
    assert_eq!(
        (answer.unique_id, answer.session_id, answer.scrape_type.as_str()),
        (id, Some(SESSION), "creator")
    );
    assert!(answer.success && answer.reason.is_none(), "{answer:?}");
    let data = answer.data.expect("a page");
    assert_eq!((data.title.as_str(), data.status_code), ("Ana \u{1f600}", 200));
    assert!(data.text_content.starts_with("made by a script"), "what a browser shows, not what was sent");
    assert_eq!(data.text_content.chars().count(), 10_000);
    let tags: Vec<_> = data
        .meta_tags
        .iter()
        .map(|tag| (tag.name.as_deref(), tag.property.as_deref(), tag.content.as_deref()))
        .collect();
    assert_eq!(
        tags,
        [
            (None, None, None),
            (Some("description"), None, Some("A <creator>")),
            (None, Some("og:type"), Some("profile"))
        ]
    );
    assert!(site.asked().iter().all(|line| line.contains(" lsie/")), "it hides: {:?}", site.asked());
    // A further run finds nothing to do.
    let before = site.asked().len();
    bench.run(1);
    assert_eq!(site.asked().len(), before);
}

#[test]
fn what_a_site_forbids_is_not_visited_not_even_by_a_redirect() {
    let site = Site::new(|path| match path {
        "/robots.txt" => (200, String::new(), "User-agent: lsie\nDisallow: /private\n".into()),
        "/by-redirect" => redirect("/private/a"),
        "/framed" => page("<iframe src=/private/frame></iframe>framed"),
        _ => page("open"),
    });
    let broken =
        Site::new(|path| if path == "/robots.txt" { (503, String::new(), String::new()) } else { page("") });
    let without = Site::new(|path| if path == "/robots.txt" { missing() } else { page("without rules") });
    let bench = Bench::new(&[], &[&site.address, &broken.address, &without.address]);
    let at = |site: &Site, path: &str| format!("http://{}{path}", site.address);
    let urls = [
        (at(&site, "/private/x"), Some("robots")),
        (at(&site, "/by-redirect"), Some("robots")),
        (at(&site, "/framed"), None),
        (at(&site, "/open"), None),
        (at(&broken, "/"), Some("robots")),
        (at(&without, "/"), None),
    ];
    urls.iter().for_each(|(url, _)| {
        bench.ask(url, LONG_S);
    });
    let answers = bench.run(urls.len());
    for (url, reason) in &urls {
        assert_eq!(answers[url].reason.as_deref(), *reason, "{url}");
        assert_eq!(answers[url].success, answers[url].data.is_some());
    }
    for path in ["/private/x", "/private/a", "/private/frame"] {
        assert!(!site.was_asked(path), "{path} was visited");
    }
    assert!(!broken.was_asked("/"));
}

#[test]
fn nothing_but_named_hosts_at_judged_addresses_is_reached() {
    let secret = Site::new(|_| page("inner secret"));
    let inner = secret.address.clone();
    let inner_port = inner.rsplit_once(':').expect("a port").1.to_owned();
    let site = Site::new(move |path| match path {
        "/robots.txt" => missing(),
        "/redirect" => redirect(&format!("http://{inner}/redirected")),
        "/redirect-by-name" => redirect(&format!("http://localhost:{inner_port}/redirected")),
        "/metadata" => redirect("http://169.254.169.254/latest/meta-data/"),
        "/file" => redirect("file:///etc/passwd"),
        "/parts" => page(&format!(
            "<img src=http://{inner}/img><iframe src=http://{inner}/frame></iframe>\
             <iframe src=http://localhost:{inner_port}/frame></iframe>\
             <script src=http://localhost:{inner_port}/script></script><p id=p>waits</p><script>\
             new WebSocket('ws://{inner}/socket'); navigator.sendBeacon('http://{inner}/beacon', 'x');\
             fetch('http://localhost:{inner_port}/fetch', {{mode: 'no-cors'}}).then(() => 'reached', () => 'refused')\
             .then((word) => document.getElementById('p').textContent = word);</script>"
        )),
        _ => page("open"),
    });
    let inner_port = secret.address.rsplit_once(':').expect("a port").1.to_owned();
    // The inner site is named by its name, as if it were public: its address gives it away.
    let named = format!("localhost:{inner_port}");
    let bench = Bench::new(&[&named, "169.254.169.254"], &[&site.address]);
    let at = |path: &str| format!("http://{}{path}", site.address);
    let urls = [
        (at("/redirect"), Some("host")),
        (at("/redirect-by-name"), Some("private_address")),
        (at("/metadata"), Some("private_address")),
        (at("/file"), Some("unreachable")),
        (at("/parts"), None),
        (format!("http://{}/direct", secret.address), Some("host")),
        (format!("http://{named}/direct"), Some("private_address")),
        ("file:///etc/passwd".to_owned(), Some("bad_url")),
        (format!("http://me:word@{}/", site.address), Some("bad_url")),
    ];
    urls.iter().for_each(|(url, _)| {
        bench.ask(url, LONG_S);
    });
    let answers = bench.run(urls.len());
    for (url, reason) in &urls {
        assert_eq!(answers[url].reason.as_deref(), *reason, "{url}");
    }
    assert_eq!(secret.asked(), Vec::<String>::new(), "the inner site was reached");
    assert!(!format!("{answers:?}").contains("secret"));
}

#[test]
fn a_status_that_says_no_gives_an_empty_answer_and_no_second_try() {
    let site = Site::new(|path| match path {
        "/robots.txt" => (200, String::new(), FREE.into()),
        "/403" => (403, String::new(), "<title>go away</title>".into()),
        "/429" => (429, "Retry-After: 0\r\n".into(), "slow down".into()),
        "/404" => missing(),
        "/500" => (500, String::new(), "broken".into()),
        "/endless" => {
            std::thread::sleep(Duration::from_secs(30));
            page("")
        }
        "/dialog" => page("<script>alert('stay'); confirm('stay?');</script>went on"),
        "/rubbish" => (200, "Content-Type: application/octet-stream\r\n".into(), "\u{0}\u{1}\u{2}".into()),
        _ => page("<script>document.title = 'moved'</script>fine"),
    });
    let bench = Bench::new(&[], &[&site.address, "127.0.0.1:1"]);
    let at = |path: &str| format!("http://{}{path}", site.address);
    for status in ["/403", "/429", "/404", "/500", "/fine", "/dialog"] {
        bench.ask(&at(status), LONG_S);
    }
    bench.ask(&at("/endless"), 4);
    bench.ask("http://127.0.0.1:1/", LONG_S);
    let answers = bench.run(8);
    for path in ["/403", "/429", "/404", "/500"] {
        let answer = &answers[&at(path)];
        assert_eq!(
            (answer.success, &answer.data, answer.reason.as_deref()),
            (false, &None, Some("status")),
            "{path}"
        );
        assert_eq!(site.asked().iter().filter(|line| line.starts_with(path)).count(), 1, "{path}");
    }
    assert_eq!(answers[&at("/endless")].reason.as_deref(), Some("timeout"));
    // Nobody listens there, so that its rules cannot be had either.
    assert_eq!(answers["http://127.0.0.1:1/"].reason.as_deref(), Some("robots"));
    assert!(answers[&at("/dialog")].data.as_ref().is_some_and(|page| page.text_content.contains("went on")));
    assert_eq!(answers[&at("/fine")].data.as_ref().map(|page| page.title.as_str()), Some("moved"));
}

#[test]
fn no_more_pages_are_visited_at_a_time_than_the_pool_allows() {
    let site = Site::new(|path| match path {
        "/robots.txt" => missing(),
        path => {
            std::thread::sleep(Duration::from_millis(700));
            page(path)
        }
    });
    let bench = Bench::new(&[], &[&site.address]);
    for number in 0..6 {
        bench.ask(&format!("http://{}/{number}", site.address), LONG_S);
    }
    assert!(bench.run(6).into_values().all(|answer| answer.success));
    assert!(site.most_at_once.load(Ordering::SeqCst) <= bench.settings.browsers);
}

/// A program that crashes as often as a file says, and is Chromium after that.
fn crashing(dir: &Path, times: usize) -> String {
    let (count, path) = (dir.join("crashes"), dir.join("browser"));
    std::fs::write(&count, "x".repeat(times)).expect("a file");
    let script = format!(
        "#!/bin/sh\nif [ -s {0} ]; then truncate -s -1 {0}; exit 139; fi\nexec /usr/bin/chromium \"$@\"\n",
        count.display()
    );
    std::fs::write(&path, script).expect("a file");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    path.display().to_string()
}

#[test]
fn a_crash_is_tried_again_twice() {
    let site = Site::new(|path| if path == "/robots.txt" { missing() } else { page("at last") });
    let url = format!("http://{}/", site.address);
    for (crashes, reason) in [(2, None), (3, Some("crash"))] {
        let mut bench = Bench::new(&[], &[&site.address]);
        let dir = tempfile::tempdir().expect("a folder");
        bench.settings.chromium.program = crashing(dir.path(), crashes);
        bench.ask(&url, LONG_S);
        let answer = bench.run(1).remove(&url).expect("an answer");
        assert_eq!((answer.reason.as_deref(), answer.success), (reason, crashes < 3), "{crashes}");
        assert_eq!(bench.health.report().counts["browser_crashes"], crashes as u64);
    }
    // By the specification: twice more, 5 s apart.
    let settings = Bench::new(&[], &[&site.address]).settings;
    let crashes = Settings::new(settings.chromium, settings.hosts, 1).crashes;
    let waits: Vec<_> = (1..=3).map(|failures| crashes.wait(failures).map(|wait| wait.as_secs())).collect();
    assert_eq!(waits, [Some(5), Some(5), None]);
}

#[test]
fn what_is_broken_off_is_made_by_the_next_run_and_a_request_that_stands_twice_once() {
    let site = Site::new(|path| if path == "/robots.txt" { missing() } else { page("once") });
    let bench = Bench::new(&[], &[&site.address]);
    let url = format!("http://{}/", site.address);
    let request = EnrichRequest {
        unique_id: Uuid::from_u128(7),
        session_id: None,
        target_url: url.clone(),
        scrape_type: "topic".into(),
        timeout_seconds: 30,
    };
    let record = Request::Enrich(request).encode(None);
    bench.log.append(vec![record.clone(), record]).expect("an append");
    let stop = Stop::default();
    stop.stop();
    enrich(&bench.log, &bench.settings, &bench.health, &stop).expect("a log that works");
    assert!(bench.answers().is_empty());
    let answer = bench.run(1).remove(&url).expect("an answer");
    assert!(answer.success && answer.session_id.is_none());
    assert_eq!(site.asked().iter().filter(|line| line.starts_with("/ ")).count(), 1);
}
