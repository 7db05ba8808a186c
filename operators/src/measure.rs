//! Measures the reaction of each session: AU12 series, what happened after each stimulus, and the rows of
//! segments. Takes settled event time only, so that neither arrival order nor the pace of models matters.

use std::collections::{BTreeMap, VecDeque};

use lsie_schemas::row::{Au12Row, FaceRow, MetricsRow, PitchRow, SegmentRow, StimulusRow};
use lsie_schemas::table::Json;
use lsie_schemas::{EventTime, LogTime, Real};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::acoustics::{Acoustics, PitchTrack};
use crate::align::{Aligned, ClosedSegment};
use crate::attribution::scores::{Au12Metrics, au12_metrics};
use crate::au12::{self, CALIBRATION_FRAMES_REQUIRED, Calibration};
use crate::logic::{Keyed, Logic, apart, pairs};
use crate::reward::{MEASURE_S, reward};
use crate::segment_id::{ordinal_at, segment_id, window};

/// Scored frames before the first stimulus that enter the series (DM-4).
const BASELINE_TAIL_US: i64 = 5_000_000;
/// How long scored frames are kept behind settled time, for stimuli that arrive late.
const KEEP_SERIES_US: i64 = 120_000_000;

/// What the operator is told, besides the measured frames.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A measured frame.
    Face(FaceRow),
    /// The voice of a segment that closes at the same epoch.
    Voice(SegmentVoice),
    /// A word of alignment; words that say nothing about reactions are ignored.
    Aligned(Aligned),
}

/// Pitch of a voice, frame by frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Pitch {
    /// Centre of the first frame.
    pub start: EventTime,
    /// Time between frames, s.
    pub step_s: f64,
    /// Hz, to a tenth; none where there is no voice.
    pub f0_hz: Vec<Option<f64>>,
}

impl Pitch {
    /// The track of a sound whose first sample was captured at `start`.
    pub fn of(track: &PitchTrack, start: EventTime) -> Pitch {
        let tenths = |hz: f64| (hz * 10.0).round() / 10.0;
        Pitch {
            start: start.plus_us((track.first_s() * 1e6).round() as i64),
            step_s: track.step_s(),
            f0_hz: (0..track.len()).map(|frame| track.voiced_hz(frame).map(tenths)).collect(),
        }
    }
}

/// The acoustics of one segment.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentVoice {
    /// The session.
    pub session: Uuid,
    /// The segment's ordinal.
    pub ordinal: i64,
    /// What was measured.
    pub acoustics: Acoustics,
    /// The pitch it was measured from; none of a sound that is too short.
    pub pitch: Option<Pitch>,
}

/// What happened after one stimulus, before the semantic gate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Measured {
    /// The stimulus' time.
    pub at: EventTime,
    /// The segment that contains it.
    pub segment_id: String,
    /// That segment's window end.
    pub window_end: EventTime,
    /// 90th percentile of bounded AU12 in the measurement window.
    pub p90: Real,
    /// Frames in the measurement window.
    pub n_frames: i64,
    /// Mean bounded AU12 in the baseline window.
    pub baseline: Option<Real>,
    /// What attribution scores of the reaction.
    pub lift: Lift,
}

/// AU12 around a stimulus as attribution scores it (mathematics §13.2).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Lift {
    /// P90 less the baseline, 0 or more.
    pub p90: Option<Real>,
    /// The largest intensity less the baseline, 0 or more.
    pub peak: Option<Real>,
    /// From the stimulus to the first of the largest intensities, ms.
    pub peak_latency_ms: Option<Real>,
}

impl Lift {
    fn of(metrics: &Au12Metrics) -> Lift {
        let real = |value: Option<f64>| value.and_then(Real::finite);
        Lift {
            p90: real(metrics.lift_p90),
            peak: real(metrics.lift_peak),
            peak_latency_ms: real(metrics.peak_latency_ms),
        }
    }
}

