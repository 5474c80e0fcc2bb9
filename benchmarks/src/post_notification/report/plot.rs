//! Latencies as ranges on one axis: a band for each mode, and in it a line for each cell.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::distinct;
use crate::cli::Mode;
use crate::post_notification::figures::{Figures, ModeFigures};
use crate::statistics::{Quantiles, median};

/// The drawing's units are CSS pixels at full width.
const WIDTH: f64 = 540.0;
const LEFT: f64 = 106.0;
const RIGHT: f64 = 104.0;
const LINE: f64 = 6.0;
const GAP: f64 = 14.0;
const AXIS: f64 = 26.0;

/// A line: a cell in one mode.
struct Line {
    name: String,
    quantiles: Quantiles,
    violated: bool,
}

type Bands = BTreeMap<Mode, Vec<Line>>;

pub(super) fn section(cells: &[Figures]) -> Markup {
    html! {
        section aria-labelledby="plots" {
            h2 id="plots" { "Who waits, and how long" }
            p {
                "Each line goes from the median (the dot) to the 99th percentile of one combination; a hollow dot is one \
                 with violations. Beside a mode stand p50 / p99 of its middle combination."
            }
            @for (number, store) in distinct(cells, |cell| &cell.posts).into_iter().enumerate() {
                h3 { "Posts in " (store) }
                div.plots {
                    (figure(cells, store, "consistency window", &format!("window-{number}"), |mode| mode.window_ms))
                    (figure(cells, store, "write latency", &format!("write-{number}"), |mode| mode.write_ms))
                }
            }
        }
    }
}

fn figure(cells: &[Figures], store: &str, what: &str, id: &str, of: fn(&ModeFigures) -> Quantiles) -> Markup {
    let mut bands = Bands::new();
    for cell in cells.iter().filter(|cell| cell.posts == store) {
        for (mode, figures) in cell.modes.iter().filter(|(_, figures)| figures.reads > 0) {
            let name = format!("{} through {}", cell.variant, cell.notifier);
            let line = Line { name, quantiles: of(figures), violated: figures.violations > 0 };
            bands.entry(*mode).or_default().push(line);
        }
    }
    html! {
        figure {
            figcaption { (what) ", ms" }
            (drawing(&bands, store, what, id))
        }
    }
}

fn drawing(bands: &Bands, store: &str, what: &str, id: &str) -> Markup {
    let lines = bands.values().flatten();
    let (step, end) = ticks(lines.map(|line| line.quantiles.p99).fold(0.0, f64::max));
    let x = |ms: f64| LEFT + (WIDTH - LEFT - RIGHT) * ms / end;
    let height = |lines: &[Line]| (lines.len() as f64 * LINE).max(18.0) + GAP;
    let bottom: f64 = bands.values().map(|lines| height(lines)).sum();
    let marks = (0..=(end / step).round() as u32).map(|mark| f64::from(mark) * step);
    let mut top = 0.0;
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {}", bottom + AXIS)) role="img" aria-labelledby=(format!("{id}-title {id}-desc")) {
            title id=(format!("{id}-title")) { (what) " of posts in " (store) ", by mode" }
            desc id=(format!("{id}-desc")) { (described(bands)) }
            @for mark in marks {
                line.grid x1=(px(x(mark))) x2=(px(x(mark))) y1="0" y2=(px(bottom)) {}
                text.tick x=(px(x(mark))) y=(px(bottom + 18.0)) text-anchor="middle" { (decimal(mark)) }
            }
            @for (mode, lines) in bands {
                @let band = { let from = top; top += height(lines); from };
                @let middle = band + height(lines) / 2.0;
                @let first = middle - (lines.len() as f64 - 1.0) * LINE / 2.0;
                g class=(format!("band {mode}")) {
                    text.label x=(px(LEFT - 12.0)) y=(px(middle + 5.0)) text-anchor="end" { (mode) }
                    @for (index, line) in lines.iter().enumerate() {
                        @let y = px(first + index as f64 * LINE);
                        @let Quantiles { p50, p99 } = line.quantiles;
                        g {
                            title { (line.name) ": p50 " (p50) " ms, p99 " (p99) " ms" }
                            line.range x1=(px(x(p50))) x2=(px(x(p99))) y1=(y) y2=(y) {}
                            circle.hollow[line.violated] cx=(px(x(p50))) cy=(y) r="2.6" {}
                        }
                    }
                    text.value x=(px(WIDTH - RIGHT + 14.0)) y=(px(middle + 5.0)) { (middle_of(lines)) }
                }
            }
        }
    }
}

/// The same in words.
fn described(bands: &Bands) -> String {
    let said = bands.iter().map(|(mode, lines)| format!("{mode}: {} ms", middle_of(lines)));
    format!("p50 / p99 of the middle combination. {}.", said.collect::<Vec<_>>().join("; "))
}

fn middle_of(lines: &[Line]) -> String {
    let middle = |of: fn(&Quantiles) -> f64| median(lines.iter().map(|line| of(&line.quantiles)));
    format!("{:.1} / {:.1}", middle(|line| line.p50), middle(|line| line.p99))
}

/// The distance of the marks on an axis up to `most`, one of 1, 2, 5 times a power of ten, and its end.
fn ticks(most: f64) -> (f64, f64) {
    let rough = (most / 5.0).max(1e-3);
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|of| of * power).into_iter().find(|step| *step >= rough);
    let step = step.unwrap_or(10.0 * power);
    (step, step * (most / step).ceil().max(1.0))
}

/// Without the dust of binary fractions.
fn decimal(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

/// A coordinate, to a tenth.
fn px(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::ticks;

    #[test]
    fn marks_are_round_and_reach_the_end() {
        for (most, expected) in
            [(163.0, (50.0, 200.0)), (4.9, (1.0, 5.0)), (100.0, (20.0, 100.0)), (0.0, (1e-3, 1e-3))]
        {
            let (step, end) = ticks(most);
            assert!(
                (step - expected.0).abs() < 1e-9 && (end - expected.1).abs() < 1e-9,
                "{most}: {step} {end}"
            );
        }
    }
}
