//! Every ugly case of a start, as facts and the plan that follows.

use lsie_schemas::record::EpochRange;

use super::*;
use crate::checkpoint::manifest::{FileEntry, Witness};
use crate::epochs::accept;

const AUDIO: TopicPartition = TopicPartition { topic: Topic::AvAudio, partition: 0 };
const CONTROL: TopicPartition = TopicPartition { topic: Topic::Control, partition: 0 };

fn manifest(epoch: u64) -> Manifest {
    let position = |at, rewind, next| Position {
        at,
        next,
        rewind,
        witness: Some(Witness { offset: next - 1, log_time: LogTime(7), bytes: 70 }),
    };
    let upto = (epoch / 10) as i64;
    Manifest {
        epoch: LogTime(epoch),
        engine: "lsie".into(),
        workers: 2,
        config: "settings".into(),
        rewind: Some(LogTime(epoch - 10)),
        partitions: partitions(),
        positions: vec![position(CONTROL, upto, upto), position(AUDIO, upto - 1, upto)],
        stations: stations(),
        files: vec![file("base"), file(&format!("delta {epoch}"))],
        told: None,
    }
}

fn file(name: &str) -> FileEntry {
    FileEntry { name: name.into(), bytes: 9, sha256: "hash".into() }
}

fn partitions() -> BTreeMap<Topic, i32> {
    BTreeMap::from([(Topic::Control, 1), (Topic::AvAudio, 1)])
}

fn stations() -> BTreeMap<String, u32> {
    BTreeMap::from([("align".into(), 1)])
}

/// Two checkpoints, at 20 and 30, of a table that goes to 50; the sinks are ahead of both.
fn facts() -> Facts {
    let epoch = |number: i64| EpochRecord {
        log_time: LogTime(number as u64 * 10),
        ranges: [CONTROL, AUDIO].map(|at| EpochRange { at, from: number - 1, to: number }).to_vec(),
    };
    let manifests = [30, 20].map(|at| (manifest(at).name(), Ok(manifest(at)))).to_vec();
    let files = ["base", "delta 20", "delta 30"].map(|name| (name.to_string(), (9, "hash".to_string())));
    let remembered = [30, 20].into_iter().flat_map(|at| manifest(at).positions);
    let found = |p: Position| ((p.at, p.next - 1), Witnessed::There(LogTime(7), 70));
    Facts {
        manifests,
        files: files.into(),
        sinks: Some(LogTime(40)),
        bounds: bounds((0, 6)),
        partitions: partitions(),
        witnesses: remembered.map(found).collect(),
        table: (1..=5).map(epoch).collect(),
        config: "settings".into(),
        stations: stations(),
        healed: None,
    }
}

fn bounds(audio: (i64, i64)) -> BTreeMap<TopicPartition, (i64, i64)> {
    BTreeMap::from([(CONTROL, (0, 6)), (AUDIO, audio)])
}

fn changed(change: impl FnOnce(&mut Facts)) -> Plan {
    let mut facts = facts();
    change(&mut facts);
    plan(&facts)
}

/// The checkpoint that is resumed from, and how many newer ones are passed over for which reason.
fn resumed(plan: Plan) -> (u64, String) {
    match plan {
        Plan::Resume { manifest, passed_over } => (manifest.epoch.0, passed_over.join("; ")),
        other => panic!("not resumed: {other:?}"),
    }
}

fn refused(plan: Plan) -> String {
    match plan {
        Plan::Refuse { why, mend } => {
            assert!(!mend.is_empty());
            why
        }
        other => panic!("not refused: {other:?}"),
    }
}

fn replayed(plan: Plan) -> String {
    match plan {
        Plan::ReplayFromStart { passed_over } => passed_over.join("; "),
        other => panic!("not replayed: {other:?}"),
    }
}

#[test]
fn nothing_there_is_a_fresh_start() {
    assert_eq!(plan(&Facts { bounds: facts().bounds, ..Facts::default() }), Plan::Fresh);
}

#[test]
fn a_table_without_checkpoints_is_replayed() {
    assert_eq!(replayed(changed(|facts| facts.manifests.clear())), "");
}

#[test]
fn the_newest_checkpoint_is_resumed_from_also_with_the_sinks_ahead() {
    assert_eq!(resumed(plan(&facts())), (30, String::new()));
    assert_eq!(
        resumed(changed(|facts| facts.sinks = Some(LogTime(30)))).0,
        30,
        "or with the sinks just there"
    );
}

#[test]
fn a_torn_manifest_is_passed_over() {
    let torn =
        |facts: &mut Facts, at: usize| facts.manifests[at].1 = Err(ManifestError::Torn("cut off".into()));
    let (epoch, why) = resumed(changed(|facts| torn(facts, 0)));
    assert!(epoch == 20 && why.contains("torn: cut off"), "{why}");
    let why = replayed(changed(|facts| {
        torn(facts, 0);
        torn(facts, 1);
    }));
    assert_eq!(why.matches("torn").count(), 2);
}

