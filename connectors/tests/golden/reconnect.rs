//! The waits between connections of the live connector.

use lsie_connectors::Backoff;
use serde_json::json;

use crate::read::of_kind;

#[test]
fn golden_action_combo_reconnect_backoff() {
    for case in of_kind("action_combo", 94, "reconnect_backoff", 8) {
        let attempts: Vec<String> = serde_json::from_value(case.input["attempts"].clone()).expect("attempts");
        let (mut connects, mut sleeps, mut failures) = (0, Vec::new(), 0);
        // After the list the next connection succeeds and the loop is told to stop.
        for attempt in attempts.iter().map(String::as_str).chain(["ok"]) {
            connects += 1;
            if attempt == "ok" {
                failures = 0;
                continue;
            }
            failures += 1;
            let Some(wait) = Backoff::CONNECTION.wait(failures) else { break };
            sleeps.push(wait.as_secs_f64());
        }
        assert_eq!(json!(connects), case.expected["connect_attempts"], "{}", case.name);
        assert_eq!(json!(sleeps), case.expected["sleeps_s"], "{}", case.name);
    }
}
