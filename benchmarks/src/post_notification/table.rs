//! The figures of a run, for people.

use std::fmt::Write as _;

use super::figures::{Figures, ModeFigures};
use crate::cli::Mode;
use crate::output;
use crate::statistics::Quantiles;

/// What the run was, its table, and what it showed.
pub(crate) fn render(figures: &Figures) -> String {
    let Figures { posts, notifier, variant, lag_ms, seed, rounds, payload_bytes, pace_ms, .. } = figures;
    let versions: Vec<String> =
        figures.versions.iter().map(|(of, version)| format!("{of}: {version}")).collect();
    let mut text = format!(
        "\npost-notification\n\
         In the US a post is stored ({posts}, {variant}) and announced ({notifier}). In Europe, which the log of\n\
         posts reaches {late}, a reader takes the notification and looks the post up, once.\n\n\
         {table}\n\n{conclusion}\n\n\
         {rounds} rounds a mode, one every {pace_ms} ms, modes in turn; posts of {payload_bytes} bytes; seed {seed}\n\
         {versions}\n",
        late = late(*lag_ms),
        table = table(figures),
        conclusion = conclusion(figures),
        versions = versions.join("; "),
    );
    if let Some(barrier) = figures.mode(Mode::Barrier).and_then(|mode| mode.barrier.as_ref()) {
        let Quantiles { p50, .. } = barrier.detection_error_ms;
        let _ = writeln!(
            text,
            "detection: applied at the replica until the barrier returned, {} samples after the rounds, too high by {p50} ms at most",
            barrier.detection_samples
        );
    }
    text
}

fn table(figures: &Figures) -> String {
    let modes = &figures.modes;
    let heads = modes.keys().map(Mode::to_string);
    let mut table = output::table([String::new()].into_iter().chain(heads));
    let mut row = |title: &str, cell: &dyn Fn(&ModeFigures) -> Option<String>| {
        let cells: Vec<Option<String>> = modes.values().map(cell).collect();
        if cells.iter().any(Option::is_some) {
            let cells = cells.into_iter().map(|cell| cell.unwrap_or_else(|| "–".to_owned()));
            table.add_row([title.to_owned()].into_iter().chain(cells));
        }
    };
    row("reads", &|mode| Some(mode.reads.to_string()));
    row("violations", &|mode| Some(mode.violations.to_string()));
    row("violation rate (95 % interval)", &|mode| Some(rate(mode)));
    row("consistency window, p50 / p99 ms", &|mode| Some(output::quantiles(mode.window_ms)));
    row("write latency, p50 / p99 ms", &|mode| Some(output::quantiles(mode.write_ms)));
    row("gave up waiting", &|mode| (mode.gave_up > 0).then(|| mode.gave_up.to_string()));
    row("barrier wait, p50 / p99 ms", &|mode| {
        Some(output::quantiles(mode.barrier.as_ref()?.barrier_wait_ms))
    });
    row("detection delay, p50 / p99 ms", &|mode| {
        let barrier = mode.barrier.as_ref().filter(|barrier| barrier.detection_samples > 0)?;
        Some(output::quantiles(barrier.detection_ms))
    });
    row("lineage on the wire, p50 / max bytes", &|mode| {
        mode.wire_bytes.map(|bytes| format!("{} / {}", bytes.p50, bytes.max))
    });
    row("probes at the replica", &|mode| Some(mode.barrier.as_ref()?.probes.to_string()));
    row("outcomes", &|mode| {
        let kinds = mode.barrier.as_ref()?.outcomes.by_kind();
        let kinds = kinds.iter().filter(|(kind, count)| *count > 0 || *kind == "visible");
        Some(kinds.map(|(kind, count)| format!("{count} {kind}")).collect::<Vec<_>>().join("\n"))
    });
    table.to_string()
}

/// The violation rate with its interval.
pub(super) fn rate(mode: &ModeFigures) -> String {
    format!("{} ({})", output::percent(mode.violation_rate), output::interval(mode.rate()))
}

/// How late the log arrives, as the end of a sentence.
pub(super) fn late(lag_ms: Option<f64>) -> String {
    lag_ms.map_or("as late as the servers are".to_owned(), |lag_ms| format!("{lag_ms} ms late"))
}

fn conclusion(figures: &Figures) -> String {
    let without = figures.mode(Mode::Off).or(figures.mode(Mode::Propagate));
    let without = without
        .map(|mode| format!("Without a barrier, the notification overtook its post in {}.", of_rounds(mode)));
    let with = figures.mode(Mode::Barrier).and_then(|mode| {
        let barrier = mode.barrier.as_ref()?;
        let wait = barrier.barrier_wait_ms.p50;
        let failed = barrier.outcomes.failed();
        let mut text = format!("With one, in {}: it waited {wait:.0} ms (p50).", of_rounds(mode));
        if failed > 0 {
            let _ = write!(text, " {failed} barriers did not say visible, and nothing was read behind them.");
        }
        Some(text)
    });
    without.into_iter().chain(with).collect::<Vec<_>>().join("\n")
}

fn of_rounds(mode: &ModeFigures) -> String {
    format!("{} of {} rounds", mode.violations, mode.reads)
}