#[test]
fn a_missing_or_damaged_file_leaves_the_older_checkpoint() {
    let (epoch, why) = resumed(changed(|facts| drop(facts.files.remove("delta 30"))));
    assert!(epoch == 20 && why.contains("delta 30 is missing"), "{why}");
    let (epoch, why) =
        resumed(changed(|facts| drop(facts.files.insert("delta 30".into(), (9, "other".into())))));
    assert!(epoch == 20 && why.contains("delta 30 is damaged"), "{why}");
    let (epoch, _) =
        resumed(changed(|facts| drop(facts.files.insert("delta 30".into(), (8, "hash".into())))));
    assert_eq!(epoch, 20, "a file that is too short");
    assert!(replayed(changed(|facts| drop(facts.files.remove("base")))).contains("base is missing"));
}

#[test]
fn an_extra_file_is_no_matter() {
    let plan = changed(|facts| drop(facts.files.insert("left over".into(), (1, "any".into()))));
    assert_eq!(resumed(plan).0, 30);
}

#[test]
fn sinks_behind_a_checkpoint_need_an_older_one_or_a_replay() {
    let (epoch, why) = resumed(changed(|facts| facts.sinks = Some(LogTime(29))));
    assert!(epoch == 20 && why.contains("hold epochs to 29 only"), "{why}");
    assert!(replayed(changed(|facts| facts.sinks = None)).contains("hold nothing only"));
}

#[test]
fn what_retention_has_taken_is_refused_by_name() {
    let truncated = |facts: &mut Facts| facts.bounds = bounds((2, 6));
    assert_eq!(resumed(changed(truncated)).0, 30, "it rewinds to 2");
    let why = refused(changed(|facts| facts.bounds = bounds((3, 6))));
    assert!(why.contains("av.audio") && why.contains("no longer holds the offsets 2 to 3"), "{why}");
    let why = refused(changed(|facts| {
        truncated(facts);
        facts.manifests.clear();
    }));
    assert!(why.contains("there is no checkpoint") && why.contains("offsets 0 to 2"), "{why}");
    let why = refused(changed(|facts| {
        truncated(facts);
        facts.sinks = None;
    }));
    assert!(why.contains("hold nothing only") && why.contains("offsets 0 to 2"), "{why}");
}

#[test]
fn a_topic_made_anew_is_refused() {
    let why = refused(changed(|facts| facts.bounds = bounds((0, 2))));
    assert!(why.contains("ends at offset 2, but 3 had been read"), "{why}");
    let why = refused(changed(|facts| {
        facts.witnesses.insert((AUDIO, 2), Witnessed::There(LogTime(8), 70));
    }));
    assert!(why.contains("another record at offset 2"), "{why}");
    let why = refused(changed(|facts| facts.table.clear()));
    assert!(why.contains("does not hold epoch 30"), "{why}");
    let why = refused(changed(|facts| facts.table[2].ranges[1].to = 9));
    assert!(why.contains("other offsets of av.audio"), "{why}");
    let expired = changed(|facts| {
        facts.witnesses.insert((AUDIO, 2), Witnessed::Gone);
    });
    assert_eq!(resumed(expired).0, 30, "an expired record says nothing");
}

#[test]
fn another_number_of_partitions_is_refused() {
    let why = refused(changed(|facts| {
        facts.partitions.insert(Topic::AvAudio, 2);
    }));
    assert!(why.contains("av.audio 1") && why.contains("av.audio 2"), "{why}");
}

#[test]
fn another_version_s_checkpoint_is_passed_over() {
    let (epoch, why) = resumed(changed(|facts| facts.manifests[0].1 = Err(ManifestError::Format(3))));
    assert!(epoch == 20 && why.contains("format 3, known is 2"), "{why}");
    let why = replayed(changed(|facts| {
        facts.stations.insert("align".into(), 2);
    }));
    assert!(why.contains("state of align in version 1"), "{why}");
    let why = replayed(changed(|facts| {
        facts.stations.insert("news".into(), 1);
    }));
    assert!(why.contains("no state of news"), "{why}");
}

#[test]
fn another_configuration_is_refused() {
    assert!(refused(changed(|facts| facts.config = "others".into())).contains("other settings"));
    let why = refused(changed(|facts| {
        facts.config = "others".into();
        facts.files.clear();
    }));
    assert!(why.contains("other settings"), "also where no checkpoint has its files: {why}");
}

#[test]
fn the_epochs_to_take_begin_where_the_checkpoint_rewinds_to() {
    let times = |manifest: &Manifest| -> Vec<u64> {
        epochs_from(manifest, facts().table).iter().map(|epoch| epoch.log_time.0).collect()
    };
    assert_eq!(times(&manifest(30)), [20, 30, 40, 50]);
    assert_eq!(times(&Manifest { rewind: None, ..manifest(30) }), [40, 50]);
}

