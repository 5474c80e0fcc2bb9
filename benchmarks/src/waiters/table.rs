//! The figures of a run, for people.

use super::figures::{Figures, Point, Poll};
use crate::output;

/// The table, and what it shows.
pub(crate) fn render(figures: &Figures) -> String {
    let heads = [
        "waiters",
        "probes",
        "p50 / p99 ms",
        "bytes each",
        "poll: queries",
        "poll: p50 / p99 ms",
        "fewer questions",
    ];
    let mut table = output::table(heads.map(str::to_owned));
    for point in &figures.points {
        let Point { waiters, probes, p50_ms, p99_ms, bytes_per_waiter, poll, .. } = point;
        let Poll { queries, p50_ms: poll_p50, p99_ms: poll_p99, .. } = poll;
        table.add_row([
            waiters.to_string(),
            probes.to_string(),
            format!("{p50_ms:.1} / {p99_ms:.1}"),
            bytes_per_waiter.to_string(),
            queries.to_string(),
            format!("{poll_p50:.1} / {poll_p99:.1}"),
            format!("{:.0} ×", *queries as f64 / (*probes).max(1) as f64),
        ]);
    }
    let late: u64 = figures.points.iter().map(|point| point.late).sum();
    let late = if late == 0 { String::new() } else { format!("\n{late} barriers came too late to wait.") };
    format!(
        "\nwaiters\n\
         So many barriers wait at one replica of {store} for a write that reaches it {lag} ms late; beside it,\n\
         so many requests poll for it. Times from the acknowledged write until a waiter went on, {repeats} turns.\n\n\
         {table}\n{late}\nantipode: {antipode}; {version}\n",
        store = figures.store,
        lag = figures.lag_ms,
        repeats = figures.repeats,
        antipode = env!("CARGO_PKG_VERSION"),
        version = figures.version,
    )
}
