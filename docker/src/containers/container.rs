use std::{
    ffi::OsString,
    io,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{self, ExitStatus},
    sync::Arc,
};

use futures_util::StreamExt;
use nix::sys::signal::Signal;
use testcontainers::{
    ContainerAsync, GenericImage, ImageExt,
    bollard::{
        Docker,
        errors::Error as DockerError,
        query_parameters::{InspectContainerOptions, KillContainerOptionsBuilder, WaitContainerOptions},
    },
    core::{AccessMode, Mount},
    runners::AsyncRunner,
};
use tokio::{runtime, sync::watch, task::JoinHandle};

use super::engine::{Engine, PASSWD};
use crate::{TopologyError, native::Home, plan::Job, process::Tell};

/// Runs what follows the name of a log, with its output in that.
const LOGGED: &str = r#"log=$1; shift; exec "$@" >>"$log" 2>&1"#;

/// A container with a running program.
#[derive(Debug)]
pub(crate) struct Container {
    /// `None` while it is dropped.
    container: Option<ContainerAsync<GenericImage>>,
    reach: Reach,
    ended: watch::Receiver<Option<ExitStatus>>,
    watcher: JoinHandle<()>,
}

impl Container {
    pub(crate) async fn start(
        engine: &Engine,
        home: &Arc<Home>,
        server: &str,
        job: Job,
    ) -> Result<Self, TopologyError> {
        let cannot = TopologyError::engine(server, "start a container");
        let command = command(&job).map_err(TopologyError::system(server, "run a program in a container"))?;
        let (user, group) = job.account.numbers();
        let path = text(home.path());
        let passwd = Mount::bind_mount(text(&home.path().join(PASSWD)), "/etc/passwd");
        let container = engine
            .image
            .generic()
            .with_entrypoint("/bin/sh")
            .with_cmd(command)
            .with_network("host")
            .with_user(format!("{user}:{group}"))
            .with_mount(Mount::bind_mount(path.clone(), path.clone()))
            .with_mount(passwd.with_access_mode(AccessMode::ReadOnly))
            .with_working_dir(text(&job.directory))
            .with_env_var("LC_ALL", "C")
            .with_label("antipode.home", path)
            .with_label("antipode.owner", process::id().to_string())
            .start()
            .await
            .map_err(cannot)?;
        let reach = Reach { docker: engine.docker.clone(), id: container.id().to_owned() };
        let (tell_end, ended) = watch::channel(None);
        let watched = reach.clone();
        let watcher = tokio::spawn(async move {
            let status = watched.end().await;
            tell_end.send_replace(Some(status));
        });
        Ok(Self { container: Some(container), reach, ended, watcher })
    }

    /// What its program ended with, once it has. A shell's number for a program that a signal
    /// ended; also when the engine has forgotten the container, or is gone itself.
    pub(crate) fn ended(&self) -> Option<ExitStatus> {
        *self.ended.borrow()
    }

    pub(crate) fn reach(&self) -> Reach {
        self.reach.clone()
    }

    /// Removes it, as a drop does, but without keeping the thread waiting.
    pub(crate) async fn clear(mut self) {
        if let Some(container) = self.container.take()
            && let Err(error) = container.rm().await
        {
            tracing::warn!(container = self.reach.id, %error, "cannot remove a container");
        }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.watcher.abort();
        let Some(container) = self.container.take() else { return };
        // It is removed by a thread of the library, which looks for a runtime here all the same,
        // and relies on the workers of one that has several.
        let Ok(runtime) = runtime::Builder::new_current_thread().enable_all().build() else {
            // The shell that guards the directory removes it.
            std::mem::forget(container);
            return;
        };
        let entered = runtime.enter();
        drop(container);
        drop(entered);
        runtime.shutdown_background();
    }
}

/// What a container can be told through.
#[derive(Clone, Debug)]
pub(crate) struct Reach {
    docker: Docker,
    id: String,
}

impl Reach {
    /// Tells its program. That this has ended is [`io::ErrorKind::NotFound`].
    pub(crate) async fn tell(&self, what: Tell) -> io::Result<()> {
        let told = match what {
            // The engine thaws what it tells to end.
            Tell::Stop(signal) => self.signal(signal).await,
            Tell::Kill => self.signal(Signal::SIGKILL).await,
            Tell::Freeze => self.docker.pause_container(&self.id).await,
            Tell::Thaw => self.docker.unpause_container(&self.id).await,
        };
        match told {
            Err(error) if !self.is_already(what).await? => Err(io::Error::other(error)),
            _ => Ok(()),
        }
    }

    async fn signal(&self, signal: Signal) -> Result<(), DockerError> {
        let options = KillContainerOptionsBuilder::new().signal(signal.as_str()).build();
        self.docker.kill_container(&self.id, Some(options)).await
    }

    /// The engine refuses to freeze what is frozen and to thaw what is not.
    async fn is_already(&self, what: Tell) -> io::Result<bool> {
        let inspected = self.docker.inspect_container(&self.id, None::<InspectContainerOptions>).await;
        let state = match inspected {
            Err(DockerError::DockerResponseServerError { status_code: 404, .. }) => {
                return Err(io::ErrorKind::NotFound.into());
            }
            inspected => inspected.map_err(io::Error::other)?.state.unwrap_or_default(),
        };
        if state.running != Some(true) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let paused = state.paused == Some(true);
        Ok(matches!((what, paused), (Tell::Freeze, true) | (Tell::Thaw, false)))
    }

    async fn end(&self) -> ExitStatus {
        let mut answers = self.docker.wait_container(&self.id, None::<WaitContainerOptions>);
        let code = match answers.next().await {
            Some(Ok(ended)) => ended.status_code,
            Some(Err(DockerError::DockerContainerWaitError { code, .. })) => code,
            Some(Err(error)) => {
                tracing::warn!(container = self.id, %error, "lost a container");
                LOST
            }
            None => LOST,
        };
        ExitStatus::from_raw(i32::try_from(code & 0xff).unwrap_or_default() << 8)
    }
}

/// The exit code of a container that the engine knows nothing of.
const LOST: i64 = 255;

fn command(job: &Job) -> io::Result<Vec<String>> {
    let program = [&job.log, &job.program].map(|path| path.clone().into_os_string());
    let all = ["-c", LOGGED, "sh"].map(OsString::from).into_iter().chain(program);
    all.chain(job.arguments.iter().cloned())
        .map(|argument| argument.into_string().map_err(|_| io::ErrorKind::InvalidInput.into()))
        .collect()
}

/// A path of ours, under the directory for temporary files.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
