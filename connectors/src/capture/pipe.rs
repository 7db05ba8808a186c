//! The named pipes between producers and the capture.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lsie_schemas::Rejection;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};

use super::CaptureError;
use crate::clock::{now, wall_us};

/// Bytes of one read; a pipe holds no more.
const READ_BYTES: usize = 64 << 10;
/// How long a silent pipe is waited for before somebody's wish to end is looked at.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// A pipe in the file system.
pub(super) struct Pipe {
    path: PathBuf,
    reader: File,
    /// Keeps the pipe open for writers and readers that come and go.
    _held: Option<File>,
}

impl Pipe {
    /// Makes the pipe anew. A stale one goes first; anything else at its place is left alone. With `hold` the
    /// pipe never ends while this value lives, whoever closes it.
    pub(super) fn make(path: &Path, hold: bool) -> Result<Pipe, CaptureError> {
        let fault = |what: &str, why: std::io::Error| {
            CaptureError::Pipe(format!("{} cannot be {what}: {why}", path.display()))
        };
        match std::fs::symlink_metadata(path) {
            Ok(found) if found.file_type().is_fifo() => {
                std::fs::remove_file(path).map_err(|why| fault("removed", why))?;
            }
            Ok(_) => return Err(CaptureError::Pipe(format!("{} is there and no pipe", path.display()))),
            Err(_) => {}
        }
        mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
            .map_err(|why| fault("made", why.into()))?;
        let reader = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(path);
        let reader = reader.map_err(|why| fault("opened", why))?;
        let held = match hold {
            true => Some(OpenOptions::new().read(true).write(true).open(path)),
            false => None,
        };
        let held = held.transpose().map_err(|why| fault("held open", why))?;
        Ok(Pipe { path: path.to_owned(), reader, _held: held })
    }

    /// Hands over what comes out of the pipe until its last writer has gone. When `over` is set, what is in
    /// the pipe is still read, and then no more is waited for. A pipe that stays silent is refused.
    pub(super) fn read(
        &mut self,
        over: &AtomicBool,
        silence: Option<Duration>,
        mut take: impl FnMut(&[u8], i64) -> Result<(), Rejection>,
    ) -> Result<(), Rejection> {
        let mut buffer = vec![0; READ_BYTES];
        let mut heard = now();
        loop {
            let ending = over.load(Ordering::SeqCst);
            let mut fds = [PollFd::new(&self.reader, PollFlags::IN)];
            let ready = poll(&mut fds, Some(&LOOK)).is_ok_and(|ready| ready > 0);
            if ready {
                match self.reader.read(&mut buffer) {
                    Ok(0) => return Ok(()),
                    Ok(length) => {
                        heard = now();
                        take(&buffer[..length], wall_us())?;
                        continue;
                    }
                    Err(why) if why.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(why) if why.kind() == std::io::ErrorKind::Interrupted => continue,
                    Err(why) => return Err(Rejection::new("pipe", why.to_string())),
                }
            }
            if ending {
                return Ok(());
            }
            if silence.is_some_and(|most| heard.elapsed() >= most) {
                return Err(Rejection::new("silent", "no byte within the time a producer may be silent"));
            }
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        // Whoever opened it still has it; nobody else shall find it.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read(pipe: &mut Pipe, over: bool, silence: Option<Duration>) -> (Vec<u8>, Result<(), String>) {
        let mut bytes = Vec::new();
        let result = pipe.read(&AtomicBool::new(over), silence, |piece, _| {
            bytes.extend_from_slice(piece);
            Ok(())
        });
        (bytes, result.map_err(|rejection| rejection.reason))
    }

    #[test]
    fn a_pipe_ends_with_its_writer_and_a_held_one_does_not() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("pipe");
        for (hold, ended) in [(false, Ok(())), (true, Err("silent".to_string()))] {
            let mut pipe = Pipe::make(&path, hold).expect("a pipe");
            let writer = std::thread::scope(|scope| {
                let write = scope.spawn(|| {
                    let mut writer = OpenOptions::new().write(true).open(&path).expect("the pipe");
                    writer.write_all(&[5; 100_000]).expect("a reader");
                });
                let read = read(&mut pipe, false, Some(Duration::from_millis(200)));
                write.join().expect("a writer");
                read
            });
            assert_eq!(writer, (vec![5; 100_000], ended));
        }
        assert!(!path.exists(), "a pipe goes with its capture");
    }

    #[test]
    fn what_is_in_the_pipe_is_read_before_it_is_given_up() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("pipe");
        let mut pipe = Pipe::make(&path, true).expect("a pipe");
        let mut writer = OpenOptions::new().write(true).open(&path).expect("the pipe");
        writer.write_all(b"last words").expect("a reader");
        assert_eq!(read(&mut pipe, true, None), (b"last words".to_vec(), Ok(())));
    }

    #[test]
    fn a_stale_pipe_is_replaced_and_a_file_is_left_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("pipe");
        let _stale = Pipe::make(&path, true).expect("a pipe");
        let _fresh = Pipe::make(&path, true).expect("another in its place");
        let file = dir.path().join("file");
        std::fs::write(&file, "mine").expect("a file");
        assert!(Pipe::make(&file, false).is_err());
        assert_eq!(std::fs::read(&file).expect("still there"), b"mine");
    }
}
