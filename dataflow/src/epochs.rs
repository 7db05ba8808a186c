//! The epoch table: which entries count, and the rule that makes one for topics that have none.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lsie_schemas::log::{Fetch, Log, LogError, LogRecord, TopicPartition};
use lsie_schemas::record::{Control, EpochRange, EpochRecord, Erasure, Healing, QuarantineRecord, Record};
use lsie_schemas::topic::DAY_MS;
use lsie_schemas::{LogTime, Topic, codec};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Positions reached: one past the last offset of each partition that belongs to an epoch.
pub type Positions = BTreeMap<TopicPartition, i64>;

/// The epochs of a table that count, and where they end. First entry by offset wins: an entry that does not
/// begin where its predecessors ended, or does not move log time on, was written by a coordinator that had
/// been replaced, and is passed over. A partition's first range may begin anywhere.
pub fn accept(entries: impl IntoIterator<Item = EpochRecord>) -> (Vec<EpochRecord>, Positions) {
    accept_after(None, Positions::new(), entries)
}

/// The same of entries that follow on epochs up to a log time, which ended at these positions.
pub fn accept_after(
    before: Option<LogTime>,
    mut at: Positions,
    entries: impl IntoIterator<Item = EpochRecord>,
) -> (Vec<EpochRecord>, Positions) {
    let mut accepted: Vec<EpochRecord> = Vec::new();
    for entry in entries {
        let last = accepted.last().map(|last| last.log_time).or(before);
        let later = last.is_none_or(|last| last < entry.log_time);
        let joins = entry.ranges.iter().all(|range| at.get(&range.at).is_none_or(|to| *to == range.from));
        if later && joins {
            at.extend(entry.ranges.iter().map(|range| (range.at, range.to)));
            accepted.push(entry);
        }
    }
    (accepted, at)
}

/// What topic `epochs` holds.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Its epochs, also those that do not count ([`accept`]).
    pub entries: Vec<EpochRecord>,
    /// What else it says.
    pub told: Told,
}

/// What topic `epochs` says besides the epochs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    /// The records that are filed wherever they are met.
    pub quarantined: BTreeSet<(TopicPartition, i64)>,
    /// When dead letters were healed, without their records: these are for people.
    pub healings: Vec<Healing>,
    /// The sessions that were erased.
    pub erasures: Vec<Erasure>,
}

impl Told {
    /// Takes in what is told later, of which some may be known.
    pub fn then(&mut self, later: Told) {
        fn add<T: PartialEq>(known: &mut Vec<T>, later: Vec<T>) {
            for told in later {
                if !known.contains(&told) {
                    known.push(told);
                }
            }
        }
        self.quarantined.extend(later.quarantined);
        add(&mut self.healings, later.healings);
        add(&mut self.erasures, later.erasures);
    }

    /// Healings count whose epoch does.
    pub fn accept(&mut self, table: &[EpochRecord]) {
        self.healings.retain(|healing| table.iter().any(|epoch| epoch.log_time == healing.at));
    }
}

/// The one partition of topic `epochs`.
pub(crate) const TABLE: TopicPartition = TopicPartition { topic: Topic::Epochs, partition: 0 };

/// Reads the table of a log to its end; `None` when the topic does not exist.
pub fn read_table(log: &dyn Log) -> Result<Option<Table>, LogError> {
    read_table_from(log, 0)
}

/// The same from an offset on.
pub fn read_table_from(log: &dyn Log, offset: i64) -> Result<Option<Table>, LogError> {
    if log.topic(Topic::Epochs)?.is_none() {
        return Ok(None);
    }
    let mut table = Table::default();
    read_from(log, &[TABLE], &Positions::from([(TABLE, offset)]), |record| {
        // A malformed entry was not written by a coordinator; positions tell whether one is missing.
        match EpochRecord::decode(&record.value) {
            Ok(epoch) => table.entries.push(epoch),
            Err(_) => {
                let quarantined = QuarantineRecord::decode(&record.value);
                let healing = Healing::decode(&record.value);
                table.told.then(Told {
                    quarantined: quarantined.map(|record| (record.at, record.offset)).into_iter().collect(),
                    healings: healing
                        .map(|told| Healing { records: Vec::new(), ..told })
                        .into_iter()
                        .collect(),
                    erasures: Erasure::decode(&record.value).into_iter().collect(),
                });
            }
        }
    })?;
    Ok(Some(table))
}

