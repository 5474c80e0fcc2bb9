use std::{
    ffi::OsString,
    future::ready,
    io::{self, BufRead, BufReader},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use nix::{sys::signal::Signal, unistd::Pid};
use tokio::task::spawn_blocking;

use super::{Account, Home, log::tail};
use crate::{TopologyError, wait};

const SUPERVISOR: &str = include_str!("supervisor.sh");

/// How long a drop waits at most, on a machine that is too busy to end processes and to remove
/// files; well over the supervisor's own patience. Otherwise it takes some tenths of a second.
const DROP_LIMIT: Duration = Duration::from_secs(30);

/// A command to run under supervision.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<OsString>,
    pub(super) directory: PathBuf,
    pub(super) log: PathBuf,
    pub(super) account: Account,
    /// What ends it in a hurry but in good order.
    pub(super) ending: Signal,
    /// Where a killed Postgres leaves the number of its shared memory segment.
    pub(super) pid_file: PathBuf,
}

/// A running command, which ends when this is dropped or this process is gone.
#[derive(Debug)]
pub(super) struct Supervised {
    supervisor: Child,
    /// `None` while it is dropped.
    pipe: Option<ChildStdin>,
    pid: Pid,
}

/// Runs one of a store's programs to its end.
pub(crate) async fn run_tool(
    home: &Arc<Home>,
    server: &str,
    account: Account,
    program: PathBuf,
    arguments: Vec<OsString>,
) -> Result<(), TopologyError> {
    let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let log = home.path().join(format!("{} {name}.log", server));
    let job = Job {
        program,
        arguments,
        directory: home.path().to_owned(),
        log: log.clone(),
        account,
        ending: Signal::SIGTERM,
        pid_file: PathBuf::from("/dev/null"),
    };
    let mut running = Supervised::start(home, server, job).await?;
    let ended = wait::until(wait::LIMIT, || ready(running.ended()))
        .await
        .map_err(TopologyError::system(server, "wait for a program"))?;
    match ended {
        Some(status) if status.success() => Ok(()),
        outcome => Err(TopologyError::Tool {
            server: server.to_owned(),
            program: name,
            status: outcome
                .map_or_else(|| format!("not done within {:?}", wait::LIMIT), |status| status.to_string()),
            output: tail(&log),
        }),
    }
}

// === impl Supervised ===

impl Supervised {
    pub(super) async fn start(home: &Arc<Home>, server: &str, job: Job) -> Result<Self, TopologyError> {
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
    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    /// How the command ended, once it has and is cleaned up after.
    pub(super) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
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
