//! The tables that sum up others, computed from those others at every epoch of a run: what a reader of the base
//! tables could have worked out by hand.

use std::collections::{BTreeMap, BTreeSet};

use lsie_schemas::row::{
    AlertRow, ArmSummaryRow, EncounterRow, EncounterSummaryRow, PhysiologyCurrentRow, PhysiologyRow,
    PosteriorUpdateRow, SegmentRow, SessionRow, SessionSummaryRow, StimulusRow,
};
use lsie_schemas::{EventTime, LogTime, Real, TableRow};

use crate::tables::Tables;

/// Means of rewards are sums of fixed-point units of 1e-12.
const TOLERANCE: f64 = 1e-11;

/// Compares the summaries with the tables they sum up, after every epoch.
///
/// # Panics
///
/// If a summary says something else.
pub fn check(tables: &Tables) {
    let sessions = Table::<SessionRow>::of(tables);
    let segments = Table::<SegmentRow>::of(tables);
    let stimuli = Table::<StimulusRow>::of(tables);
    let encounters = Table::<EncounterRow>::of(tables);
    let physiology = Table::<PhysiologyRow>::of(tables);
    let of_sessions = Table::<SessionSummaryRow>::of(tables);
    let of_encounters = Table::<EncounterSummaryRow>::of(tables);
    let of_arms = Table::<ArmSummaryRow>::of(tables);
    let current = Table::<PhysiologyCurrentRow>::of(tables);
    let mut epochs: BTreeSet<LogTime> = sessions.epochs().collect();
    epochs.extend(segments.epochs().chain(stimuli.epochs()).chain(encounters.epochs()));
    epochs.extend(physiology.epochs().chain(of_sessions.epochs()).chain(of_encounters.epochs()));
    for epoch in epochs {
        let known = encounters.at(epoch);
        let (closed, sent) = (segments.at(epoch), stimuli.at(epoch));
        check_sessions(&sessions.at(epoch), &closed, &sent, &known, &of_sessions.at(epoch));
        check_encounters(&sent, &known, &physiology.at(epoch), &of_encounters.at(epoch));
        check_arms(&known, &of_arms.at(epoch));
        check_physiology(&closed, &physiology.at(epoch), &current.at(epoch));
    }
    check_posteriors(tables);
    check_alerts(tables);
}

/// The changes of one table.
struct Table<R>(Vec<(LogTime, R, i64)>);

impl<R: TableRow + Ord + Clone> Table<R> {
    fn of(tables: &Tables) -> Table<R> {
        Table(tables.changes())
    }

    fn epochs(&self) -> impl Iterator<Item = LogTime> {
        self.0.iter().map(|(epoch, ..)| *epoch)
    }

    /// The rows as of an epoch.
    fn at(&self, epoch: LogTime) -> Vec<R> {
        let mut rows: BTreeMap<R, i64> = BTreeMap::new();
        for (_, row, diff) in self.0.iter().filter(|(at, ..)| *at <= epoch) {
            *rows.entry(row.clone()).or_default() += diff;
        }
        rows.retain(|_, copies| *copies != 0);
        assert!(rows.values().all(|copies| *copies == 1), "{} at {epoch:?}", R::TABLE.name);
        rows.into_keys().collect()
    }
}

fn check_sessions(
    sessions: &[SessionRow],
    segments: &[SegmentRow],
    stimuli: &[StimulusRow],
    encounters: &[EncounterRow],
    found: &[SessionSummaryRow],
) {
    assert_eq!(found.len(), sessions.len());
    for (row, session) in found.iter().zip(sessions) {
        assert_eq!(row.session_id, session.session_id);
        assert_eq!((row.started_at, row.ended_at), (session.started_at, session.ended_at));
        assert_eq!(row.stream_url, session.stream_url);
        assert_eq!(row.experiment_id, session.experiment_id);
        assert_eq!(
            (&row.active_arm, &row.expected_greeting),
            (&session.active_arm, &session.expected_greeting)
        );
        let mine = segments.iter().filter(|segment| segment.session_id == row.session_id);
        assert_eq!(row.total_segments, mine.clone().count() as i64);
        assert_eq!(row.last_segment_completed_at, mine.map(|segment| segment.closed_at).max());
        let sent = stimuli.iter().filter(|stimulus| stimulus.session_id == row.session_id);
        let newest = sent.map(|stimulus| stimulus.stimulus_utc).max();
        assert_eq!(row.latest_stimulus_utc, newest);
        assert_eq!(row.is_calibrating, newest.is_none());
        assert_eq!(row.encounter_state == "awaiting_stimulus", newest.is_none());
        assert!((0..=45).contains(&row.calibration_frames_accumulated));
        let mine = encounters.iter().filter(|encounter| encounter.session_id == row.session_id);
        let newest = mine.max_by_key(|encounter| encounter.stimulus_time);
        assert_eq!(row.latest_reward, newest.map(|encounter| encounter.gated_reward));
        assert_eq!(row.latest_semantic_gate, newest.map(|encounter| encounter.semantic_gate));
    }
}

