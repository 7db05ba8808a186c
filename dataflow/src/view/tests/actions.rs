//! Actions: of all records that one was asked for with, the first counts.

use std::collections::BTreeMap;

use lsie_schemas::row::ActionRow;
use lsie_schemas::{EventTime, Uuid};
use proptest::prelude::*;
use timely::dataflow::StreamVec;

use super::places::{ANCHOR, session};
use super::{Table, check, config, epochs, put, run};
use crate::adapter::Time;
use crate::checkpoint::Keep;
use crate::commit::Written;
use crate::graph::changes;
use crate::view::feed::Fact;
use crate::view::{Rows, actions};

/// The place of a record: its topic, partition and offset.
type Record = (u8, u8, u8);

/// Its action and its log time.
type What = (u8, u8);

fn view<'scope>(facts: Rows<'scope, Fact>, keep: &Keep) -> StreamVec<'scope, Time, Written> {
    let asked = facts.flat_map(|fact| match fact {
        Fact::Asked(row) => Some(row),
        _ => None,
    });
    changes(actions(asked, keep), 0)
}

fn row((topic, partition, offset): Record, (action, at): What) -> ActionRow {
    ActionRow {
        action_id: Uuid::from_u128(u128::from(action)),
        actor: format!("actor{offset}"),
        action: if topic == 0 { "stimulus" } else { "delete_arm" }.into(),
        at: EventTime(ANCHOR + i64::from(at) * 1_000),
        session_id: (topic == 0).then(|| session(partition)),
        experiment_id: (topic == 1).then(|| "line".into()),
        arm: (topic == 1).then(|| format!("arm{offset}")),
        topic: if topic == 0 { "control" } else { "experiments" }.into(),
        partition: partition.into(),
        record_offset: offset.into(),
    }
}

fn from_scratch(world: &BTreeMap<Record, What>) -> Table {
    let mut table = Table::new();
    for action in 0..4 {
        let mut first: Option<(u8, Record)> = None;
        for (place, (of, at)) in world {
            // Places come in order, so that only an earlier log time goes before the ones seen.
            if *of == action && first.is_none_or(|(earliest, _)| *at < earliest) {
                first = Some((*at, *place));
            }
        }
        if let Some((at, place)) = first {
            put(&mut table, &row(place, (action, at)));
        }
    }
    table
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn actions_equal_recomputation(
        epochs in epochs((0..2u8, 0..2u8, 0..5u8), (0..4u8, 0..3u8)),
        run in run(),
    ) {
        check(view, run, epochs, |place, what| Fact::Asked(row(place, what)), from_scratch)?;
    }
}