/// A fact that this operator produces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A scored frame.
    Au12(Au12Row),
    /// A closed segment.
    Segment(SegmentRow),
    /// The metrics of a closed segment.
    Metrics(MetricsRow),
    /// The pitch of the voice of a closed segment; for those who watch, and kept nowhere.
    Pitch(PitchRow),
    /// An accepted stimulus.
    Stimulus(StimulusRow),
    /// So many neutral frames of this session are collected; said up to what is required.
    Calibrated(Uuid, i64),
    /// The reaction to the stimulus of this session and action.
    Measured(Uuid, Uuid, Measured),
}

/// All sessions of one worker.
#[derive(Debug, Default)]
pub struct Measure {
    sessions: BTreeMap<Uuid, Reaction>,
}

/// What of the reactions a checkpoint may hold: all of it, for frames are facts.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct MeasureSnapshot {
    sessions: BTreeMap<Uuid, Reaction>,
}

impl Logic for Measure {
    type Record = Input;
    type Output = Fact;
    type Snapshot = MeasureSnapshot;

    fn on_epoch(&mut self, epoch: LogTime, inputs: Vec<Input>, out: &mut Vec<Fact>) {
        let mut words = Vec::with_capacity(inputs.len());
        let mut voices = BTreeMap::new();
        for input in inputs {
            match input {
                Input::Face(face) => {
                    let session = self.sessions.entry(face.session_id).or_default();
                    session.pending.insert((face.capture_utc, face.seq), face);
                }
                Input::Voice(voice) => {
                    voices.insert((voice.session, voice.ordinal), voice);
                }
                Input::Aligned(word) => words.push(word),
            }
        }
        words.sort_by_key(rank);
        for word in words {
            self.hear(epoch, word, &voices, out);
        }
    }

    fn snapshot(&self) -> MeasureSnapshot {
        MeasureSnapshot { sessions: self.sessions.clone() }
    }

    fn restore(&mut self, snapshot: MeasureSnapshot) {
        self.sessions = snapshot.sessions;
    }
}

impl Keyed for MeasureSnapshot {
    type Key = Uuid;

    fn apart(self) -> Vec<(Option<Uuid>, MeasureSnapshot)> {
        apart(self.sessions, |sessions| MeasureSnapshot { sessions })
    }

    fn join(&mut self, piece: MeasureSnapshot) {
        self.sessions.extend(piece.sessions);
    }
}

/// Behind all words that are heard.
const NOTHING: u8 = 5;

/// Where a word stands among those of its epoch: the order in which alignment says them.
fn rank(word: &Aligned) -> (Uuid, u8, i64, Uuid) {
    let none = Uuid::nil();
    match word {
        Aligned::Anchored { session, .. } => (*session, 0, 0, none),
        Aligned::Stimulus { session, action, at, .. } => (*session, 1, at.0, *action),
        Aligned::Settled { session, until } => (*session, 2, until.0, none),
        Aligned::Closed(segment) => (segment.session, 3, segment.ordinal, none),
        Aligned::Ended { session, at } => (*session, 4, at.0, none),
        Aligned::Started { .. }
        | Aligned::Polled { .. }
        | Aligned::Experiment { .. }
        | Aligned::Frame(_)
        | Aligned::Voice(_)
        | Aligned::Speech(_)
        | Aligned::Answer(_)
        | Aligned::Sound(_)
        | Aligned::Telemetry(_)
        | Aligned::Visited(_)
        | Aligned::Asked(_)
        | Aligned::Classified(_)
        | Aligned::Dead(_) => (none, NOTHING, 0, none),
    }
}

impl Measure {
    /// Whether a word of alignment says anything to it.
    pub fn hears(word: &Aligned) -> bool {
        rank(word).1 < NOTHING
    }

