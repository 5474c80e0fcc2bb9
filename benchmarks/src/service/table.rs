//! The figures of a run, for people.

use super::figures::{Figures, Row};
use crate::output;

/// The table of all handlers, and what to read from it.
pub(super) fn render(figures: &Figures) -> String {
    let heads = ["handler", "plain, 1/s", "layers, 1/s", "ratio", "quartiles", "allocations"];
    let mut table = output::table(heads.map(str::to_owned));
    for row in &figures.rows {
        let Row { handler, plain_per_s, layered_per_s, ratio, ratio_quartiles: [low, high], .. } = row;
        table.add_row([
            (*handler).to_owned(),
            format!("{plain_per_s:.0}"),
            format!("{layered_per_s:.0}"),
            format!("{ratio:.3}"),
            format!("{low:.3} to {high:.3}"),
            format!("{:.1} → {:.1}", row.plain_allocations, row.layered_allocations),
        ]);
    }
    format!(
        "\nservice\n\
         An axum handler plain, and inside of a lineage layer and a barrier that finds everything visible:\n\
         {} pairs of slices of {} ms in turn, {} connections, a lineage of four stores in each request.\n\
         Allocations are those of client and service together, for each request.\n\n\
         {table}\n\nantipode: {}; {}\n",
        figures.pairs,
        figures.slice_ms,
        figures.connections,
        env!("CARGO_PKG_VERSION"),
        figures.versions.join(", "),
    )
}
