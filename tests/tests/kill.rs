//! The real binary, killed: at every named place, during recovery too, and at random moments. What is left in
//! the end is what an undisturbed replay of the same epoch table gives.

use std::time::Duration;

use lsie_dataflow::checkpoint::manifest::{self, Manifest};
use lsie_dataflow::checkpoint::store::Store;
use lsie_dataflow::{epochs, recovery};
use lsie_schemas::log::{Log, TopicPartition};
use lsie_schemas::row::DeadLetterRow;
use lsie_schemas::{Cell, TableRow, Topic};
use lsie_sinks::parquet::Reader;
use lsie_tests::embedded;
use lsie_tests::site::Site;

/// Every place at which the binary can be made to die, with how often it has come by then.
const PLACES: [&str; 12] = [
    "commit.written:9",
    "checkpoint.state",
    "checkpoint.manifest",
    "recovery.restored",
    "checkpoint.manifest:3",
    "checkpoint.written:2",
    "recovery.facts",
    "checkpoint.collect:3",
    "commit.flushed:2",
    "recovery.restored",
    "checkpoint.state:4",
    "commit.written:200",
];
#[test]
fn killed_at_every_named_place_it_goes_on_as_if_nothing_had_happened() {
    let site = Site::new("places", 1);
    for (number, place) in PLACES.into_iter().enumerate() {
        let mut running = site.start([1, 2, 4, 1][number % 4], &["--die-at", place]);
        let ended = running.wait().expect("a process");
        assert_eq!(ended.code(), None, "it died at {place}: {ended}, {}", site.said());
    }
    site.finish_and_compare(1);
}

/// The seed is the number in the name of the sessions; another one is another test.
#[test]
fn killed_at_random_moments_it_goes_on_as_if_nothing_had_happened() {
    let site = Site::new("moments-1", 1);
    let mut seed = 1u64;
    for number in 0..8 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut running = site.start([2, 1, 3, 4][number % 4], &[]);
        std::thread::sleep(Duration::from_millis(300 + (seed >> 33) % 3_000));
        assert!(running.try_wait().expect("a process").is_none(), "it ended by itself: {}", site.said());
        running.kill().expect("a kill");
        running.wait().expect("a process");
    }
    site.finish_and_compare(2);
}

/// What was decided by the end of the epoch table is decided again by all of it.
#[test]
fn an_older_checkpoint_is_gone_on_from_where_the_newest_was_damaged() {
    let site = Site::new("damaged", 1).with(&[("LSIE_LOG", "info")]);
    let mut running = site.start(2, &[]);
    let store = || Store::in_folder(&site.path("live-checkpoints")).expect("the checkpoint store");
    let manifests = || store().list(manifest::FOLDER).expect("a list").len();
    while manifests() < 2 {
        assert!(running.try_wait().expect("a process").is_none(), "it ended: {}", site.said());
        std::thread::sleep(Duration::from_millis(50));
    }
    running.kill().expect("a kill");
    running.wait().expect("a process");
    let store = store();
    let named = |name: &String| -> Vec<String> {
        let content = store.get(name).expect("a file").expect("it is there");
        Manifest::decode(&content).expect("a manifest").files.into_iter().map(|file| file.name).collect()
    };
    let manifests = store.list(manifest::FOLDER).expect("a list");
    let [.., older, newest] = manifests.as_slice() else { panic!("two of {manifests:?}") };
    let known = named(older);
    let file = named(newest).into_iter().find(|file| !known.contains(file)).expect("a file of its own");
    std::fs::write(site.path("live-checkpoints").join(file), "damaged").expect("a file");
    let log = embedded::open(&site.path("log"));
    let (table, _) =
        epochs::accept(epochs::read_table(&log).expect("the log answers").expect("the topic").entries);
    site.finish_and_compare(1);
    assert!(site.said().contains("an older one is"), "{}", site.said());
    assert_eq!(site.epochs_at_last_start(), Some(table.len()), "all of the table");
}

/// One record that cannot be decoded, and one whose picture cannot be measured, without the process dying.
#[test]
fn a_record_over_which_it_dies_again_and_again_is_filed_and_the_run_goes_on() {
    let site = Site::new("poison", 1).with(&[("LSIE_LOG", "info")]);
    let log = embedded::open(&site.path("log"));
    let inputs = epochs::input_partitions(&log).expect("the log answers");
    let end = |at: TopicPartition| log.bounds(at).expect("the log answers").1;
    let with_records = |topic| {
        let mut partitions = inputs.iter().map(|(at, _)| *at).filter(|at| at.topic == topic);
        partitions.find(|at| end(*at) > 100).expect("a partition with records")
    };
    let (video, audio) = (with_records(Topic::AvVideo), with_records(Topic::AvAudio));
    // What is decoded is noted after a run that did not end in order, until all is committed that was there at the start:
    // the first death over a record that came after that leaves no note.
    for (stage, at, offset, unnoted) in [("measure", video, 30, 0), ("decode", audio, end(audio) - 10, 1)] {
        let deadly = format!("{stage} {at} {offset}");
        let deaths = (0..).find(|_| !site.dies_over(&deadly, at, offset)).unwrap_or_default();
        assert!((3..=3 + unnoted).contains(&deaths), "{deaths} deaths over {deadly}: {}", site.said());
    }
    site.finish_and_compare(1);
    let table = epochs::read_table(&log).expect("the log answers").expect("the topic");
    assert_eq!(table.told.quarantined.len(), 2, "and no other: {:?}", table.told.quarantined);
    // A start reads topic `epochs` from where the checkpoint needs it; what was told before is in the manifest, and goes on
    // into the next.
    site.goes_on(2);
    let (read, all) =
        (site.epochs_at_last_start().expect("it went on from a checkpoint"), table.entries.len());
    assert!(read * 2 < all, "{read} epochs of {all} were read");
    let store = Store::in_folder(&site.path("live-checkpoints")).expect("the checkpoint store");
    let newest = recovery::facts::newest(&store).expect("the store answers").expect("a manifest");
    assert_eq!(newest.told, Some(table.told));
    let reader = Reader::open(&site.path("live")).expect("tables");
    let letters = reader.changes(&DeadLetterRow::TABLE).map(|change| change.expect("a row"));
    let poisoned = letters.filter(|change| change.row.contains(&Cell::Text("poisoned".into())));
    assert_eq!(poisoned.count(), 2, "both are filed, with their reason");
}