/// Read from the rewind on it is the same table, as long as the checkpoint's own epoch is in it.
#[test]
fn behind_a_checkpoint_is_the_end_of_the_whole_table() {
    let whole = facts().table;
    let (accepted, end) = accept(whole.clone());
    for rewind in [None, Some(10), Some(20), Some(30), Some(40)] {
        let mut manifest = Manifest { rewind: rewind.map(LogTime), ..manifest(30) };
        let from = seen_from(&manifest).0;
        let before = accepted.iter().filter(|epoch| epoch.log_time.0 < from).count() as i64;
        manifest.positions.iter_mut().for_each(|position| position.rewind = before);
        let tail = |table: &[EpochRecord]| -> Vec<EpochRecord> {
            table.iter().filter(|epoch| epoch.log_time.0 >= from.min(30)).cloned().collect()
        };
        let mut entries = tail(&whole);
        // Of a coordinator that had been replaced.
        entries.insert(1, EpochRecord { log_time: LogTime(45), ranges: whole[4].ranges.clone() });
        let known = table_behind(&manifest, entries.clone());
        assert_eq!(known, Some((tail(&accepted), end.clone())), "from {rewind:?}");
        let own = entries.iter().position(|entry| entry.log_time.0 == 30).expect("its epoch");
        entries[own].ranges[0].to += 1;
        assert_eq!(table_behind(&manifest, entries.clone()), None, "another table, from {rewind:?}");
        entries.remove(own);
        assert_eq!(table_behind(&manifest, entries), None, "a shorter table, from {rewind:?}");
    }
}

/// An epoch without records could be of any table: what leads to it must be there too.
#[test]
fn a_checkpoint_of_an_empty_epoch_is_not_found_behind_a_gap() {
    let mut entries = facts().table;
    entries.truncate(3);
    entries[2].ranges.clear();
    let mut manifest = Manifest { rewind: Some(LogTime(20)), ..manifest(30) };
    for position in &mut manifest.positions {
        (position.rewind, position.next) = (1, 2);
    }
    let (table, at) = table_behind(&manifest, entries.clone()).expect("a table");
    assert_eq!((table, at), (entries[1..].to_vec(), Positions::from([(CONTROL, 2), (AUDIO, 2)])));
    entries.remove(1);
    assert_eq!(table_behind(&manifest, entries), None);
}

#[test]
fn nothing_goes_on_from_before_a_healing() {
    let healed = |facts: &mut Facts, at: u64| facts.healed = Some(LogTime(at));
    let (epoch, _) = resumed(changed(|facts| healed(facts, 30)));
    assert_eq!(epoch, 30, "its own checkpoint is as good as any");
    // Also under other settings: what is to be done is to finish it.
    let why = refused(changed(|facts| {
        healed(facts, 40);
        facts.config = "other settings".into();
    }));
    assert!(why.contains("healed at epoch 40") && why.contains("after it"), "{why}");
    let why = refused(changed(|facts| {
        healed(facts, 20);
        facts.manifests.clear();
    }));
    assert!(why.contains("no checkpoint from there on"), "{why}");
    let fresh = changed(|facts| {
        healed(facts, 20);
        facts.manifests.clear();
        facts.sinks = None;
    });
    assert_eq!(replayed(fresh), "", "a new target computes everything again");
}

#[test]
fn a_station_that_begins_empty_may_be_unknown() {
    let mut facts = facts();
    facts.stations.insert("gray_band".into(), 1);
    let known = facts.stations.clone();
    assert!(matches!(plan(&facts), Plan::Resume { .. }), "{:?}", plan(&facts));
    facts.stations.insert("another".into(), 1);
    assert!(!matches!(plan(&facts), Plan::Resume { .. }));
    facts.stations = known;
    facts.stations.insert("gray_band".into(), 2);
    assert!(matches!(plan(&facts), Plan::Resume { .. }), "it had no state");
}

#[test]
fn views_hold_their_state_or_all_that_they_were_made_of_is_kept() {
    let with = |formerly: &[(&str, u32)], views: &[&str]| {
        let mut facts = facts();
        facts.stations.extend(VIEWS.iter().map(|name| (name.to_string(), 1)));
        for manifest in facts.manifests.iter_mut().flat_map(|(_, manifest)| manifest) {
            manifest.stations.extend(formerly.iter().map(|(name, version)| (name.to_string(), *version)));
            manifest.stations.extend(views.iter().map(|name| (name.to_string(), 1)));
        }
        matches!(plan(&facts), Plan::Resume { .. })
    };
    assert!(with(&FORMERLY, &[]) && with(&[], &VIEWS));
    assert!(!with(&FORMERLY[1..], &[]), "an input is missing");
    assert!(!with(&[], &VIEWS[1..]), "a view is missing");
    assert!(!with(&FORMERLY, &VIEWS[..1]) && !with(&[], &[]));
}

#[test]
fn a_topic_that_became_an_input_later_may_be_unknown() {
    let mut facts = facts();
    facts.partitions.insert(Topic::Answers, 4);
    assert!(matches!(plan(&facts), Plan::Resume { .. }), "{:?}", plan(&facts));
    facts.partitions.insert(Topic::Outcomes, 4);
    assert!(refused(plan(&facts)).contains("outcomes 4"));
}
