//! Making the directories and arguments of the servers.

use std::{collections::BTreeMap, ffi::OsString, fs};

use nix::sys::signal::Signal;

use super::{MongoOptions, session};
#[cfg(feature = "containers")]
use crate::containers::Image;
use crate::{
    Member, TopologyError,
    native::{Programs, cache},
    plan::{Plan, Port},
    server::Server,
    site::{Rights, Site, Software},
    wait,
};

/// The name of every set.
pub(super) const SET: &str = "antipode";

/// What every server is started with: small, and on loopback only.
const ARGUMENTS: &[&str] = &[
    "--replSet",
    SET,
    "--bind_ip",
    "127.0.0.1",
    "--nounixsocket",
    "--oplogSize",
    "64",
    "--wiredTigerCacheSizeGB",
    "0.25",
    "--quiet",
];

/// What every server is set to unless the options say otherwise.
const SETTINGS: &[(&str, &str)] = &[
    ("enableTestCommands", "1"),
    ("diagnosticDataCollectionEnabled", "false"),
    // Otherwise a primary waits for lagging replicas when it is told to end.
    ("shutdownTimeoutMillisForSignaledShutdown", "0"),
];

const SOFTWARE: Software = Software {
    store: "mongodb",
    programs: || Programs::find("mongodb", &["mongod"], [cache().join("mongodb-6.0.27")]),
    #[cfg(feature = "containers")]
    image: Image { name: "mongo", tag: "6.0.27" },
    rights: Rights::Own,
};

/// Where the servers of one topology run.
#[derive(Debug)]
pub(super) struct Setup {
    site: Site,
}

impl Setup {
    pub(super) async fn new(options: &MongoOptions) -> Result<Self, TopologyError> {
        Ok(Self { site: Site::new(options.provider, &SOFTWARE).await? })
    }

    /// Starts a server that is in no set yet.
    pub(super) async fn server(
        &self,
        member: Member,
        options: &MongoOptions,
    ) -> Result<Server, TopologyError> {
        let name = format!("mongodb {member}");
        let directory = self.site.path().join(member.to_string());
        fs::create_dir_all(&directory)
            .and_then(|()| self.site.account().own(&directory))
            .map_err(TopologyError::system(&name, "make its directory"))?;
        let mut arguments: Vec<OsString> = ARGUMENTS.iter().map(OsString::from).collect();
        arguments.extend(["--dbpath".into(), directory.clone().into()]);
        let mut settings: BTreeMap<&str, &str> = SETTINGS.iter().copied().collect();
        settings.extend(options.settings.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        for (name, value) in settings {
            arguments.extend(["--setParameter".into(), format!("{name}={value}").into()]);
        }
        let plan = Plan {
            name,
            program: self.site.program("mongod"),
            arguments,
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
