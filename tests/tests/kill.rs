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

/// A live run that was killed once a condition held of its checkpoint store.
fn killed_when(site: &Site, holds: impl Fn(&Store) -> bool) -> Store {
    let mut running = site.start(2, &[]);
    let store = Store::in_folder(&site.path("live-checkpoints")).expect("the checkpoint store");
    for _ in 0..2_400 {
        if holds(&store) {
            running.kill().expect("a kill");
            running.wait().expect("a process");
            return store;
        }
        assert!(running.try_wait().expect("a process").is_none(), "it ended: {}", site.said());
        std::thread::sleep(Duration::from_millis(50));
    }
    running.kill().expect("a kill");
    panic!("it never came to that: {}", site.said());
}

fn newest(store: &Store) -> Option<Manifest> {
    recovery::facts::newest(store).expect("the store answers")
}

#[test]
fn where_the_newest_checkpoint_is_damaged_an_older_one_is_gone_on_from() {
    let site = Site::new("torn", 1).with(&[("LSIE_LOG", "info")]);
    let manifests = |store: &Store| store.list(manifest::FOLDER).expect("a list");
    let store = killed_when(&site, |store| manifests(store).len() > 1);
    let newest = manifests(&store).pop().expect("a manifest");
    std::fs::write(site.path("live-checkpoints").join(newest), "damaged").expect("a file");
    site.finish_and_compare(1);
    assert!(site.said().contains("an older one is"), "{}", site.said());
}

/// What was decided by the end of the epoch table is decided again by all of it.
#[test]
fn where_no_checkpoint_will_do_it_begins_with_the_first_epoch_of_the_table() {
    let site = Site::new("damaged", 1).with(&[("LSIE_LOG", "info")]);
    let log = embedded::open(&site.path("log"));
    let entries =
        || epochs::read_table(&log).expect("the log answers").map_or(Vec::new(), |table| table.entries);
    // From then on the end of the table is not all of it.
    killed_when(&site, |store| {
        let first = entries().first().map(|epoch| epoch.log_time);
        newest(store).is_some_and(|newest| Some(recovery::seen_from(&newest)) > first)
    });
    for file in std::fs::read_dir(site.path("live-checkpoints/state")).expect("a folder") {
        std::fs::write(file.expect("a file").path(), "damaged").expect("a file");
    }
    let all = entries().len();
    site.finish_and_compare(1);
    assert!(site.said().contains("replayed from its beginning"), "{}", site.said());
    assert_eq!(site.epochs_at_last_start(), Some(all));
    let all = entries().len();
    site.goes_on(1);
    let read = site.epochs_at_last_start().expect("it goes on from a checkpoint");
    assert!(read < all, "the next start reads the end of the table: {read} of {all}");
}

/// One record that cannot be decoded, and one whose picture cannot be measured, without the process dying.
#[test]
fn a_record_over_which_it_dies_again_and_again_is_filed_and_the_run_goes_on() {
    let site = Site::new("poison", 1).with(&[("LSIE_LOG", "info")]);
    let log = embedded::open(&site.path("log"));
    let store = Store::in_folder(&site.path("live-checkpoints")).expect("the checkpoint store");
    let inputs = epochs::input_partitions(&log).expect("the log answers");
    let end = |at: TopicPartition| log.bounds(at).expect("the log answers").1;
    let with_records = |topic| {
        let mut partitions = inputs.iter().map(|(at, _)| *at).filter(|at| at.topic == topic);
        partitions.find(|at| end(*at) > 100).expect("a partition with records")
    };
    let (video, audio) = (with_records(Topic::AvVideo), with_records(Topic::AvAudio));
    let quarantined = || {
        let table = epochs::read_table(&log).expect("the log answers").expect("the topic");
        table.told.quarantined.len()
    };
    // What is decoded is noted after a run that did not end in order, until all is committed that was there at the start:
    // the first death over a record that came after that leaves no note.
    for (stage, at, offset, unnoted) in [("measure", video, 30, 0), ("decode", audio, end(audio) - 10, 1)] {
        let deadly = format!("{stage} {at} {offset}");
        let survives = |_: &u32| {
            let died = site.dies_over(&deadly, at, offset);
            // By the end of the log there is a checkpoint. A start that refuses puts nothing into quarantine, whoever is guilty.
            if died && stage == "decode" {
                assert!(newest(&store).is_some(), "there is a checkpoint");
                let said = site.refuses("LSIE_SESSION_MAX_WAIT_MS", "61000");
                assert!(said.contains("other settings"), "{said}");
                assert_eq!(quarantined(), 1, "the first of the two: {said}");
            }
            !died
        };
        let deaths = (0..).find(survives).unwrap_or_default();
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
    assert_eq!(newest(&store).expect("a manifest").told, Some(table.told));
    let reader = Reader::open(&site.path("live")).expect("tables");
    let letters = reader.changes(&DeadLetterRow::TABLE).map(|change| change.expect("a row"));
    let poisoned = letters.filter(|change| change.row.contains(&Cell::Text("poisoned".into())));
    assert_eq!(poisoned.count(), 2, "both are filed, with their reason");
}
