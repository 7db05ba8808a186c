//! What is read off when somebody asks: where partitions, operators and sinks stand, and how full memory is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lsie_schemas::log::{Log, LogError, TopicPartition};
use lsie_sinks::follower::Watch;
use prometheus::process_collector::ProcessCollector;
use prometheus::{CounterVec, Encoder, Gauge, GaugeVec, IntCounterVec, IntGauge, IntGaugeVec, TextEncoder};

use crate::ends::ends;
use crate::ingest::{Shared, Standing};
use crate::metrics::families::Families;
use crate::metrics::{instant, now_s};

/// The log is asked at most so often how far its partitions go.
const LOOK: Duration = Duration::from_secs(5);
/// The states of a partition.
const STATES: [&str; 3] = ["current", "behind", "held_back"];

/// Where everything stands.
pub(super) struct Levels {
    position: IntGaugeVec,
    lag: IntGaugeVec,
    lag_s: GaugeVec,
    state: IntGaugeVec,
    log_up: IntGauge,
    frontier: GaugeVec,
    backlog: IntGaugeVec,
    busy: CounterVec,
    committed: Gauge,
    budget: IntGaugeVec,
    limit: IntGauge,
    inside: IntGauge,
    pauses: IntCounterVec,
    unanswered: IntGauge,
    held: GaugeVec,
    sink_lag: GaugeVec,
    sink_waiting: IntGaugeVec,
    sink_up: IntGaugeVec,
    ends: Mutex<Ends>,
}

/// How far the log's partitions went when they were last looked at.
#[derive(Default)]
struct Ends {
    looked: Option<Instant>,
    at: BTreeMap<TopicPartition, i64>,
    is_up: bool,
}

impl Levels {
    pub(super) fn new(of: &mut Families) -> Levels {
        let partition = &["topic", "partition"];
        let operator = &["worker", "operator"];
        // Memory, processor time, open files and threads, by their usual names.
        let process = of.registry.register(Box::new(ProcessCollector::for_self()));
        process.expect("every name is given once");
        Levels {
            position: of.levels("lsie_partition_position", partition, "One past the last offset fetched."),
            lag: of.levels("lsie_partition_lag_records", partition, "Records of the log that are not fetched."),
            lag_s: of.gauges(
                "lsie_partition_lag_seconds",
                partition,
                "Age of the last record fetched while others wait; 0 when none does.",
            ),
            state: of.levels(
                "lsie_partition_state",
                &["topic", "partition", "state"],
                "1 for the state that holds: current, behind, or held_back by the byte budget or for others to catch up.",
            ),
            log_up: of.level("lsie_log_up", "Whether the log said where its partitions end, when last asked."),
            frontier: of.gauges(
                "lsie_operator_frontier_timestamp_seconds",
                operator,
                "Log time before which an operator's input is complete.",
            ),
            backlog: of.levels("lsie_operator_backlog_epochs", operator, "Epochs that an operator has begun and not completed."),
            busy: of.amounts(
                "lsie_operator_busy_seconds_total",
                operator,
                "Time that a worker has spent in an operator.",
            ),
            committed: of.gauge(
                "lsie_committed_epoch_timestamp_seconds",
                "Log time of the newest epoch that every sink has committed; 0 before the first.",
            ),
            budget: of.levels(
                "lsie_budget_ahead_bytes",
                &["worker"],
                "Records that a worker has fetched and not let into the dataflow.",
            ),
            limit: of.level("lsie_budget_limit_bytes", "What a worker may hold ahead of the dataflow, and as much inside it."),
            inside: of.level("lsie_budget_inside_bytes", "Records inside the dataflow that are not committed, of all workers."),
            pauses: of.counters(
                "lsie_fetch_pauses_total",
                &["worker"],
                "How often fetching stopped because the byte budget was used up.",
            ),
            unanswered: of.level("lsie_inference_unanswered", "Requests to the speech model that no epoch has answered."),
            held: of.gauges(
                "lsie_held_epoch_seconds",
                &["worker", "operator"],
                "How long an operator (or commit: the sinks) has held back the oldest epoch; absent below 10 s.",
            ),
            sink_lag: of.gauges(
                "lsie_sink_lag_seconds",
                &["sink"],
                "Log time that a sink is behind the newest epoch; of sinks that nothing waits for.",
            ),
            sink_waiting: of.levels("lsie_sink_waiting_bytes", &["sink"], "Rows that wait for a sink in memory."),
            sink_up: of.levels("lsie_sink_up", &["sink"], "Whether a sink takes what it is sent."),
            ends: Mutex::default(),
        }
    }
}

impl super::Metrics {
    /// Which operator of which worker holds an epoch, and for how long.
    pub(crate) fn held(&self, holder: Option<(usize, &str, Duration)>) {
        self.levels.held.reset();
        if let Some((worker, operator, held)) = holder {
            let worker = worker.to_string();
            self.levels.held.with_label_values(&[worker.as_str(), operator]).set(held.as_secs_f64());
        }
    }

