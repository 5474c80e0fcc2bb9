//! The figures of a run.

use std::fmt;

use serde::Serialize;

use super::judge::Verdict;
use super::stuck::Stuck;
use super::survival::Survival;
use super::throughput::{Compared, Throughput};
use crate::cli::Gate;
use crate::statistics::{Rate, rounded};
use crate::{Failure, output};

/// All figures of a run.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    workload: &'static str,
    keys: u32,
    lag_ms: f64,
    rounds: u32,
    survival: Verdict,
    /// Violations of a plain consumer in the same run, of a sample.
    without_gate: f64,
    throughput: Throughput,
    stuck_key: Stuck,
    #[serde(skip)]
    without: Rate,
}

impl Figures {
    pub(super) fn new(settings: &Gate, survival: Survival, throughput: Throughput, stuck: Stuck) -> Self {
        Self {
            workload: "gate",
            keys: settings.keys,
            lag_ms: rounded(settings.lag.as_secs_f64() * 1e3),
            rounds: settings.rounds,
            survival: survival.verdict,
            without_gate: rounded(survival.without.share()),
            throughput,
            stuck_key: stuck,
            without: survival.without,
        }
    }

    pub(super) fn render(&self) -> String {
        let Verdict { records, lost, reordered, violations, repeated, waited } = &self.survival;
        let Throughput { handlers, reading, sharing, afar, empty, cost_us, parked_share } = &self.throughput;
        let stuck = &self.stuck_key;
        format!(
            "\ngate\n\
             {records} records of {keys} keys over 12 partitions, each about a post that reaches the replica {lag} ms late;\n\
             two processes handle them, one is killed and started again in the middle.\n\n\
             violations            {violations} (a plain consumer: {without})\n\
             lost                  {lost}\n\
             out of order in a key {reordered}\n\
             handled again         {repeated}\n\
             had to wait           {waited}\n\n\
             Records per second when nothing is late, medians of {rounds} rounds in turn ({parked} parked):\n\
             {handlers} handlers, each looks the post up: {reading}\n\
             … by one connection for all:    {sharing}\n\
             … at a replica 1 ms away:       {afar}\n\
             one handler that does nothing:  {empty}, {cost_us:.2} µs more for a record\n\n\
             One stuck key; p50 / p99 in ms of the other keys' records, medians of turns:\n\
             without {:.2} / {:.2}, with {:.2} / {:.2}, ratio of p99 {:.2}, {} parked\n\n\
             antipode: {version}\n",
            stuck.free_p50_ms,
            stuck.free_p99_ms,
            stuck.stuck_p50_ms,
            stuck.stuck_p99_ms,
            stuck.ratio,
            stuck.parked,
            keys = self.keys,
            lag = self.lag_ms,
            without = output::percent(self.without.share()),
            rounds = self.rounds,
            parked = output::percent(*parked_share),
            version = env!("CARGO_PKG_VERSION"),
        )
    }

    /// Whether the promise was kept.
    pub(super) fn verdict(&self) -> Result<(), Failure> {
        let Verdict { records, lost, reordered, violations, .. } = self.survival;
        if violations > 0 {
            return Err(Failure::Violated { violations, reads: records });
        }
        if lost + reordered > 0 {
            let found = format!("{lost} lost, {reordered} out of order");
            return Err(Failure::Garbled { what: "the records", found });
        }
        Ok(())
    }
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plain_per_second, gate_per_second, ratio } = self;
        write!(f, "plain consumer {plain_per_second:.0}, gate {gate_per_second:.0}, ratio {ratio:.2}")
    }
}
