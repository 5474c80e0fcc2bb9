//! The figures of a run, as they are written.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::ROUND_TRIPS;
use crate::cli::Overhead;
use crate::statistics::rounded;

/// All figures of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) workload: &'static str,
    pub(crate) rtt_ms: Vec<f64>,
    pub(crate) rounds: u32,
    pub(crate) payload_bytes: usize,
    pub(crate) stores: BTreeMap<String, StoreFigures>,
}

/// One store.
#[derive(Debug, Serialize)]
pub(crate) struct StoreFigures {
    pub(crate) version: String,
    pub(crate) write: Vec<Row>,
    pub(crate) read: Vec<Row>,
}

/// One form at one distance: medians in microseconds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    pub(crate) rtt_ms: f64,
    pub(crate) form: &'static str,
    pub(crate) raw_us: f64,
    pub(crate) shim_us: f64,
    pub(crate) ratio: f64,
}

impl Figures {
    pub(crate) fn new(settings: &Overhead, stores: BTreeMap<String, StoreFigures>) -> Self {
        let rtt_ms = ROUND_TRIPS.iter().map(|rtt| rtt.as_secs_f64() * 1e3).collect();
        let (rounds, payload_bytes) = (settings.rounds, settings.payload);
        Self { workload: "overhead", rtt_ms, rounds, payload_bytes, stores }
    }
}

impl Row {
    pub(crate) fn new(form: &'static str, round_trip: Duration, raw: Duration, shim: Duration) -> Self {
        let micros = |duration: Duration| rounded(duration.as_secs_f64() * 1e6);
        let ratio = rounded(shim.as_secs_f64() / raw.as_secs_f64().max(f64::MIN_POSITIVE));
        let rtt_ms = round_trip.as_secs_f64() * 1e3;
        Self { rtt_ms, form, raw_us: micros(raw), shim_us: micros(shim), ratio }
    }
}
