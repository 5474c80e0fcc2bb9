use mongodb::bson::doc;

use super::session::{self, answer, says};
use crate::{Node, TopologyError};

/// One server of a [`MongoTopology`](crate::MongoTopology). It keeps its data over a restart, but not
/// its role: the set elects who is the primary.
pub type MongoNode = Node<Mongo>;

/// A MongoDB server.
#[derive(Debug)]
pub enum Mongo {}

/// What a server can be told not to do, until told otherwise or restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailPoint {
    /// Applies nothing of what it fetches from the log.
    StopApplying,
    /// Fetches nothing from the log.
    StopFetching,
}

impl FailPoint {
    fn name(self) -> &'static str {
        match self {
            Self::StopApplying => "rsSyncApplyStop",
            Self::StopFetching => "stopReplProducer",
        }
    }
}

impl Node<Mongo> {
    /// `mongodb://127.0.0.1:PORT/?directConnection=true`: leads to this server, whatever its role.
    #[must_use]
    pub fn url(&self) -> String {
        session::url(self.server().addr())
    }

    /// Turns a fail point on.
    ///
    /// # Errors
    ///
    /// [`TopologyError::NotRunning`]; [`TopologyError::Client`] if it does not answer.
    pub async fn fail(&self, point: FailPoint) -> Result<(), TopologyError> {
        self.set(point, "alwaysOn").await
    }

    /// Turns a fail point off.
    ///
    /// # Errors
    ///
    /// Those of [`fail`](Self::fail).
    pub async fn mend(&self, point: FailPoint) -> Result<(), TopologyError> {
        self.set(point, "off").await
    }

    async fn set(&self, point: FailPoint, mode: &str) -> Result<(), TopologyError> {
        let set = doc! { "configureFailPoint": point.name(), "mode": mode };
        answer(self.server(), "set a fail point", set).await.map(drop)
    }

    /// Whether it takes writes now.
    ///
    /// # Errors
    ///
    /// Those of [`fail`](Self::fail).
    pub async fn is_primary(&self) -> Result<bool, TopologyError> {
        let hello = answer(self.server(), "ask for its role", doc! { "hello": 1 }).await?;
        Ok(says(&hello, "isWritablePrimary"))
    }

    /// Makes a primary a secondary for 10 s, unless another one is elected sooner: at once, also if no
    /// other one has its latest writes, which may then be lost.
    ///
    /// # Errors
    ///
    /// [`TopologyError::NotRunning`]; [`TopologyError::Client`] if it is no primary.
    pub async fn step_down(&self) -> Result<(), TopologyError> {
        let step = doc! { "replSetStepDown": 10, "secondaryCatchUpPeriodSecs": 0, "force": true };
        answer(self.server(), "make it a secondary", step).await.map(drop)
    }

    /// Keeps a secondary from standing for election, for a minute or until it is
    /// [thawed](Self::thaw). It still votes.
    ///
    /// # Errors
    ///
    /// [`TopologyError::NotRunning`]; [`TopologyError::Client`] if it is a primary.
    pub async fn freeze(&self) -> Result<(), TopologyError> {
        answer(self.server(), "freeze it", doc! { "replSetFreeze": 60 }).await.map(drop)
    }

    /// Ends [`freeze`](Self::freeze).
    ///
    /// # Errors
    ///
    /// Those of [`freeze`](Self::freeze).
    pub async fn thaw(&self) -> Result<(), TopologyError> {
        answer(self.server(), "thaw it", doc! { "replSetFreeze": 0 }).await.map(drop)
    }
}