/// The epoch that a record belongs to.
pub fn epoch_of(table: &[EpochRecord], at: TopicPartition, offset: i64) -> Option<LogTime> {
    let holds = |epoch: &&EpochRecord| {
        epoch.ranges.iter().any(|range| range.at == at && (range.from..range.to).contains(&offset))
    };
    table.iter().find(holds).map(|epoch| epoch.log_time)
}

/// Takes the epochs before a log time off a table, all but their experiment records. Gives the positions
/// where the range begins: for the partitions that the epochs taken off had reached.
pub fn skip(table: &mut Vec<EpochRecord>, before: LogTime) -> Positions {
    let mut skipped = Positions::new();
    for epoch in table.iter_mut().filter(|epoch| epoch.log_time < before) {
        let taken_off = epoch.ranges.extract_if(.., |range| range.at.topic != Topic::Experiments);
        skipped.extend(taken_off.map(|range| (range.at, range.to)));
    }
    table.retain(|epoch| epoch.log_time >= before || !epoch.ranges.is_empty());
    skipped
}

/// The sessions that have a start record before these positions.
pub fn begun_before(log: &dyn Log, positions: &Positions) -> Result<BTreeSet<Uuid>, LogError> {
    let control: Vec<_> = positions.keys().copied().filter(|at| at.topic == Topic::Control).collect();
    let mut begun = BTreeSet::new();
    read_to_end(log, &control, |record| {
        if positions.get(&record.at).is_some_and(|to| record.offset < *to)
            && let Ok(Record::Control(Control::Start(start))) = codec::decode(&record)
        {
            begun.insert(start.session_id);
        }
    })?;
    Ok(begun)
}

/// The engine's input partitions in canonical order, each from its first retained offset.
pub fn input_partitions(log: &dyn Log) -> Result<Vec<(TopicPartition, i64)>, LogError> {
    let mut found = Vec::new();
    for topic in crate::ingest::INPUTS {
        let state = log
            .topic(topic)?
            .ok_or_else(|| LogError::Missing(format!("topic {topic}; `lsie topics create` makes the set")))?;
        found.extend((0..state.partitions).map(|partition| TopicPartition { topic, partition }));
    }
    let bounds = log.bounds_of(&found)?;
    Ok(found.into_iter().filter_map(|at| Some((at, bounds.get(&at)?.0))).collect())
}

/// How a table is made where there is none.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// Length of an epoch in ms.
    pub epoch_ms: u64,
    /// A timestamp further than this ahead of all other partitions, from which its own partition comes back,
    /// does not pull time forward.
    pub max_clock_step_ms: u64,
    /// Log time to add after the last record so that timers due by then fire, and twice as much in gaps that are longer. It is
    /// added in steps of half: what one closes can still be asked about, and the answer enters at the next.
    pub tail_ms: u64,
}

/// Makes the table of a recorded topic set by rule: per partition the running maximum of timestamps, cut
/// every `epoch_ms`.
pub fn by_rule(
    log: &dyn Log,
    from: &[(TopicPartition, i64)],
    cut: Cut,
) -> Result<Vec<EpochRecord>, LogError> {
    let mut runs: BTreeMap<TopicPartition, Vec<Run>> = BTreeMap::new();
    let partitions: Vec<TopicPartition> = from.iter().map(|(at, _)| *at).collect();
    read_to_end(log, &partitions, |record| {
        let bucket = record.log_time.0 / cut.epoch_ms;
        let runs = runs.entry(record.at).or_default();
        match runs.last_mut().filter(|run| run.bucket == bucket) {
            Some(run) => run.to = record.offset + 1,
            None => runs.push(Run { bucket, to: record.offset + 1 }),
        }
    })?;
    Ok(merge(runs, &from.iter().copied().collect(), cut))
}

