//! What else can be done than a barrier, and what it costs whom: the cells that have more modes.

use maud::{Markup, html};

use super::rate;
use crate::cli::Mode;
use crate::output;
use crate::post_notification::figures::Figures;

pub(super) fn section(cells: &[Figures]) -> Markup {
    let most = cells.iter().map(|cell| cell.modes.len()).max().unwrap_or_default();
    let fullest = cells.iter().filter(|cell| cell.modes.len() > 2 || most <= 2);
    html! {
        section aria-labelledby="modes" {
            h2 id="modes" { "Mode by mode" }
            p {
                "Times are p50 / p99 in milliseconds. The consistency window is from the acknowledged write to the end \
                 of the read; the write latency is what the writer pays."
            }
            div.wide tabindex="0" role="region" aria-label="Modes compared" {
                table.compared {
                    caption { "what each mode costs, and whether it helps" }
                    thead {
                        tr {
                            @for head in ["posts in", "through", "variant", "mode", "violations"] { th scope="col" { (head) } }
                            @for head in ["window", "write"] { th.number scope="col" { (head) } }
                        }
                    }
                    @for cell in fullest {
                        tbody {
                            @for (index, (mode, figures)) in cell.modes.iter().enumerate() {
                                tr {
                                    @if index == 0 {
                                        @for name in [&cell.posts, &cell.notifier, &cell.variant] {
                                            th scope="rowgroup" rowspan=(cell.modes.len()) { (name) }
                                        }
                                    }
                                    th scope="row" { (mode) }
                                    td { (rate(figures)) }
                                    td.number { (output::quantiles(figures.window_ms)) }
                                    td.number { (output::quantiles(figures.write_ms)) }
                                }
                            }
                        }
                    }
                }
            }
            (glossary(cells))
        }
    }
}

fn glossary(cells: &[Figures]) -> Markup {
    let modes: std::collections::BTreeSet<Mode> =
        cells.iter().flat_map(|cell| cell.modes.keys().copied()).collect();
    html! {
        dl.glossary {
            @for mode in modes { dt { (mode) } dd { (mode.meaning()) } }
        }
    }
}
