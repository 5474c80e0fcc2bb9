//! The store in the documentation is the one that passes the suite.

const README: &str = include_str!("../../README.md");
const STORE: &str = include_str!("third_party/file_store.rs");

#[test]
fn the_readme_holds_the_store_as_it_is_tested() {
    let shown = README.split("```rust\n").nth(1).and_then(|rest| rest.split("```").next());
    assert_eq!(shown, Some(STORE), "copy third_party/file_store.rs into shims/README.md");
}

#[test]
fn a_store_takes_no_more_than_150_lines() {
    let lines = STORE.lines().count();
    assert!(lines <= 150, "{lines} lines");
}
