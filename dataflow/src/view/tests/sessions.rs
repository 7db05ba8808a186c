//! Sessions: what became known of each, in any order.

use std::collections::BTreeMap;

use lsie_schemas::EventTime;
use lsie_schemas::row::SessionRow;
use proptest::prelude::*;
use timely::dataflow::StreamVec;

use super::places::{ANCHOR, session};
use super::{Table, check, config, epochs, put, run};
use crate::adapter::Time;
use crate::checkpoint::Keep;
use crate::commit::Written;
use crate::graph::changes;
use crate::view::feed::Fact;
use crate::view::{Rows, SessionFact, sessions};

const STARTED: u8 = 0;
const ANCHORED: u8 = 1;
const DECIDED: u8 = 2;
const ENDED: u8 = 3;

fn view<'scope>(facts: Rows<'scope, Fact>, keep: &Keep) -> StreamVec<'scope, Time, Written> {
    let known = facts.flat_map(|fact| match fact {
        Fact::Known(session, fact) => Some((session, fact)),
        _ => None,
    });
    changes(sessions(known, keep), 0)
}

fn at(value: u8) -> EventTime {
    EventTime(ANCHOR + i64::from(value))
}

fn fact((s, what): (u8, u8), value: u8) -> Fact {
    let known = match what {
        STARTED => SessionFact::Started {
            stream_url: format!("test:{value}"),
            at: at(value),
            experiment: format!("line{value}"),
        },
        ANCHORED => SessionFact::Anchored(at(value)),
        DECIDED => SessionFact::Decided(format!("arm{value}"), format!("hello {value}")),
        ENDED => SessionFact::Ended(at(value)),
        _ => unreachable!("four things are known of a session"),
    };
    Fact::Known(session(s), known)
}

fn from_scratch(world: &BTreeMap<(u8, u8), u8>) -> Table {
    let mut table = Table::new();
    for s in 0..3 {
        let known = |what| world.get(&(s, what)).copied();
        let Some(started) = known(STARTED) else { continue };
        let row = SessionRow {
            session_id: session(s),
            stream_url: format!("test:{started}"),
            started_at: at(started),
            ended_at: known(ENDED).map(at),
            experiment_id: format!("line{started}"),
            anchor_utc: known(ANCHORED).map(at),
            active_arm: known(DECIDED).map(|value| format!("arm{value}")),
            expected_greeting: known(DECIDED).map(|value| format!("hello {value}")),
        };
        put(&mut table, &row);
    }
    table
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn sessions_equal_recomputation(epochs in epochs((0..3u8, 0..4u8), 0..4u8), run in run()) {
        check(view, run, epochs, fact, from_scratch)?;
    }
}
