//! Judging under the laws: arms and utterances of sessions, in any order and repeated.

use std::collections::BTreeSet;

use lsie_operators::judging::{Input, Judging, Question};
use lsie_operators::utterance::Said;
use lsie_schemas::row::DecisionRow;
use lsie_schemas::table::Json;
use lsie_schemas::{EventTime, LogTime};
use proptest::prelude::*;
use uuid::Uuid;

use crate::laws::{Script, order_changes_nothing, restarts_change_nothing, run};

fn decided(session: u128) -> Input {
    Input::Decided(DecisionRow {
        session_id: Uuid::from_u128(session),
        experiment_id: "greeting_line_v1".into(),
        selection_method: "thompson_sampling".into(),
        selection_time_utc: EventTime(0),
        policy_version: "v1".into(),
        selected_arm_id: format!("arm {session}"),
        candidate_arm_ids: Vec::new(),
        posterior_by_arm: Json::new(&serde_json::json!({})),
        sampled_theta_by_arm: Json::new(&serde_json::json!({})),
        expected_greeting: format!("hello from {session}"),
        decision_context_hash: String::new(),
        random_seed: String::new(),
    })
}

fn said(session: u128, action: u128) -> Input {
    let said = Said {
        at: EventTime(action as i64),
        segment_id: "segment".into(),
        window_end: EventTime(30_000_000),
        text: format!("hello {action}"),
    };
    Input::Said(Uuid::from_u128(session), Uuid::from_u128(action), said)
}

/// Each session is decided once and each stimulus answered once, at any epoch.
fn script() -> impl Strategy<Value = Script<Input>> {
    let decisions = prop::collection::btree_map(0u128..5, 0usize..8, 0..5);
    let words = prop::collection::btree_map((0u128..5, 0u128..6), 0usize..8, 0..12);
    (decisions, words).prop_map(|(decisions, words)| {
        let mut script: Script<Input> = (0..8).map(|line| (LogTime(line), Vec::new())).collect();
        for (session, line) in decisions {
            script[line].1.push(decided(session));
        }
        for ((session, action), line) in words {
            script[line].1.push(said(session, action));
        }
        script
    })
}

proptest! {
    #[test]
    fn restarts(script in script()) {
        restarts_change_nothing(Judging::default, &script);
    }

    #[test]
    fn order(script in script(), turns in prop::collection::vec(0usize..8, 1..5)) {
        order_changes_nothing(Judging::default, &script, &turns);
    }

    /// Of every session that is decided, everything that was said is asked about, once and against its own arm.
    #[test]
    fn everything_said_is_asked_about(script in script()) {
        let questions: Vec<Question> = run(Judging::default(), &script).into_iter().flatten().collect();
        let inputs = || script.iter().flat_map(|(_, inputs)| inputs);
        let decided: BTreeSet<Uuid> =
            inputs().filter(|input| matches!(input, Input::Decided(_))).map(Input::session).collect();
        let wanted = inputs().filter(|input| matches!(input, Input::Said(..)) && decided.contains(&input.session()));
        prop_assert_eq!(questions.len(), wanted.count());
        let ids: BTreeSet<String> = questions.iter().map(Question::id).collect();
        prop_assert_eq!(ids.len(), questions.len());
        for question in questions {
            let arm = format!("arm {}", question.session.as_u128());
            prop_assert_eq!(question.arm, arm);
        }
    }
}
