//! Groups of live events under the laws.

use lsie_operators::action_combo::{ActionCombos, ComboRecord};
use lsie_schemas::record::LiveEvent;
use lsie_schemas::table::Json;
use lsie_schemas::{EventTime, LogTime, Uuid};
use proptest::prelude::*;

use crate::laws::{Script, order_changes_nothing, restarts_change_nothing, run};

fn make() -> ActionCombos {
    ActionCombos::new(Uuid::from_u128(1), "creator")
}

/// Few instants, users and references, so that events coincide, collide and turn up late.
fn record() -> impl Strategy<Value = ComboRecord> {
    let event = (0i64..40, 0u8..3, prop::option::of(0u8..3), prop::option::of(0i64..3));
    let event = event.prop_map(|(quarter, user, event_id, gift_value)| {
        ComboRecord::Event(LiveEvent {
            session_id: Uuid::from_u128(1),
            unique_id: (user > 0).then(|| format!("user{user}")),
            event_type: if gift_value.is_some() { "gift" } else { "like" }.into(),
            timestamp_utc: EventTime(quarter * 500_000),
            payload: Json::new(&serde_json::json!({})),
            gift_value,
            event_id: event_id.map(|id| id.to_string()),
        })
    });
    prop_oneof![30 => event, 1 => Just(ComboRecord::End)]
}

prop_compose! {
    fn script()(epochs in prop::collection::vec(prop::collection::vec(record(), 0..5), 1..14))
        -> Script<ComboRecord>
    {
        epochs.into_iter().enumerate().map(|(index, records)| (LogTime(index as u64 * 250), records)).collect()
    }
}

proptest! {
    #[test]
    fn restarts(script in script()) {
        restarts_change_nothing(make, &script);
    }

    #[test]
    fn order(script in script(), turns in prop::collection::vec(0usize..8, 1..5)) {
        order_changes_nothing(make, &script, &turns);
    }

    /// Everything so far once more, in an epoch of its own after each: nothing follows from it. A second
    /// value for the same gift is no repetition, so all values are made one.
    #[test]
    fn duplicates(mut script in script()) {
        for (_, records) in &mut script {
            for record in records {
                if let ComboRecord::Event(event) = record {
                    event.gift_value = event.gift_value.map(|_| 1);
                }
            }
        }
        let mut seen = Vec::new();
        let mut repeated = Vec::new();
        for (epoch, records) in &script {
            seen.extend(records.clone());
            repeated.push((*epoch, [records.clone(), records.clone()].concat()));
            repeated.push((epoch.plus_ms(1), seen.clone()));
        }
        let whole = run(make(), &script);
        for (index, out) in run(make(), &repeated).into_iter().enumerate() {
            prop_assert_eq!(out, if index % 2 == 0 { whole[index / 2].clone() } else { Vec::new() });
        }
    }
}