    fn hear(
        &mut self,
        epoch: LogTime,
        word: Aligned,
        voices: &BTreeMap<(Uuid, i64), SegmentVoice>,
        out: &mut Vec<Fact>,
    ) {
        match word {
            Aligned::Anchored { session, anchor, .. } => {
                self.sessions.entry(session).or_default().anchor = Some(anchor);
            }
            Aligned::Stimulus { session, action, at, note } => {
                let reaction = self.sessions.entry(session).or_default();
                reaction.stimulate(session, action, at, note, out);
            }
            Aligned::Settled { session, until } => {
                self.sessions.entry(session).or_default().settle(session, until, out);
            }
            Aligned::Closed(segment) => {
                let voice = voices.get(&(segment.session, segment.ordinal));
                self.sessions.entry(segment.session).or_default().close(epoch, &segment, voice, out);
            }
            Aligned::Ended { session, at } => {
                if let Some(mut reaction) = self.sessions.remove(&session) {
                    reaction.settle(session, at, out);
                    reaction.measure_rest(session, out);
                }
            }
            Aligned::Started { .. }
            | Aligned::Polled { .. }
            | Aligned::Experiment { .. }
            | Aligned::Frame(_)
            | Aligned::Voice(_)
            | Aligned::Speech(_)
            | Aligned::Answer(_)
            | Aligned::Sound(_)
            | Aligned::Telemetry(_)
            | Aligned::Visited(_)
            | Aligned::Asked(_)
            | Aligned::Classified(_)
            | Aligned::Dead(_) => {}
        }
    }
}

/// Frames and sums of one open segment.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Tally {
    frames: i64,
    faces: i64,
    scored: i64,
    legacy_sum: f64,
}

/// The mean ratio of the neutral face.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
enum Neutral {
    /// Every settled frame still extends it.
    #[default]
    Learning,
    /// The first stimulus is settled: this is it, if there was a face.
    Fixed(Option<f64>),
}

/// One session.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Reaction {
    anchor: Option<EventTime>,
    /// Measured frames whose time is not settled.
    #[serde(with = "pairs")]
    pending: BTreeMap<(EventTime, i64), FaceRow>,
    calibration: Calibration,
    /// How many neutral frames have been said.
    calibrated: u64,
    neutral: Neutral,
    /// Settled frames of the last 5 s before the first stimulus.
    tail: VecDeque<FaceRow>,
    series: VecDeque<(EventTime, f64)>,
    /// Whether each has been measured.
    #[serde(with = "pairs")]
    stimuli: BTreeMap<(EventTime, Uuid), bool>,
    tallies: BTreeMap<i64, Tally>,
}

impl Reaction {
    fn stimulate(
        &mut self,
        session: Uuid,
        action: Uuid,
        at: EventTime,
        note: Option<String>,
        out: &mut Vec<Fact>,
    ) {
        let Some((segment_id, _)) = self.segment_of(session, at) else { return };
        self.stimuli.insert((at, action), false);
        out.push(Fact::Stimulus(StimulusRow {
            session_id: session,
            client_action_id: action,
            stimulus_utc: at,
            segment_id,
            operator_note: note,
        }));
    }

    /// Takes every frame up to `until` and measures the stimuli whose window has passed.
    fn settle(&mut self, session: Uuid, until: EventTime, out: &mut Vec<Fact>) {
        let later = self.pending.split_off(&(until.plus_us(1), i64::MIN));
        for frame in std::mem::replace(&mut self.pending, later).into_values() {
            self.take(frame, out);
        }
        let calibrated = self.calibration.frames().min(CALIBRATION_FRAMES_REQUIRED);
        if calibrated > self.calibrated {
            self.calibrated = calibrated;
            out.push(Fact::Calibrated(session, calibrated as i64));
        }
        if self.first_stimulus().is_some_and(|first| first <= until) {
            self.finish_calibration(out);
        }
        let measured_us = (MEASURE_S.1 * 1e6) as i64;
        self.measure_until(session, Some(until.plus_us(-measured_us)), out);
        while self.series.front().is_some_and(|(at, _)| *at < until.plus_us(-KEEP_SERIES_US)) {
            self.series.pop_front();
        }
    }

