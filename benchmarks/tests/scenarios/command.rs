//! Runs the command.

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

/// The figures of a run in which readers come before the replicas, which this decides by them: where the
/// machine is too busy for that, the replicas must be later.
pub(crate) fn figures_of_late_replicas(
    workload: &[&str],
    arguments: &[&str],
    are_late: impl Fn(&Value) -> bool,
) -> Value {
    let mut shown = Value::Null;
    for lag in ["150ms", "600ms", "2400ms"] {
        shown = figures(workload, &[arguments, &["--lag", lag]].concat());
        if are_late(&shown) {
            break;
        }
    }
    shown
}
