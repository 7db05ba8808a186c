//! Live events at any times, in any order of an epoch: single events and groups come and go once each.

#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use lsie_operators::action_combo::{ActionCombos, ComboOutput, ComboRecord};
use lsie_operators::logic::Logic;
use lsie_schemas::record::LiveEvent;
use lsie_schemas::table::Json;
use lsie_schemas::{EventTime, LogTime, Uuid};

#[derive(Arbitrary, Debug)]
enum Input {
    Near { quarter: u8, user: u8 },
    Anywhere { at: i64, user: Option<String>, kind: String },
    End,
    Epoch,
}

fn run(epochs: &[Vec<ComboRecord>]) -> BTreeMap<ComboOutput, i64> {
    let mut combos = ActionCombos::new(Uuid::from_u128(1), "creator");
    let mut standing: BTreeMap<ComboOutput, i64> = BTreeMap::new();
    for (index, records) in epochs.iter().enumerate() {
        let mut out = Vec::new();
        combos.on_epoch(LogTime(index as u64), records.clone(), &mut out);
        for (output, diff) in out {
            *standing.entry(output).or_default() += diff;
        }
        standing.retain(|_, copies| *copies != 0);
        assert!(standing.values().all(|copies| *copies == 1), "each stands once");
    }
    standing
}

fuzz_target!(|inputs: Vec<Input>| {
    let mut epochs = vec![Vec::new()];
    for input in inputs {
        let (at, unique_id, event_type) = match input {
            Input::Near { quarter, user } => {
                (i64::from(quarter) * 250_000, Some(user.to_string()), "like".into())
            }
            Input::Anywhere { at, user, kind } => (at, user, kind),
            Input::End => {
                epochs.last_mut().expect("an epoch").push(ComboRecord::End);
                continue;
            }
            Input::Epoch => {
                epochs.push(Vec::new());
                continue;
            }
        };
        epochs.last_mut().expect("an epoch").push(ComboRecord::Event(LiveEvent {
            session_id: Uuid::from_u128(1),
            unique_id,
            event_type,
            timestamp_utc: EventTime(at),
            payload: Json::new(&serde_json::json!({})),
            gift_value: None,
            event_id: None,
        }));
    }
    let whole = run(&epochs);
    epochs.iter_mut().for_each(|records| records.reverse());
    assert_eq!(run(&epochs), whole);
});
