//! A running service in another language.

use std::path::PathBuf;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use crate::services::{LIMIT, Test};

/// It ends when this is dropped, or when this process does.
pub(crate) struct Foreign {
    /// What it said when it was ready.
    pub(crate) said: String,
    _stdin: ChildStdin,
    _process: Child,
}

impl Foreign {
    /// Starts a program of a language; with these propagators, if it has an SDK.
    pub(crate) async fn start(
        language: &str,
        program: &str,
        arguments: &[&str],
        propagators: &str,
    ) -> Test<Self> {
        let program = built(language).await?.join(program);
        let mut process = Command::new(program)
            .args(arguments)
            .env("OTEL_PROPAGATORS", propagators)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdin = process.stdin.take().ok_or("no stdin")?;
        let stdout = process.stdout.take().ok_or("no stdout")?;
        let mut lines = BufReader::new(stdout).lines();
        let said = tokio::time::timeout(LIMIT, lines.next_line()).await??;
        let said = said.ok_or_else(|| format!("the service in {language} ended at once"))?;
        Ok(Self { said, _stdin: stdin, _process: process })
    }
}

/// Where the services of a language are, after building them if that was not done before.
async fn built(language: &str) -> Test<PathBuf> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/hops/build");
    let output = Command::new(script).arg(language).output().await?;
    let (said, faults) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    let place = said.trim().strip_prefix(language).ok_or(faults)?;
    Ok(PathBuf::from(place.trim()))
}
