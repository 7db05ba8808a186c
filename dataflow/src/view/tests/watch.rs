//! The watch: what a day brings, and that it forgets nothing, invents nothing and minds no order.

use std::collections::{BTreeMap, BTreeSet};

use lsie_operators::logic::Logic;
use lsie_schemas::row::{AlertRow, HealthRow};
use lsie_schemas::{EventTime, LogTime, Topic};
use proptest::prelude::*;
use uuid::Uuid;

use crate::view::watch::{Note, Polled, Watch, Watched};

const SESSION: Uuid = Uuid::from_u128(7);

/// A watch with the rows that are out.
#[derive(Default)]
struct Run {
    watch: Watch,
    health: BTreeMap<String, HealthRow>,
    alerts: Vec<AlertRow>,
}

impl Run {
    /// Takes an epoch and says how many rows changed.
    fn epoch(&mut self, s: u64, notes: Vec<Note>) -> usize {
        let mut out = Vec::new();
        self.watch.on_epoch(LogTime(s * 1_000), notes, &mut out);
        for watched in &out {
            match watched {
                Watched::Health(row, -1) => {
                    assert_eq!(self.health.remove(&row.subsystem_key).as_ref(), Some(row), "it is there");
                }
                Watched::Health(row, _) => {
                    assert!(self.health.insert(row.subsystem_key.clone(), row.clone()).is_none());
                }
                Watched::Alert(row) => self.alerts.push(row.clone()),
            }
        }
        out.len()
    }

    fn state(&self, key: &str) -> &str {
        &self.health[key].state
    }

    fn alerts(&self) -> Vec<(&str, Option<&str>)> {
        self.alerts.iter().map(|row| (row.kind.as_str(), row.subsystem_key.as_deref())).collect()
    }
}

fn closed(ordinal: i64, rule: &str) -> Note {
    Note::Closed {
        session: SESSION,
        ordinal,
        segment_id: format!("segment-{ordinal}"),
        rule: rule.into(),
        stream: Some("video".into()),
    }
}

#[test]
fn ages_make_states_and_transitions_make_alerts() {
    let mut run = Run::default();
    assert_eq!(run.epoch(0, vec![Note::Tick]), 9, "a row for each subsystem");
    assert_eq!(run.state("metrics"), "unknown");
    assert_eq!(run.health["metrics"].detail.as_deref(), Some("no session runs"));
    assert_eq!(run.epoch(5_000, vec![Note::Tick]), 0, "time alone changes nothing without a session");

    run.epoch(5_001, vec![Note::Started(SESSION)]);
    run.epoch(
        5_033,
        vec![closed(1, "complete"), Note::Physiology(SESSION, "streamer".into(), 30_000, false)],
    );
    assert_eq!((run.state("metrics"), run.state("capture"), run.state("physiology")), ("ok", "ok", "ok"));
    assert_eq!((run.state("comodulation"), run.state("encounters")), ("unknown", "unknown"));
    assert_eq!(run.epoch(5_068, vec![Note::Tick]), 0, "35 s old is on time");
    assert_eq!(run.alerts(), []);

    run.epoch(5_069, vec![Note::Tick]);
    assert_eq!((run.state("metrics"), run.state("physiology")), ("recovering", "recovering"));
    assert_eq!(run.health["metrics"].since_utc, EventTime(5_069_000_000));
    assert_eq!(run.health["metrics"].recovery_mode.as_deref(), Some("db_retry_buffer"));
    run.epoch(5_153, vec![Note::Tick]);
    assert_eq!(run.state("metrics"), "recovering", "120 s");
    run.epoch(5_154, vec![Note::Tick]);
    assert_eq!(run.state("metrics"), "degraded");
    run.epoch(5_633, vec![Note::Tick]);
    assert_eq!(run.state("metrics"), "degraded", "600 s");
    run.epoch(5_634, vec![Note::Tick]);
    assert_eq!(run.state("metrics"), "error");
    assert_eq!(run.health["metrics"].recovery_mode, None);
    assert!(run.health["metrics"].operator_action_hint.is_some(), "the error card shows it");
    run.epoch(5_640, vec![closed(2, "complete")]);
    assert_eq!(run.state("metrics"), "ok");
    let (metrics, physiology) = (Some("metrics"), Some("physiology"));
    assert_eq!(
        run.alerts(),
        [
            ("subsystem_recovering", metrics),
            ("subsystem_recovering", physiology),
            ("subsystem_degraded", metrics),
            ("subsystem_degraded", physiology),
            ("subsystem_error", metrics),
            ("subsystem_error", physiology),
        ]
    );
    assert_eq!(run.alerts[4].severity, "critical");

    run.epoch(5_650, vec![Note::Ended(SESSION)]);
    assert!(run.health.values().all(|row| row.state == "unknown"));
    assert_eq!(run.alerts.last().map(|row| row.kind.as_str()), Some("session_ended"));
    assert_eq!(run.epoch(9_000, vec![Note::Tick]), 0);
}

