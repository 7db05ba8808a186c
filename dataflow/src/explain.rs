//! Why a segment closed when it did, which records went into it, what came late, and which models measured it: an
//! account made of the result tables alone, and of the epoch table if that is at hand.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, anyhow};
use lsie_operators::align::Limits;
use lsie_schemas::record::EpochRecord;
use lsie_schemas::row::{
    DeadLetterRow, EvaluationRow, FaceRow, InferenceRow, SegmentRow, SegmentStreamRow, StimulusRow,
};
use lsie_schemas::{EventTime, LogTime, TableRow};
use lsie_sinks::parquet::Reader;
use serde::Serialize;
use uuid::Uuid;

/// The account of one segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The session.
    pub session_id: Uuid,
    /// 1 for the session's first segment.
    pub ordinal: i64,
    /// The segment.
    pub segment_id: String,
    /// Window start and end, UTC.
    pub window: (String, String),
    /// The rule by which it closed.
    pub closed_by: String,
    /// The epoch at which it closed: its log time in ms, and as UTC.
    pub closed_at_epoch: (u64, String),
    /// The rule in words, with the evidence.
    pub why: String,
    /// How far each declared stream had come, and what of it went in.
    pub streams: Vec<StreamAccount>,
    /// Stimuli in the window: log time of the control record, and the action.
    pub stimuli: Vec<(String, Uuid)>,
    /// Records of the session that could not be used, from the closing of the segment before to this one's.
    pub not_used_meanwhile: Vec<NotUsed>,
    /// Records of the session whose own time was over, after the segment had closed.
    pub late_afterwards: Vec<NotUsed>,
    /// The models that measured it.
    pub models: Vec<ModelAccount>,
    /// Which epochs held its records, if the epoch table was read.
    pub epochs: Option<Vec<EpochAccount>>,
}

/// One declared stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StreamAccount {
    /// `audio` or `video`.
    pub stream: String,
    /// The topic.
    pub topic: String,
    /// The partition; none if no record of it went in.
    pub partition: Option<i64>,
    /// Records that went in.
    pub records: i64,
    /// Their first and last offset.
    pub offsets: Option<(i64, i64)>,
    /// Their event times.
    pub event_times: Option<(String, String)>,
    /// The stream's newest offset at closing.
    pub reached_offset: Option<i64>,
    /// The event time it had reached.
    pub reached: Option<String>,
    /// That time less the window's end, ms.
    pub past_the_end_ms: Option<i64>,
    /// Log time since its newest record, ms.
    pub silent_ms: i64,
}

/// Records of one topic, partition and reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotUsed {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i64,
    /// Why they could not be used.
    pub reason: String,
    /// How many.
    pub records: u64,
    /// First and last offset.
    pub offsets: (i64, i64),
}

/// What one model said of the segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ModelAccount {
    /// What it was asked for.
    pub what: String,
    /// Model, version, hash, runtime.
    pub model: String,
    /// How many results.
    pub results: u64,
    /// Why there is no result, if there is none.
    pub reason: Option<String>,
}

/// The epochs of a stream's records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EpochAccount {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i64,
    /// Log time of the first and the last epoch, ms.
    pub epochs: (u64, u64),
    /// How many epochs have records of that partition from the first to the last offset.
    pub count: u64,
}

