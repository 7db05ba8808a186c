//! Programs that a capture starts: producers that run on, and short calls with a time limit. Each has a process
//! group of its own, so that ending one ends what it has started, too.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::clock::now;

/// A producer has so long to end by itself when it is told to.
const GRACE: Duration = Duration::from_secs(2);
/// How often a program that shall end soon is looked at.
const LOOK: Duration = Duration::from_millis(10);
/// More of an answer is not read.
const MOST_ANSWER_BYTES: usize = 4_096;

/// A program that runs. It does not outlive this value.
pub(super) struct Program {
    name: String,
    child: Child,
}

impl Program {
    /// Starts a producer: `command` with every `{pipe}` in it replaced. What it says goes to standard error.
    pub(super) fn start(command: &[String], pipe: &str) -> std::io::Result<Program> {
        let mut words = command.iter().map(|word| word.replace("{pipe}", pipe));
        let name = words.next().unwrap_or_default();
        let mut command = Command::new(&name);
        command.args(words).stdin(Stdio::null()).stdout(Stdio::null());
        Program::spawn(name, command)
    }

    fn spawn(name: String, mut command: Command) -> std::io::Result<Program> {
        Ok(Program { name, child: command.process_group(0).spawn()? })
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// How it ended, if it has.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Asks it to end, and ends it when it does not.
    pub(super) fn end(&mut self) {
        self.signal(Signal::TERM);
        let until = now() + GRACE;
        while self.ended().is_none() && now() < until {
            std::thread::sleep(LOOK);
        }
        self.kill();
    }

    fn kill(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.child.wait();
    }

    fn signal(&self, signal: Signal) {
        // Gone already: nothing to do.
        let _ = Pid::from_raw(self.child.id() as i32).map(|group| kill_process_group(group, signal));
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs a short command; what it wrote to standard output if it ended well and in time.
pub(super) fn call(program: &str, arguments: &[&str], limit: Duration) -> Option<String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut program = Program::spawn(program.to_owned(), command).ok()?;
    let mut output = program.child.stdout.take()?;
    rustix::io::ioctl_fionbio(&output, true).ok()?;
    let until = now() + limit;
    let mut answer = Vec::new();
    loop {
        // Looked at before reading: what one that has ended wrote is read to its end.
        let ended = program.ended();
        // Read as it comes: one that says much must not wait for us, one that never ends is not waited for.
        let mut piece = [0; 1_024];
        while now() < until
            && output.read(&mut piece).is_ok_and(|length| {
                answer.extend_from_slice(&piece[..length]);
                length > 0
            })
        {
            answer.truncate(MOST_ANSWER_BYTES);
        }
        match ended {
            Some(status) if status.success() => return String::from_utf8(answer).ok(),
            Some(_) => return None,
            None if now() >= until => return None,
            None => std::thread::sleep(LOOK),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, limit_ms: u64) -> Option<String> {
        call("sh", &["-c", script], Duration::from_millis(limit_ms))
    }

    #[test]
    fn an_answer_is_what_was_written_by_one_that_ended_well_and_in_time() {
        assert_eq!(sh("echo 12.5", 60_000).as_deref(), Some("12.5\n"));
        assert_eq!(sh("echo 12.5; exit 3", 60_000), None);
        assert_eq!(sh("echo 12.5; sleep 600", 50), None);
        assert_eq!(sh("yes", 50), None);
        assert_eq!(sh("printf '\\377\\376'", 60_000), None, "no text");
        assert_eq!(sh("head -c 1000000 /dev/zero", 60_000).map(|text| text.len()), Some(MOST_ANSWER_BYTES));
        assert_eq!(call("/nowhere/adb", &[], Duration::from_secs(1)), None);
    }

    #[test]
    fn one_that_does_not_listen_is_ended_with_all_it_started() {
        let dir = tempfile::tempdir().expect("a folder");
        let alive = dir.path().join("alive");
        let script =
            format!("trap '' TERM; (while :; do touch {0}; sleep 0.05; done) & wait", alive.display());
        let command = ["sh", "-c", &script].map(str::to_owned);
        let mut program = Program::start(&command, "").expect("a shell");
        while !alive.exists() {
            std::thread::sleep(LOOK);
        }
        assert!(program.ended().is_none());
        program.end();
        std::fs::remove_file(&alive).expect("it was there");
        std::thread::sleep(Duration::from_millis(300));
        assert!(!alive.exists(), "nobody touches it any more");
    }
}
