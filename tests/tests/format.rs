//! Tables and checkpoints that earlier versions have written: each is read, and gone on from, for ever.
//!
//! `tests/golden/format-1` is a run that was stopped in the midst of two sessions, one folder of tables and one of
//! checkpoints, as the first version with checkpoints left them; `format-2` is the same of the first version whose manifests
//! say what topic `epochs` had told. A version that changes a format adds a folder,
//! and takes none away: `target/release/examples/write_format` writes the newest.

use std::path::Path;

use lsie_dataflow::checkpoint::manifest::FORMAT;
use lsie_dataflow::recovery::Plan;
use lsie_schemas::{Change, LogTime, row};
use lsie_sinks::Catalog;
use lsie_sinks::parquet::Reader;
use lsie_sinks::verify::compare;
use lsie_tests::format::{Left, committed};

/// Tables of facts that the version of `format-1` did not write: they begin where it is gone on from.
const LATER: [&str; 3] = ["judgements", "lag_scans", "reactions"];

#[test]
fn what_earlier_formats_left_is_gone_on_from() {
    for format in 1..=FORMAT {
        let later = if format == 1 { &LATER[..] } else { &[] };
        let left = Left::by(format);
        let undisturbed = left.undisturbed();
        let manifest = left.newest();
        let held = committed(&left.path("tables"));
        assert_eq!(held, Some(manifest.epoch), "tables and checkpoint of format {format} end at one epoch");
        match left.plan(manifest.config.clone()) {
            Plan::Resume { manifest: chosen, .. } => assert_eq!(*chosen, manifest),
            other => panic!("format {format} is not gone on from: {other:?}"),
        }
        left.run(manifest.config, LogTime(u64::MAX));
        let (tables, what) = (left.path("tables"), "undisturbed, and gone on from an earlier format");
        let comparison = compare(&undisturbed, &tables, &Catalog::all()).expect("two result folders");
        let differ =
            comparison.differences.iter().filter(|difference| !later.contains(&difference.table.as_str()));
        let differ: Vec<String> = differ.map(ToString::to_string).collect();
        assert!(differ.is_empty(), "{what}:\n{}", differ.join("\n"));
        assert_eq!(comparison.left.violations().chain(comparison.right.violations()).count(), 0, "{what}");
        for name in later {
            let table = row::table(name).expect("a table");
            let since = |dir: &Path| -> Vec<Change> {
                let reader = Reader::open(dir).expect("tables");
                let changes = reader.changes(table).map(|change| change.expect("a row"));
                changes.filter(|change| change.epoch > manifest.epoch).collect()
            };
            assert_eq!(since(&undisturbed), since(&tables), "{name}: {what}");
            assert!(!since(&tables).is_empty(), "{name} has rows");
        }
    }
}