/// Explains segment `ordinal` of a session by the tables in a directory.
pub fn segment(
    tables: &Reader,
    session: Uuid,
    ordinal: i64,
    limits: &Limits,
    table: Option<&[EpochRecord]>,
) -> anyhow::Result<Explanation> {
    let segments = rows::<SegmentRow>(tables, |row| row.session_id == session)?;
    let known: Vec<String> = segments.iter().map(|(_, row)| row.ordinal.to_string()).collect();
    let of = |ordinal| segments.iter().map(|(_, row)| row).find(|row| row.ordinal == ordinal);
    let row = of(ordinal).ok_or_else(|| match known.as_slice() {
        [] => anyhow!("the tables have no segment of session {session}"),
        known => anyhow!("session {session} has no segment {ordinal}; it has {}", known.join(", ")),
    })?;
    let opened = of(ordinal - 1).map_or(EventTime(i64::MIN), |before| before.closed_at);
    let streams = rows::<SegmentStreamRow>(tables, |r| r.session_id == session && r.ordinal == ordinal)?;
    let streams: Vec<SegmentStreamRow> = streams.into_iter().map(|(_, row)| row).collect();
    let letters = rows::<DeadLetterRow>(tables, |letter| letter.session_id == Some(session))?;
    let meanwhile = |epoch: LogTime| opened < epoch.as_event() && epoch.as_event() <= row.closed_at;
    let afterwards = |letter: &DeadLetterRow| letter.reason == "segment_closed";
    let stimuli = rows::<StimulusRow>(tables, |s| s.session_id == session && s.segment_id == row.segment_id)?;
    let closed_at = epoch_of(row.closed_at);
    Ok(Explanation {
        session_id: session,
        ordinal,
        segment_id: row.segment_id.clone(),
        window: (row.window_start_utc.canonical(), row.window_end_utc.canonical()),
        closed_by: row.closed_by.clone(),
        closed_at_epoch: (closed_at, row.closed_at.canonical()),
        why: why(row, &streams, limits),
        streams: streams.iter().map(|stream| account(row, stream)).collect(),
        stimuli: stimuli.iter().map(|(_, s)| (s.stimulus_utc.canonical(), s.client_action_id)).collect(),
        not_used_meanwhile: grouped(letters.iter().filter(|(epoch, _)| meanwhile(*epoch))),
        late_afterwards: grouped(
            letters.iter().filter(|(epoch, letter)| epoch.as_event() > row.closed_at && afterwards(letter)),
        ),
        models: models(tables, row)?,
        epochs: table.map(|table| epochs(&streams, table)),
    })
}

/// The rows of a table that are there now, with the epochs at which they came.
fn rows<R: TableRow>(tables: &Reader, wanted: impl Fn(&R) -> bool) -> anyhow::Result<Vec<(LogTime, R)>> {
    let mut found: BTreeMap<_, (LogTime, i64)> = BTreeMap::new();
    for change in tables.changes(&R::TABLE) {
        let change = change.with_context(|| format!("table {}", R::TABLE.name))?;
        if R::from_cells(&change.row).is_some_and(|row| wanted(&row)) {
            let entry = found.entry(change.row).or_insert((change.epoch, 0));
            if entry.1 == 0 {
                entry.0 = change.epoch;
            }
            entry.1 += change.diff;
        }
    }
    let there = found.into_iter().filter(|(_, (_, copies))| *copies > 0);
    Ok(there.filter_map(|(row, (epoch, _))| Some((epoch, R::from_cells(&row)?))).collect())
}

fn epoch_of(at: EventTime) -> u64 {
    u64::try_from(at.0 / 1_000).unwrap_or(0)
}

