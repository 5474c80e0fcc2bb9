//! Making the directories and configuration files of the servers.

use std::{
    fmt::Write as _,
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use nix::sys::signal::Signal;

use super::{RedisOptions, session};
#[cfg(feature = "containers")]
use crate::containers::Image;
use crate::{
    Member, TopologyError,
    native::Programs,
    plan::{Plan, Port},
    server::Server,
    site::{Rights, Site, Software},
    wait,
};

/// What every server is set to unless the options say otherwise.
const SETTINGS: &[(&str, &str)] = &[
    ("bind", "127.0.0.1"),
    ("daemonize", "no"),
    ("save", ""),
    ("appendonly", "no"),
    ("repl-diskless-sync", "yes"),
    ("repl-diskless-sync-delay", "0"),
    ("repl-ping-replica-period", "1"),
    ("repl-backlog-size", "64mb"),
    // Otherwise a primary waits for lagging replicas when it is told to end.
    ("shutdown-timeout", "0"),
];

const SOFTWARE: Software = Software {
    store: "redis",
    programs: || Programs::find("redis", &["redis-server"], [PathBuf::from("/usr/bin")]),
    #[cfg(feature = "containers")]
    image: Image { name: "redis", tag: "7.0.15" },
    rights: Rights::Own,
};

/// Where the servers of one topology run.
#[derive(Debug)]
pub(super) struct Setup {
    site: Site,
}

impl Setup {
    pub(super) async fn new(options: &RedisOptions) -> Result<Self, TopologyError> {
        Ok(Self { site: Site::new(options.provider, &SOFTWARE).await? })
    }

    /// Starts a server; with a link, as a replica of what that leads to.
    pub(super) async fn server(
        &self,
        member: Member,
        options: &RedisOptions,
        link: Option<SocketAddr>,
    ) -> Result<Server, TopologyError> {
        let upstream = link.map(|link| ("replicaof", format!("{} {}", link.ip(), link.port())));
        self.launch(&member.to_string(), options, upstream.as_slice()).await
    }

    /// Starts a server of this label, with further settings of its own.
    pub(super) async fn launch(
        &self,
        label: &str,
        options: &RedisOptions,
        own: &[(&str, String)],
    ) -> Result<Server, TopologyError> {
        let directory = self.site.path().join(label);
        let name = format!("redis {label}");
        let configuration = write(&directory, &settings(&directory, options, own))
            .map_err(TopologyError::system(&name, "write redis.conf"))?;
        let plan = Plan {
            name,
            program: self.site.program("redis-server"),
            arguments: vec![configuration.into()],
            port: Port::Free { option: "--port" },
            directory,
            account: self.site.account(),
            starting: wait::LIMIT,
            stopping: Signal::SIGTERM,
            ending: Signal::SIGTERM,
            probe: session::probe,
        };
        self.site.launch(plan).await
    }
}

fn settings(directory: &Path, options: &RedisOptions, own: &[(&str, String)]) -> String {
    let own = own.iter().map(|(name, value)| (*name, value.as_str()));
    let chosen = options.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let mut text = String::new();
    for (name, value) in SETTINGS.iter().copied().chain(own).chain(chosen) {
        let _ = writeln!(text, "{name} {}", quoted(value));
    }
    let _ = writeln!(text, "dir {}", quoted(&directory.to_string_lossy()));
    text
}

/// A value that is more than one word is written as it is.
fn quoted(value: &str) -> String {
    if value.is_empty() { "\"\"".to_owned() } else { value.to_owned() }
}

fn write(directory: &Path, settings: &str) -> io::Result<PathBuf> {
    fs::create_dir_all(directory)?;
    let path = directory.join("redis.conf");
    fs::write(&path, settings)?;
    Ok(path)
}
