//! Every sink keeps the promise of `Sink`: the fixed cases, and random scripts with crashes against a map.

mod common;

use common::{Directory, Memory, Served, eager};
use lsie_schemas::LogTime;
use lsie_sinks::parquet::Options;
use lsie_sinks::testing::{SAMPLES, Step, catalog, check_contract, check_script, sample, total};
use lsie_sinks::{MemoryStore, Selected, Sink};
use proptest::collection::vec;
use proptest::prelude::*;

#[test]
fn memory() {
    check_contract(Memory::new);
}

#[test]
fn views() {
    check_contract(Served::new);
}

#[test]
fn parquet_that_buffers() {
    check_contract(|| Directory::new(Options::default()));
}

#[test]
fn parquet_that_flushes_each_commit() {
    check_contract(|| Directory::new(eager()));
}

#[test]
fn tables_that_are_not_selected_are_left_out() {
    let few = MemoryStore::new(catalog().without(&[SAMPLES.name]));
    let mut sink = Selected::new(few.sink(), catalog().without(&[SAMPLES.name]));
    let changes = [sample(1, 1, 1, 1, 1), total(1, "a", 1, 1)];
    sink.write(LogTime(1), &changes).expect("a correct epoch");
    sink.commit(LogTime(1)).expect("a complete epoch");
    sink.finish().expect("an orderly end");
    assert_eq!((few.changes().as_slice(), sink.committed()), (&changes[1..], Some(LogTime(1))));
}

fn script() -> impl Strategy<Value = Vec<Step>> {
    let sets = vec((0..6u8, proptest::option::weighted(0.7, -3..3i64)), 0..5);
    let step = prop_oneof![
        8 => (sets, proptest::bool::weighted(0.8)).prop_map(|(sets, commit)| Step::Epoch(sets, commit)),
        1 => Just(Step::Flush),
        1 => Just(Step::Crash),
    ];
    vec(step, 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn memory_script(script in script()) {
        check_script(&mut Memory::new(), &script).expect("no error");
    }

    #[test]
    fn views_script(script in script()) {
        check_script(&mut Served::new(), &script).expect("no error");
    }

    #[test]
    fn parquet_script(script in script(), flush_epochs_ms in 1..8u64, max_files in 1..4usize) {
        let options = Options { flush_epochs_ms, max_files, ..Options::default() };
        check_script(&mut Directory::new(options), &script).expect("no error");
    }
}
