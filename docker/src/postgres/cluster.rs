//! Making the data directories of a primary and its standbys.

use std::{
    ffi::OsString,
    fmt::Write as _,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    net::SocketAddr,
    path::PathBuf,
};

use nix::sys::signal::Signal;

use super::{PostgresOptions, programs::programs, session};
#[cfg(feature = "containers")]
use crate::containers::Image;
use crate::{
    Member, TopologyError,
    plan::{Plan, Port},
    server::Server,
    site::{Rights, Site, Software},
    wait,
};

/// What every server is set to unless the options say otherwise.
const SETTINGS: &[(&str, &str)] = &[
    ("listen_addresses", "127.0.0.1"),
    ("unix_socket_directories", ""),
    ("max_connections", "100"),
    ("shared_buffers", "32MB"),
    // Shared memory that is a file here goes with the directory, even after a SIGKILL.
    ("dynamic_shared_memory_type", "mmap"),
    ("wal_level", "replica"),
    // A base backup takes two.
    ("max_wal_senders", "32"),
    ("max_replication_slots", "32"),
    ("hot_standby", "on"),
    ("wal_keep_size", "1GB"),
    ("wal_retrieve_retry_interval", "200ms"),
    ("wal_receiver_status_interval", "1s"),
    ("jit", "off"),
    ("log_line_prefix", "%m [%p] "),
];

const SOFTWARE: Software = Software {
    store: "postgres",
    programs,
    #[cfg(feature = "containers")]
    image: Image { name: "postgres", tag: "15" },
    rights: Rights::NotRoot,
};

/// Where and as whom the servers of one topology run.
#[derive(Debug)]
pub(super) struct Cluster {
    site: Site,
}

impl Cluster {
    pub(super) async fn new(options: &PostgresOptions) -> Result<Self, TopologyError> {
        Ok(Self { site: Site::new(options.provider, &SOFTWARE).await? })
    }

    /// Makes an empty database cluster and starts it.
    pub(super) async fn primary(&self, options: &PostgresOptions) -> Result<Server, TopologyError> {
        let plan = self.plan(Member::Primary);
        let arguments = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-locale"];
        let mut arguments: Vec<OsString> = arguments.map(OsString::from).into();
        arguments.extend(["--no-sync".into(), "--pgdata".into(), plan.directory.clone().into()]);
        self.site.run(&plan.name, "initdb", arguments).await?;

        append(plan.directory.join("postgresql.conf"), &settings(options))
            .map_err(TopologyError::system(&plan.name, "write postgresql.conf"))?;
        self.site.launch(plan).await
    }

    /// Copies a running server and starts the copy as a standby of what `link` leads to.
    pub(super) async fn standby(
        &self,
        member: Member,
        source: SocketAddr,
        link: SocketAddr,
    ) -> Result<Server, TopologyError> {
        let plan = self.plan(member);
        self.copy(&plan, member, source, link).await?;
        self.site.launch(plan).await
    }

    /// Gives a server that is not running the data of another, as its standby.
    pub(super) async fn replace(
        &self,
        member: Member,
        source: SocketAddr,
        link: SocketAddr,
    ) -> Result<(), TopologyError> {
        let plan = self.plan(member);
        fs::remove_dir_all(&plan.directory)
            .map_err(TopologyError::system(&plan.name, "remove its old data"))?;
        self.copy(&plan, member, source, link).await
    }

    async fn copy(
        &self,
        plan: &Plan,
        member: Member,
        source: SocketAddr,
        link: SocketAddr,
    ) -> Result<(), TopologyError> {
        let mut arguments: Vec<OsString> = vec!["--pgdata".into(), plan.directory.clone().into()];
        arguments.extend(["--dbname".into(), conninfo(source, member).into()]);
        let options = ["--checkpoint=fast", "--wal-method=stream", "--no-sync", "--no-password"];
        arguments.extend(options.map(OsString::from));
        self.site.run(&plan.name, "pg_basebackup", arguments).await?;
        self.follow(plan, &conninfo(link, member))
            .map_err(TopologyError::system(&plan.name, "write its standby settings"))
    }

    /// Makes the data a standby's. What the source was told by `ALTER SYSTEM` does not count here.
    fn follow(&self, plan: &Plan, conninfo: &str) -> io::Result<()> {
        let settings = format!("primary_conninfo = {}\n", quoted(conninfo));
        for (name, content) in [("postgresql.auto.conf", settings.as_str()), ("standby.signal", "")] {
            let path = plan.directory.join(name);
            fs::write(&path, content)?;
            self.site.account().own(&path)?;
        }
        Ok(())
    }

    fn plan(&self, member: Member) -> Plan {
        let directory = self.site.path().join(member.to_string());
        Plan {
            name: format!("postgres {member}"),
            program: self.site.program("postgres"),
            arguments: vec!["-D".into(), directory.clone().into()],
            port: Port::Free { option: "-p" },
            directory,
            account: self.site.account(),
            // "Fast" and "immediate" shutdown.
            starting: wait::LIMIT,
            stopping: Signal::SIGINT,
            ending: Signal::SIGQUIT,
            probe: session::probe,
        }
    }
}

/// By this name an upstream knows a member, for instance in `synchronous_standby_names`.
pub(super) fn application_name(member: Member) -> String {
    match member {
        Member::Primary => "primary".to_owned(),
        Member::Replica(index) => format!("standby_{index}"),
    }
}

fn conninfo(upstream: SocketAddr, member: Member) -> String {
    format!(
        "host={} port={} user=postgres sslmode=disable gssencmode=disable application_name={}",
        upstream.ip(),
        upstream.port(),
        application_name(member),
    )
}

fn settings(options: &PostgresOptions) -> String {
    let chosen = options.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let mut text = String::new();
    for (name, value) in SETTINGS.iter().copied().chain(chosen) {
        let _ = writeln!(text, "{name} = {}", quoted(value));
    }
    text
}

/// A string as in `postgresql.conf` and, with standard-conforming strings, in SQL.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn append(path: PathBuf, text: &str) -> io::Result<()> {
    OpenOptions::new().append(true).open(path)?.write_all(text.as_bytes())
}