#[test]
fn what_happens_is_said_once() {
    let mut run = Run::default();
    run.epoch(1, vec![Note::Started(SESSION)]);
    run.epoch(33, vec![closed(1, "stalled")]);
    assert_eq!(run.state("capture"), "degraded");
    run.epoch(63, vec![closed(2, "complete")]);
    assert_eq!(run.state("capture"), "ok");
    let stale = |is_stale| Note::Physiology(SESSION, "operator".into(), 700_000, is_stale);
    run.epoch(64, vec![stale(true)]);
    run.epoch(65, vec![stale(true)]);
    run.epoch(66, vec![stale(false)]);
    run.epoch(67, vec![stale(true)]);
    run.epoch(68, vec![Note::Polled(SESSION, Polled::Froze)]);
    assert_eq!(run.state("drift"), "recovering");
    run.epoch(69, vec![Note::Polled(SESSION, Polled::Updated)]);
    assert_eq!(run.state("drift"), "ok");
    run.epoch(70, vec![Note::Judged("semantic_error".into())]);
    assert_eq!((run.state("asr"), run.state("semantic")), ("ok", "degraded"));
    run.epoch(71, vec![Note::Judged("cross_encoder_high_match".into())]);
    assert_eq!(run.state("semantic"), "ok");
    let filed = |topic, reason: &str, is_late| Note::Filed {
        session: Some(SESSION),
        topic,
        reason: reason.into(),
        offset: 3,
        is_late,
    };
    run.epoch(72, vec![filed(Topic::Control, "after_end", true)]);
    assert_eq!(run.state("ingest"), "ok", "late is no fault of the ingest");
    run.epoch(72, vec![filed(Topic::Control, "measurement_open", false)]);
    assert_eq!(run.state("ingest"), "ok", "nor is an action that is refused");
    run.epoch(73, vec![filed(Topic::AvAudio, "malformed", false)]);
    assert_eq!(run.health["ingest"].detail.as_deref(), Some("filed: av.audio: malformed"));
    run.epoch(92, vec![closed(3, "complete"), stale(true)]);
    run.epoch(103, vec![Note::Tick]);
    assert_eq!(run.state("ingest"), "ok", "30 s later");
    let kinds: Vec<&str> = run.alerts.iter().map(|row| row.kind.as_str()).collect();
    assert_eq!(
        kinds,
        [
            "data_gap",
            "subsystem_degraded",
            "physiology_stale",
            "physiology_stale",
            "subsystem_recovering",
            "subsystem_degraded",
            "stimulus_failed",
            "stimulus_failed",
            "subsystem_degraded",
        ]
    );
}

