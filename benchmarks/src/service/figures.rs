//! The figures of a run, as they are written.

use serde::Serialize;

use super::load::Slice;
use crate::cli::Service;
use crate::statistics::rounded;

/// All figures of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) workload: &'static str,
    pub(crate) versions: Vec<String>,
    pub(crate) pairs: u32,
    pub(crate) slice_ms: f64,
    pub(crate) connections: u32,
    pub(crate) rows: Vec<Row>,
}

/// One handler.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) handler: &'static str,
    /// Requests in a second, over all slices.
    pub(crate) plain_per_s: f64,
    pub(crate) layered_per_s: f64,
    /// Layered by plain, the median of the pairs, and its quartiles.
    pub(crate) ratio: f64,
    pub(crate) ratio_quartiles: [f64; 2],
    /// Allocations for each request, client and service together.
    pub(crate) plain_allocations: f64,
    pub(crate) layered_allocations: f64,
}

/// Two slices, one after the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair {
    pub(super) plain: Slice,
    pub(super) layered: Slice,
}

impl Figures {
    pub(super) fn new(settings: &Service, versions: Vec<String>, rows: Vec<Row>) -> Self {
        let Service { pairs, connections, slice, .. } = *settings;
        let slice_ms = slice.as_secs_f64() * 1e3;
        Self { workload: "service", versions, pairs, slice_ms, connections, rows }
    }
}

impl Row {
    pub(super) fn new(handler: &'static str, pairs: &[Pair]) -> Self {
        let plain: Vec<Slice> = pairs.iter().map(|pair| pair.plain).collect();
        let layered: Vec<Slice> = pairs.iter().map(|pair| pair.layered).collect();
        let mut ratios: Vec<f64> = pairs.iter().map(|pair| pair.layered.rate() / pair.plain.rate()).collect();
        ratios.sort_unstable_by(f64::total_cmp);
        let quartile = |quarters: usize| {
            let at = ratios.len().saturating_sub(1) * quarters / 4;
            rounded(ratios.get(at).copied().unwrap_or_default())
        };
        Self {
            handler,
            plain_per_s: rounded(all(&plain).rate()),
            layered_per_s: rounded(all(&layered).rate()),
            ratio: quartile(2),
            ratio_quartiles: [quartile(1), quartile(3)],
            plain_allocations: rounded(all(&plain).allocations_per_request()),
            layered_allocations: rounded(all(&layered).allocations_per_request()),
        }
    }
}

impl Slice {
    fn rate(self) -> f64 {
        self.requests as f64 / self.took.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    fn allocations_per_request(self) -> f64 {
        self.allocations as f64 / self.requests.max(1) as f64
    }
}

fn all(slices: &[Slice]) -> Slice {
    Slice {
        requests: slices.iter().map(|slice| slice.requests).sum(),
        took: slices.iter().map(|slice| slice.took).sum(),
        allocations: slices.iter().map(|slice| slice.allocations).sum(),
    }
}
