use std::{
    os::unix::{fs::chown, process::CommandExt},
    path::Path,
    process::Command,
};

#[cfg(feature = "containers")]
use nix::unistd::getegid;
use nix::unistd::{User, geteuid};

use crate::TopologyError;

/// Any but root; this is `postgres` in the official image.
#[cfg(feature = "containers")]
const SPARE_USER: u32 = 999;

/// The user that a server runs as.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Account {
    /// The user of this process.
    Own,
    /// Another one; only root can choose it.
    Other { uid: u32, gid: u32 },
}

impl Account {
    /// For a server that refuses to run as root: the system user `postgres` then.
    pub(crate) fn unprivileged() -> Result<Self, TopologyError> {
        if !geteuid().is_root() {
            return Ok(Self::Own);
        }
        match User::from_name("postgres") {
            Ok(Some(user)) => Ok(Self::Other { uid: user.uid.as_raw(), gid: user.gid.as_raw() }),
            _ => Err(TopologyError::MissingServer {
                store: "postgres",
                missing: "no user `postgres`, and postgres refuses to run as root".to_owned(),
            }),
        }
    }

    /// The same in a container, where no user has to exist beforehand.
    #[cfg(feature = "containers")]
    pub(crate) fn unprivileged_number() -> Self {
        if geteuid().is_root() { Self::Other { uid: SPARE_USER, gid: SPARE_USER } } else { Self::Own }
    }

    /// Its user and group numbers.
    #[cfg(feature = "containers")]
    pub(crate) fn numbers(self) -> (u32, u32) {
        match self {
            Self::Own => (geteuid().as_raw(), getegid().as_raw()),
            Self::Other { uid, gid } => (uid, gid),
        }
    }

    /// Gives a file or directory to the user.
    pub(crate) fn own(self, path: &Path) -> std::io::Result<()> {
        match self {
            Self::Own => Ok(()),
            Self::Other { uid, gid } => chown(path, Some(uid), Some(gid)),
        }
    }

    /// Makes a command run as the user.
    pub(crate) fn apply(self, command: &mut Command) {
        if let Self::Other { uid, gid } = self {
            command.uid(uid).gid(gid);
        }
    }
}
