//! The page that Prometheus would scrape.

use antipode::metrics::{BYTES_BUCKETS, Metrics, SECONDS_BUCKETS};
use metrics::LocalRecorderGuard;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

/// With the buckets of the library.
pub(crate) fn prometheus() -> PrometheusBuilder {
    let suffix = |text: &str| Matcher::Suffix(text.to_owned());
    PrometheusBuilder::new()
        .set_buckets_for_metric(suffix("_seconds"), &SECONDS_BUCKETS)
        .and_then(|builder| builder.set_buckets_for_metric(suffix("_bytes"), &BYTES_BUCKETS))
        .unwrap()
}

/// A recorder of its own for a test, on one thread.
pub(crate) struct Page {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
}

impl Page {
    pub(crate) fn new() -> Self {
        let recorder = prometheus().build_recorder();
        Self { handle: recorder.handle(), recorder }
    }

    pub(crate) fn metrics(&self) -> (LocalRecorderGuard<'_>, Metrics) {
        (metrics::set_default_local_recorder(&self.recorder), Metrics::new())
    }

    pub(crate) fn text(&self) -> String {
        self.handle.run_upkeep();
        self.handle.render()
    }

    /// The sum of the series whose line begins with the metric's name and has all these labels.
    pub(crate) fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let text = self.text();
        let of_it = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(name).filter(|rest| rest.starts_with(['{', ' ']))?;
            let (found, value) = rest.rsplit_once(' ')?;
            labels.iter().all(|label| found.contains(label)).then(|| value.parse::<f64>().unwrap())
        });
        of_it.sum()
    }
}
