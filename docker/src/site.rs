//! Where the servers of one topology run, and as whom.

use std::{
    ffi::OsString,
    future::ready,
    path::{Path, PathBuf},
    sync::Arc,
};

use nix::sys::signal::Signal;

#[cfg(feature = "containers")]
use crate::containers::{Engine, Image};
use crate::{
    Provider, TopologyError,
    native::{Account, Home, Programs, tail},
    plan::{Job, Plan},
    process::Runner,
    server::Server,
    wait,
};

/// What a store's servers are made of, at each provider.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Software {
    /// As `docker/install` knows it.
    pub(crate) store: &'static str,
    /// Finds what is installed on this machine.
    pub(crate) programs: fn() -> Result<Programs, TopologyError>,
    /// The official image.
    #[cfg(feature = "containers")]
    pub(crate) image: Image,
    pub(crate) rights: Rights,
}

/// The rights of a store's servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rights {
    /// Those of this process.
    Own,
    /// They refuse to run as root.
    NotRoot,
}

/// The directory of one topology, and what runs programs in it.
#[derive(Debug)]
pub(crate) struct Site {
    home: Arc<Home>,
    programs: Programs,
    account: Account,
    runner: Runner,
}

impl Site {
    pub(crate) async fn new(provider: Provider, software: &Software) -> Result<Self, TopologyError> {
        match provider {
            Provider::Native => Self::native(software.store, (software.programs)()?, software.rights),
            #[cfg(feature = "containers")]
            Provider::Containers => Self::containers(software).await,
        }
    }

    /// For processes, with what is installed here.
    pub(crate) fn native(
        store: &'static str,
        programs: Programs,
        rights: Rights,
    ) -> Result<Self, TopologyError> {
        let account = match rights {
            Rights::Own => Account::Own,
            Rights::NotRoot => Account::unprivileged()?,
        };
        let home = Arc::new(Home::new(store, "")?);
        Self { home, programs, account, runner: Runner::Native }.owned(store)
    }

    #[cfg(feature = "containers")]
    async fn containers(software: &Software) -> Result<Self, TopologyError> {
        let store = software.store;
        let engine = Engine::with(software.image, store).await?;
        let account = match software.rights {
            Rights::Own => Account::Own,
            Rights::NotRoot => Account::unprivileged_number(),
        };
        let home = Arc::new(Home::new(store, Engine::FAREWELL)?);
        engine
            .name_user(home.path(), account)
            .map_err(TopologyError::system(store, "name the user of its containers"))?;
        Self { programs: Programs::of_an_image(), account, home, runner: Runner::Containers(engine) }
            .owned(store)
    }

    fn owned(self, store: &str) -> Result<Self, TopologyError> {
        self.account
            .own(self.path())
            .map_err(TopologyError::system(store, "give its directory to its user"))?;
        Ok(self)
    }

    /// The topology's directory.
    pub(crate) fn path(&self) -> &Path {
        self.home.path()
    }

    /// The user of the servers.
    pub(crate) fn account(&self) -> Account {
        self.account
    }

    /// For a [`Plan`].
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.programs.program(name)
    }

    /// Starts a server for the first time.
    pub(crate) async fn launch(&self, plan: Plan) -> Result<Server, TopologyError> {
        Server::launch(&self.runner, &self.home, plan).await
    }

    /// Runs one of the store's programs to its end. `server` is whom it is run for.
    pub(crate) async fn run(
        &self,
        server: &str,
        program: &str,
        arguments: Vec<OsString>,
    ) -> Result<(), TopologyError> {
        let log = self.path().join(format!("{server} {program}.log"));
        let job = Job {
            program: self.program(program),
            arguments,
            directory: self.path().to_owned(),
            log: log.clone(),
            account: self.account,
            ending: Signal::SIGTERM,
            pid_file: PathBuf::from("/dev/null"),
        };
        let mut running = self.runner.start(&self.home, server, job).await?;
        let ended = wait::until(wait::LIMIT, || ready(running.ended()))
            .await
            .map_err(TopologyError::system(server, "wait for a program"))?;
        running.clear().await;
        match ended {
            Some(status) if status.success() => Ok(()),
            outcome => Err(TopologyError::Tool {
                server: server.to_owned(),
                program: program.to_owned(),
                status: outcome.map_or_else(
                    || format!("not done within {:?}", wait::LIMIT),
                    |status| status.to_string(),
                ),
                output: tail(&log),
            }),
        }
    }
}
