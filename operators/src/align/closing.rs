//! When event time of a session counts as settled: the rule by which its segments close (DESIGN §3).

use lsie_schemas::record::Stream;
use lsie_schemas::{EventTime, LogTime};

use super::Limits;

/// Why a segment closed, in order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Every declared stream has passed its end plus the allowed lateness.
    Complete,
    /// The session has ended.
    Ended,
    /// A missing stream has been silent while the others went past.
    Stalled,
    /// Log time is `max_wait` past its end.
    MaxWait,
}

impl Rule {
    /// Its name in rows.
    pub fn name(self) -> &'static str {
        match self {
            Rule::Complete => "complete",
            Rule::Ended => "ended",
            Rule::Stalled => "stalled",
            Rule::MaxWait => "max_wait",
        }
    }
}

/// The stream that decided, and how far it had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The stream.
    pub stream: Stream,
    /// The offset of its newest accepted record, if there was one.
    pub offset: Option<i64>,
    /// The event time it had reached, if any.
    pub reached: Option<EventTime>,
}

/// How far a declared stream has come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    pub(crate) evidence: Evidence,
    /// Epoch of its newest accepted record, or of the session's start.
    pub(crate) heard: LogTime,
}

/// What one rule settles: everything before `until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) until: EventTime,
    pub(crate) rule: Rule,
    pub(crate) evidence: Option<Evidence>,
}

/// What each rule settles at an epoch, in order of precedence. Pure: only the streams' progress, the
/// effective end and the epoch's log time enter.
pub(crate) fn settled(
    streams: &[Progress],
    ended: Option<EventTime>,
    epoch: LogTime,
    limits: &Limits,
) -> Vec<Settled> {
    let lateness_us = -(limits.allowed_lateness_ms as i64) * 1_000;
    let slowest =
        |streams: &[Progress]| streams.iter().map(|p| p.evidence).min_by_key(|e| (e.reached, e.stream));
    let passed =
        |evidence: Evidence| evidence.reached.map(|reached| (reached.plus_us(lateness_us), evidence));
    let (silent, heard): (Vec<Progress>, Vec<Progress>) =
        streams.iter().partition(|p| p.heard.plus_ms(limits.stall_timeout_ms) <= epoch);

    let mut found = Vec::new();
    if let Some((until, evidence)) = slowest(streams).and_then(passed) {
        found.push(Settled { until, rule: Rule::Complete, evidence: Some(evidence) });
    }
    if let Some(until) = ended {
        found.push(Settled { until, rule: Rule::Ended, evidence: None });
    }
    if let (Some(missing), Some((until, _))) = (slowest(&silent), slowest(&heard).and_then(passed)) {
        found.push(Settled { until, rule: Rule::Stalled, evidence: Some(missing) });
    }
    let waited = LogTime(epoch.0.saturating_sub(limits.max_wait_ms)).as_event();
    found.push(Settled { until: waited, rule: Rule::MaxWait, evidence: slowest(streams) });
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(stream: Stream, reached_s: Option<i64>, heard_s: u64) -> Progress {
        let reached = reached_s.map(|s| EventTime(s * 1_000_000));
        Progress { evidence: Evidence { stream, offset: None, reached }, heard: LogTime(heard_s * 1_000) }
    }

    fn check(streams: &[Progress], ended_s: Option<i64>, epoch_s: u64, expected: &[(Rule, i64)]) {
        let ended = ended_s.map(|s| EventTime(s * 1_000_000));
        let found = settled(streams, ended, LogTime(epoch_s * 1_000), &Limits::default());
        let found: Vec<(Rule, i64)> = found.iter().map(|s| (s.rule, s.until.0 / 1_000_000)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn the_slowest_stream_decides_less_the_lateness() {
        let streams = [progress(Stream::Audio, Some(132), 132), progress(Stream::Video, Some(140), 140)];
        check(&streams, None, 141, &[(Rule::Complete, 130), (Rule::MaxWait, 81)]);
    }

    #[test]
    fn a_silent_stream_stops_holding_after_the_stall_timeout() {
        let streams = [progress(Stream::Audio, Some(100), 100), progress(Stream::Video, Some(140), 140)];
        check(&streams, None, 109, &[(Rule::Complete, 98), (Rule::MaxWait, 49)]);
        check(&streams, None, 110, &[(Rule::Complete, 98), (Rule::Stalled, 138), (Rule::MaxWait, 50)]);
    }

    #[test]
    fn a_stream_that_never_came_stalls_too() {
        let streams = [progress(Stream::Audio, None, 100), progress(Stream::Video, Some(112), 112)];
        check(&streams, None, 112, &[(Rule::Stalled, 110), (Rule::MaxWait, 52)]);
    }

    #[test]
    fn when_all_are_silent_only_log_time_moves_on() {
        let streams = [progress(Stream::Audio, Some(100), 100), progress(Stream::Video, Some(101), 101)];
        check(&streams, None, 200, &[(Rule::Complete, 98), (Rule::MaxWait, 140)]);
    }

    #[test]
    fn an_effective_end_settles_everything_before_it() {
        let streams = [progress(Stream::Audio, Some(100), 100)];
        check(&streams, Some(101), 104, &[(Rule::Complete, 98), (Rule::Ended, 101), (Rule::MaxWait, 44)]);
    }
}