    /// Everything as Prometheus' text format, version 0.0.4.
    pub fn text(&self, shared: &Shared, log: &dyn Log, database: Option<&Watch>) -> String {
        self.levels.read_off(shared, log, database);
        let mut text = Vec::new();
        match TextEncoder::new().encode(&self.families.registry.gather(), &mut text) {
            Ok(()) => String::from_utf8_lossy(&text).into_owned(),
            Err(why) => {
                tracing::warn!(%why, "the metrics cannot be written");
                String::new()
            }
        }
    }
}

impl Levels {
    fn read_off(&self, shared: &Shared, log: &dyn Log, database: Option<&Watch>) {
        let inboxes = shared.inboxes.get().map(Vec::as_slice).unwrap_or_default();
        // Only the first process is asked: its workers are the first.
        let mut standings: Vec<(usize, Standing)> =
            inboxes.iter().map(|inbox| inbox.standing()).enumerate().collect();
        standings.extend(shared.elsewhere.inboxes());
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        let partitions = standings.iter().flat_map(|(_, standing)| standing.partitions.iter().map(|p| p.at));
        ends.look(log, &partitions.collect::<Vec<_>>());
        self.log_up.set(ends.is_up.into());
        for (worker, standing) in &standings {
            let worker = worker.to_string();
            self.budget.with_label_values(&[worker.as_str()]).set(standing.bytes as i64);
            self.limit.set(standing.budget as i64);
            let pauses = self.pauses.with_label_values(&[worker.as_str()]);
            pauses.inc_by(standing.pauses.saturating_sub(pauses.get()));
            self.partitions(standing, &ends.at);
        }
        drop(ends);
        self.operators(shared);
        self.inside.set(shared.in_flight.load(std::sync::atomic::Ordering::SeqCst) as i64);
        self.committed.set(shared.committed.load(std::sync::atomic::Ordering::SeqCst) as f64 / 1e3);
        self.unanswered.set(shared.unanswered.load(std::sync::atomic::Ordering::SeqCst).max(0));
        if let Some(status) = database.map(Watch::status) {
            let of = &["postgres"];
            self.sink_lag.with_label_values(of).set(status.lag_ms() as f64 / 1e3);
            self.sink_waiting.with_label_values(of).set(status.waiting_bytes as i64);
            self.sink_up.with_label_values(of).set(status.away.is_none().into());
        }
    }

    fn partitions(&self, standing: &Standing, ends: &BTreeMap<TopicPartition, i64>) {
        for at in &standing.partitions {
            let (topic, partition) = (at.at.topic.name(), at.at.partition.to_string());
            let of: &[&str] = &[topic, &partition];
            let lag = ends.get(&at.at).map_or(0, |end| (end - at.fetched).max(0));
            self.position.with_label_values(of).set(at.fetched);
            self.lag.with_label_values(of).set(lag);
            let age = at.reached.map_or(0.0, |reached| (now_s() - reached.0 as f64 / 1e3).max(0.0));
            self.lag_s.with_label_values(of).set(if lag == 0 { 0.0 } else { age });
            let now = match () {
                _ if at.is_held => "held_back",
                _ if lag > 0 => "behind",
                _ => "current",
            };
            for state in STATES {
                self.state.with_label_values(&[topic, &partition, state]).set((state == now).into());
            }
        }
    }

    fn operators(&self, shared: &Shared) {
        for stood in shared.loads() {
            let worker = stood.worker.to_string();
            let of: &[&str] = &[&worker, &stood.operator];
            self.backlog.with_label_values(of).set(stood.backlog as i64);
            let busy = self.busy.with_label_values(of);
            busy.inc_by((stood.busy.as_secs_f64() - busy.get()).max(0.0));
            // None: its input has ended.
            match stood.frontier {
                Some(frontier) => self.frontier.with_label_values(of).set(frontier as f64 / 1e3),
                None => drop(self.frontier.remove_label_values(of)),
            }
        }
    }
}

impl Ends {
    fn look(&mut self, log: &dyn Log, partitions: &[TopicPartition]) {
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK) {
            return;
        }
        let known = ends(log, partitions);
        self.is_up = !matches!(known, Err(LogError::Unavailable(_)));
        // Without an answer, what was known stays.
        self.at.extend(known.into_iter().flatten());
        self.looked = Some(instant());
    }
}

/// What serves the numbers of a run.
pub(crate) fn served(
    shared: Arc<Shared>,
    log: Arc<dyn Log>,
    database: Option<Watch>,
) -> Arc<dyn Fn() -> String + Send + Sync> {
    Arc::new(move || shared.metrics.text(&shared, &*log, database.as_ref()))
}
