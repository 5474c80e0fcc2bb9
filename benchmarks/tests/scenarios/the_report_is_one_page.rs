//! The report is one page that needs nothing else, and says what the figures say.

use crate::command;

/// The page of a run that succeeds.
fn page(arguments: &[&str]) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    let report = ["--rounds", "15", "--report", file.path().to_str().unwrap()];
    command::figures(&["run", "post-notification"], &[arguments, &report].concat());
    std::fs::read_to_string(file).unwrap()
}

#[test]
fn of_a_matrix() {
    let page = page(&["--matrix", "--posts", "memory", "--notifier", "memory"]);
    assert_well_formed(&page);
    for outside in ["<script", "<link", "<img", "@import", "url(", "http"] {
        assert!(!page.contains(outside), "{outside}");
    }
    for needed in ["prefers-color-scheme: dark", "name=\"viewport\"", "<html lang=\"en\">"] {
        assert!(page.contains(needed), "{needed}");
    }
    // Each drawing has its words, each table its caption.
    let count = |tag: &str| page.matches(tag).count();
    assert_eq!((count("<svg "), count("role=\"img\""), count("<desc ")), (2, 2, 2));
    assert_eq!((count("<table"), count("<caption>")), (4, 4));
    // 3 variants of 15 reads.
    assert!(page.contains("0 violations in 45 reads, below 6.7 %"), "{page}");
    assert!(page.contains("violations in 45 reads, above"), "{page}");
    for mode in ["off", "barrier", "poll", "sleep"] {
        assert_eq!(count(&format!("<g class=\"band {mode}\">")), 2, "{mode}");
    }
}

#[test]
fn of_a_single_run() {
    let page = page(&[]);
    assert_well_formed(&page);
    assert!(page.contains("<h1>Posts in memory, notifications through memory</h1>"), "{page}");
    assert!(page.contains("0 violations in 15 reads, below 20 %"), "{page}");
}

/// Every element ends where it must.
fn assert_well_formed(page: &str) {
    let mut open: Vec<&str> = Vec::new();
    let (_, after_doctype) = page.split_once('>').unwrap();
    for tag in after_doctype.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').unwrap_or_else(|| panic!("<{tag}"));
        let name = tag.trim_start_matches('/').split(' ').next().unwrap();
        match (tag.starts_with('/'), name) {
            (_, "meta") => {}
            (true, name) => assert_eq!(open.pop(), Some(name), "{open:?}"),
            (false, name) => open.push(name),
        }
    }
    assert!(open.is_empty(), "{open:?}");
}
