//! The seam between servers and what runs them.

use std::{io, process::ExitStatus, sync::Arc};

use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};

#[cfg(feature = "containers")]
use crate::containers::{Container, Engine};
use crate::{
    TopologyError,
    native::{Home, Supervised, process_tree},
    plan::Job,
};

/// What runs programs.
#[derive(Clone, Debug)]
pub(crate) enum Runner {
    /// This machine.
    Native,
    /// The Docker engine, each program in a container of its own.
    #[cfg(feature = "containers")]
    Containers(Engine),
}

impl Runner {
    /// Starts a program in the directory of a topology. `server` names it in messages.
    pub(crate) async fn start(
        &self,
        home: &Arc<Home>,
        server: &str,
        job: Job,
    ) -> Result<Process, TopologyError> {
        match self {
            Self::Native => Supervised::start(home, server, job).await.map(Process::Native),
            #[cfg(feature = "containers")]
            Self::Containers(engine) => {
                Container::start(engine, home, server, job).await.map(Box::new).map(Process::Container)
            }
        }
    }
}

/// A running program, which ends when this is dropped.
#[derive(Debug)]
pub(crate) enum Process {
    /// A process of this machine, with its children.
    Native(Supervised),
    /// A container.
    #[cfg(feature = "containers")]
    Container(Box<Container>),
}

impl Process {
    /// How it ended, once it has.
    pub(crate) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        match self {
            Self::Native(process) => process.ended(),
            #[cfg(feature = "containers")]
            Self::Container(container) => Ok(container.ended()),
        }
    }

    /// What reaches it, as long as it runs.
    pub(crate) fn reach(&self) -> Reach {
        match self {
            Self::Native(process) => Reach::Pid(process.pid()),
            #[cfg(feature = "containers")]
            Self::Container(container) => Reach::Container(container.reach()),
        }
    }

    /// Clears it away when it has ended.
    pub(crate) async fn clear(self) {
        match self {
            Self::Native(_) => {}
            #[cfg(feature = "containers")]
            Self::Container(container) => container.clear().await,
        }
    }
}

/// What a process can be told through.
#[derive(Clone, Debug)]
pub(crate) enum Reach {
    Pid(Pid),
    #[cfg(feature = "containers")]
    Container(crate::containers::Reach),
}

/// What a process can be told.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tell {
    /// To end, by this signal, also if it is frozen.
    Stop(Signal),
    /// Nothing more: it ends at once, with all its children.
    Kill,
    Freeze,
    Thaw,
}

impl Reach {
    /// Tells it. That it has ended meanwhile is [`io::ErrorKind::NotFound`].
    pub(crate) async fn tell(&self, what: Tell) -> io::Result<()> {
        match self {
            Self::Pid(pid) => tell_native(*pid, what).map_err(|errno| match errno {
                Errno::ESRCH => io::ErrorKind::NotFound.into(),
                errno => errno.into(),
            }),
            #[cfg(feature = "containers")]
            Self::Container(container) => container.tell(what).await,
        }
    }
}

fn tell_native(pid: Pid, what: Tell) -> nix::Result<()> {
    match what {
        Tell::Stop(signal) => {
            process_tree::cont(pid)?;
            kill(pid, signal)
        }
        Tell::Kill => process_tree::kill_all(pid),
        Tell::Freeze => process_tree::stop(pid),
        Tell::Thaw => process_tree::cont(pid),
    }
}
