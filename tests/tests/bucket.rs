//! Checkpoints in a bucket of an S3-compatible store: the same as in a folder, also when the engine is killed, and when the
//! store is away.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use lsie_dataflow::checkpoint::store::{Location, Store};
use lsie_tests::harness::signal;
use lsie_tests::site::Site;

const ENVIRONMENT: [(&str, &str); 4] = [
    ("AWS_ACCESS_KEY_ID", "someone"),
    ("AWS_SECRET_ACCESS_KEY", "a secret"),
    ("AWS_REGION", "eu-central-1"),
    ("AWS_ALLOW_HTTP", "true"),
];

/// Waits for a minute.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..600 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("{what}: not within a minute");
}

/// A store with one bucket, `states`. It forgets everything when it ends.
struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start() -> Server {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = free.expect("a free port").port();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/bucket.sh");
        let installed = Command::new(&script).arg("install").status().expect("bash");
        assert!(installed.success(), "the store is installed");
        let process = Command::new(script)
            .arg(port.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("bash");
        let server = Server { process, address: format!("http://127.0.0.1:{port}") };
        until("the store", || {
            ureq::put(format!("{}/states", server.address))
                .config()
                .timeout_global(Some(Duration::from_secs(5)))
                .build()
                .send_empty()
                .is_ok()
        });
        server
    }

    /// What the binary needs to find it.
    fn environment<'a>(&'a self, location: &'a str) -> Vec<(&'static str, &'a str)> {
        let own = [("AWS_ENDPOINT_URL", self.address.as_str()), ("LSIE_CHECKPOINT_LOCATION", location)];
        ENVIRONMENT.into_iter().chain(own).collect()
    }

    /// How many checkpoints lie below a prefix.
    fn checkpoints(&self, prefix: &str) -> usize {
        let list = format!("{}/states?list-type=2&prefix={prefix}/checkpoints/", self.address);
        let mut answer = ureq::get(list).call().expect("a list");
        answer.body_mut().read_to_string().expect("a text").matches("<Key>").count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What every store of checkpoints does; the binary does the rest.
fn keeps_files(store: &Store, other: &Store) {
    let list = |folder: &str| store.list(folder).expect("a list");
    assert_eq!(list("checkpoints"), [""; 0], "a folder that is not there is empty");
    assert_eq!(store.get("checkpoints/1.json").expect("an answer"), None);
    store.put("checkpoints/2.json", &Bytes::from_static(b"two")).expect("it is put");
    store.put("checkpoints/1.json", &Bytes::from_static(b"one")).expect("it is put");
    store.put("checkpoints/1.json", &Bytes::from_static(b"another")).expect("it takes its place");
    store.put("state/a", &Bytes::from(vec![7; 300_000])).expect("it is put");
    assert_eq!(list("checkpoints"), ["checkpoints/1.json", "checkpoints/2.json"]);
    assert_eq!(store.get("checkpoints/1.json").expect("an answer").as_deref(), Some(&b"another"[..]));
    assert_eq!(store.get("state/a").expect("an answer").map(|file| file.len()), Some(300_000));
    store.delete("checkpoints/1.json").expect("it is gone");
    store.delete("checkpoints/1.json").expect("what is gone may go");
    assert_eq!(list("checkpoints"), ["checkpoints/2.json"]);

    other.put("checkpoints/3.json", &Bytes::from_static(b"three")).expect("it is put");
    other.put("state/b", &Bytes::from_static(b"b")).expect("it is put");
    store.replace_by(other, &["state", "checkpoints"]).expect("all is replaced");
    assert_eq!(
        (list("checkpoints"), list("state")),
        (vec!["checkpoints/3.json".into()], vec!["state/b".into()])
    );
    assert_eq!(store.get("state/b").expect("an answer").as_deref(), Some(&b"b"[..]));
}

#[test]
fn a_folder_keeps_files_and_a_crash_leaves_nothing_in_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = dir.path().join("one");
    let (store, other) = (Store::in_folder(&folder), Store::in_folder(&dir.path().join("other")));
    let store = store.expect("a folder");
    keeps_files(&store, &other.expect("a folder"));
    std::fs::write(folder.join("state/c#1"), "half").expect("what a crash leaves");
    store.sweep().expect("it is swept");
    let left = std::fs::read_dir(folder.join("state"))
        .expect("a folder")
        .map(|file| file.expect("a file").file_name());
    assert_eq!(left.collect::<Vec<_>>(), ["b"]);
}

#[test]
fn killed_it_goes_on_from_a_bucket_and_without_its_store_the_results_go_on() {
    let mut server = Server::start();
    let site = Site::new("bucket", 1).with(&server.environment("s3://states/one/run"));
    for place in ["checkpoint.manifest:2", "checkpoint.collect:3", "checkpoint.state:2", "commit.written:40"]
    {
        let ended = site.start(2, &["--die-at", place]).wait().expect("a process");
        assert_eq!(ended.code(), None, "it died at {place}: {ended}, {}", site.said());
        let epoch = site.held();
        assert!(epoch.is_some(), "the tables hold something: {}", site.said());
    }
    let there = server.checkpoints("one/run");
    assert!((1..=2).contains(&there), "{there} checkpoints are kept: {}", site.said());
    let beside = std::fs::read_dir(site.path("live-checkpoints")).expect("a folder");
    let beside: Vec<_> = beside.map(|file| file.expect("a file").file_name()).collect();
    assert_eq!(beside, ["crashes"], "on this machine there are only the notes of crashes");

    // The store is away: the tables grow all the same, and an orderly stop is one.
    let before = site.held();
    let mut running = site.start(1, &[]);
    until("the run goes on from the bucket", || site.held() > before);
    server.process.kill().expect("a kill");
    server.process.wait().expect("a process");
    let away = site.held();
    until("the results go on", || site.held() > away);
    signal(running.id(), "TERM");
    assert_eq!(running.wait().expect("a process").code(), Some(0), "an orderly stop: {}", site.said());
    assert!(site.said().contains("a checkpoint could not be written"), "it says so: {}", site.said());

    // One that is away at a start is no reason to begin anew.
    let started = site.start(1, &[]).wait().expect("a process");
    assert_eq!(started.code(), Some(2), "it refuses: {}", site.said());
    assert!(site.said().contains("checkpoint store s3://states/one/run"), "it says why: {}", site.said());

    // One that has forgotten everything: the log is replayed from its beginning.
    server = Server::start();
    site.with(&server.environment("s3://states/one/run")).finish_and_compare(2);
    assert!(server.checkpoints("one/run") > 0, "and there are checkpoints again");
}

#[test]
fn a_location_that_is_none_is_said() {
    let why = "ftp://states".parse::<Location>().expect_err("no location").to_string();
    assert!(why.contains("s3://BUCKET/PREFIX"), "{why}");
}
