//! What a topology wants to be run, without saying by whom.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf, time::Duration};

use futures_util::future::BoxFuture;
use nix::sys::signal::Signal;

use crate::native::Account;

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
    /// How long it may take until it answers.
    pub(crate) starting: Duration,
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
pub(crate) type Probe = fn(SocketAddr, PathBuf) -> BoxFuture<'static, bool>;

/// One run of a program.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) directory: PathBuf,
    pub(crate) log: PathBuf,
    pub(crate) account: Account,
    /// What ends it in a hurry but in good order.
    pub(crate) ending: Signal,
    /// Where a killed Postgres leaves the number of its shared memory segment.
    pub(crate) pid_file: PathBuf,
}
