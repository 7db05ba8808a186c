//! A capture on a bench: its log, its folder, programs that stand in for `scrcpy` and `adb`, and what came of it.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use lsie_connectors::capture::{CaptureError, Device, Producer, Settings, Timing, capture};
use lsie_connectors::file_log::{FileLog, FileLogOptions};
use lsie_connectors::{Health, Stop};
use lsie_schemas::log::{AppendRecord, Fetch, Log, LogRecord, TimestampType, TopicPartition, TopicSpec};
use lsie_schemas::record::{AudioChunk, Control, Gap, Record, StartSession, Stream, Subjects, VideoUnit};
use lsie_schemas::{Topic, codec};
use tempfile::TempDir;
use uuid::Uuid;

use crate::away::Away;

pub(crate) const SOURCE: &str = "capture:bench";
pub(crate) const SESSION: Uuid = Uuid::from_u128(0x0b1f_8f5e_6f0e_4c55_9d3c_6d1d_5bb0_a001);

pub(crate) struct Bench {
    pub(crate) dir: TempDir,
    pub(crate) log: Away,
    pub(crate) settings: Settings,
    pub(crate) health: Health,
}

impl Bench {
    /// A bench whose capture has its own session and no producers yet; all its times are short.
    pub(crate) fn new() -> Bench {
        let dir = tempfile::tempdir().expect("a folder");
        let log = FileLog::open(dir.path().join("log"), FileLogOptions::default()).expect("a log");
        let spec = |topic| TopicSpec {
            topic,
            partitions: 2,
            timestamps: TimestampType::LogAppend,
            retention_ms: None,
        };
        let topics = [Topic::Control, Topic::AvAudio, Topic::AvVideo].map(spec);
        log.create_topics(&topics).expect("topics");
        let short = Duration::from_millis;
        let settings = Settings {
            source_url: SOURCE.into(),
            dir: dir.path().join("pipes"),
            producers: Vec::new(),
            device: None,
            session: Some(start(SESSION, SOURCE)),
            buffer_bytes: 64 << 20,
            timing: Timing {
                stagger: short(50),
                restart: short(20),
                device_poll: short(20),
                device_wait: short(400),
                clock_poll: short(300),
                silence: None,
            },
        };
        let log = Away::new(log);
        Bench { dir, log, settings, health: Health::new("capture") }
    }

    /// Adds a producer of which the shell runs `script`, with the pipe as `$0`.
    pub(crate) fn producer(mut self, stream: Stream, script: &str) -> Bench {
        let command = ["sh", "-c", script, "{pipe}"].map(str::to_owned).to_vec();
        self.settings.producers.push(Producer { stream, command });
        self
    }

