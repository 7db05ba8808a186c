//! Verification: blind to order and layout, sharp on content.

mod common;

use common::{Directory, drive, eager};
use lsie_schemas::{Change, Column, ColumnType, Table};
use lsie_sinks::parquet::Options;
use lsie_sinks::testing::{SAMPLES, Subject, TOTALS, catalog, sample, total};
use lsie_sinks::verify::{Summary, compare, summarize};
use lsie_sinks::{Catalog, Error};
use proptest::collection::vec;
use proptest::prelude::*;

type Epochs = Vec<(u64, Vec<Change>)>;

fn written(options: Options, epochs: &Epochs) -> Directory {
    let mut place = Directory::new(options);
    drive(&mut *place.open().expect("a sink"), epochs);
    place
}

fn summary(place: &Directory) -> Summary {
    summarize(&place.dir, &catalog()).expect("an undamaged directory")
}

/// The differences between two runs, as text.
fn differences(a: &Epochs, b: &Epochs) -> Vec<String> {
    let (a, b) = (written(eager(), a), written(Options::default(), b));
    let comparison = compare(&a.dir, &b.dir, &catalog()).expect("undamaged directories");
    comparison.differences.iter().map(ToString::to_string).collect()
}

#[test]
fn equal_runs_have_no_difference() {
    let epochs =
        vec![(1, vec![total(1, "a", 1, 1), sample(1, 1, 1, 63, 1)]), (3, vec![total(3, "a", 1, -1)])];
    assert_eq!(differences(&epochs, &epochs), [] as [String; 0]);
}

#[test]
fn the_first_row_and_column_that_differ_are_named() {
    let rows = |total_b| vec![(1, vec![total(1, "a", 1, 1), total(1, "b", total_b, 1), total(1, "c", 1, 1)])];
    assert_eq!(
        differences(&rows(2), &rows(3)),
        ["totals: state differs; first row name=\"b\": column total: 2 against 3"]
    );
    let fewer = vec![(1, vec![total(1, "b", 2, 1), total(1, "c", 1, 1)])];
    assert_eq!(
        differences(&fewer, &rows(2)),
        ["totals: state differs; first row name=\"a\": only in the second directory: name=\"a\" total=1"]
    );
    assert_eq!(
        differences(&rows(2), &fewer),
        ["totals: state differs; first row name=\"a\": only in the first directory: name=\"a\" total=1"]
    );
}

#[test]
fn another_path_to_the_same_rows_is_a_difference_of_history() {
    let straight = vec![(5, vec![total(5, "a", 2, 1)])];
    let detour = vec![(5, vec![total(5, "a", 1, 1)]), (7, vec![total(7, "a", 1, -1), total(7, "a", 2, 1)])];
    assert_eq!(
        differences(&straight, &detour),
        ["totals: history differs; first row name=\"a\": change by +1 at epoch 5 against \
          change by +1 at epoch 5; \
          column total: 2 against 1"]
    );
    let later = vec![(6, vec![total(6, "a", 2, 1)])];
    assert_eq!(
        differences(&straight, &later),
        ["totals: history differs; first row name=\"a\": change by +1 at epoch 5 against \
          change by +1 at epoch 6"]
    );
    let (a, b) = (summary(&written(eager(), &straight)), summary(&written(eager(), &detour)));
    assert_eq!(a.state(), b.state());
    assert_ne!(a.history(), b.history());
}

#[test]
fn a_table_that_one_side_lacks_is_named() {
    let epochs = vec![(1, vec![total(1, "a", 1, 1)])];
    let (a, b) = (written(eager(), &epochs), Directory::new(eager()));
    let few = Catalog::new(&[TOTALS]);
    let mut sink = lsie_sinks::ParquetSink::open(&b.dir, few.clone(), eager()).expect("a sink");
    drive(&mut sink, &epochs);
    let comparison = compare(&a.dir, &b.dir, &catalog()).expect("undamaged directories");
    let texts: Vec<String> = comparison.differences.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["samples: presence differs: only in the first directory"]);
    // Tables nobody can look at are not passed over.
    assert!(matches!(summarize(&a.dir, &few), Err(Error::Refused { .. })));
}

