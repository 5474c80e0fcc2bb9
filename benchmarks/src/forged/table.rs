//! The figures of a run, for people.

use super::figures::{Figures, Half};
use crate::output;

/// The table, and what it shows.
pub(crate) fn render(figures: &Figures) -> String {
    let heads = ["", "honest", "p50 / p99 ms", "probes a turn"];
    let mut table = output::table(heads.map(str::to_owned));
    for (name, half) in [("alone", &figures.without), ("among forged ones", &figures.with)] {
        let Half { requests, took_ms, questions } = half;
        table.add_row([
            name.to_owned(),
            requests.to_string(),
            output::quantiles(*took_ms),
            questions.to_string(),
        ]);
    }
    let forged = &figures.forged;
    let not_told = match forged.not_told {
        0 => String::new(),
        count => format!("\n{count} of them were not told that their position is unreachable."),
    };
    format!(
        "\nforged\n\
         Honest users store a post in {store} and read it in the other region, {lag} ms behind, {rate} in a second;\n\
         in every second turn of {rounds} requests come between that depend on what nobody will ever write.\n\
         Times from when a request was due.\n\n\
         {table}\n\n\
         {count} forged requests were refused, p50 / p99 {took} ms, the last after {max:.1} ms.{not_told}\n\
         Among them honest ones took {p50:.2} × as long in the median, {p99:.2} × at the 99th percentile \
         (medians of the rounds).\n\
         antipode: {antipode}; {version}\n",
        store = figures.store,
        lag = figures.lag_ms,
        rate = figures.rate,
        rounds = figures.rounds * 2,
        count = forged.requests,
        took = output::quantiles(forged.took_ms),
        max = forged.max_ms,
        p50 = figures.p50_ratio,
        p99 = figures.p99_ratio,
        antipode = env!("CARGO_PKG_VERSION"),
        version = figures.version,
    )
}