    /// A device whose `adb` is this shell script, with the bench's folder as `$dir` and adb's first word as `$1`.
    pub(crate) fn adb(mut self, script: &str) -> Bench {
        let adb = self.path("adb");
        let text = format!("#!/bin/sh\ndir={}\n{script}\n", self.dir.path().display());
        std::fs::write(&adb, text).expect("a script");
        std::fs::set_permissions(&adb, PermissionsExt::from_mode(0o755)).expect("an executable");
        let mut device = Device::new(adb.to_string_lossy(), None);
        device.limit = Duration::from_millis(500);
        self.settings.device = Some(device);
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn append(&self, control: Control) {
        self.log.append(vec![control.encode(None)]).expect("an append");
    }

    /// Captures while `beside` does something, then stops.
    pub(crate) fn run(&self, beside: impl FnOnce(&Bench)) -> Result<(), CaptureError> {
        let stop = Stop::default();
        std::thread::scope(|scope| {
            let running = scope.spawn(|| capture(&self.log, &self.settings, &self.health, &stop));
            // Should `beside` panic, the scope must not wait for ever.
            let beside = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| beside(self)));
            stop.stop();
            let result = running.join().expect("a capture does not panic");
            if let Err(panic) = beside {
                std::panic::resume_unwind(panic);
            }
            result
        })
    }

    /// What the capture has counted.
    pub(crate) fn count(&self, what: &str) -> u64 {
        self.health.report().counts.get(what).copied().unwrap_or(0)
    }

    pub(crate) fn wait(&self, what: &str, mut until: impl FnMut(&Bench) -> bool) {
        for _ in 0..6_000 {
            if until(self) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("in a minute not: {what}; {:?}", self.health.report());
    }

    /// Everything in a topic, in order.
    fn records(&self, topic: Topic) -> Vec<Record> {
        let partitions = self.log.topic(topic).expect("the log").expect("the topic").partitions;
        let mut records: Vec<LogRecord> = Vec::new();
        for at in (0..partitions).map(|partition| TopicPartition { topic, partition }) {
            let (from, to) = self.log.bounds(at).expect("the log");
            let mut reader = self.log.reader(&[(at, from)], Fetch::default()).expect("a reader");
            while reader.position(at).is_none_or(|position| position < to) {
                records.extend(reader.poll(Duration::from_millis(50)).expect("records"));
            }
        }
        records.sort_by_key(|record| (record.log_time, record.at, record.offset));
        records.iter().map(|record| codec::decode(record).expect("a capture writes good records")).collect()
    }

    pub(crate) fn audio(&self) -> Vec<AudioChunk> {
        let chunk = |record| if let Record::Audio(chunk) = record { Some(chunk) } else { None };
        self.records(Topic::AvAudio).into_iter().filter_map(chunk).collect()
    }

    pub(crate) fn video(&self) -> Vec<VideoUnit> {
        let unit = |record| if let Record::Video(unit) = record { Some(unit) } else { None };
        self.records(Topic::AvVideo).into_iter().filter_map(unit).collect()
    }

    pub(crate) fn control(&self) -> Vec<Control> {
        let control = |record| if let Record::Control(control) = record { Some(control) } else { None };
        self.records(Topic::Control).into_iter().filter_map(control).collect()
    }

    pub(crate) fn gaps(&self) -> Vec<Gap> {
        let gap = |control| if let Control::Gap(gap) = control { Some(gap) } else { None };
        self.control().into_iter().filter_map(gap).collect()
    }

    /// The answers of the device that polls recorded.
    pub(crate) fn polls(&self) -> Vec<Option<i64>> {
        let poll = |control| if let Control::ClockPoll(poll) = control { Some(poll.device_us) } else { None };
        self.control().into_iter().filter_map(poll).collect()
    }
}

pub(crate) fn start(session_id: Uuid, source_url: &str) -> StartSession {
    StartSession {
        session_id,
        streams: vec![Stream::Audio, Stream::Video],
        subjects: Subjects::default(),
        watched_account: None,
        source_url: source_url.into(),
        experiment_id: "greeting_line_v1".into(),
        client_action_id: None,
    }
}

/// Numbers of a stream without a hole, from 0.
pub(crate) fn assert_in_sequence(seqs: impl Iterator<Item = u64>) {
    let seqs: Vec<u64> = seqs.collect();
    assert!(seqs.iter().copied().eq(0..seqs.len() as u64), "{seqs:?}");
}

/// Two seconds of a tone that swells, 48 kHz.
pub(crate) const SOUND: &str = "-f lavfi -i sine=frequency=440:sample_rate=48000:duration=2";
/// Two seconds of moving pictures with a key frame every half second.
pub(crate) const PICTURES: &str = "-f lavfi -i testsrc2=size=320x240:rate=30:duration=2 -c:v libx264 -preset ultrafast \
    -tune zerolatency -threads 1 -g 15 -pix_fmt yuv420p";

/// Runs ffmpeg; what it wrote.
pub(crate) fn ffmpeg(arguments: &str) -> Vec<u8> {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("out");
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-bitexact"]).args(arguments.split_whitespace()).arg(&file);
    let status = command.status().expect("ffmpeg is installed by docker/setup/packages.sh test");
    assert!(status.success(), "ffmpeg {arguments}");
    std::fs::read(file).expect("what ffmpeg wrote")
}

/// A script that lets ffmpeg write to the pipe once and then keeps the pipe open.
pub(crate) fn once(arguments: &str) -> String {
    format!("exec 3>\"$0\"; ffmpeg -v error -bitexact {arguments} -y \"$0\" </dev/null; exec sleep 600")
}
