//! Decoding: a record of the log becomes one the operators know, or a dead letter with its reason.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lsie_operators::align::{Align, AlignSnapshot, Aligned, Arrived, Class, Limits, classified};
use lsie_operators::logic::Logic;
use lsie_schemas::log::LogRecord;
use lsie_schemas::record::{DeadLetter, Record};
use lsie_schemas::topic::partition_of;
use lsie_schemas::{LogTime, Topic, codec};

use crate::crash_book::{Page, Place};
use crate::ingest::Ingested;
use crate::{fault, view};

/// A record after decoding, or the dead letter it became.
#[derive(Clone, Debug)]
pub(crate) enum Decoded {
    Arrived(Box<Arrived>),
    Rejected(Box<(LogRecord, codec::Rejection)>),
    Tick,
}

/// How records are decoded.
pub(crate) struct Decode {
    /// How many partitions each input topic has.
    pub(crate) partitions: BTreeMap<Topic, i32>,
    /// What the process would die over is noted here.
    pub(crate) page: Page,
    /// Records that are filed, for the process has died over them.
    pub(crate) quarantined: Arc<BTreeSet<Place>>,
}

impl Decode {
    pub(crate) fn item(&self, item: Ingested) -> Decoded {
        let Ingested::Record(raw) = item else { return Decoded::Tick };
        let place = (raw.at, raw.offset);
        let decoded = match self.quarantined.contains(&place) {
            true => Err(codec::Rejection::new("poisoned", "the engine has died over it again and again")),
            false => self.page.work(place, || {
                fault::over("decode", raw.at, raw.offset);
                codec::decode(&raw)
            }),
        };
        match decoded.and_then(|record| in_its_partition(&raw, record, &self.partitions)) {
            Ok(record) => Decoded::Arrived(Box::new(Arrived { raw, record })),
            Err(rejection) => Decoded::Rejected(Box::new((raw, rejection))),
        }
    }
}

/// A session's records must be in the partition of its key: elsewhere another worker would get them, and
/// results would depend on the number of workers.
fn in_its_partition(
    raw: &LogRecord,
    record: Record,
    partitions: &BTreeMap<Topic, i32>,
) -> Result<Record, codec::Rejection> {
    let count = partitions.get(&raw.at.topic).copied().unwrap_or(1);
    let belongs = partition_of(raw.key.as_deref().unwrap_or_default(), count);
    if count == 1 || belongs == raw.at.partition {
        return Ok(record);
    }
    let detail = format!("its key belongs to partition {belongs} (murmur2, as Kafka's default partitioner)");
    Err(codec::Rejection::new("wrong_partition", detail))
}

/// Alignment behind decoding: what could not be decoded has its class already.
pub(crate) struct Alignment(Align);

impl Alignment {
    pub(crate) fn new(limits: Limits) -> Alignment {
        Alignment(Align::new(limits))
    }
}

impl Logic for Alignment {
    type Record = Decoded;
    type Output = Aligned;
    type Snapshot = AlignSnapshot;

    fn on_epoch(&mut self, epoch: LogTime, decoded: Vec<Decoded>, out: &mut Vec<Aligned>) {
        let mut records = Vec::with_capacity(decoded.len());
        for item in decoded {
            match item {
                Decoded::Arrived(arrived) => {
                    let asked = view::asked(&arrived.raw, &arrived.record);
                    out.extend(asked.map(|row| Aligned::Asked(Box::new(row))));
                    records.push(*arrived);
                }
                Decoded::Rejected(rejected) => {
                    let (raw, why) = *rejected;
                    out.push(Aligned::Classified(classified(&raw, Class::Filed, &why.reason)));
                    out.push(Aligned::Dead(DeadLetter::new(&raw, why)));
                }
                Decoded::Tick => {}
            }
        }
        self.0.on_epoch(epoch, records, out);
    }

    fn snapshot(&self) -> AlignSnapshot {
        self.0.snapshot()
    }

    fn restore(&mut self, snapshot: AlignSnapshot) {
        self.0.restore(snapshot);
    }

    fn rewind(&self) -> Option<LogTime> {
        self.0.rewind()
    }

    fn rebuild(&mut self, epoch: LogTime, decoded: Vec<Decoded>, again: &mut Vec<Aligned>) {
        let arrived = decoded.into_iter().filter_map(|item| match item {
            Decoded::Arrived(arrived) => Some(*arrived),
            Decoded::Rejected(_) | Decoded::Tick => None,
        });
        let arrived: Vec<Arrived> = arrived.collect();
        // Open requests are made of sound whose segment has closed here.
        let sound = arrived.iter().filter(|arrived| matches!(arrived.record, Record::Audio(_)));
        again.extend(sound.cloned().map(Arc::new).map(Aligned::Sound));
        self.0.rebuild(epoch, arrived, again);
    }
}
