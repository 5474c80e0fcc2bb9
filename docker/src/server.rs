//! Servers as topologies and nodes know them, whoever runs them.

use std::{
    fs,
    future::ready,
    io,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    TopologyError,
    native::{Home, tail},
    plan::{Job, Plan, Port},
    ports,
    process::{Process, Reach, Runner, Tell},
    wait,
};

/// How often another port is tried when a chosen one was taken meanwhile.
const PORTS: usize = 10;

/// A server on a loopback port of its own, which can be started, paused and killed.
#[derive(Debug)]
pub(crate) struct Server {
    plan: Plan,
    runner: Runner,
    port: u16,
    /// `None` when it was stopped or killed.
    process: Mutex<Option<Process>>,
    /// Dropped after the process, which is in it.
    home: Arc<Home>,
}

impl Server {
    /// Starts a server for the first time, on a port that it then keeps.
    pub(crate) async fn launch(runner: &Runner, home: &Arc<Home>, plan: Plan) -> Result<Self, TopologyError> {
        match plan.port {
            Port::Free { .. } => Self::launch_on(runner, home, plan, ports::free).await,
            Port::Configured(port) => {
                let server = Self::new(runner, home, plan, port);
                server.start().await.map(|()| server)
            }
        }
    }

    async fn launch_on(
        runner: &Runner,
        home: &Arc<Home>,
        plan: Plan,
        mut choose: impl FnMut() -> io::Result<u16>,
    ) -> Result<Self, TopologyError> {
        let mut tried = 1;
        loop {
            let port = choose().map_err(TopologyError::system(&plan.name, "find a free port"))?;
            let server = Self::new(runner, home, plan.clone(), port);
            match server.start().await {
                Err(TopologyError::Exited { log, .. })
                    if tried < PORTS && log.contains("Address already in use") =>
                {
                    tried += 1;
                    tracing::debug!(server = plan.name, port, "port taken, trying another");
                    // The next failure must not be judged by this one's log.
                    let _ = fs::remove_file(server.log_path());
                }
                outcome => return outcome.map(|()| server),
            }
        }
    }

    fn new(runner: &Runner, home: &Arc<Home>, plan: Plan, port: u16) -> Self {
        Self { plan, runner: runner.clone(), port, home: Arc::clone(home), process: Mutex::new(None) }
    }

    /// The server in messages, such as `postgres replica-0`.
    pub(crate) fn name(&self) -> &str {
        &self.plan.name
    }

    /// Where it is reached from this process; the same for its whole life.
    pub(crate) fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The last lines of its log, in one line.
    pub(crate) fn log(&self) -> String {
        tail(&self.log_path())
    }

    /// Whether it has been started and has not ended since; a paused server is running.
    pub(crate) fn is_running(&self) -> bool {
        match &mut *self.process() {
            Some(process) => matches!(process.ended(), Ok(None)),
            None => false,
        }
    }

    /// Starts it, if it is not running, and waits until it answers.
    pub(crate) async fn start(&self) -> Result<(), TopologyError> {
        if self.is_running() {
            return Ok(());
        }
        let mut process = self.runner.start(&self.home, self.name(), self.job()).await?;
        let limit = self.plan.starting;
        let answers = wait::until(limit, || {
            let ended = process.ended().map_err(TopologyError::system(self.name(), "wait for the server"));
            async move {
                if let Some(status) = ended? {
                    return Err(TopologyError::Exited {
                        server: self.name().to_owned(),
                        status: status.to_string(),
                        log: self.log(),
                    });
                }
                let answers = (self.plan.probe)(self.addr(), self.plan.directory.clone()).await;
                Ok(answers.then_some(()))
            }
        })
        .await?;
        if answers.is_none() {
            return Err(self.overdue("answering", limit));
        }
        *self.process() = Some(process);
        Ok(())
    }

    /// Ends it in good order, if it is running.
    pub(crate) async fn stop(&self) -> Result<(), TopologyError> {
        self.end("stopped", Tell::Stop(self.plan.stopping)).await
    }

    /// Ends it at once, if it is running, as a power failure would.
    pub(crate) async fn kill(&self) -> Result<(), TopologyError> {
        self.end("killed", Tell::Kill).await
    }

    /// Freezes all its processes.
    pub(crate) async fn pause(&self) -> Result<(), TopologyError> {
        self.tell("pause the server", Tell::Freeze).await
    }

    /// Lets them run again.
    pub(crate) async fn resume(&self) -> Result<(), TopologyError> {
        self.tell("resume the server", Tell::Thaw).await
    }

    /// The error of a condition that was not reached in time.
    pub(crate) fn timeout(&self, condition: &'static str) -> TopologyError {
        self.overdue(condition, wait::LIMIT)
    }

    fn overdue(&self, condition: &'static str, limit: Duration) -> TopologyError {
        TopologyError::Timeout { server: self.name().to_owned(), condition, limit, log: self.log() }
    }

    /// For `map_err`: its driver could not do `operation`.
    pub(crate) fn refused<E>(&self, operation: &'static str) -> impl FnOnce(E) -> TopologyError
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        move |source| TopologyError::Client {
            server: self.name().to_owned(),
            operation,
            log: self.log(),
            source: Box::new(source),
        }
    }

    /// An error unless it is running.
    pub(crate) fn must_run(&self) -> Result<(), TopologyError> {
        if self.is_running() { Ok(()) } else { Err(self.not_running()) }
    }

    fn not_running(&self) -> TopologyError {
        TopologyError::NotRunning { server: self.name().to_owned(), log: self.log() }
    }

    async fn tell(&self, operation: &'static str, what: Tell) -> Result<(), TopologyError> {
        let reach = self.reach().ok_or_else(|| self.not_running())?;
        reach.tell(what).await.map_err(|error| match error.kind() {
            // It has ended, but is not cleaned up after yet.
            io::ErrorKind::NotFound => self.not_running(),
            _ => TopologyError::system(self.name(), operation)(error),
        })
    }

    /// Tells it and waits for the end. The process stays ours until it has ended.
    async fn end(&self, condition: &'static str, what: Tell) -> Result<(), TopologyError> {
        if let Some(reach) = self.reach() {
            // An error says that it has just ended by itself.
            let _ = reach.tell(what).await;
        }
        let ended =
            wait::until(wait::LIMIT, || ready(Ok::<_, TopologyError>((!self.is_running()).then_some(()))))
                .await?;
        if ended.is_none() {
            return Err(self.timeout(condition));
        }
        let ended = self.process().take();
        if let Some(ended) = ended {
            ended.clear().await;
        }
        Ok(())
    }

    /// `None` if it is not running.
    fn reach(&self) -> Option<Reach> {
        let mut process = self.process();
        let process = process.as_mut()?;
        matches!(process.ended(), Ok(None)).then(|| process.reach())
    }

    fn job(&self) -> Job {
        let mut arguments = self.plan.arguments.clone();
        if let Port::Free { option } = self.plan.port {
            arguments.extend([option.into(), self.port.to_string().into()]);
        }
        Job {
            program: self.plan.program.clone(),
            arguments,
            directory: self.plan.directory.clone(),
            log: self.log_path(),
            account: self.plan.account,
            ending: self.plan.ending,
            pid_file: self.plan.directory.join("postmaster.pid"),
        }
    }

    /// Beside the directory, which must be empty before it is first used.
    fn log_path(&self) -> PathBuf {
        self.plan.directory.with_extension("log")
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
