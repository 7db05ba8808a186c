//! The life cycle of producers: pipes made anew, device there, tunnels cleared, one producer after the other; when
//! one ends, all end and all begin again (specification §4 A).

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, ScopedJoinHandle, scope};
use std::time::Duration;

use lsie_schemas::Rejection;
use lsie_schemas::record::Stream;

use super::outbox::Outbox;
use super::pipe::Pipe;
use super::program::Program;
use super::stream::MediaStream;
use super::{CaptureError, Producer, Settings};
use crate::clock::now;
use crate::health::State;
use crate::{Health, Stop};

/// How often producers are looked at.
const LOOK: Duration = Duration::from_millis(20);
/// The part of the health report.
const PART: &str = "producers";

/// What the cycles of a capture share.
pub(super) struct Cycles<'a> {
    pub(super) settings: &'a Settings,
    pub(super) outbox: &'a Outbox,
    pub(super) health: &'a Health,
    pub(super) stop: &'a Stop,
}

/// A producer that runs, and the thread that reads its pipe.
struct Live<'scope> {
    stream: Stream,
    /// None: somebody else writes to the pipe.
    program: Option<Program>,
    reader: ScopedJoinHandle<'scope, Result<(), Rejection>>,
}

impl Cycles<'_> {
    /// Runs cycles until the wish to stop, or until there is no device.
    pub(super) fn run(&self) -> Result<(), CaptureError> {
        loop {
            let ended = self.cycle().inspect_err(|error| {
                self.health.set(PART, State::Error, error.to_string());
            })?;
            let Some(ended) = ended else { return Ok(()) };
            tracing::warn!(ended, "producers are started again");
            self.health.set(PART, State::Recovering, ended);
            self.health.count("restarts", 1);
            if self.stop.wait(self.settings.timing.restart) {
                return Ok(());
            }
        }
    }

    /// One cycle; what ended it, or nothing when it was the wish to stop.
    fn cycle(&self) -> Result<Option<String>, CaptureError> {
        let mut pipes = Vec::new();
        for producer in &self.settings.producers {
            let path = self.path(producer.stream)?;
            // The audio pipe outlives its readers and writers; the video pipe must break with them, so that
            // whoever reads it begins at a header.
            pipes.push((producer, path.clone(), Pipe::make(&path, producer.stream == Stream::Audio)?));
        }
        if !self.device_is_there()? {
            return Ok(None);
        }
        let over = AtomicBool::new(false);
        scope(|scope| {
            let (mut live, mut ended): (Vec<Live>, Result<Option<String>, CaptureError>) =
                (Vec::new(), Ok(None));
            for (number, (producer, path, mut pipe)) in pipes.into_iter().enumerate() {
                if number > 0 {
                    ended = Ok(self.watch(&mut live, Some(self.settings.timing.stagger)));
                }
                if matches!(ended, Ok(Some(_))) || self.stop.is_stopped() {
                    break;
                }
                let program = match self.start(producer, &path) {
                    Ok(program) => program,
                    Err(error) => {
                        ended = Err(error);
                        break;
                    }
                };
                let (over, stream) = (&over, producer.stream);
                let reader = Builder::new().name(format!("capture-{}", stream.name()));
                let reader = reader.spawn_scoped(scope, move || self.read(stream, &mut pipe, over));
                match reader {
                    Ok(reader) => live.push(Live { stream, program, reader }),
                    Err(why) => ended = Err(CaptureError::Pipe(format!("has no reader: {why}"))),
                }
            }
            if matches!(ended, Ok(None)) && !self.stop.is_stopped() {
                self.health.set(PART, State::Ok, "started");
                ended = Ok(self.watch(&mut live, None));
            }
            live.iter_mut().filter_map(|live| live.program.as_mut()).for_each(Program::end);
            over.store(true, Ordering::SeqCst);
            ended
        })
    }

    fn path(&self, stream: Stream) -> Result<PathBuf, CaptureError> {
        let dir = &self.settings.dir;
        std::fs::create_dir_all(dir)
            .map_err(|why| CaptureError::Pipe(format!("folder {} cannot be made: {why}", dir.display())))?;
        Ok(dir.join(match stream {
            Stream::Audio => "audio_stream.raw",
            Stream::Video => "video_stream.mkv",
        }))
    }

    /// Waits for the device and clears its tunnels; false when the capture shall stop.
    fn device_is_there(&self) -> Result<bool, CaptureError> {
        let Some(device) = &self.settings.device else { return Ok(!self.stop.is_stopped()) };
        let timing = &self.settings.timing;
        let since = now();
        while !device.is_present() {
            if since.elapsed() >= timing.device_wait {
                return Err(CaptureError::NoDevice(timing.device_wait.as_secs()));
            }
            self.health.set(PART, State::Recovering, "waiting for the device");
            if self.stop.wait(timing.device_poll) {
                return Ok(false);
            }
        }
        device.clear_tunnels();
        Ok(!self.stop.is_stopped())
    }

    fn start(&self, producer: &Producer, path: &std::path::Path) -> Result<Option<Program>, CaptureError> {
        let Some(name) = producer.command.first() else { return Ok(None) };
        let program = Program::start(&producer.command, &path.to_string_lossy());
        let program = program.map_err(|why| CaptureError::Producer(name.clone(), why.to_string()))?;
        Ok(Some(program))
    }

    /// Reads a producer's pipe to its end.
    fn read(&self, stream: Stream, pipe: &mut Pipe, over: &AtomicBool) -> Result<(), Rejection> {
        let mut media = MediaStream::new(stream, self.outbox, self.health);
        let result = pipe.read(over, self.settings.timing.silence, |bytes, at| media.push(bytes, at));
        media.finish();
        if let Err(refused) = &result {
            self.health.count("streams_refused", 1);
            let why = format!("{}: {}", refused.reason, refused.detail);
            self.health.set(stream.name(), State::Degraded, why);
        }
        result
    }

    /// Waits until a producer has ended, the capture shall stop, or the time is up; says which has ended, and how.
    fn watch(&self, live: &mut Vec<Live>, time: Option<Duration>) -> Option<String> {
        let since = now();
        loop {
            if let Some(at) = live.iter().position(|live| live.reader.is_finished()) {
                let gone = live.swap_remove(at);
                let stream = gone.stream.name();
                let refused = matches!(gone.reader.join(), Ok(Err(_)));
                return Some(format!(
                    "the {stream} stream {}",
                    if refused { "was refused" } else { "ended" }
                ));
            }
            for live in live.iter_mut() {
                let stream = live.stream.name();
                if let Some(program) = &mut live.program
                    && let Some(status) = program.ended()
                {
                    return Some(format!("{} ({stream}) ended: {status}", program.name()));
                }
            }
            if time.is_some_and(|time| since.elapsed() >= time) || self.stop.wait(LOOK) {
                return None;
            }
        }
    }
}