    fn measure_rest(&mut self, session: Uuid, out: &mut Vec<Fact>) {
        if self.first_stimulus().is_some() {
            self.finish_calibration(out);
        }
        self.measure_until(session, None, out);
    }

    fn take(&mut self, frame: FaceRow, out: &mut Vec<Fact>) {
        if let Some(tally) = self.tally(frame.capture_utc) {
            tally.frames += 1;
            tally.faces += i64::from(frame.present);
        }
        if self.first_stimulus().is_some_and(|first| frame.capture_utc >= first) {
            self.finish_calibration(out);
            return self.score(&frame, out);
        }
        if matches!(self.neutral, Neutral::Fixed(_)) {
            return self.score(&frame, out);
        }
        self.calibration.add(frame.ratio.map(|r| r.0));
        let keep_from = frame.capture_utc.plus_us(-BASELINE_TAIL_US);
        self.tail.push_back(frame);
        while self.tail.front().is_some_and(|f| f.capture_utc < keep_from) {
            self.tail.pop_front();
        }
    }

    /// Ends the calibration at the first stimulus and scores the frames shortly before it.
    fn finish_calibration(&mut self, out: &mut Vec<Fact>) {
        let (Neutral::Learning, Some(first)) = (self.neutral, self.first_stimulus()) else { return };
        self.neutral = Neutral::Fixed(self.calibration.neutral());
        let from = first.plus_us(-BASELINE_TAIL_US);
        for frame in std::mem::take(&mut self.tail) {
            if frame.capture_utc >= from {
                self.score(&frame, out);
            }
        }
    }

    fn score(&mut self, frame: &FaceRow, out: &mut Vec<Fact>) {
        if !frame.present {
            return;
        }
        let neutral = match self.neutral {
            Neutral::Learning => None,
            Neutral::Fixed(neutral) => neutral,
        };
        let Ok(scored) = au12::score(frame.ratio.map(|r| r.0), neutral, au12::ALPHA) else { return };
        let at = frame.capture_utc;
        self.series.push_back((at, scored.bounded));
        if let Some(tally) = self.tally(at) {
            tally.scored += 1;
            tally.legacy_sum += scored.legacy;
        }
        if let Some(intensity) = Real::finite(scored.bounded) {
            let row = Au12Row { session_id: frame.session_id, seq: frame.seq, timestamp_utc: at, intensity };
            out.push(Fact::Au12(row));
        }
    }

    fn measure_until(&mut self, session: Uuid, until: Option<EventTime>, out: &mut Vec<Fact>) {
        let due: Vec<(EventTime, Uuid)> = self
            .stimuli
            .iter()
            .filter(|((at, _), measured)| !**measured && until.is_none_or(|until| *at <= until))
            .map(|(key, _)| *key)
            .collect();
        for (at, action) in due {
            self.stimuli.insert((at, action), true);
            let Some((segment_id, window_end)) = self.segment_of(session, at) else { continue };
            let series: Vec<(f64, f64)> = self.series.iter().map(|(t, v)| (t.seconds(), *v)).collect();
            let result = reward(&series, at.seconds(), true);
            let measured = Measured {
                at,
                segment_id,
                window_end,
                p90: Real(result.p90_intensity),
                n_frames: result.n_frames_in_window as i64,
                baseline: result.au12_baseline_pre.and_then(Real::finite),
                lift: Lift::of(&au12_metrics(&series, at.seconds())),
            };
            out.push(Fact::Measured(session, action, measured));
        }
    }