/// Consecutive records of one partition in the same epoch-long bucket of log time.
#[derive(Clone, Copy, Debug)]
struct Run {
    bucket: u64,
    to: i64,
}

fn merge(mut runs: BTreeMap<TopicPartition, Vec<Run>>, from: &Positions, cut: Cut) -> Vec<EpochRecord> {
    bind_steps(&mut runs, cut.max_clock_step_ms / cut.epoch_ms, DAY_MS / cut.epoch_ms);
    let mut uppers: BTreeMap<u64, Vec<(TopicPartition, i64)>> = BTreeMap::new();
    for (at, runs) in &runs {
        let mut highest = 0;
        for run in runs {
            highest = run.bucket.max(highest);
            uppers.entry(highest).or_default().push((*at, run.to));
        }
    }
    let mut at = from.clone();
    let mut epochs: Vec<EpochRecord> = Vec::new();
    for (bucket, ends) in uppers {
        let mut ranges: BTreeMap<TopicPartition, EpochRange> = BTreeMap::new();
        for (partition, to) in ends {
            let from = at.insert(partition, to).unwrap_or(0);
            let range = ranges.entry(partition).or_insert(EpochRange { at: partition, from, to });
            range.to = to;
        }
        let log_time = LogTime(bucket.saturating_add(1).saturating_mul(cut.epoch_ms));
        epochs.push(EpochRecord { log_time, ranges: ranges.into_values().collect() });
    }
    with_tails(epochs, cut.tail_ms)
}

/// Adds log time after the last record, and twice as much wherever none comes for longer than that: what a live run would
/// have closed in the meantime, be it that a session has no end, does not wait for a record of days later.
fn with_tails(epochs: Vec<EpochRecord>, tail_ms: u64) -> Vec<EpochRecord> {
    if tail_ms == 0 {
        return epochs;
    }
    let mut with = Vec::with_capacity(epochs.len() + 2);
    let mut epochs = epochs.into_iter().peekable();
    while let Some(epoch) = epochs.next() {
        let (at, next) = (epoch.log_time, epochs.peek().map(|next| next.log_time));
        with.push(epoch);
        let half = tail_ms.div_ceil(2);
        let steps = match next {
            Some(next) if next <= at.plus_ms(tail_ms) => &[][..],
            Some(_) => &[half, tail_ms, tail_ms + half, 2 * tail_ms],
            None => &[half, tail_ms],
        };
        let times =
            steps.iter().map(|step| at.plus_ms(*step)).filter(|time| next.is_none_or(|next| *time < next));
        with.extend(times.map(|log_time| EpochRecord { log_time, ranges: Vec::new() }));
    }
    with.dedup_by_key(|epoch| epoch.log_time);
    with
}

/// Takes clock steps out: a run more than `step` ahead of the time before it, after which its own partition
/// comes back to about that time, counts at the time before it. A late tail (an end record long after the
/// last sample) does not come back and moves time on, unless it is further than a day ahead of all others.
fn bind_steps(runs: &mut BTreeMap<TopicPartition, Vec<Run>>, step: u64, day: u64) {
    let latest: Vec<(TopicPartition, u64)> =
        runs.iter().filter_map(|(at, runs)| Some((*at, runs.iter().map(|run| run.bucket).min()?))).collect();
    let first = runs.values().filter_map(|runs| Some(runs.first()?.bucket)).min().unwrap_or(0);
    for (at, runs) in runs {
        let others = latest.iter().filter(|(other, _)| other != at).map(|(_, bucket)| *bucket).max();
        let mut before = first;
        for i in 0..runs.len() {
            let bucket = runs[i].bucket;
            let ahead = bucket > before.saturating_add(step);
            let back = before.saturating_sub(step)..bucket.saturating_sub(step);
            let comes_back = ahead && runs[i + 1..].iter().any(|later| back.contains(&later.bucket));
            let absurd =
                ahead && others.is_some_and(|others| bucket > others.max(before).saturating_add(day));
            if comes_back || absurd {
                runs[i].bucket = before;
            }
            before = runs[i].bucket.max(before);
        }
    }
}

