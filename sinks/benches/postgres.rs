//! Rows per second into a local PostgreSQL: `tests/run.sh with cargo bench --locked --workspace --bench postgres`.
//!
//! Rows of four of the product's tables for 200 sessions, with their keys, references and indexes; of every ten
//! rows, one replaces an earlier one. Once with a transaction for each epoch, once in transactions of the sink's
//! choice, as when it catches up. What is measured includes everything from a change to the committed row.

#![allow(clippy::disallowed_methods, reason = "a bench measures time and reads its environment")]

use std::borrow::Cow;
use std::time::Instant;

use lsie_schemas::row::{EventRow, MetricsRow, SegmentRow, SessionRow, TranscriptRow};
use lsie_schemas::{Cell, Change, ColumnType, EventTime, LogTime, Real, Table, TableRow, Uuid};
use lsie_sinks::postgres::Database;
use lsie_sinks::{Catalog, PostgresSink, Sink};

const SESSIONS: u128 = 200;
const EPOCHS: u64 = 80;
/// New rows of each epoch and table.
const ROWS: u64 = 2_500;
const TABLES: [Table; 4] = [MetricsRow::TABLE, TranscriptRow::TABLE, EventRow::TABLE, SegmentRow::TABLE];

fn main() {
    let server = std::env::var("LSIE_TEST_POSTGRES")
        .expect("LSIE_TEST_POSTGRES names a server: see the head of this file");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for (name, each) in [("a transaction for each epoch", true), ("transactions of many epochs", false)] {
        let schema = format!("bench_{}_{each}", std::process::id());
        runtime.block_on(create(&server, &schema));
        let url = format!("{server}?options=-csearch_path%3D{schema}");
        let mut sink = PostgresSink::open(&Database::new(&url, None).expect("a URL"), Catalog::database())
            .expect("a server");
        let sessions: Vec<Change> =
            (0..SESSIONS).map(|n| change(&SessionRow::TABLE, 1, n as u64, 0, 1)).collect();
        commit(&mut sink, 1, &sessions);
        sink.flush().expect("the sessions");
        let epochs: Vec<Vec<Change>> = (2..EPOCHS + 2).map(epoch).collect();
        let (rows, start) =
            (epochs.iter().flatten().filter(|change| change.diff > 0).count(), Instant::now());
        for (changes, epoch) in epochs.iter().zip(2..) {
            commit(&mut sink, epoch, changes);
            if each {
                sink.flush().expect("a transaction");
            }
        }
        sink.finish().expect("the last transaction");
        let seconds = start.elapsed().as_secs_f64();
        println!("{name:32} {rows} rows in {seconds:.2} s: {:.0} rows/s", rows as f64 / seconds);
    }
}

async fn create(server: &str, schema: &str) {
    let (client, connection) =
        tokio_postgres::connect(server, tokio_postgres::NoTls).await.expect("a server");
    let driver = tokio::spawn(connection);
    client.batch_execute(&format!("CREATE SCHEMA {schema}")).await.expect("a schema");
    drop(client);
    let _ = driver.await;
}

fn commit(sink: &mut PostgresSink, epoch: u64, changes: &[Change]) {
    sink.write(LogTime(epoch), changes).expect("a correct epoch");
    sink.commit(LogTime(epoch)).expect("a complete epoch");
}

/// New rows, and one in ten of the epoch before with other values.
fn epoch(epoch: u64) -> Vec<Change> {
    let mut changes = Vec::new();
    for table in &TABLES {
        changes.extend((0..ROWS).map(|n| change(table, epoch, epoch * ROWS + n, 0, 1)));
        if epoch > 2 {
            for n in (0..ROWS).step_by(9) {
                let before = (epoch - 1) * ROWS + n;
                changes.push(change(table, epoch, before, 0, -1));
                changes.push(change(table, epoch, before, 1, 1));
            }
        }
    }
    changes
}

/// Row `n` of a table in one of its versions.
fn change(table: &Table, epoch: u64, n: u64, version: i64, diff: i64) -> Change {
    let session = Cell::Uuid(Uuid::from_u128(1 + u128::from(n) % SESSIONS));
    let cell = |(at, column): (usize, &lsie_schemas::Column)| match column.ty {
        _ if column.name == "session_id" => session.clone(),
        ColumnType::Bool => Cell::Bool(n.is_multiple_of(2)),
        // The last column tells versions apart; the first ones are keys.
        ColumnType::Int => {
            Cell::Int(n as i64 * if at < 3 { 1 } else { 2 } + if at > 3 { version } else { 0 })
        }
        ColumnType::Real => Cell::Real(Real(n as f64 / 7.0 + version as f64)),
        ColumnType::Text if column.name == "text" => Cell::Text(format!("what was said, version {version}")),
        ColumnType::Text => Cell::Text(format!("{n:064x}")),
        ColumnType::Uuid => Cell::Uuid(Uuid::from_u128(u128::from(n))),
        ColumnType::Time => Cell::Time(EventTime(1_770_000_000_000_000 + n as i64)),
        ColumnType::Json => Cell::Json("{}".into()),
        ColumnType::Texts => Cell::Texts(Vec::new()),
    };
    let row = table.columns.iter().enumerate().map(cell).collect();
    Change { table: Cow::Borrowed(table.name), row, epoch: LogTime(epoch), diff }
}
