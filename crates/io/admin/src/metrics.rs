use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{self, ConstCounter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{self, ConstGauge};
use prometheus_client::metrics::histogram;
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Everything that is measured, under the prefix `ringpost_`.
///
/// What happens often is counted through a handle, an atomic; what is known somewhere anyway is watched: read when the
/// metrics are asked for. A clone is the same registry.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
}

/// A number that only grows. A clone counts the same.
#[derive(Clone, Debug, Default)]
pub struct Counter(counter::Counter);

impl Counter {
    /// Counts one.
    pub fn inc(&self) {
        self.0.inc();
    }

    /// Counts several.
    pub fn add(&self, n: u64) {
        self.0.inc_by(n);
    }

    /// What was counted so far.
    pub fn value(&self) -> u64 {
        self.0.get()
    }
}

/// Counters of one name, told apart by one label (`method="INVITE"`).
///
/// The values of a label must come from a closed list and never from a peer: each makes a counter that stays.
#[derive(Clone, Debug)]
pub struct CounterFamily {
    label: &'static str,
    family: Family<Vec<(&'static str, &'static str)>, counter::Counter>,
}

impl CounterFamily {
    /// The counter of a value.
    pub fn with(&self, value: &'static str) -> Counter {
        Counter(self.family.get_or_create(&vec![(self.label, value)]).clone())
    }
}

/// A number that goes up and down. A clone is the same number.
#[derive(Clone, Debug, Default)]
pub struct Gauge(gauge::Gauge);

impl Gauge {
    /// Sets it.
    pub fn set(&self, value: i64) {
        self.0.set(value);
    }

    /// Adds to it; a negative number takes away.
    pub fn add(&self, change: i64) {
        self.0.inc_by(change);
    }
}

/// How long things take, in buckets from 1 ms to 33 s. A clone is the same histogram.
#[derive(Clone, Debug)]
pub struct Histogram(histogram::Histogram);

impl Histogram {
    /// Counts one that took this many seconds.
    pub fn observe_s(&self, seconds: f64) {
        self.0.observe(seconds);
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new()
    }
}

impl Metrics {
    /// Nothing measured yet.
    pub fn new() -> Self {
        Metrics {
            registry: Arc::new(Mutex::new(Registry::with_prefix("ringpost"))),
        }
    }

    /// A counter; `_total` is added to its name.
    pub fn counter(&self, name: &str, help: &str) -> Counter {
        let counter = Counter::default();
        self.with(|registry| registry.register(name, help, counter.0.clone()));
        counter
    }

    /// Counters told apart by a label.
    pub fn counters(&self, name: &str, help: &str, label: &'static str) -> CounterFamily {
        let family = CounterFamily {
            label,
            family: Family::default(),
        };
        self.with(|registry| registry.register(name, help, family.family.clone()));
        family
    }

    /// A gauge.
    pub fn gauge(&self, name: &str, help: &str) -> Gauge {
        let gauge = Gauge::default();
        self.with(|registry| registry.register(name, help, gauge.0.clone()));
        gauge
    }

    /// A histogram of seconds.
    pub fn histogram_s(&self, name: &str, help: &str) -> Histogram {
        let buckets = histogram::exponential_buckets(0.001, 2.0, 16);
        let histogram = Histogram(histogram::Histogram::new(buckets));
        self.with(|registry| registry.register(name, help, histogram.0.clone()));
        histogram
    }

    /// A counter that somebody else keeps: read at each scrape.
    pub fn watch_counter(&self, name: &str, help: &str, read: impl Fn() -> u64 + Send + Sync + 'static) {
        self.watch(name, help, Box::new(move || Reading::Counter(read())));
    }

    /// A number that somebody else knows: read at each scrape.
    pub fn watch_gauge(&self, name: &str, help: &str, read: impl Fn() -> f64 + Send + Sync + 'static) {
        self.watch(name, help, Box::new(move || Reading::Gauge(read())));
    }

    /// Everything in the text form of OpenMetrics.
    pub fn text(&self) -> String {
        let mut text = String::new();
        self.with(|registry| encode(&mut text, registry))
            .expect("a string takes everything");
        text
    }

    fn watch(&self, name: &str, help: &str, read: Box<dyn Fn() -> Reading + Send + Sync>) {
        let watched = Watched {
            name: name.into(),
            help: help.into(),
            read,
        };
        self.with(|registry| registry.register_collector(Box::new(watched)));
    }

    fn with<T>(&self, f: impl FnOnce(&mut Registry) -> T) -> T {
        // A reader that panicked has changed nothing.
        f(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

enum Reading {
    Counter(u64),
    Gauge(f64),
}

/// A number that is read when it is asked for.
struct Watched {
    name: String,
    help: String,
    read: Box<dyn Fn() -> Reading + Send + Sync>,
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Collector for Watched {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        match (self.read)() {
            Reading::Counter(value) => {
                let name = self.name.trim_end_matches("_total");
                let encoder = encoder.encode_descriptor(name, &self.help, None, MetricType::Counter)?;
                ConstCounter::new(value).encode(encoder)
            }
            Reading::Gauge(value) => {
                let encoder = encoder.encode_descriptor(&self.name, &self.help, None, MetricType::Gauge)?;
                ConstGauge::new(value).encode(encoder)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve_metrics;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[test]
    fn what_is_counted_and_what_is_watched_is_in_the_text() {
        let metrics = Metrics::new();
        let requests = metrics.counters("sip_requests", "Requests received", "method");
        requests.with("INVITE").inc();
        requests.with("INVITE").inc();
        metrics.gauge("imap_sessions", "Sessions").set(3);
        metrics
            .histogram_s("commit_seconds", "Time of a commit")
            .observe_s(0.004);
        metrics.watch_counter("rtp_packets", "Packets relayed", || 41);
        let text = metrics.text();
        for line in [
            "ringpost_sip_requests_total{method=\"INVITE\"} 2",
            "ringpost_imap_sessions 3",
            "ringpost_commit_seconds_count 1",
            "ringpost_rtp_packets_total 41",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }

    #[tokio::test]
    async fn prometheus_finds_them_on_loopback() {
        let metrics = Metrics::new();
        metrics.counter("x", "An example").inc();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve_metrics(listener, metrics, std::future::pending()));
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .await
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains("ringpost_x_total 1"), "{answer}");
    }

    #[tokio::test]
    async fn scrapers_that_say_nothing_are_few() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve_metrics(listener, Metrics::new(), std::future::pending()));
        let mut silent = Vec::new();
        for _ in 0..crate::server::SCRAPERS {
            silent.push(tokio::net::TcpStream::connect(address).await.unwrap());
        }
        let mut more = tokio::net::TcpStream::connect(address).await.unwrap();
        assert_eq!(more.read(&mut [0; 9]).await.unwrap(), 0, "one more is closed");
        drop(silent);
        // Their places are free once the server has seen them go.
        loop {
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let mut answer = String::new();
            let asked = stream.write_all(b"GET /nothing HTTP/1.1\r\n\r\n").await;
            if asked.is_ok() && stream.read_to_string(&mut answer).await.is_ok() && !answer.is_empty() {
                assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
                return;
            }
        }
    }
}