/// The rule in words. The limits are those of the settings as they are now.
fn why(row: &SegmentRow, streams: &[SegmentStreamRow], limits: &Limits) -> String {
    let end = row.window_end_utc;
    let seconds = |us: i64| us as f64 / 1e6;
    let evidence = || {
        let stream = row.evidence_stream.as_deref().unwrap_or("no stream");
        let topic = streams.iter().find(|s| Some(&s.stream) == row.evidence_stream.as_ref());
        let place = match (topic, row.evidence_offset) {
            (Some(s), Some(offset)) => match s.partition {
                Some(partition) => format!("{}[{partition}] offset {offset}", s.topic),
                None => format!("{} offset {offset}", s.topic),
            },
            _ => "no record at all".into(),
        };
        let reached = row.evidence_event_time.map_or("nothing".into(), EventTime::canonical);
        format!("{stream} had reached {reached} ({place})")
    };
    match row.closed_by.as_str() {
        "complete" => format!(
            "every declared stream had passed the end by the allowed lateness ({:.1} s); the slowest, {}",
            limits.allowed_lateness_ms as f64 / 1e3,
            evidence()
        ),
        "ended" => {
            "the session had ended, and every stream had passed its end or could no longer come".into()
        }
        "stalled" => {
            let silent = streams.iter().find(|s| Some(&s.stream) == row.evidence_stream.as_ref());
            let silent = silent.map_or(0.0, |s| seconds(row.closed_at.0 - s.heard_at.0));
            format!(
                "a stream had been silent for {silent:.1} s of log time (limit {:.1} s) while the others went past \
                 the end: {}",
                limits.stall_timeout_ms as f64 / 1e3,
                evidence()
            )
        }
        "max_wait" => format!(
            "log time was {:.1} s past its end (limit {:.1} s); {}",
            seconds(row.closed_at.0 - end.0),
            limits.max_wait_ms as f64 / 1e3,
            evidence()
        ),
        other => format!("by a rule that this version does not know: {other}"),
    }
}

fn account(row: &SegmentRow, stream: &SegmentStreamRow) -> StreamAccount {
    let SegmentStreamRow { first_offset, last_offset, first_event_time, last_event_time, .. } = stream;
    StreamAccount {
        stream: stream.stream.clone(),
        topic: stream.topic.clone(),
        partition: stream.partition,
        records: stream.records,
        offsets: first_offset.zip(*last_offset),
        event_times: first_event_time.zip(*last_event_time).map(|(a, b)| (a.canonical(), b.canonical())),
        reached_offset: stream.reached_offset,
        reached: stream.reached_event_time.map(EventTime::canonical),
        past_the_end_ms: stream.reached_event_time.map(|at| (at.0 - row.window_end_utc.0) / 1_000),
        silent_ms: (row.closed_at.0 - stream.heard_at.0) / 1_000,
    }
}

fn grouped<'a>(letters: impl Iterator<Item = &'a (LogTime, DeadLetterRow)>) -> Vec<NotUsed> {
    let mut groups: BTreeMap<(String, i64, String), (u64, i64, i64)> = BTreeMap::new();
    for (_, letter) in letters {
        let key = (letter.topic.clone(), letter.partition, letter.reason.clone());
        let offset = letter.record_offset;
        let (records, first, last) = groups.entry(key).or_insert((0, offset, offset));
        (*records, *first, *last) = (*records + 1, offset.min(*first), offset.max(*last));
    }
    let not_used = |((topic, partition, reason), (records, first, last))| NotUsed {
        topic,
        partition,
        reason,
        records,
        offsets: (first, last),
    };
    groups.into_iter().map(not_used).collect()
}

fn models(tables: &Reader, row: &SegmentRow) -> anyhow::Result<Vec<ModelAccount>> {
    let mut counts: BTreeMap<(String, String, Option<String>), u64> = BTreeMap::new();
    let window = row.window_start_utc..row.window_end_utc;
    let in_window = |f: &FaceRow| f.session_id == row.session_id && window.contains(&f.capture_utc);
    for (_, face) in rows::<FaceRow>(tables, in_window)? {
        *counts.entry(("face".into(), face.model, face.reason)).or_default() += 1;
    }
    let asked = |i: &InferenceRow| i.session_id == row.session_id && i.segment_id == row.segment_id;
    for (_, answer) in rows::<InferenceRow>(tables, asked)? {
        *counts.entry((answer.what, answer.model, answer.reason)).or_default() += 1;
    }
    let judged = |e: &EvaluationRow| e.session_id == row.session_id && e.segment_id == row.segment_id;
    for (_, judged) in rows::<EvaluationRow>(tables, judged)? {
        let method = [judged.semantic_method, judged.semantic_method_version];
        let method = method.into_iter().flatten().collect::<Vec<_>>().join(" ");
        *counts.entry(("judgement".into(), method, None)).or_default() += 1;
    }
    let account = |((what, model, reason), results)| ModelAccount { what, model, results, reason };
    Ok(counts.into_iter().map(account).collect())
}

