//! Visits under the laws: pages that are told of in any order, again, and by another request at the same moment.

use std::collections::BTreeSet;

use lsie_operators::align::Class;
use lsie_operators::context::{Context, Output, TAKEN_MS, Visit};
use lsie_schemas::row::ContextRow;
use lsie_schemas::table::Json;
use lsie_schemas::{EventTime, LogTime};
use proptest::prelude::*;
use uuid::Uuid;

use crate::laws::{
    Script, order_changes_nothing, restarts_change_nothing, restarts_in_pieces_change_nothing, run,
};

/// A day is four lines of a script.
const LINE_MS: u64 = TAKEN_MS / 4;

/// A script in which nothing is late: a visit lies between a day before its line and the line.
fn script() -> impl Strategy<Value = Script<Visit>> {
    let told = (0usize..12, 0u64..=4, 0u128..6, 0usize..3);
    prop::collection::vec(told, 0..24).prop_map(|visits| {
        let mut script: Script<Visit> =
            (0..12).map(|line| (LogTime((line + 4) * LINE_MS), Vec::new())).collect();
        for (offset, (line, before, request, page)) in visits.into_iter().enumerate() {
            let at = LogTime(script[line].0.0 - before * LINE_MS).as_event();
            script[line].1.push(visit(offset as i64, request, page, at));
        }
        script
    })
}

fn visit(offset: i64, request: u128, page: usize, at: EventTime) -> Visit {
    let row = ContextRow {
        session_id: None,
        source_url: format!("https://example.org/{page}"),
        scraped_at_utc: at,
        data: Json::new(&serde_json::json!({})),
    };
    Visit { order: (0, offset), request: Uuid::from_u128(request), row }
}

proptest! {
    #[test]
    fn restarts(script in script()) {
        restarts_change_nothing(Context::default, &script);
        restarts_in_pieces_change_nothing(Context::default, &script);
    }

    #[test]
    fn order(script in script(), turns in prop::collection::vec(0usize..8, 1..5)) {
        order_changes_nothing(Context::default, &script, &turns);
    }

    /// However often and late it is told of, a page has one row for a moment, and each answer one class.
    #[test]
    fn a_page_has_one_row_for_a_moment(script in script()) {
        let told = script.iter().map(|(_, visits)| visits.len()).sum::<usize>();
        let out: Vec<Output> = run(Context::default(), &script).into_iter().flatten().collect();
        let classes: Vec<Class> = out.iter().cloned().filter_map(Output::class).map(|said| said.class).collect();
        let rows: Vec<ContextRow> = out.into_iter().filter_map(Output::row).collect();
        prop_assert_eq!(classes.len(), told);
        prop_assert_eq!(classes.iter().filter(|class| **class == Class::Used).count(), rows.len());
        let keys: BTreeSet<_> = rows.iter().map(|row| (&row.source_url, row.scraped_at_utc)).collect();
        prop_assert_eq!(keys.len(), rows.len());
    }
}
