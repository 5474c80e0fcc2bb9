use std::{
    env, fs, io,
    os::{fd::OwnedFd, unix::process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use super::supervised::await_end;
use crate::TopologyError;

/// Waits for the end of the pipe, which is when the owner and all its processes have ended.
const GUARD: &str = r#"trap '' HUP; while read -r _; do :; done; eval "$2"; rm -rf -- "$1""#;

/// The directory of one topology, with one directory for each server.
///
/// A shell of its own removes it when the last holder of its pipe is gone: this process and the
/// supervisors of the servers.
#[derive(Debug)]
pub(crate) struct Home {
    path: PathBuf,
    /// `None` while it is dropped.
    pipe: Option<OwnedFd>,
    guard: Child,
}

impl Home {
    /// `farewell` is shell code for when all has ended; `$1` is the directory.
    pub(crate) fn new(store: &str, farewell: &str) -> Result<Self, TopologyError> {
        Self::within(&env::temp_dir(), store, farewell)
            .map_err(TopologyError::system(store, "make a temporary directory"))
    }

    pub(crate) fn within(parent: &Path, store: &str, farewell: &str) -> io::Result<Self> {
        let prefix = format!("antipode-{store}-");
        let directory = tempfile::Builder::new().prefix(&prefix).tempdir_in(parent)?;
        // The guard must not be in it, and no part of the name may be a link.
        let path = fs::canonicalize(directory.path())?;
        let mut guard = Command::new("/bin/sh")
            .args(["-c", GUARD, "sh"])
            .arg(&path)
            .arg(farewell)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        // From here on the guard removes it.
        let _ = directory.keep();
        let pipe = guard.stdin.take().map(OwnedFd::from);
        Ok(Self { path, pipe, guard })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// One more hold on the directory.
    pub(super) fn hold(&self) -> io::Result<Stdio> {
        let pipe = self.pipe.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Stdio::from(pipe.try_clone()?))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        self.pipe = None;
        await_end(&mut self.guard);
    }
}