/// Which epochs hold the records that went in.
fn epochs(streams: &[SegmentStreamRow], table: &[EpochRecord]) -> Vec<EpochAccount> {
    let mut accounts = Vec::new();
    for stream in streams {
        let (Some(partition), Some(first), Some(last)) =
            (stream.partition, stream.first_offset, stream.last_offset)
        else {
            continue;
        };
        let holds = |epoch: &&EpochRecord| {
            epoch.ranges.iter().any(|range| {
                range.at.topic.name() == stream.topic
                    && i64::from(range.at.partition) == partition
                    && range.from <= last
                    && first < range.to
            })
        };
        let times: Vec<u64> = table.iter().filter(holds).map(|epoch| epoch.log_time.0).collect();
        if let (Some(a), Some(b)) = (times.first(), times.last()) {
            let (topic, count) = (stream.topic.clone(), times.len() as u64);
            accounts.push(EpochAccount { topic, partition, epochs: (*a, *b), count });
        }
    }
    accounts
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "segment {} of session {}  ({})", self.ordinal, self.session_id, self.segment_id)?;
        writeln!(f, "window   {} to {}", self.window.0, self.window.1)?;
        writeln!(
            f,
            "closed   at epoch {} ({}), by {}",
            self.closed_at_epoch.0, self.closed_at_epoch.1, self.closed_by
        )?;
        writeln!(f, "why      {}", self.why)?;
        writeln!(f, "\nstreams when it closed")?;
        for s in &self.streams {
            let reached = s.reached.as_deref().unwrap_or("nothing");
            let offset = s.reached_offset.map_or("no record".into(), |offset| format!("offset {offset}"));
            let past = s
                .past_the_end_ms
                .map_or(String::new(), |ms| format!(", {:+.3} s from the end", ms as f64 / 1e3));
            writeln!(
                f,
                "  {:6} reached {reached} ({offset}{past}), silent for {:.3} s",
                s.stream,
                s.silent_ms as f64 / 1e3
            )?;
        }
        writeln!(f, "\nrecords in it")?;
        for s in &self.streams {
            match (&s.offsets, s.partition) {
                (Some((first, last)), Some(partition)) => {
                    writeln!(
                        f,
                        "  {}[{partition}] offsets {first} to {last}: {} records",
                        s.topic, s.records
                    )?;
                }
                _ => writeln!(f, "  {}: none", s.topic)?,
            }
        }
        for (at, action) in &self.stimuli {
            writeln!(f, "  control: stimulus {action} at {at}")?;
        }
        for account in self.epochs.iter().flatten() {
            let EpochAccount { topic, partition, epochs: (first, last), count } = account;
            writeln!(f, "  {topic}[{partition}] came in {count} epochs, {first} to {last}")?;
        }
        not_used(f, "not used while it was open", &self.not_used_meanwhile)?;
        not_used(f, "late after it had closed", &self.late_afterwards)?;
        writeln!(f, "\nmodels")?;
        for m in &self.models {
            let reason =
                m.reason.as_ref().map_or(String::new(), |reason| format!("  without a result: {reason}"));
            writeln!(f, "  {:10} {:>6} x  {}{reason}", m.what, m.results, m.model)?;
        }
        Ok(())
    }
}

fn not_used(f: &mut fmt::Formatter<'_>, what: &str, records: &[NotUsed]) -> fmt::Result {
    writeln!(f, "\n{what}")?;
    if records.is_empty() {
        writeln!(f, "  nothing")?;
    }
    for NotUsed { topic, partition, reason, records, offsets: (first, last) } in records {
        writeln!(f, "  {topic}[{partition}] {reason}: {records} records, offsets {first} to {last}")?;
    }
    Ok(())
}
