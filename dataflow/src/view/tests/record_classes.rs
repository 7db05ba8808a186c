//! Record classes: every record counts in one, also when its class is corrected.

use std::collections::BTreeMap;

use lsie_operators::align::{Class, Classified};
use lsie_schemas::Topic;
use lsie_schemas::row::RecordClassRow;
use proptest::prelude::*;
use timely::dataflow::StreamVec;

use super::places::session;
use super::{Table, check, config, epochs, put, run};
use crate::adapter::Time;
use crate::checkpoint::Keep;
use crate::commit::Written;
use crate::graph::changes;
use crate::view::feed::Fact;
use crate::view::{Rows, record_classes};

/// The topic of a record and its number in it.
type Record = (bool, u8);

/// Its session, if its key names one, its class and its reason.
type What = (Option<u8>, u8, bool);

fn view<'scope>(facts: Rows<'scope, Fact>, _keep: &Keep) -> StreamVec<'scope, Time, Written> {
    let classified = facts.flat_map(|fact| match fact {
        Fact::Class(classified) => Some(classified),
        _ => None,
    });
    changes(record_classes(classified), 0)
}

fn fact((is_control, _): Record, (s, class, has_reason): What) -> Fact {
    Fact::Class(Classified {
        session: s.map(session),
        topic: if is_control { Topic::Control } else { Topic::AvAudio },
        class: [Class::Used, Class::Duplicate, Class::Late, Class::Filed][usize::from(class)],
        reason: if has_reason { "after_end".into() } else { String::new() },
    })
}

fn from_scratch(world: &BTreeMap<Record, What>) -> Table {
    let mut counts: BTreeMap<(bool, What), i64> = BTreeMap::new();
    for ((is_control, _), what) in world {
        *counts.entry((*is_control, *what)).or_default() += 1;
    }
    let mut table = Table::new();
    for ((is_control, (s, class, has_reason)), records) in counts {
        let row = RecordClassRow {
            session: s.map_or("unattributed".into(), |s| session(s).to_string()),
            topic: if is_control { "control" } else { "av.audio" }.into(),
            class: ["used", "duplicate", "late", "filed"][usize::from(class)].into(),
            reason: if has_reason { "after_end" } else { "" }.into(),
            records,
        };
        put(&mut table, &row);
    }
    table
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn record_classes_equal_recomputation(
        epochs in epochs((any::<bool>(), 0..12u8), (prop::option::of(0..2u8), 0..4u8, any::<bool>())),
        run in run(),
    ) {
        check(view, run.whole(), epochs, fact, from_scratch)?;
    }
}
