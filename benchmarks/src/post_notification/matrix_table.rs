//! The figures of a matrix, for people.

use super::figures::{Figures, ModeFigures};
use super::table::{late, rate};
use crate::cli::Mode;
use crate::output;

/// A cell in short.
pub(super) fn line(figures: &Figures) -> String {
    let short = |(mode, figures): (&Mode, &ModeFigures)| {
        format!("{mode} {}", output::percent(figures.violation_rate))
    };
    figures.modes.iter().map(short).collect::<Vec<_>>().join(", ")
}

/// All cells: a line for each mode of each.
pub(super) fn render(cells: &[Figures]) -> String {
    let heads = ["posts", "notifier", "variant", "mode", "violation rate (95 %)", "window, ms", "write, ms"];
    let mut table = output::table(heads.map(str::to_owned));
    let left = table.column_iter_mut().take(4);
    left.for_each(|column| column.set_cell_alignment(comfy_table::CellAlignment::Left));
    for cell in cells {
        for (mode, figures) in &cell.modes {
            let Figures { posts, notifier, variant, .. } = cell;
            let rate = match figures.gave_up {
                0 => rate(figures),
                gave_up => format!("{}, {gave_up} gave up", rate(figures)),
            };
            let times = [figures.window_ms, figures.write_ms].map(output::quantiles);
            let place = [posts, notifier, variant].map(Clone::clone);
            table.add_row(place.into_iter().chain([mode.to_string(), rate]).chain(times));
        }
    }
    let Some(cell) = cells.first() else { return String::new() };
    let Figures { lag_ms, rounds, payload_bytes, pace_ms, seed, .. } = cell;
    format!(
        "\npost-notification, {} cells\n\
         In the US a post is stored, replaced or deleted, and announced. In Europe, which the log of posts\n\
         reaches {}, a reader takes the notification and looks the post up, once. Times: p50 / p99.\n\n\
         {table}\n\n\
         {rounds} rounds a mode, one every {pace_ms} ms; posts of {payload_bytes} bytes; seed {seed}\n",
        cells.len(),
        late(*lag_ms),
    )
}
