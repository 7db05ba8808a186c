//! Erasing a session: first the log is told, then the tables lose its rows. Every run knows of it by the log.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, ensure};
use lsie_schemas::log::Log;
use lsie_schemas::record::Erasure;
use lsie_schemas::row::{AttributionEventRow, SessionRow};
use lsie_schemas::{EventTime, LogTime, TableRow};
use lsie_sinks::erase::Erased;
use lsie_sinks::parquet::Reader;
use lsie_sinks::{ParquetSink, PostgresSink};
use uuid::Uuid;

use crate::engine::COORDINATOR;
use crate::epochs::{self, Table};
use crate::fault;
use crate::healing;

/// Lines of changelogs, or rows, that went or lost what they said, by table.
pub type Touched = BTreeMap<&'static str, u64>;

/// What an erasure did.
#[derive(Clone, Debug, Default)]
pub struct Done {
    /// Whether the log knew of it already.
    pub was_known: bool,
    /// In the changelogs.
    pub parquet: Touched,
    /// In the database, if there is one.
    pub postgres: Option<Touched>,
}

/// Erases a session that has ended, `settle_ms` ago or longer, so that nothing of it is on its way any more. Whoever holds the
/// sinks holds the tables: no engine writes to them meanwhile.
pub fn erase(
    log: &dyn Log,
    session: Uuid,
    settle_ms: u64,
    tables: &mut ParquetSink,
    database: Option<&mut PostgresSink>,
) -> anyhow::Result<Done> {
    let reader = Reader::open(tables.dir())?;
    let row = healing::rows::<SessionRow>(&reader)?.into_iter().find(|row| row.session_id == session);
    if let Some(row) = row {
        settled(&row, reader.committed().unwrap_or_default(), settle_ms)?;
    }
    let events = events(&reader, session)?;
    // From here on no engine makes epochs.
    let fence = log.fenced(COORDINATOR)?;
    let Table { entries, told } = epochs::read_table(log)?.context("the log has no topic epochs")?;
    let mut known = told.erasures.iter().filter(|erasure| erasure.session_id == session).peekable();
    let was_known = known.peek().is_some();
    let mut erased = Erased::default();
    erased.add(session, events.iter().copied().chain(known.flat_map(|erasure| erasure.events.clone())));
    if !was_known {
        let (table, _) = epochs::accept(entries);
        let created = table.last().map_or(LogTime(0), |epoch| epoch.log_time);
        let erasure = Erasure { session_id: session, events: events.into_iter().collect() };
        fence.append(vec![erasure.encode(created)])?;
    }
    fault::point("erase.logged");
    let parquet = tables.erase(&erased).context("the result tables")?;
    fault::point("erase.rewritten");
    let postgres = database.map(|database| database.erase(&erased)).transpose().context("the database")?;
    Ok(Done { was_known, parquet, postgres })
}

fn settled(row: &SessionRow, now: LogTime, settle_ms: u64) -> anyhow::Result<()> {
    let ended = row.ended_at.context("the session has not ended: end it first")?;
    let EventTime(settled_us) =
        ended.plus_us(i64::try_from(settle_ms.saturating_mul(1_000)).unwrap_or(i64::MAX));
    ensure!(
        now.as_event().0 >= settled_us,
        "the session ended at {}, and the tables end at {}: what it said last may still be on its way; run the engine until \
         {settle_ms} ms after its end",
        ended.canonical(),
        now.as_event().canonical()
    );
    Ok(())
}

/// All attribution events that the session has ever had.
fn events(reader: &Reader, session: Uuid) -> anyhow::Result<BTreeSet<Uuid>> {
    let mut events = BTreeSet::new();
    for change in reader.changes(&AttributionEventRow::TABLE) {
        let row = AttributionEventRow::from_cells(&change?.row);
        events.extend(row.filter(|row| row.session_id == session).map(|row| row.event_id));
    }
    Ok(events)
}
