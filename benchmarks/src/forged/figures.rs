//! The figures of a run, as they are written.

use std::time::Duration;

use serde::Serialize;

use super::Turn;
use crate::cli::Forged;
use crate::statistics::{Durations, Quantiles, median, milliseconds, rounded};

/// All figures of a run. Times are in milliseconds, from when a request was due until it had ended.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) workload: &'static str,
    pub(crate) store: String,
    pub(crate) version: String,
    pub(crate) lag_ms: f64,
    pub(crate) rounds: u32,
    pub(crate) rate: u32,
    /// Turns of honest requests alone.
    pub(crate) without: Half,
    /// Turns with forged ones between.
    pub(crate) with: Half,
    pub(crate) forged: Refused,
    /// Median over the rounds of what forged requests made of the honest ones' 99th percentile.
    pub(crate) p99_ratio: f64,
    /// The same of their median.
    pub(crate) p50_ratio: f64,
}

/// The honest requests of one kind of turns.
#[derive(Debug, Serialize)]
pub(crate) struct Half {
    pub(crate) requests: usize,
    #[serde(flatten)]
    pub(crate) took_ms: Quantiles,
    /// Probes of the store's servers, in the median turn.
    pub(crate) questions: u64,
}

/// The forged requests of all turns.
#[derive(Debug, Serialize)]
pub(crate) struct Refused {
    pub(crate) requests: usize,
    #[serde(flatten)]
    pub(crate) took_ms: Quantiles,
    pub(crate) max_ms: f64,
    /// Those whose barrier did not end by naming the position unreachable.
    pub(crate) not_told: u64,
}

/// All turns of one kind.
#[derive(Debug, Default)]
pub(crate) struct Side {
    turns: Vec<Turn>,
}

impl Side {
    pub(crate) fn add(&mut self, turn: Turn) {
        self.turns.push(turn);
    }

    fn half(&self) -> Half {
        let honest = || self.turns.iter().flat_map(|turn| &turn.honest).copied();
        let questions = median(self.turns.iter().map(|turn| turn.questions));
        Half { requests: honest().count(), took_ms: quantiles(honest()), questions }
    }

    fn refused(&self) -> Refused {
        let forged = || self.turns.iter().flat_map(|turn| &turn.forged).copied();
        let max_ms = milliseconds(forged().max().unwrap_or_default());
        let not_told = self.turns.iter().map(|turn| turn.not_told).sum();
        Refused { requests: forged().count(), took_ms: quantiles(forged()), max_ms, not_told }
    }

    /// Median over the rounds of this side's quantile by the other's.
    fn ratio(&self, other: &Self, of: impl Fn(Quantiles) -> f64) -> f64 {
        let of = |turn: &Turn| of(quantiles(turn.honest.iter().copied()));
        let pairs = self.turns.iter().zip(&other.turns);
        rounded(median(pairs.map(|(with, without)| of(with) / of(without).max(1e-3))))
    }
}

impl Figures {
    pub(crate) fn new(settings: &Forged, version: String, without: &Side, with: &Side) -> Self {
        Self {
            workload: "forged",
            store: settings.store.to_string(),
            version,
            lag_ms: milliseconds(settings.lag),
            rounds: settings.rounds,
            rate: settings.rate,
            without: without.half(),
            with: with.half(),
            forged: with.refused(),
            p99_ratio: with.ratio(without, |quantiles| quantiles.p99),
            p50_ratio: with.ratio(without, |quantiles| quantiles.p50),
        }
    }
}

fn quantiles(durations: impl Iterator<Item = Duration>) -> Quantiles {
    durations.collect::<Durations>().quantiles()
}
