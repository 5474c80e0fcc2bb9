use std::{fs, io, path::Path, time::Duration};

use testcontainers::{
    GenericImage, bollard::Docker, core::client::docker_client_instance, runners::AsyncRunner,
};
use tokio::time::timeout;

use crate::{TopologyError, native::Account, wait};

/// How long an image may take to come from its registry.
const PULL_LIMIT: Duration = Duration::from_secs(600);

/// An official image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) name: &'static str,
    pub(crate) tag: &'static str,
}

/// The Docker engine, with a store's image.
#[derive(Clone, Debug)]
pub(crate) struct Engine {
    pub(super) docker: Docker,
    pub(super) image: Image,
}

impl Engine {
    /// Shell code that removes the containers of the directory `$1`. It needs the `docker`
    /// command; without it, they are only removed if this process gets to it.
    pub(crate) const FAREWELL: &str = r#"
        containers=$(docker ps --all --quiet --filter "label=antipode.home=$1")
        [ -z "$containers" ] || docker rm --force --volumes $containers
    "#;

    /// Gets the image, from its registry if it has to.
    pub(crate) async fn with(image: Image, store: &'static str) -> Result<Self, TopologyError> {
        let docker = match timeout(wait::LIMIT, connect()).await {
            Ok(docker) => docker.map_err(|source| TopologyError::NoEngine { store, source })?,
            Err(silence) => return Err(TopologyError::NoEngine { store, source: silence.into() }),
        };
        let engine = Self { docker, image };
        if engine.docker.inspect_image(&image.to_string()).await.is_err() {
            let missing = |source| TopologyError::MissingImage { store, image: image.to_string(), source };
            match timeout(PULL_LIMIT, image.generic().pull_image()).await {
                Ok(pulled) => drop(pulled.map_err(|error| missing(error.into()))?),
                Err(late) => return Err(missing(late.into())),
            }
        }
        Ok(engine)
    }

    /// Lets the user of the servers have a name in their containers; `initdb` wants one.
    pub(crate) fn name_user(&self, home: &Path, account: Account) -> io::Result<()> {
        let (user, group) = account.numbers();
        fs::write(home.join(PASSWD), format!("server:x:{user}:{group}::/:/bin/sh\n"))
    }
}

/// Within the directory of a topology.
pub(super) const PASSWD: &str = "passwd";

async fn connect() -> Result<Docker, Box<dyn std::error::Error + Send + Sync>> {
    let docker = docker_client_instance().await?;
    docker.ping().await?;
    Ok(docker)
}

impl Image {
    pub(super) fn generic(self) -> GenericImage {
        GenericImage::new(self.name, self.tag)
    }
}

impl std::fmt::Display for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.name, self.tag)
    }
}
