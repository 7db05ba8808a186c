//! Which visits of web pages are rows of table `context`: each answer of enrichment once, whichever way it came.
//!
//! A row is known by its page and its moment, an answer by its request. Both are remembered for as long as an answer is
//! taken: one that comes later than [`TAKEN_MS`] after the visit is late, so nothing can come twice.

use std::collections::BTreeMap;

use lsie_schemas::record::EnrichAnswer;
use lsie_schemas::row::ContextRow;
use lsie_schemas::table::Json;
use lsie_schemas::{EventTime, LogTime, Topic};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::align::{Class, Classified};
use crate::logic::{Keyed, Logic, apart};

/// How long after a visit its answer is taken, in ms of log time: requests live no longer.
pub const TAKEN_MS: u64 = lsie_schemas::topic::DAY_MS;

/// Whether an answer that comes at this epoch is late.
pub(crate) fn is_late(scraped_at: EventTime, epoch: LogTime) -> bool {
    scraped_at.plus_us(TAKEN_MS as i64 * 1_000) < epoch.as_event()
}

/// A visit that was told of in time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Visit {
    /// Partition and offset of the answer.
    pub order: (i32, i64),
    /// The request.
    pub request: Uuid,
    /// What the answer says.
    pub row: ContextRow,
}

impl Visit {
    /// Of an answer; a page that was not had is an empty object.
    pub(crate) fn of(order: (i32, i64), answer: EnrichAnswer) -> Visit {
        let page = answer.data.and_then(|page| serde_json::to_value(page).ok());
        let row = ContextRow {
            session_id: answer.session_id,
            source_url: answer.source_url,
            scraped_at_utc: answer.scraped_at_utc,
            data: Json::new(&page.unwrap_or_else(|| Value::Object(Map::new()))),
        };
        Visit { order, request: answer.unique_id, row }
    }
}

/// What comes of a visit.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Its row.
    Row(Box<ContextRow>),
    /// What became of the answer's record.
    Classified(Classified),
}

impl Output {
    /// The row, if it is one.
    pub fn row(self) -> Option<ContextRow> {
        match self {
            Output::Row(row) => Some(*row),
            Output::Classified(_) => None,
        }
    }

    /// The class, if it is one.
    pub fn class(self) -> Option<Classified> {
        match self {
            Output::Classified(classified) => Some(classified),
            Output::Row(_) => None,
        }
    }
}

/// Visits of a page: when, and for which request.
type Visits = Vec<(EventTime, Uuid)>;

/// The visits of pages that a worker knows, by the page's address.
#[derive(Debug, Default)]
pub struct Context {
    pages: BTreeMap<String, Visits>,
}

/// What is kept of [`Context`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ContextSnapshot {
    pages: BTreeMap<String, Visits>,
}

impl Logic for Context {
    type Record = Visit;
    type Output = Output;
    type Snapshot = ContextSnapshot;

    fn on_epoch(&mut self, epoch: LogTime, mut visits: Vec<Visit>, out: &mut Vec<Output>) {
        self.pages.retain(|_, known| {
            known.retain(|(at, _)| !is_late(*at, epoch));
            !known.is_empty()
        });
        visits.sort();
        for Visit { request, row, .. } in visits {
            let known = self.pages.entry(row.source_url.clone()).or_default();
            let again = known.iter().any(|(at, of)| *at == row.scraped_at_utc || *of == request);
            let class = if again { Class::Duplicate } else { Class::Used };
            out.push(Output::Classified(Classified {
                session: None,
                topic: Topic::Answers,
                class,
                reason: String::new(),
            }));
            if !again {
                known.push((row.scraped_at_utc, request));
                out.push(Output::Row(Box::new(row)));
            }
        }
    }

    fn snapshot(&self) -> ContextSnapshot {
        ContextSnapshot { pages: self.pages.clone() }
    }

    fn restore(&mut self, snapshot: ContextSnapshot) {
        self.pages = snapshot.pages;
    }
}

impl Keyed for ContextSnapshot {
    type Key = String;

    fn apart(self) -> Vec<(Option<String>, ContextSnapshot)> {
        apart(self.pages, |pages| ContextSnapshot { pages })
    }

    fn join(&mut self, piece: ContextSnapshot) {
        self.pages.extend(piece.pages);
    }
}
