//! What a run tells the table at the end of `docker/test`.

use std::env;
use std::fs::OpenOptions;
use std::io::{self, Write};

use libtest_mimic::Conclusion;

/// Names the file, if anybody wants to know.
const FILE: &str = "ANTIPODE_CONFORMANCE_RECORD";

/// Appends one line: package, target, passed, failed, ignored.
pub(crate) fn append(conclusion: &Conclusion) -> io::Result<()> {
    let Some(file) = env::var_os(FILE) else { return Ok(()) };
    // Cargo says so to what it runs.
    let package = env::var("CARGO_PKG_NAME").map_err(io::Error::other)?;
    let program = env::current_exe()?;
    let program = program.file_stem().unwrap_or_default().to_string_lossy();
    let Conclusion { num_passed: passed, num_failed: failed, num_ignored: ignored, .. } = conclusion;
    let line = format!("{package} {} {passed} {failed} {ignored}\n", target(&program));
    // In one piece.
    OpenOptions::new().create(true).append(true).open(file)?.write_all(line.as_bytes())
}

/// The test target of a program, whose name ends with a hash.
fn target(program: &str) -> &str {
    program.rsplit_once('-').map_or(program, |(target, _)| target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_is_named_without_the_hash() {
        assert_eq!(target("conformance_in_containers-84cac4ced405baa8"), "conformance_in_containers");
        assert_eq!(target("conformance"), "conformance");
    }
}
