//! The figures of a run, for people.

use super::figures::{Figures, Row};
use crate::output;

/// The table of all stores, and what to read from it.
pub(crate) fn render(figures: &Figures) -> String {
    let heads = ["", "form", "round trip", "driver, µs", "shim, µs", "ratio"];
    let mut table = output::table(heads.map(str::to_owned));
    if let Some(form) = table.column_mut(1) {
        form.set_cell_alignment(comfy_table::CellAlignment::Left);
    }
    for (store, figures) in &figures.stores {
        for (kind, rows) in [("write", &figures.write), ("read", &figures.read)] {
            for Row { rtt_ms, form, raw_us, shim_us, ratio } in rows {
                let figures = [format!("{raw_us:.0}"), format!("{shim_us:.0}"), format!("{ratio:.2}")];
                let place = [format!("{store} {kind}"), (*form).to_owned(), format!("{rtt_ms} ms")];
                table.add_row(place.into_iter().chain(figures));
            }
        }
    }
    let versions: Vec<&str> = figures.stores.values().map(|store| store.version.as_str()).collect();
    format!(
        "\noverhead\n\
         The same operation with the bare driver and through the shim, in turn: medians of {} pairs,\n\
         values of {} bytes, a lineage of three other stores. Round trip 0 is loopback without proxy.\n\n\
         {table}\n\nantipode: {}; {}\n",
        figures.rounds,
        figures.payload_bytes,
        env!("CARGO_PKG_VERSION"),
        versions.join("; "),
    )
}
