use std::{
    io::{self, BufRead, BufReader},
    os::unix::process::CommandExt,
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use nix::{sys::signal::Signal, unistd::Pid};
use tokio::task::spawn_blocking;

use super::Home;
use crate::{TopologyError, plan::Job};

const SUPERVISOR: &str = include_str!("supervisor.sh");

/// How long a drop waits at most, on a machine that is too busy to end processes and to remove
/// files; well over the supervisor's own patience. Otherwise it takes some tenths of a second.
const DROP_LIMIT: Duration = Duration::from_secs(30);

/// A running command, which ends when this is dropped or this process is gone.
#[derive(Debug)]
pub(crate) struct Supervised {
    supervisor: Child,
    /// `None` while it is dropped.
    pipe: Option<ChildStdin>,
    pid: Pid,
}

impl Supervised {
    pub(crate) async fn start(home: &Arc<Home>, server: &str, job: Job) -> Result<Self, TopologyError> {
        let home = Arc::clone(home);
        // Reading the process id blocks for as long as the shell takes to start.
        spawn_blocking(move || Self::spawn(&home, &job))
            .await
            .map_err(io::Error::other)
            .flatten()
            .map_err(TopologyError::system(server, "run a program"))
    }

    fn spawn(home: &Home, job: &Job) -> io::Result<Self> {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", SUPERVISOR, "supervisor", signal_name(job.ending)])
            .args([&job.pid_file, &job.log, &job.program])
            .args(&job.arguments)
            .current_dir(&job.directory)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(home.hold()?)
            .process_group(0);
        job.account.apply(&mut command);
        let mut supervisor = command.spawn()?;
        let pipe = supervisor.stdin.take();
        let mut line = String::new();
        if let Some(output) = supervisor.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        let pid = line.trim().parse().map_err(io::Error::other)?;
        Ok(Self { supervisor, pipe, pid: Pid::from_raw(pid) })
    }

    /// The command's process; it exists as long as [`ended`](Self::ended) says `None`.
    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// How the command ended, once it has and is cleaned up after.
    pub(crate) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.supervisor.try_wait()
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.pipe = None;
        await_end(&mut self.supervisor);
    }
}

/// Reaps a child that has been told to end. If it does not in time, it still ends by itself.
pub(super) fn await_end(child: &mut Child) {
    let deadline = Instant::now() + DROP_LIMIT;
    while matches!(child.try_wait(), Ok(None)) && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(2));
    }
}

/// As the shell's `kill` knows it.
fn signal_name(signal: Signal) -> &'static str {
    signal.as_str().trim_start_matches("SIG")
}