/// Reads partitions from their first retained to their present end offset.
pub(crate) fn read_to_end(
    log: &dyn Log,
    partitions: &[TopicPartition],
    each: impl FnMut(LogRecord),
) -> Result<(), LogError> {
    read_from(log, partitions, &Positions::new(), each)
}

/// The same from these positions on; a partition that has none is read from its beginning.
pub(crate) fn read_from(
    log: &dyn Log,
    partitions: &[TopicPartition],
    positions: &Positions,
    mut each: impl FnMut(LogRecord),
) -> Result<(), LogError> {
    let mut from = Vec::new();
    let mut ends = BTreeMap::new();
    for (at, (first, end)) in log.bounds_of(partitions)? {
        let start = positions.get(&at).map_or(first, |position| first.max(*position));
        if start < end {
            from.push((at, start));
            ends.insert(at, end);
        }
    }
    if from.is_empty() {
        return Ok(());
    }
    let mut reader = log.reader(&from, Fetch::default())?;
    loop {
        let open = ends.iter().any(|(at, end)| reader.position(*at).is_none_or(|position| position < *end));
        if !open {
            return Ok(());
        }
        for record in reader.poll(Duration::from_millis(100))? {
            if ends.get(&record.at).is_some_and(|end| record.offset < *end) {
                each(record);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use lsie_schemas::row::DecisionRow;
    use lsie_schemas::table::Json;

    use super::*;

    const AUDIO: TopicPartition = TopicPartition { topic: Topic::AvAudio, partition: 0 };
    const CONTROL: TopicPartition = TopicPartition { topic: Topic::Control, partition: 0 };

    fn epoch(log_time: u64, ranges: &[(TopicPartition, i64, i64)]) -> EpochRecord {
        let ranges =
            ranges.iter().map(|(at, from, to)| EpochRange { at: *at, from: *from, to: *to }).collect();
        EpochRecord { log_time: LogTime(log_time), ranges }
    }

    fn runs(buckets: &[u64]) -> Vec<Run> {
        buckets.iter().enumerate().map(|(i, bucket)| Run { bucket: *bucket, to: i as i64 + 1 }).collect()
    }

    const CUT: Cut = Cut { epoch_ms: 250, max_clock_step_ms: 10_000, tail_ms: 0 };

    #[test]
    fn the_first_entry_wins_and_a_replaced_coordinator_is_passed_over() {
        let first = epoch(250, &[(AUDIO, 0, 5)]);
        let rival = epoch(300, &[(AUDIO, 0, 7)]);
        let backwards = epoch(200, &[(AUDIO, 5, 6)]);
        let second = epoch(500, &[(CONTROL, 0, 1), (AUDIO, 5, 9)]);
        let table = [first.clone(), rival, backwards, second.clone()];
        let (accepted, at) = accept(table);
        assert_eq!(accepted, [first, second]);
        assert_eq!(at, Positions::from([(CONTROL, 1), (AUDIO, 9)]));
    }

    #[test]
    fn timestamps_are_cut_by_their_running_maximum() {
        let table = merge(
            BTreeMap::from([(CONTROL, runs(&[4, 7])), (AUDIO, runs(&[4, 5, 4, 6]))]),
            &Positions::new(),
            CUT,
        );
        let expected = [
            epoch(1_250, &[(CONTROL, 0, 1), (AUDIO, 0, 1)]),
            epoch(1_500, &[(AUDIO, 1, 3)]),
            epoch(1_750, &[(AUDIO, 3, 4)]),
            epoch(2_000, &[(CONTROL, 1, 2)]),
        ];
        assert_eq!(table, expected);
    }

    #[test]
    fn a_clock_step_is_bound_to_the_time_before_it() {
        let table = merge(
            BTreeMap::from([(CONTROL, runs(&[4, 14_404, 6])), (AUDIO, runs(&[4, 6]))]),
            &Positions::new(),
            CUT,
        );
        let times: Vec<u64> = table.iter().map(|epoch| epoch.log_time.0).collect();
        assert_eq!(times, [1_250, 1_750]);
        assert_eq!(table[0].ranges[0], EpochRange { at: CONTROL, from: 0, to: 2 });
    }

    #[test]
    fn neither_a_low_stamp_nor_an_absurd_tail_moves_the_others() {
        let table = merge(
            BTreeMap::from([(CONTROL, runs(&[4, 0, 6, u64::MAX / 250])), (AUDIO, runs(&[4, 6]))]),
            &Positions::new(),
            CUT,
        );
        let times: Vec<u64> = table.iter().map(|epoch| epoch.log_time.0).collect();
        assert_eq!(times, [1_250, 1_750]);
    }

    #[test]
    fn a_late_end_is_no_clock_step() {
        let table = merge(
            BTreeMap::from([(CONTROL, runs(&[4, 404])), (AUDIO, runs(&[4, 6]))]),
            &Positions::new(),
            CUT,
        );
        assert_eq!(table.last().map(|epoch| epoch.log_time), Some(LogTime(405 * 250)));
    }

    #[test]
    fn a_tail_lets_timers_fire_also_in_a_long_gap() {
        let cut = Cut { tail_ms: 60_000, ..CUT };
        let table = merge(BTreeMap::from([(AUDIO, runs(&[4, 244, 700]))]), &Positions::new(), cut);
        let expected = [
            epoch(1_250, &[(AUDIO, 0, 1)]),
            epoch(61_250, &[(AUDIO, 1, 2)]),
            epoch(91_250, &[]),
            epoch(121_250, &[]),
            epoch(151_250, &[]),
            epoch(175_250, &[(AUDIO, 2, 3)]),
            epoch(205_250, &[]),
            epoch(235_250, &[]),
        ];
        assert_eq!(table, expected);
    }

    /// Manifests hold it, and are read by every later version.
    #[test]
    fn what_was_told_is_written_as_ever() {
        let session = Uuid::from_u128(0x1111_1111_1111_4111_8111_1111_1111_1111);
        let selection = DecisionRow {
            session_id: session,
            experiment_id: "greeting".into(),
            selection_method: "thompson_sampling".into(),
            selection_time_utc: LogTime(1_767_607_200_000).as_event(),
            policy_version: "ts-1".into(),
            selected_arm_id: "a".into(),
            candidate_arm_ids: vec!["a".into(), "b".into()],
            posterior_by_arm: Json::new(&serde_json::json!({"a": {"alpha": 1.5}})),
            sampled_theta_by_arm: Json::new(&serde_json::json!({"a": 0.25})),
            expected_greeting: "hello".into(),
            decision_context_hash: "00".into(),
            random_seed: "7".into(),
        };
        let told = Told {
            quarantined: BTreeSet::from([(AUDIO, 17)]),
            healings: vec![Healing { at: LogTime(250), records: Vec::new(), selections: vec![selection] }],
            erasures: vec![Erasure { session_id: session, events: vec![session] }],
        };
        let written = r#"{"quarantined":[[{"topic":"av.audio","partition":0},17]],"healings":[{"at":250,"records":[],"selections":[{
            "session_id":"11111111-1111-4111-8111-111111111111","experiment_id":"greeting",
            "selection_method":"thompson_sampling","selection_time_utc":1767607200000000,"policy_version":"ts-1",
            "selected_arm_id":"a","candidate_arm_ids":["a","b"],"posterior_by_arm":"{\"a\":{\"alpha\":1.5}}",
            "sampled_theta_by_arm":"{\"a\":0.25}","expected_greeting":"hello","decision_context_hash":"00",
            "random_seed":"7"}]}],"erasures":[{"session_id":"11111111-1111-4111-8111-111111111111",
            "events":["11111111-1111-4111-8111-111111111111"]}]}"#;
        let known: serde_json::Value = serde_json::from_str(written).expect("JSON");
        assert_eq!(serde_json::to_value(&told).expect("JSON"), known);
        assert_eq!(serde_json::from_str::<Told>(written).expect("what was told"), told);
    }
}