    fn close(
        &mut self,
        epoch: LogTime,
        segment: &ClosedSegment,
        voice: Option<&SegmentVoice>,
        out: &mut Vec<Fact>,
    ) {
        let Some(span) = window(segment.anchor.0, segment.ordinal) else { return };
        let tally = self.tallies.remove(&segment.ordinal).unwrap_or_default();
        let id = segment_id(segment.session, span.start_us, span.end_us);
        out.push(Fact::Segment(SegmentRow {
            session_id: segment.session,
            ordinal: segment.ordinal,
            segment_id: id.clone(),
            window_start_utc: EventTime(span.start_us),
            window_end_utc: EventTime(span.end_us),
            closed_by: segment.rule.name().to_string(),
            closed_at: epoch.as_event(),
            evidence_stream: segment.evidence.map(|e| e.stream.name().to_string()),
            evidence_offset: segment.evidence.and_then(|e| e.offset),
            evidence_event_time: segment.evidence.and_then(|e| e.reached),
            audio_samples: segment.audio_samples,
            audio_sha256: segment.audio_sha256.clone(),
            video_frames: tally.frames,
            face_frames: tally.faces,
        }));
        let pitch = voice.and_then(|voice| voice.pitch.as_ref());
        out.extend(pitch.map(|pitch| Fact::Pitch(pitch_row(segment.session, &id, pitch))));
        let acoustics = voice.map(|voice| voice.acoustics).unwrap_or_default();
        out.push(Fact::Metrics(metrics(segment.session, id, EventTime(span.end_us), tally, &acoustics)));
    }

    fn first_stimulus(&self) -> Option<EventTime> {
        self.stimuli.keys().next().map(|(at, _)| *at)
    }

    fn tally(&mut self, at: EventTime) -> Option<&mut Tally> {
        let ordinal = ordinal_at(self.anchor?.0, at.0)?;
        Some(self.tallies.entry(ordinal).or_default())
    }

    fn segment_of(&self, session: Uuid, at: EventTime) -> Option<(String, EventTime)> {
        let anchor = self.anchor?.0;
        let span = window(anchor, ordinal_at(anchor, at.0)?)?;
        Some((segment_id(session, span.start_us, span.end_us), EventTime(span.end_us)))
    }
}

fn pitch_row(session_id: Uuid, segment_id: &str, pitch: &Pitch) -> PitchRow {
    PitchRow {
        session_id,
        segment_id: segment_id.into(),
        start_utc: pitch.start,
        step_s: Real(pitch.step_s),
        f0_hz: Json::new(&serde_json::json!(pitch.f0_hz)),
    }
}

/// The metrics of a segment. The fields of its voice are those of a segment without stimulus when it has none
/// (contracts §7).
fn metrics(
    session_id: Uuid,
    segment_id: String,
    timestamp_utc: EventTime,
    tally: Tally,
    voice: &Acoustics,
) -> MetricsRow {
    let mean = (tally.scored > 0).then(|| tally.legacy_sum / tally.scored as f64);
    let real = |value: Option<f64>| value.and_then(Real::finite);
    MetricsRow {
        session_id,
        segment_id,
        timestamp_utc,
        au12_intensity: real(mean),
        pitch_f0: real(voice.pitch_f0),
        jitter: real(voice.jitter),
        shimmer: real(voice.shimmer),
        f0_valid_measure: Some(voice.f0_valid_measure),
        f0_valid_baseline: Some(voice.f0_valid_baseline),
        perturbation_valid_measure: Some(voice.perturbation_valid_measure),
        perturbation_valid_baseline: Some(voice.perturbation_valid_baseline),
        voiced_coverage_measure_s: real(Some(voice.voiced_coverage_measure_s)),
        voiced_coverage_baseline_s: real(Some(voice.voiced_coverage_baseline_s)),
        f0_mean_measure_hz: real(voice.f0_mean_measure_hz),
        f0_mean_baseline_hz: real(voice.f0_mean_baseline_hz),
        f0_delta_semitones: real(voice.f0_delta_semitones),
        jitter_mean_measure: real(voice.jitter_mean_measure),
        jitter_mean_baseline: real(voice.jitter_mean_baseline),
        jitter_delta: real(voice.jitter_delta),
        shimmer_mean_measure: real(voice.shimmer_mean_measure),
        shimmer_mean_baseline: real(voice.shimmer_mean_baseline),
        shimmer_delta: real(voice.shimmer_delta),
    }
}