fn check_encounters(
    stimuli: &[StimulusRow],
    encounters: &[EncounterRow],
    physiology: &[PhysiologyRow],
    found: &[EncounterSummaryRow],
) {
    let actions = |rows: BTreeSet<(uuid::Uuid, uuid::Uuid)>| rows;
    assert_eq!(
        actions(found.iter().map(|row| (row.session_id, row.client_action_id)).collect()),
        actions(stimuli.iter().map(|row| (row.session_id, row.client_action_id)).collect())
    );
    for row in found {
        let of_segment = |segment: &String| *segment == row.segment_id;
        let at = |encounter: &&EncounterRow| {
            let seconds = encounter.stimulus_time.map(|at| (at.0 * 1e6).round() as i64);
            encounter.session_id == row.session_id && seconds == Some(row.stimulus_time_utc.0)
        };
        let encounter = encounters.iter().find(at);
        assert_eq!(row.gated_reward, encounter.map(|encounter| encounter.gated_reward));
        let is_over =
            matches!(row.state.as_str(), "completed" | "rejected_no_frames" | "rejected_gate_closed");
        assert_eq!(is_over, encounter.is_some(), "{row:?}");
        if let Some(encounter) = encounter {
            assert_eq!(row.segment_id, encounter.segment_id);
            assert_eq!(row.segment_timestamp_utc, encounter.timestamp_utc);
            assert_eq!(row.active_arm, encounter.arm);
            assert_eq!(row.p90_intensity, Some(encounter.p90_intensity));
            assert_eq!(row.semantic_gate, Some(encounter.semantic_gate));
            assert_eq!(row.n_frames_in_window, Some(encounter.n_frames));
            assert_eq!(row.baseline_b_neutral, encounter.baseline_neutral);
            let state = match (encounter.n_frames, encounter.semantic_gate) {
                (0, _) => "rejected_no_frames",
                (_, 0) => "rejected_gate_closed",
                _ => "completed",
            };
            assert_eq!(row.state, state);
        }
        let taken: Vec<bool> =
            physiology.iter().filter(|p| of_segment(&p.segment_id)).map(|p| p.is_stale).collect();
        assert_eq!(row.physiology_attached, !taken.is_empty());
        assert_eq!(row.physiology_stale, (!taken.is_empty()).then(|| taken.contains(&true)));
    }
}

fn check_arms(encounters: &[EncounterRow], found: &[ArmSummaryRow]) {
    let arms: BTreeSet<(&str, &str)> =
        encounters.iter().map(|row| (row.experiment_id.as_str(), row.arm.as_str())).collect();
    assert_eq!(found.len(), arms.len());
    for (row, (experiment, arm)) in found.iter().zip(arms) {
        assert_eq!((row.experiment_id.as_str(), row.arm.as_str()), (experiment, arm));
        let mine: Vec<&EncounterRow> =
            encounters.iter().filter(|row| row.experiment_id == experiment && row.arm == arm).collect();
        let n = mine.len() as f64;
        let close = |found: Real, sum: f64| {
            assert!((found.0 - sum / n).abs() <= TOLERANCE, "{experiment}/{arm}: {found:?}, {}", sum / n);
        };
        assert_eq!((row.encounter_count, row.valid_count), (mine.len() as i64, mine.len() as i64));
        close(row.avg_reward, mine.iter().map(|row| row.gated_reward.0).sum());
        close(row.avg_valid_reward.expect("a mean"), mine.iter().map(|row| row.gated_reward.0).sum());
        close(row.avg_p90.expect("a mean"), mine.iter().map(|row| row.p90_intensity.0).sum());
        close(row.gate_rate, mine.iter().map(|row| row.semantic_gate as f64).sum());
        close(row.avg_frames.expect("a mean"), mine.iter().map(|row| row.n_frames as f64).sum());
        assert_eq!(Some(row.first_encounter), mine.iter().map(|row| row.timestamp_utc).min());
        assert_eq!(Some(row.last_encounter), mine.iter().map(|row| row.timestamp_utc).max());
        let newest = mine.iter().max_by_key(|row| row.stimulus_time).expect("an encounter");
        assert_eq!(row.latest_reward, newest.gated_reward);
    }
}

