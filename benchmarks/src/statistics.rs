//! Durations as quantiles, and rates with how sure they are.

use std::cmp::Ordering;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Measured durations, kept to three digits.
#[derive(Debug, Clone)]
pub(crate) struct Durations(Histogram<u64>);

/// Median and 99th percentile in milliseconds. Zero if nothing was measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Quantiles {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

impl Durations {
    #[expect(clippy::expect_used, reason = "three digits is a resolution that histograms have")]
    pub(crate) fn new() -> Self {
        Self(Histogram::new(3).expect("a histogram of three digits"))
    }

    pub(crate) fn record(&mut self, duration: Duration) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        // It grows to hold what it is given.
        let _ = self.0.record(nanoseconds);
    }

    #[cfg(any(feature = "redis", feature = "postgres", feature = "mongodb", feature = "kafka"))]
    pub(crate) fn median(&self) -> Duration {
        Duration::from_nanos(self.0.value_at_quantile(0.5))
    }

    pub(crate) fn quantiles(&self) -> Quantiles {
        let at = |quantile| self.0.value_at_quantile(quantile) as f64 / 1e6;
        Quantiles { p50: rounded(at(0.5)), p99: rounded(at(0.99)) }
    }
}

impl FromIterator<Duration> for Durations {
    fn from_iter<I: IntoIterator<Item = Duration>>(durations: I) -> Self {
        let mut all = Self::new();
        durations.into_iter().for_each(|duration| all.record(duration));
        all
    }
}

/// To three decimals: microseconds of a millisecond.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// The duration in milliseconds, to three decimals.
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    rounded(duration.as_secs_f64() * 1e3)
}

/// The one in the middle, of an even number the upper one; zero of none.
pub(crate) fn median<T: PartialOrd + Copy + Default>(values: impl IntoIterator<Item = T>) -> T {
    let mut values: Vec<T> = values.into_iter().collect();
    values.sort_by(|a, b| a.partial_cmp(b).unwrap_or(Ordering::Equal));
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// How many of how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) hits: u64,
    pub(crate) of: u64,
}

impl Rate {
    /// The share, from 0 to 1; zero of nothing is 0.
    pub(crate) fn share(self) -> f64 {
        if self.of == 0 { 0.0 } else { self.hits as f64 / self.of as f64 }
    }

    /// Where the true share lies with 95 % confidence: Wilson's score interval (E. B. Wilson 1927,
    /// JASA 22:209). For none in N the upper bound is that of the rule of three, 3/N.
    pub(crate) fn interval(self) -> [f64; 2] {
        const Z: f64 = 1.959_964;
        if self.of == 0 {
            return [0.0, 1.0];
        }
        let (n, p) = (self.of as f64, self.share());
        if self.hits == 0 {
            return [0.0, (3.0 / n).min(1.0)];
        }
        let scale = 1.0 + Z * Z / n;
        let middle = (p + Z * Z / (2.0 * n)) / scale;
        let half = Z / scale * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
        [(middle - half).max(0.0), (middle + half).min(1.0)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_in_milliseconds() {
        let durations: Durations = (1..=100).map(Duration::from_millis).collect();
        let Quantiles { p50, p99 } = durations.quantiles();
        assert!((49.9..50.1).contains(&p50) && (98.9..99.1).contains(&p99), "{p50} {p99}");
        assert_eq!(Durations::new().quantiles(), Quantiles { p50: 0.0, p99: 0.0 });
    }

    #[test]
    fn the_median_stands_in_the_middle() {
        assert_eq!(median([3, 1, 2]), 2);
        assert_eq!(median([4.0, 1.0, 2.5, 2.0]), 2.5);
        assert_eq!(median::<f64>([]), 0.0);
    }

    #[test]
    fn intervals_are_wilsons() {
        // R: binom::binom.confint(8, 10, methods = "wilson")
        let [low, high] = Rate { hits: 8, of: 10 }.interval();
        assert!((low - 0.490_2).abs() < 1e-3 && (high - 0.943_3).abs() < 1e-3, "{low} {high}");
    }

    #[test]
    fn none_follows_the_rule_of_three() {
        assert_eq!(Rate { hits: 0, of: 300 }.interval(), [0.0, 0.01]);
        let [low, high] = Rate { hits: 300, of: 300 }.interval();
        assert!((low - 0.987_4).abs() < 1e-3 && high > 0.999_9, "{low} {high}");
        assert_eq!(Rate { hits: 0, of: 0 }.interval(), [0.0, 1.0]);
        assert_eq!(Rate { hits: 0, of: 2 }.interval(), [0.0, 1.0]);
    }
}
