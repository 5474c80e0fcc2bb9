use std::{fs, path::Path};

/// Lines that an error message quotes.
const LINES: usize = 8;

/// Bytes that they are looked for in.
const BYTES: usize = 8 << 10;

/// The last lines of a log, in one line.
pub(crate) fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(text.get(text.len().saturating_sub(BYTES)..).unwrap_or(&text));
    // The frames of a Java stack trace would push out what it is about.
    let telling = |line: &&str| !line.is_empty() && !line.starts_with("at ");
    let lines: Vec<&str> = text.lines().map(str::trim).filter(telling).collect();
    if lines.is_empty() {
        return "(empty)".to_owned();
    }
    lines.get(lines.len().saturating_sub(LINES)..).unwrap_or(&lines).join(" | ")
}
