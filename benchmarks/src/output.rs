//! Progress, tables and files: what all workloads share.

use std::path::Path;
use std::time::Duration;

use comfy_table::{CellAlignment, Table, TableComponent, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::Failure;
use crate::statistics::{Quantiles, Rate};

/// A bar on standard error, if that is a terminal. Of length zero it is a spinner.
pub(crate) fn progress(message: &'static str, length: u64) -> ProgressBar {
    let bar = ProgressBar::new(length).with_message(message);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {wide_bar} {pos}/{len}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// A table whose first column names the rows.
pub(crate) fn table(heads: impl IntoIterator<Item = String>) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    let between_rows = [
        TableComponent::HorizontalLines,
        TableComponent::MiddleIntersections,
        TableComponent::LeftBorderIntersections,
        TableComponent::RightBorderIntersections,
    ];
    for line in between_rows {
        table.remove_style(line);
    }
    table.set_header(heads);
    table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    table
}

/// `1.2 / 3.4`: median and 99th percentile.
pub(crate) fn quantiles(quantiles: Quantiles) -> String {
    let Quantiles { p50, p99 } = quantiles;
    format!("{p50:.1} / {p99:.1}")
}

/// A share in percent, as precise as it needs.
pub(crate) fn percent(share: f64) -> String {
    let percent = (share * 1e3).round() / 10.0;
    if percent.fract() == 0.0 { format!("{percent:.0} %") } else { format!("{percent:.1} %") }
}

/// The 95 % interval of a rate: one bound says it all for none and for all.
pub(crate) fn interval(rate: Rate) -> String {
    let [low, high] = rate.interval().map(percent);
    match rate.hits {
        0 => format!("below {high}"),
        all if all == rate.of => format!("above {low}"),
        _ => format!("{low} to {high}"),
    }
}

/// Writes the figures where they were asked for.
///
/// # Errors
/// [`Failure::File`].
pub(crate) fn write_json(path: Option<&Path>, figures: &impl Serialize) -> Result<(), Failure> {
    let Some(path) = path else { return Ok(()) };
    let text = serde_json::to_string_pretty(figures);
    let mut text = text.map_err(|error| Failure::File { path: path.to_owned(), source: error.into() })?;
    text.push('\n');
    write("figures", path, &text)
}

/// Writes a file, and says so.
///
/// # Errors
/// [`Failure::File`].
pub(crate) fn write(what: &str, path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|source| Failure::File { path: path.to_owned(), source })?;
    println!("{what}: {}", path.display());
    Ok(())
}
