//! One headless Chromium, and the protocol by which it is driven: JSON messages over two pipes. No port is opened by
//! which a page, or anybody else on the machine, could drive it, too.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::Failure;
use crate::Stop;
use crate::clock::now;

/// Messages that may wait to be read, and bytes of one.
const MOST_WAITING: usize = 256;
const MOST_MESSAGE_BYTES: u64 = 16 << 20;
/// How often the wish to stop is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Nothing in its background, nothing remembered, nothing hidden: it says by its name that it is a machine.
const ALWAYS: [&str; 20] = [
    "--headless",
    "--remote-debugging-pipe",
    "--incognito",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-breakpad",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--disable-domain-reliability",
    "--disable-extensions",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disk-cache-size=1",
    "--mute-audio",
    "--webrtc-ip-handling-policy=disable_non_proxied_udp",
    // Names are resolved by the proxy, and by nobody else; loopback goes by the proxy, too.
    "--proxy-bypass-list=<-loopback>",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
];

/// How a browser is started.
#[derive(Clone, Debug)]
pub struct Chromium {
    /// The program.
    pub program: String,
    /// Whether its renderers are confined. Without that a page that breaks out of one has the rights of this process.
    pub sandbox: bool,
}

/// A browser that runs, with a profile of its own. Neither outlives this value.
pub(super) struct Browser {
    child: Child,
    input: ChildStdin,
    messages: Receiver<Value>,
    asked: u64,
    stop: Stop,
    _profile: TempDir,
}

impl Browser {
    /// Starts one whose way out is a proxy.
    pub(super) fn start(
        chromium: &Chromium,
        proxy: &str,
        agent: &str,
        stop: &Stop,
    ) -> Result<Browser, Failure> {
        let profile = tempfile::Builder::new().prefix("lsie-enrich").tempdir().map_err(crashed)?;
        // The protocol is spoken on descriptors 3 and 4, which only a shell can give without unsafe code.
        let mut command = Command::new("sh");
        command
            .args(["-c", "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null", "sh", &chromium.program])
            .args(ALWAYS);
        command.arg(format!("--proxy-server={proxy}")).arg(format!("--user-agent={agent}"));
        command.arg(folder("--user-data-dir=", profile.path()));
        command.args((!chromium.sandbox).then_some("--no-sandbox"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.process_group(0).spawn().map_err(crashed)?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Failure::Crashed("no pipes".into()));
        };
        let (sender, messages) = sync_channel(MOST_WAITING);
        // From here on the value ends the process, whatever happens.
        let browser = Browser { child, input, messages, asked: 0, stop: stop.clone(), _profile: profile };
        let reading = std::thread::Builder::new().name("enrich-read".into());
        reading.spawn(move || read(output, &sender)).map_err(crashed)?;
        Ok(browser)
    }

    /// Asks for something; gives the number of the question.
    pub(super) fn ask(&mut self, session: Option<&str>, method: &str, params: Value) -> Result<u64, Failure> {
        self.asked += 1;
        let mut message = json!({"id": self.asked, "method": method, "params": params});
        if let Some(session) = session {
            message["sessionId"] = session.into();
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.input.write_all(&bytes).map_err(crashed)?;
        Ok(self.asked)
    }

    /// The next message, an answer or an event.
    pub(super) fn next(&mut self, until: Instant) -> Result<Value, Failure> {
        loop {
            if self.stop.is_stopped() {
                return Err(Failure::Stopped);
            }
            let left = until.saturating_duration_since(now());
            if left.is_zero() {
                return Err(Failure::Because("timeout"));
            }
            match self.messages.recv_timeout(left.min(LOOK)) {
                Ok(message) => return Ok(message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Failure::Crashed("the browser has ended".into()));
                }
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // With all that it has started.
        let _ = Pid::from_raw(self.child.id() as i32).map(|group| kill_process_group(group, Signal::KILL));
        let _ = self.child.wait();
    }
}

fn crashed(error: impl std::fmt::Display) -> Failure {
    Failure::Crashed(error.to_string())
}

fn folder(flag: &str, path: &Path) -> std::ffi::OsString {
    let mut argument = std::ffi::OsString::from(flag);
    argument.push(path);
    argument
}

/// Reads messages, each ended by a zero byte, until the browser or whoever listens is gone. What is no message, or too
/// large for one, ends the browser's use.
fn read(output: ChildStdout, messages: &SyncSender<Value>) {
    let mut output = BufReader::new(output);
    loop {
        let mut message = Vec::new();
        let length = output.by_ref().take(MOST_MESSAGE_BYTES).read_until(0, &mut message);
        if !length.is_ok_and(|length| length > 0) || message.pop() != Some(0) {
            return;
        }
        let Ok(message) = serde_json::from_slice(&message) else { return };
        if messages.send(message).is_err() {
            return;
        }
    }
}