#[test]
fn a_stimulus_without_an_encounter_is_noticed() {
    let mut run = Run::default();
    run.epoch(1, vec![Note::Started(SESSION)]);
    run.epoch(10, vec![Note::Stimulated(SESSION, EventTime(10_000_000))]);
    run.epoch(33, vec![closed(1, "complete")]);
    run.epoch(50, vec![closed(2, "complete")]);
    assert_eq!(run.state("encounters"), "unknown");
    run.epoch(51, vec![Note::Tick]);
    assert_eq!(run.state("encounters"), "recovering");
    run.epoch(52, vec![Note::Encountered(SESSION, EventTime(10_000_000))]);
    assert_eq!(run.state("encounters"), "ok");
    run.epoch(60, vec![closed(3, "complete")]);
    assert_eq!(run.state("encounters"), "ok", "none is due before the next stimulus");
}

prop_compose! {
    fn note()(kind in 0..13u8, session in 0..3u128, n in 0..4i64) -> Note {
        let id = Uuid::from_u128(session);
        match kind {
            0 | 1 => Note::Started(id),
            2 => Note::Ended(id),
            3 => Note::Polled(id, [Polled::Updated, Polled::Froze, Polled::Reset][n as usize % 3]),
            4 => Note::Stimulated(id, EventTime(n * 1_000_000)),
            5 => Note::Encountered(id, EventTime(n * 1_000_000)),
            6 => Note::Physiology(id, if n > 1 { "streamer" } else { "operator" }.into(), n, n % 2 == 0),
            7 => Note::Comodulation,
            8 => Note::Judged(if n == 0 { "semantic_timeout" } else { "cross_encoder_high_match" }.into()),
            9 | 10 => closed(n, ["complete", "ended", "stalled", "max_wait"][n as usize]),
            11 => Note::Filed {
                session: Some(id),
                topic: Topic::Control,
                reason: "after_end".into(),
                offset: n,
                is_late: n == 0,
            },
            _ => Note::Tick,
        }
    }
}

proptest! {
    /// A restart between any two epochs and any order within them change nothing; every epoch leaves one row a
    /// subsystem, and the state of the metrics is what a look at all that ever happened gives.
    #[test]
    fn restarts_and_orders_change_nothing(
        epochs in prop::collection::vec((1..300u64, prop::collection::vec(note(), 0..5)), 1..20),
    ) {
        let (mut run, mut other) = (Run::default(), Run::default());
        let (mut now, mut past): (u64, Vec<(u64, Note)>) = (0, Vec::new());
        for (later_s, notes) in epochs {
            now += later_s;
            past.extend(notes.iter().cloned().map(|note| (now, note)));
            run.epoch(now, notes.clone());
            let snapshot = other.watch.snapshot();
            other.watch = Watch::default();
            other.watch.restore(snapshot);
            other.epoch(now, notes.into_iter().rev().collect());
            prop_assert_eq!(&run.health, &other.health);
            prop_assert_eq!(&run.alerts, &other.alerts);
            prop_assert_eq!(run.health.len(), 9);
            prop_assert_eq!(run.state("metrics"), metrics(&past, now));
        }
    }
}

/// The state of the metrics, from all that ever happened.
fn metrics(past: &[(u64, Note)], now: u64) -> &'static str {
    let (mut active, mut since, mut written) = (BTreeSet::new(), None, None);
    let epochs: BTreeSet<u64> = past.iter().map(|(at, _)| *at).collect();
    for epoch in epochs {
        let notes = || past.iter().filter(|(at, _)| *at == epoch).map(|(_, note)| note);
        for note in notes() {
            if let Note::Started(session) = note {
                active.insert(*session);
                since.get_or_insert(epoch);
            }
        }
        if notes().any(|note| matches!(note, Note::Closed { .. })) {
            written = Some(epoch);
        }
        for note in notes() {
            if let Note::Ended(session) = note {
                active.remove(session);
            }
        }
        if active.is_empty() {
            since = None;
        }
    }
    match (since, written) {
        (None, _) => "unknown",
        (Some(since), Some(written)) => match now - written.max(since) {
            0..=35 => "ok",
            36..=120 => "recovering",
            121..=600 => "degraded",
            _ => "error",
        },
        (Some(since), None) => match now - since {
            0..=120 => "unknown",
            121..=600 => "degraded",
            _ => "error",
        },
    }
}
