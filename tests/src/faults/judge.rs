//! What must hold after a round: no promise broken, both hashes of a fault-free run, a clean audit, law 4.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use lsie_schemas::log::{Log, TopicPartition};
use lsie_schemas::row::{FaceRow, SegmentRow};
use lsie_schemas::{Cell, Change, Real};
use lsie_sinks::Catalog;
use lsie_sinks::audit::audit;
use lsie_sinks::parquet::Reader;
use lsie_sinks::postgres::Database;
use lsie_sinks::verify::compare;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::feeder::Promise;
use crate::harness::{assert_law_4, read_all};
use crate::tables::Tables;
use lsie_dataflow::ingest::INPUTS;

/// The judgement of a round.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Rows of the fault-free run that the struck one lacks.
    pub lost_rows: u64,
    /// Rows that only the struck run has, or has more often.
    pub surplus_rows: u64,
    /// Whether state and history hashes of every table are equal.
    pub equal: bool,
    /// What else is wrong, and the first differences; empty if nothing is.
    pub faults: Vec<String>,
}

impl Verdict {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.equal && self.lost_rows == 0 && self.surplus_rows == 0 && self.faults.is_empty()
    }
}

/// Judges the live tables by those of a fault-free run, the log, the promises and the database.
pub fn judge(log: &dyn Log, promises: &[Promise], live: &Path, again: &Path, database: &Database) -> Verdict {
    let mut verdict = Verdict::default();
    verdict.faults.extend(broken(log, promises));
    let (struck, whole) = (rows(live), rows(again));
    let surplus = |a: &Rows, b: &Rows| -> u64 {
        a.iter().map(|(row, copies)| (copies - b.get(row).unwrap_or(&0)).max(0).unsigned_abs()).sum()
    };
    verdict.lost_rows = surplus(&whole, &struck);
    verdict.surplus_rows = surplus(&struck, &whole);
    let comparison = compare(again, live, &Catalog::all()).expect("two result folders");
    verdict.equal = comparison.differences.is_empty()
        && comparison.left.state() == comparison.right.state()
        && comparison.left.history() == comparison.right.history();
    verdict.faults.extend(comparison.differences.iter().map(ToString::to_string));
    verdict.faults.extend(comparison.right.violations());
    match audit(live, database, &Catalog::database(), Duration::from_secs(5)) {
        Ok(found) if found.is_clean() => {
            if found.frontier != comparison.right.committed {
                verdict.faults.push(format!("the database ends at {:?}", found.frontier));
            }
        }
        Ok(found) => verdict.faults.push(found.to_string()),
        Err(error) => verdict.faults.push(format!("audit: {error}")),
    }
    let tables = Tables::new(changes(live));
    let law_4 = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| assert_law_4(log, &tables)));
    if law_4.is_err() {
        verdict.faults.push("law 4: records without a class, or with two".into());
    }
    verdict
}

/// What a run has seen and heard of its sessions, without the times at which it did: the same script gives the same, whenever
/// it is fed and whatever happens to the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    /// Of every picture its session, number, ratio, and whether a face was there.
    pub faces: BTreeSet<(Uuid, i64, Option<Real>, bool)>,
    /// Of every segment its session, number, and the hash of its sound.
    pub sounds: BTreeSet<(Uuid, i64, String)>,
}

/// What the run of these tables has seen and heard.
pub fn media(tables: &Path) -> Media {
    let tables = Tables::new(changes(tables));
    let face = |row: FaceRow| (row.session_id, row.seq, row.ratio, row.present);
    let sound = |row: SegmentRow| (row.session_id, row.ordinal, row.audio_sha256);
    Media {
        faces: tables.rows::<FaceRow>().into_iter().map(face).collect(),
        sounds: tables.rows::<SegmentRow>().into_iter().map(sound).collect(),
    }
}

/// Promises that the log has not kept.
fn broken(log: &dyn Log, promises: &[Promise]) -> Vec<String> {
    let held: BTreeMap<(TopicPartition, i64), [u8; 32]> = read_all(log, &INPUTS)
        .iter()
        .map(|record| ((record.at, record.offset), Sha256::digest(&record.value).into()))
        .collect();
    let is_broken = |promise: &&Promise| {
        held.get(&(promise.appended.at, promise.appended.offset)) != Some(&promise.sha256)
    };
    let tell =
        |promise: &Promise| format!("{} {} was acknowledged", promise.appended.at, promise.appended.offset);
    promises.iter().filter(is_broken).map(tell).collect()
}

type Rows = BTreeMap<(String, Vec<Cell>), i64>;

fn changes(dir: &Path) -> Vec<Change> {
    let reader = Reader::open(dir).expect("result tables");
    let catalog = Catalog::all();
    let tables = catalog.tables().iter().flat_map(|table| reader.changes(table));
    tables.map(|change| change.expect("a readable row")).collect()
}

fn rows(dir: &Path) -> Rows {
    let mut rows = Rows::new();
    for change in changes(dir) {
        *rows.entry((change.table.into_owned(), change.row)).or_default() += change.diff;
    }
    rows.retain(|_, copies| *copies != 0);
    rows
}
