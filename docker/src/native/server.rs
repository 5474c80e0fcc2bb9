use std::{
    ffi::OsString,
    fs,
    future::ready,
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{
    Account, Home,
    log::tail,
    process_tree,
    supervised::{Job, Supervised},
};
use crate::{TopologyError, wait};

/// How often another port is tried when a chosen one was taken meanwhile.
const PORTS: usize = 10;

/// What to run as a server.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The server in messages.
    pub(crate) name: String,
    pub(crate) program: PathBuf,
    /// All but the port.
    pub(crate) arguments: Vec<OsString>,
    pub(crate) port: Port,
    pub(crate) directory: PathBuf,
    pub(crate) account: Account,
    /// Ends it in good order: clients' connections are closed, all data is kept.
    pub(crate) stopping: Signal,
    /// Ends it in a hurry, but cleaning up after itself.
    pub(crate) ending: Signal,
    pub(crate) probe: Probe,
}

/// Where a server's port comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Port {
    /// A free one is chosen, and told with this option.
    Free { option: &'static str },
    /// Its configuration names this one already, as where its peers must know it before it starts.
    Configured(u16),
}

/// Whether the server at an address answers, and is the one of this directory and no other.
pub(crate) type Probe = fn(SocketAddr, PathBuf) -> futures_util::future::BoxFuture<'static, bool>;

/// A server process on a loopback port of its own.
#[derive(Debug)]
pub(crate) struct NativeServer {
    plan: Plan,
    port: u16,
    /// `None` when it was stopped or killed.
    process: Mutex<Option<Supervised>>,
    /// Dropped after the process, which is in it.
    home: Arc<Home>,
}

impl NativeServer {
    /// Starts a server for the first time, on a port that it then keeps.
    pub(crate) async fn launch(home: &Arc<Home>, plan: Plan) -> Result<Self, TopologyError> {
        match plan.port {
            Port::Free { .. } => Self::launch_on(home, plan, free_port).await,
            Port::Configured(port) => {
                let server = Self::new(home, plan, port);
                server.start().await.map(|()| server)
            }
        }
    }

    fn new(home: &Arc<Home>, plan: Plan, port: u16) -> Self {
        Self { plan, port, home: Arc::clone(home), process: Mutex::new(None) }
    }

    async fn launch_on(
        home: &Arc<Home>,
        plan: Plan,
        mut choose: impl FnMut() -> io::Result<u16>,
    ) -> Result<Self, TopologyError> {
        let mut tried = 1;
        loop {
            let port = choose().map_err(TopologyError::system(&plan.name, "find a free port"))?;
            let server = Self::new(home, plan.clone(), port);
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

    pub(crate) fn name(&self) -> &str {
        &self.plan.name
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    pub(crate) fn log(&self) -> String {
        tail(&self.log_path())
    }

    pub(crate) fn is_running(&self) -> bool {
        match &mut *self.process() {
            Some(process) => matches!(process.ended(), Ok(None)),
            None => false,
        }
    }

    pub(crate) async fn start(&self) -> Result<(), TopologyError> {
        if self.is_running() {
            return Ok(());
        }
        let mut process = Supervised::start(&self.home, self.name(), self.job()).await?;
        let answers = wait::until(wait::LIMIT, || {
            let ended = process.ended().map_err(self.system("wait for the server"));
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
            return Err(self.timeout("answering"));
        }
        *self.process() = Some(process);
        Ok(())
    }

    pub(crate) async fn stop(&self) -> Result<(), TopologyError> {
        self.end("stopped", |process| {
            process_tree::cont(process.pid())?;
            kill(process.pid(), self.plan.stopping)
        })
        .await
    }

    pub(crate) async fn kill(&self) -> Result<(), TopologyError> {
        self.end("killed", |process| process_tree::kill_all(process.pid())).await
    }

    pub(crate) fn pause(&self) -> Result<(), TopologyError> {
        self.signal("pause the server", process_tree::stop)
    }

    pub(crate) fn resume(&self) -> Result<(), TopologyError> {
        self.signal("resume the server", process_tree::cont)
    }

    fn signal(&self, operation: &'static str, send: fn(Pid) -> nix::Result<()>) -> Result<(), TopologyError> {
        if let Some(process) = &mut *self.process()
            && matches!(process.ended(), Ok(None))
        {
            match send(process.pid()) {
                // It has ended, but is not cleaned up after yet.
                Err(Errno::ESRCH) => {}
                sent => return sent.map_err(io::Error::from).map_err(self.system(operation)),
            }
        }
        Err(TopologyError::NotRunning { server: self.name().to_owned(), log: self.log() })
    }

    /// Sends a signal and waits for the end. The process stays ours until it has ended.
    async fn end(
        &self,
        condition: &'static str,
        send: impl FnOnce(&Supervised) -> nix::Result<()>,
    ) -> Result<(), TopologyError> {
        if let Some(process) = &mut *self.process()
            && matches!(process.ended(), Ok(None))
        {
            // An error says that it has just ended by itself.
            let _ = send(process);
        }
        let ended =
            wait::until(wait::LIMIT, || ready(Ok::<_, TopologyError>((!self.is_running()).then_some(()))))
                .await?;
        if ended.is_none() {
            return Err(self.timeout(condition));
        }
        *self.process() = None;
        Ok(())
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

    fn log_path(&self) -> PathBuf {
        log_path(&self.plan.directory)
    }

    fn process(&self) -> MutexGuard<'_, Option<Supervised>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn system(&self, operation: &'static str) -> impl FnOnce(io::Error) -> TopologyError {
        TopologyError::system(self.name(), operation)
    }

    fn timeout(&self, condition: &'static str) -> TopologyError {
        TopologyError::Timeout {
            server: self.name().to_owned(),
            condition,
            limit: wait::LIMIT,
            log: self.log(),
        }
    }
}

/// Beside the directory, which must be empty before it is first used.
fn log_path(directory: &Path) -> PathBuf {
    directory.with_extension("log")
}

pub(crate) fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
