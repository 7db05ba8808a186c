//! `GET /attribution/{session_id}`: the ledger of a session, each greeting with its outcomes and scores.

use lsie_schemas::Uuid;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::views::inputs::Inputs;
use crate::views::ranked::Order;
use crate::views::reading::Reading;
use crate::views::record::schema;
use crate::views::reply::{Fault, Reply};
use crate::views::route::{Returns, Route, SESSION};
use crate::views::row::Row;

pub(crate) const ROUTES: &[Route] = &[Route::ranked(
    "/attribution/{session_id}",
    "The attribution ledger of a session: each greeting with the outcomes it may be credited with, and its scores.",
    &[SESSION],
    Returns::Many(schema::<Credited>),
    &[LINKS, SCORES],
    list,
)];

const LINKS: Order = Order { table: "event_outcome_link", groups: &["event_id"], newest: &[] };
const SCORES: Order = Order { table: "attribution_score", groups: &["event_id"], newest: &[] };

/// A greeting with what it may be credited with: rows of the four tables of the ledger.
#[derive(Serialize, JsonSchema)]
struct Credited {
    event: Map<String, Value>,
    links: Vec<Map<String, Value>>,
    outcomes: Vec<Map<String, Value>>,
    scores: Vec<Map<String, Value>>,
}

fn list(at: &Reading<'_>, inputs: &Inputs) -> Result<Reply, Fault> {
    let mut events: Vec<Row<'_>> = at.table("attribution_event")?.rows(Some(inputs.session())).collect();
    events.sort_by_key(|row| row.cell("event_time_utc"));
    let outcomes: Vec<Row<'_>> = at.table("outcome_event")?.rows(Some(inputs.session())).collect();
    let credited = events.iter().map(|event| {
        let of_event = [("event_id", event.cell("event_id").clone())];
        let links: Vec<Row<'_>> = at.newest(&LINKS, &of_event)?.collect();
        let linked: Vec<Option<Uuid>> = links.iter().map(|row| row.uuid("outcome_id")).collect();
        let outcomes = outcomes.iter().filter(|row| linked.contains(&row.uuid("outcome_id")));
        Ok(Credited {
            event: event.object(),
            links: links.iter().map(|row| row.object()).collect(),
            outcomes: outcomes.map(Row::object).collect(),
            scores: at.newest(&SCORES, &of_event)?.map(|row| row.object()).collect(),
        })
    });
    credited.collect::<Result<Vec<_>, Fault>>().map(Reply::record)
}
