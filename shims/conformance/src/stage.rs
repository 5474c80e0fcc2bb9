//! What a scenario has in its hands: the bed, and shorthands over it.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use antipode_barrier::{Registry, Store};

use crate::{Bed, BedResult, Change, Fault, Node, Support};

/// Long enough for a healthy topology on a busy machine. Nothing is asserted about how long it took.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What a scenario ends with.
pub(crate) type Outcome<T = ()> = Result<T, Stop>;

/// Why a scenario went no further.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The store has no such thing.
    Unsupported(String),
    /// Something failed that must not.
    Failed(Box<dyn Error + Send + Sync>),
}

impl<E: Error + Send + Sync + 'static> From<E> for Stop {
    fn from(error: E) -> Self {
        Stop::Failed(Box::new(error))
    }
}

impl Stop {
    pub(crate) fn failed(what: impl Into<String>) -> Self {
        Stop::Failed(what.into().into())
    }
}

/// A bed, lent to one scenario.
pub(crate) struct Stage<B> {
    pub(crate) bed: B,
    scenario: &'static str,
    lasting: bool,
}

impl<B: Bed> Stage<B> {
    pub(crate) fn new(bed: B, scenario: &'static str) -> Self {
        Self { bed, scenario, lasting: false }
    }

    /// Gives the bed back, unless something was done to it that cannot be undone.
    pub(crate) async fn strike(mut self) -> BedResult<Option<B>> {
        if self.lasting {
            return Ok(None);
        }
        self.bed.heal().await?;
        Ok(Some(self.bed))
    }

    /// A key that no other scenario uses.
    pub(crate) fn key(&self, what: &str) -> String {
        format!("{}.{what}", self.scenario)
    }

    /// What a service that reads from both replicas has.
    pub(crate) async fn registry(&self) -> Outcome<Registry> {
        registry([self.bed.store()]).await
    }

    /// What a service that reads from one replica has.
    pub(crate) async fn registry_reading(&self, replica: usize) -> Outcome<Registry> {
        registry([self.bed.store_reading(replica)]).await
    }

    pub(crate) async fn fault(&mut self, fault: Fault) -> Outcome {
        self.lasting |= fault.is_lasting();
        supported(self.bed.fault(fault).await, &format!("{fault:?}"))
    }

    /// Cuts both replicas off.
    pub(crate) async fn cut_all(&mut self) -> Outcome {
        self.fault(Fault::Cut { replica: 0 }).await?;
        self.fault(Fault::Cut { replica: 1 }).await
    }

    pub(crate) async fn heal(&mut self) -> Outcome {
        self.bed.heal().await.map_err(Stop::Failed)
    }

    pub(crate) async fn write(&self, change: Change<'_>) -> Outcome {
        self.bed.write(change).await.map_err(Stop::Failed)
    }

    /// One change, or a transaction of several.
    pub(crate) async fn write_all(&self, changes: &[Change<'_>]) -> Outcome {
        match changes {
            [change] => self.write(*change).await,
            several => supported(self.bed.transaction(several).await, "transactions"),
        }
    }

    pub(crate) async fn read(&self, key: &str) -> Outcome<Option<String>> {
        self.bed.read(key).await.map_err(Stop::Failed)
    }

    pub(crate) async fn peek(&self, node: Node, key: &str) -> Outcome<Option<String>> {
        self.bed.peek(node, key).await.map_err(Stop::Failed)
    }

    pub(crate) async fn spoil_lineage(&self, key: &str) -> Outcome {
        supported(self.bed.spoil_lineage(key).await, "lineage that can be spoilt from outside")
    }

    /// Waits, without any barrier, until the server shows the value.
    pub(crate) async fn settle(&self, node: Node, key: &str, value: Option<&str>) -> Outcome {
        let shown = async {
            while self.peek(node, key).await?.as_deref() != value {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Ok(())
        };
        let outcome = tokio::time::timeout(PATIENCE, shown).await;
        outcome.unwrap_or_else(|_| {
            Err(Stop::failed(format!("{node:?} did not come to show {value:?} as {key}")))
        })
    }

    /// Waits, without any barrier, until both replicas show the value.
    pub(crate) async fn settle_all(&self, key: &str, value: Option<&str>) -> Outcome {
        self.settle(Node::Replica(0), key, value).await?;
        self.settle(Node::Replica(1), key, value).await
    }
}

/// A registry of these stores, whose barriers have a long deadline.
pub(crate) async fn registry(stores: impl IntoIterator<Item = Arc<dyn Store>>) -> Outcome<Registry> {
    let builder = Registry::builder().deadline(PATIENCE);
    let builder = stores.into_iter().fold(builder, |builder, store| builder.store_arc(store));
    Ok(builder.build().await?)
}

fn supported(outcome: BedResult<Support>, what: &str) -> Outcome {
    match outcome {
        Ok(Support::Done) => Ok(()),
        Ok(Support::Unsupported) => Err(Stop::Unsupported(format!("the store has no {what}"))),
        Err(error) => Err(Stop::Failed(error)),
    }
}
