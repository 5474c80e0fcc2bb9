//! Making the data directories of a primary and its standbys.

use std::{
    ffi::OsString,
    fmt::Write as _,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
};

use nix::sys::signal::Signal;

use super::{PostgresOptions, programs::programs, session};
use crate::{
    Member, TopologyError,
    native::{Account, Home, NativeServer, Plan, Port, Programs, run_tool},
    server::Server,
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

/// Where and as whom the servers of one topology run.
#[derive(Debug)]
pub(super) struct Cluster {
    home: Arc<Home>,
    programs: Programs,
    account: Account,
}

impl Cluster {
    pub(super) fn new() -> Result<Self, TopologyError> {
        let programs = programs()?;
        let account = Account::unprivileged()?;
        let home = Home::new("postgres")?;
        account
            .own(home.path())
            .map_err(TopologyError::system("postgres", "give its directory to its user"))?;
        Ok(Self { home: Arc::new(home), programs, account })
    }

    /// Makes an empty database cluster and starts it.
    pub(super) async fn primary(&self, options: &PostgresOptions) -> Result<Server, TopologyError> {
        let plan = self.plan(Member::Primary);
        let arguments = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-locale"];
        let mut arguments: Vec<OsString> = arguments.map(OsString::from).into();
        arguments.extend(["--no-sync".into(), "--pgdata".into(), plan.directory.clone().into()]);
        self.run("initdb", &plan.name, arguments).await?;

        append(plan.directory.join("postgresql.conf"), &settings(options))
            .map_err(TopologyError::system(&plan.name, "write postgresql.conf"))?;
        Ok(Server::Native(NativeServer::launch(&self.home, plan).await?))
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
        Ok(Server::Native(NativeServer::launch(&self.home, plan).await?))
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
        self.run("pg_basebackup", &plan.name, arguments).await?;
        self.follow(plan, &conninfo(link, member))
            .map_err(TopologyError::system(&plan.name, "write its standby settings"))
    }

    /// Makes the data a standby's. What the source was told by `ALTER SYSTEM` does not count here.
    fn follow(&self, plan: &Plan, conninfo: &str) -> io::Result<()> {
        let settings = format!("primary_conninfo = {}\n", quoted(conninfo));
        for (name, content) in [("postgresql.auto.conf", settings.as_str()), ("standby.signal", "")] {
            let path = plan.directory.join(name);
            fs::write(&path, content)?;
            self.account.own(&path)?;
        }
        Ok(())
    }

    async fn run(&self, program: &str, server: &str, arguments: Vec<OsString>) -> Result<(), TopologyError> {
        run_tool(&self.home, server, self.account, self.programs.program(program), arguments).await
    }

    fn plan(&self, member: Member) -> Plan {
        let directory = self.home.path().join(member.to_string());
        Plan {
            name: format!("postgres {member}"),
            program: self.programs.program("postgres"),
            arguments: vec!["-D".into(), directory.clone().into()],
            port: Port::Free { option: "-p" },
            directory,
            account: self.account,
            // "Fast" and "immediate" shutdown.
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
