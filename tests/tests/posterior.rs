//! The posterior-movement proof of `spec/README.md` §9, on made sessions: one arm makes people smile, the other
//! hardly, and the posteriors tell them apart.

use lsie_connectors::feed::{Pace, Recording};
use lsie_schemas::record::{ArmText, ExperimentRecord};
use lsie_schemas::row::{ArmRow, DecisionRow, EncounterRow, FaceRow, InferenceRow};
use lsie_tests::harness::{Settings, TopicSet};
use lsie_tests::oracle;
use lsie_tests::sessions::{RECORDED_AT, id_for_arm, recording, records};
use uuid::Uuid;

const EXPERIMENT: &str = "posterior_proof_v1";
/// Rewards of the engine and of the oracle.
const REWARD_TOLERANCE: f64 = 1e-6;
/// The scripts' peaks were measured by other code (`tests/sessions/README.md`): chroma upsampling and colour
/// conversion of the decoder move a peak by about 0.01; asked for is twice that.
const PEAK_TOLERANCE: f64 = 0.02;
/// Least distance of the arms' posterior means.
const MARGIN: f64 = 0.5;

#[test]
fn a_strong_arm_and_a_weak_one_part() {
    let (strong, weak) = (recording("strong"), recording("weak"));
    let experiment = ExperimentRecord::Create {
        experiment_id: EXPERIMENT.into(),
        label: "Posterior movement proof".into(),
        arms: vec![arm(&strong), arm(&weak)],
    };
    let set = TopicSet::recorded("posterior", 4);
    set.administer(&experiment);
    // Both begin before the first reward, so that their arms are drawn from the prior.
    let begin = RECORDED_AT.plus_ms(1_000);
    let ids =
        [id_for_arm(&strong, &experiment, RECORDED_AT, true), id_for_arm(&weak, &experiment, begin, true)];
    set.feed(
        vec![records(&strong, ids[0], RECORDED_AT, 0), records(&weak, ids[1], RECORDED_AT, 1_000)],
        Pace::Max,
    );
    let tables = set.replay(Settings { workers: 2, ..Settings::WITH_MODELS }).tables;

    let encounters = tables.rows::<EncounterRow>();
    assert!(encounters.len() >= 20, "{} encounters", encounters.len());
    assert!(encounters.iter().all(|row| row.semantic_gate == 1), "every greeting is said");
    for (recording, id) in [(&strong, ids[0]), (&weak, ids[1])] {
        assert_peaks(recording, id, &encounters);
    }

    let decisions = tables.rows::<DecisionRow>();
    let (faces, inferences) = (tables.rows::<FaceRow>(), tables.rows::<InferenceRow>());
    let expected = oracle::compute(&set.inputs(), &set.epochs(), &faces, &decisions, &inferences);
    assert_eq!(encounters.len(), expected.encounters.len());
    for (found, expected) in encounters.iter().zip(&expected.encounters) {
        assert_eq!((found.session_id, found.stimulus_time), (expected.session_id, expected.stimulus_time));
        let difference = found.gated_reward.0 - expected.gated_reward.0;
        assert!(difference.abs() <= REWARD_TOLERANCE, "engine {found:?}, oracle {expected:?}");
    }

    let arms = tables.rows::<ArmRow>();
    let margin = mean(&arms, "strong") - mean(&arms, "weak");
    assert!(margin >= MARGIN, "the posterior means are {margin} apart");
}

/// The arm whose greeting is spoken in a recording.
fn arm(recording: &Recording) -> ArmText {
    let stimulus = &recording.script().stimuli[0];
    ArmText { arm: stimulus.expected_arm_id.clone(), greeting_text: stimulus.expected_greeting_text.clone() }
}

/// What was measured after each stimulus is what the session was made to show.
fn assert_peaks(recording: &Recording, session: Uuid, encounters: &[EncounterRow]) {
    let mut found: Vec<&EncounterRow> = encounters.iter().filter(|row| row.session_id == session).collect();
    found.sort_by_key(|row| row.stimulus_time);
    let script = &recording.script().stimuli;
    assert_eq!(found.len(), script.len());
    for (row, stimulus) in found.iter().zip(script) {
        assert_eq!(row.arm, stimulus.expected_arm_id, "the session's id draws the arm");
        let difference = row.p90_intensity.0 - stimulus.expected_peak_au12;
        assert!(difference.abs() <= PEAK_TOLERANCE, "{row:?}, made to show {}", stimulus.expected_peak_au12);
    }
}

fn mean(arms: &[ArmRow], arm: &str) -> f64 {
    let row = arms.iter().find(|row| row.experiment_id == EXPERIMENT && row.arm == arm).expect("the arm");
    row.alpha_param.0 / (row.alpha_param.0 + row.beta_param.0)
}
