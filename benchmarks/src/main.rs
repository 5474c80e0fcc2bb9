//! The `antipode` command.
fn main() {}
