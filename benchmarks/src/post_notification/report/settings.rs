//! What the run was made with.

use std::collections::BTreeMap;

use maud::{Markup, html};

use crate::post_notification::figures::Figures;

pub(super) fn section(cells: &[Figures]) -> Markup {
    let mut versions: BTreeMap<&str, &str> = BTreeMap::new();
    for cell in cells {
        let of = |role| cell.versions.get(role).map_or("", String::as_str);
        versions.insert(&cell.posts, of("posts"));
        versions.entry(&cell.notifier).or_insert(of("notifier"));
    }
    let Some(cell) = cells.first() else { return html! {} };
    let lag = cell.lag_ms.map_or("that of the servers".to_owned(), |lag_ms| format!("{lag_ms} ms"));
    let settings = [
        ("replication lag", lag),
        ("rounds a mode", cell.rounds.to_string()),
        ("a round every", format!("{} ms", cell.pace_ms)),
        ("size of a post", format!("{} bytes", cell.payload_bytes)),
        ("seed", cell.seed.to_string()),
    ];
    html! {
        section aria-labelledby="settings" {
            h2 id="settings" { "Settings and versions" }
            div.columns {
                dl.settings { @for (name, value) in settings { div { dt { (name) } dd { (value) } } } }
                dl.settings {
                    div { dt { "antipode" } dd { (env!("CARGO_PKG_VERSION")) } }
                    @for (store, version) in versions { div { dt { (store) } dd { (version) } } }
                }
            }
            p.note {
                "Rounds begin at a fixed pace whether or not earlier ones have ended. The modes take turns, so that all meet \
                 the same machine; polling, which keeps the machine busy, comes last. Servers, writer and reader share one \
                 machine and one clock: trust the ratios."
            }
        }
    }
}