#[test]
fn more_or_less_than_one_row_per_key_is_a_violation() {
    let check = |epochs: Epochs, expected: &[&str]| {
        let summary = summary(&written(eager(), &epochs));
        assert_eq!(summary.violations().collect::<Vec<_>>(), expected);
    };
    check(vec![(1, vec![total(1, "a", 1, 1)]), (2, vec![total(2, "a", 1, -1)])], &[]);
    let text = |epoch| format!("totals: name=\"a\" at epoch {epoch}: not exactly none or one row");
    check(vec![(1, vec![total(1, "a", 1, 2)])], &[&text(1)]);
    check(vec![(1, vec![total(1, "a", 1, -1)]), (2, vec![total(2, "a", 1, 1)])], &[&text(1)]);
    check(vec![(1, vec![total(1, "a", 1, 1)]), (4, vec![total(4, "a", 2, 1)])], &[&text(4)]);
}

#[test]
fn cells_of_other_types_never_hash_alike() {
    const TEXT: &[Column] =
        &[TOTALS.columns[0], Column { name: "total", ty: ColumnType::Text, nullable: false, doc: "" }];
    let text_table = Table { columns: TEXT, ..TOTALS };
    let mut row = total(1, "a", 1, 1);
    row.row[1] = lsie_schemas::Cell::Text("1".into());
    let place = Directory::new(eager());
    let texts = Catalog::new(&[text_table]);
    let mut sink = lsie_sinks::ParquetSink::open(&place.dir, texts.clone(), eager()).expect("a sink");
    drive(&mut sink, &[(1, vec![row])]);
    let of_text = summarize(&place.dir, &texts).expect("undamaged").tables[0].state;
    let ints = summary(&written(eager(), &vec![(1, vec![total(1, "a", 1, 1)])]));
    assert_ne!(of_text, ints.tables.iter().find(|t| t.table == "totals").expect("totals").state);
}

/// Epochs of samples that come and go, valid or not: hashes are defined for any changelog.
fn epochs() -> impl Strategy<Value = Epochs> {
    let change = (0..3u128, 0..4i64, 0..64u32, prop_oneof![Just(-1), Just(1)]);
    vec(vec(change, 0..6), 1..12).prop_map(|epochs| {
        let numbered = epochs.into_iter().enumerate().map(|(at, changes)| (at as u64 + 1, changes));
        let rows = |(epoch, changes): (u64, Vec<(u128, i64, u32, i64)>)| {
            let row = |(session, number, seed, diff)| sample(epoch, session, number, seed, diff);
            (epoch, changes.into_iter().map(row).collect())
        };
        numbered.map(rows).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn order_and_layout_do_not_matter(epochs in epochs(), rotate in 0..6usize) {
        let mut shuffled = epochs.clone();
        for (epoch, changes) in &mut shuffled {
            changes.reverse();
            let by = rotate.min(changes.len());
            changes.rotate_left(by);
            // A pair that cancels within its epoch.
            changes.extend([sample(*epoch, 9, 9, 1, 1), sample(*epoch, 9, 9, 1, -1)]);
        }
        let (a, b) = (written(eager(), &epochs), written(Options::default(), &shuffled));
        prop_assert_eq!(summary(&a).tables, summary(&b).tables);
        prop_assert_eq!(compare(&a.dir, &b.dir, &catalog()).expect("undamaged").differences, vec![]);
    }

    #[test]
    fn one_more_change_is_seen(epochs in epochs(), seed in 0..64u32) {
        let mut more = epochs.clone();
        let last = more.last_mut().expect("an epoch");
        last.1.push(sample(last.0, 8, 8, seed, 1));
        let (a, b) = (written(eager(), &epochs), written(eager(), &more));
        prop_assert_ne!(summary(&a).state(), summary(&b).state());
        prop_assert_ne!(summary(&a).history(), summary(&b).history());
        let differences = compare(&a.dir, &b.dir, &catalog()).expect("undamaged").differences;
        prop_assert_eq!(differences.len(), 1);
        prop_assert_eq!(&differences[0].table, SAMPLES.name);
    }
}