fn check_physiology(segments: &[SegmentRow], log: &[PhysiologyRow], found: &[PhysiologyCurrentRow]) {
    let ends: BTreeMap<&str, EventTime> =
        segments.iter().map(|row| (row.segment_id.as_str(), row.window_end_utc)).collect();
    let mut newest: BTreeMap<(uuid::Uuid, &str), (EventTime, &PhysiologyRow)> = BTreeMap::new();
    for row in log {
        let end = *ends.get(row.segment_id.as_str()).expect("a snapshot comes with its segment");
        let known = newest.entry((row.session_id, &row.subject_role)).or_insert((end, row));
        if end > known.0 {
            *known = (end, row);
        }
    }
    assert_eq!(found.len(), newest.len());
    for row in found {
        let (end, log) = newest[&(row.session_id, row.subject_role.as_str())];
        assert_eq!((row.segment_timestamp_utc, &row.segment_id), (end, &log.segment_id));
        assert_eq!((row.rmssd_ms, row.heart_rate_bpm), (log.rmssd_ms, log.heart_rate_bpm));
        assert_eq!((row.freshness_s, row.is_stale), (log.freshness_s, log.is_stale));
        assert_eq!(row.source_timestamp_utc, log.source_timestamp_utc);
    }
}

/// Every step is what the encounters up to its epoch make of the prior, and no step is missing.
fn check_posteriors(tables: &Tables) {
    let encounters = Table::<EncounterRow>::of(tables);
    let mut moved: BTreeSet<(LogTime, String, String)> = BTreeSet::new();
    for (epoch, row, _) in &encounters.0 {
        moved.insert((*epoch, row.experiment_id.clone(), row.arm.clone()));
    }
    let mut steps = BTreeSet::new();
    for (epoch, row, diff) in tables.changes::<PosteriorUpdateRow>() {
        assert_eq!((diff, row.at), (1, epoch.as_event()), "steps are never taken back");
        let known = encounters.at(epoch);
        let mine = known.iter().filter(|e| e.experiment_id == row.experiment_id && e.arm == row.arm);
        let rewards: Vec<f64> = mine.map(|e| e.gated_reward.0).collect();
        let alpha = 1.0 + rewards.iter().sum::<f64>();
        let beta = 1.0 + rewards.iter().map(|reward| 1.0 - reward).sum::<f64>();
        assert!((row.alpha_param.0 - alpha).abs() <= TOLERANCE, "{row:?}: {alpha}");
        assert!((row.beta_param.0 - beta).abs() <= TOLERANCE, "{row:?}: {beta}");
        steps.insert((epoch, row.experiment_id, row.arm));
    }
    assert_eq!(steps, moved);
}

/// A session ends with an alert, and a segment that waited for a stream closes with one.
fn check_alerts(tables: &Tables) {
    let alerts = tables.rows::<AlertRow>();
    let of = |kind: &str| -> BTreeSet<String> {
        alerts.iter().filter(|row| row.kind == kind).map(|row| row.alert_id.clone()).collect()
    };
    let ended = tables.rows::<SessionRow>().into_iter().filter(|row| row.ended_at.is_some());
    assert_eq!(of("session_ended"), ended.map(|row| format!("session_ended:{}", row.session_id)).collect());
    let gaps = tables
        .rows::<SegmentRow>()
        .into_iter()
        .filter(|row| matches!(row.closed_by.as_str(), "stalled" | "max_wait"));
    assert_eq!(of("data_gap"), gaps.map(|row| format!("data_gap:{}", row.segment_id)).collect());
}
