//! The figures of a run, as they are written.

use std::time::Duration;

use serde::Serialize;

use super::Turn;
use crate::cli::Waiters;
use crate::statistics::{Durations, median, milliseconds};

/// All figures of a run. Times are in milliseconds, from the acknowledged write until the waiter went on.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) workload: &'static str,
    pub(crate) store: String,
    pub(crate) version: String,
    pub(crate) lag_ms: f64,
    pub(crate) repeats: u32,
    pub(crate) points: Vec<Point>,
}

/// One number of waiters.
#[derive(Debug, Serialize)]
pub(crate) struct Point {
    pub(crate) waiters: u32,
    /// Probes that the replica got, in the median turn.
    pub(crate) probes: u64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// Barriers of all turns that came when the write was there already.
    pub(crate) late: u64,
    /// A waiting barrier's future and the engine's state for it. With one waiter, also what the engine
    /// has once for all.
    pub(crate) bytes_per_waiter: u64,
    pub(crate) poll: Poll,
}

/// The same number of requests that poll.
#[derive(Debug, Serialize)]
pub(crate) struct Poll {
    /// Queries that the replica got, in the median turn.
    pub(crate) queries: u64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// Requests of all turns whose first query found the write.
    pub(crate) late: u64,
}

/// All turns of one side.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    waits: Vec<Duration>,
    questions: Vec<u64>,
    late: u64,
}

impl Measured {
    pub(crate) fn add(&mut self, turn: Turn) {
        self.waits.extend(turn.waits);
        self.questions.push(turn.questions);
        self.late += turn.late;
    }

    fn median_questions(&self) -> u64 {
        median(self.questions.iter().copied())
    }
}

impl Figures {
    pub(crate) fn new(settings: &Waiters, version: String, points: Vec<Point>) -> Self {
        let (store, repeats) = (settings.store.to_string(), settings.repeats);
        let lag_ms = milliseconds(settings.lag);
        Self { workload: "waiters", store, version, lag_ms, repeats, points }
    }
}

impl Point {
    pub(crate) fn new(waiters: u32, bytes: u64, barriers: &Measured, polls: &Measured) -> Self {
        let quantiles =
            |measured: &Measured| measured.waits.iter().copied().collect::<Durations>().quantiles();
        let (barrier, poll) = (quantiles(barriers), quantiles(polls));
        let poll =
            Poll { queries: polls.median_questions(), p50_ms: poll.p50, p99_ms: poll.p99, late: polls.late };
        Self {
            waiters,
            probes: barriers.median_questions(),
            p50_ms: barrier.p50,
            p99_ms: barrier.p99,
            late: barriers.late,
            bytes_per_waiter: bytes,
            poll,
        }
    }
}
