//! Instruments by their description: what makes one also puts it on the list that the page of all metrics is held to.

use prometheus::core::Collector;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry,
};

/// What a metric is called and means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Its name, with its unit.
    pub name: &'static str,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

/// A registry that remembers what is in it.
#[derive(Default)]
pub(super) struct Families {
    pub(super) registry: Registry,
    pub(super) described: Vec<Described>,
}

type Labels = &'static [&'static str];

impl Families {
    pub(super) fn counter(&mut self, name: &'static str, help: &'static str) -> IntCounter {
        let made = IntCounter::new(name, help);
        self.add(Described { name, kind: "counter", labels: &[], help }, made)
    }

    pub(super) fn counters(
        &mut self,
        name: &'static str,
        labels: Labels,
        help: &'static str,
    ) -> IntCounterVec {
        let made = IntCounterVec::new(Opts::new(name, help), labels);
        self.add(Described { name, kind: "counter", labels, help }, made)
    }

    /// Counters of something that is no whole number, as seconds are.
    pub(super) fn amounts(
        &mut self,
        name: &'static str,
        labels: Labels,
        help: &'static str,
    ) -> prometheus::CounterVec {
        let made = prometheus::CounterVec::new(Opts::new(name, help), labels);
        self.add(Described { name, kind: "counter", labels, help }, made)
    }

    pub(super) fn gauge(&mut self, name: &'static str, help: &'static str) -> Gauge {
        self.add(Described { name, kind: "gauge", labels: &[], help }, Gauge::new(name, help))
    }

    pub(super) fn level(&mut self, name: &'static str, help: &'static str) -> IntGauge {
        self.add(Described { name, kind: "gauge", labels: &[], help }, IntGauge::new(name, help))
    }

    pub(super) fn gauges(&mut self, name: &'static str, labels: Labels, help: &'static str) -> GaugeVec {
        let made = GaugeVec::new(Opts::new(name, help), labels);
        self.add(Described { name, kind: "gauge", labels, help }, made)
    }

    pub(super) fn levels(&mut self, name: &'static str, labels: Labels, help: &'static str) -> IntGaugeVec {
        let made = IntGaugeVec::new(Opts::new(name, help), labels);
        self.add(Described { name, kind: "gauge", labels, help }, made)
    }

    pub(super) fn histogram(&mut self, name: &'static str, buckets: &[f64], help: &'static str) -> Histogram {
        let made = Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()));
        self.add(Described { name, kind: "histogram", labels: &[], help }, made)
    }

    pub(super) fn histograms(
        &mut self,
        name: &'static str,
        labels: Labels,
        buckets: &[f64],
        help: &'static str,
    ) -> HistogramVec {
        let made = HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels);
        self.add(Described { name, kind: "histogram", labels, help }, made)
    }

    fn add<C: Collector + Clone + 'static>(
        &mut self,
        described: Described,
        made: prometheus::Result<C>,
    ) -> C {
        let made = made.expect("names and labels of the code are valid");
        self.registry.register(Box::new(made.clone())).expect("every name is given once");
        self.described.push(described);
        made
    }
}
