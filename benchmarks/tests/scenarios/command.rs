//! Runs the command.
#![allow(clippy::unwrap_used, dead_code)]

use std::process::{Command, Output};

use serde_json::Value;

/// Runs it to its end.
pub(crate) fn antipode(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_antipode")).args(arguments).output().unwrap()
}

/// The figures of a run that succeeds.
pub(crate) fn figures(workload: &[&str], arguments: &[&str]) -> Value {
    let file = tempfile::NamedTempFile::new().unwrap();
    let json = file.path().to_str().unwrap();
    let all: Vec<&str> = workload.iter().chain(arguments).copied().chain(["--json", json]).collect();
    let output = antipode(&all);
    let (printed, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "antipode {}: {complained}\n{printed}", all.join(" "));
    serde_json::from_reader(file).unwrap()
}
