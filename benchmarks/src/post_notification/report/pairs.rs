//! The matrix: post stores down, notifiers across, a table for each variant.

use maud::{Markup, html};

use super::{distinct, rate};
use crate::cli::Mode;
use crate::post_notification::figures::Figures;

/// The modes that every cell has: what the others are compared with.
const SHOWN: [Mode; 3] = [Mode::Off, Mode::Propagate, Mode::Barrier];

pub(super) fn section(cells: &[Figures]) -> Markup {
    let notifiers = distinct(cells, |cell| &cell.notifier);
    let posts = distinct(cells, |cell| &cell.posts);
    html! {
        section aria-labelledby="pairs" {
            h2 id="pairs" { "Violations, pair by pair" }
            p { "The share of reads that were stale, with its 95 % interval." }
            @for variant in distinct(cells, |cell| &cell.variant) {
                div.wide tabindex="0" role="region" aria-label=(format!("Violations of {variant}s")) {
                    table {
                        caption { (what(variant)) }
                        thead {
                            tr {
                                th scope="col" { "posts in" }
                                @for notifier in &notifiers { th scope="col" { "through " (notifier) } }
                            }
                        }
                        tbody {
                            @for store in &posts {
                                tr {
                                    th scope="row" { (store) }
                                    @for notifier in &notifiers { td { (pair(cells, store, notifier, variant)) } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn pair(cells: &[Figures], posts: &str, notifier: &str, variant: &str) -> Markup {
    let mut cells = cells.iter();
    let cell = cells.find(|cell| cell.posts == posts && cell.notifier == notifier && cell.variant == variant);
    let modes = cell.into_iter().flat_map(|cell| SHOWN.map(|mode| Some((mode, cell.mode(mode)?))));
    html! {
        @if cell.is_none() { "–" }
        dl.modes {
            @for (mode, figures) in modes.flatten() {
                div { dt { (mode) } dd { (rate(figures)) } }
            }
        }
    }
}

fn what(variant: &str) -> &str {
    match variant {
        "insert" => "insert: a new post",
        "update" => "update: a new version of a post that Europe has",
        "delete" => "delete: the end of a post that Europe has",
        other => other,
    }
}
