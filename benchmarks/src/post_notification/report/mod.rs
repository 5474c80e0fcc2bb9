//! The figures of a run or a matrix as one HTML page: no script, nothing from elsewhere.

mod modes;
mod pairs;
mod plot;
mod settings;

use std::time::SystemTime;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::figures::{BarrierFigures, Figures, ModeFigures};
use super::table::late;
use crate::cli::Mode;
use crate::output;
use crate::statistics::Rate;

const STYLE: &str = include_str!("style.css");

/// The page.
pub(super) fn page(cells: &[Figures], at: SystemTime) -> String {
    let title = match cells {
        [cell] => format!("Posts in {}, notifications through {}", cell.posts, cell.notifier),
        _ => format!("Post-notification: {} combinations", cells.len()),
    };
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "antipode: " (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    p.brand { "antipode · post-notification" }
                    h1 { (title) }
                    (lead(cells))
                }
                main {
                    (verdicts(cells))
                    (pairs::section(cells))
                    (plot::section(cells))
                    (modes::section(cells))
                    (settings::section(cells))
                }
                footer {
                    p { "Made " (humantime::format_rfc3339_seconds(at)) " by antipode " (env!("CARGO_PKG_VERSION")) "." }
                }
            }
        }
    };
    page.into_string()
}

fn lead(cells: &[Figures]) -> Markup {
    let late = cells.first().map(|cell| late(cell.lag_ms));
    html! {
        p.lead {
            "In the US a post is stored, replaced or deleted, and then announced. In Europe, which the log of posts reaches "
            (late.unwrap_or_default())
            ", a reader takes the notification and looks the post up, once, at its local replica. If it finds anything \
             older than what was announced, that is a violation."
        }
    }
}

/// What all cells together show without a barrier, and with one.
fn verdicts(cells: &[Figures]) -> Markup {
    let all = |mode: Mode| {
        let figures = cells.iter().filter_map(move |cell| cell.mode(mode));
        let rate = figures.fold(Rate { hits: 0, of: 0 }, |sum, mode| Rate {
            hits: sum.hits + mode.violations,
            of: sum.of + mode.reads,
        });
        (rate.of > 0).then_some(rate)
    };
    let failed: u64 = barriers(cells).map(|barrier| barrier.outcomes.failed()).sum();
    html! {
        section.verdicts aria-label="Verdict" {
            @if let Some(rate) = all(Mode::Off) {
                div.verdict.off { (verdict(rate)) p { "without a barrier" } }
            }
            @if let Some(rate) = all(Mode::Barrier) {
                div.verdict.barrier {
                    (verdict(rate))
                    p { "with a barrier"
                        @if failed > 0 { "; " strong { (failed) " barriers did not say visible" } }
                        @else { ", all visible" }
                    }
                }
            }
        }
    }
}

fn verdict(rate: Rate) -> Markup {
    html! {
        p.share { (output::percent(rate.share())) }
        p { (rate.hits) " violations in " (rate.of) " reads, " (output::interval(rate)) }
    }
}

fn barriers(cells: &[Figures]) -> impl Iterator<Item = &BarrierFigures> {
    cells.iter().filter_map(|cell| cell.mode(Mode::Barrier)?.barrier.as_ref())
}

/// Each once, in the order of their first appearance.
fn distinct<'c>(cells: &'c [Figures], of: impl Fn(&'c Figures) -> &'c str) -> Vec<&'c str> {
    let mut seen = Vec::new();
    cells.iter().map(of).for_each(|one| {
        if !seen.contains(&one) {
            seen.push(one);
        }
    });
    seen
}

/// The violation rate of a mode, coloured by whether there is any.
fn rate(figures: &ModeFigures) -> Markup {
    let class = if figures.violations > 0 { "rate violated" } else { "rate kept" };
    html! {
        span class=(class) { (output::percent(figures.violation_rate)) } " "
        span.interval { (output::interval(figures.rate())) }
        @if figures.gave_up > 0 { " " span.interval { (figures.gave_up) " gave up" } }
    }
}
