//! The in-process store, put through the conformance suite.
#![allow(clippy::expect_used, clippy::indexing_slicing)] // Helpers of tests.

use std::process::ExitCode;
use std::sync::Arc;

use antipode_barrier::{OnMissing, Store};
use antipode_conformance::{Bed, BedResult, Change, Fault, Node, Support};
use antipode_memory::{Lag, MemoryStore};

const REGIONS: [&str; 3] = ["us", "eu", "asia"];

fn main() -> ExitCode {
    antipode_conformance::run::<MemoryBed>()
}

struct MemoryBed(MemoryStore);

/// Replica 0 is `eu`, replica 1 is `asia`.
fn replica(number: usize) -> &'static str {
    REGIONS[number + 1]
}

impl Bed for MemoryBed {
    async fn start() -> BedResult<Self> {
        let builder = MemoryStore::builder("posts").seed(7).on_missing(OnMissing::Ignore);
        Ok(Self(REGIONS.into_iter().fold(builder, |builder, region| builder.region(region)).build()?))
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.0.clone())
    }

    fn store_reading(&self, number: usize) -> Arc<dyn Store> {
        Arc::new(self.0.reading_from([replica(number)]).expect("a region"))
    }

    async fn write(&self, change: Change<'_>) -> BedResult {
        let shim = self.0.shim();
        match change {
            Change::Put(key, value) => shim.put(key, value).await?,
            Change::Append(key, suffix) => shim.append(key, suffix).await?,
            Change::Delete(key) => shim.delete(key).await?,
        };
        Ok(())
    }

    async fn transaction(&self, changes: &[Change<'_>]) -> BedResult<Support> {
        let shim = self.0.shim();
        let transaction = changes.iter().fold(shim.transaction(), |transaction, change| match change {
            Change::Put(key, value) => transaction.put(key, value),
            Change::Append(key, suffix) => transaction.append(key, suffix),
            Change::Delete(key) => transaction.delete(key),
        });
        transaction.commit().await?;
        Ok(Support::Done)
    }

    async fn read(&self, key: &str) -> BedResult<Option<String>> {
        text(self.0.shim().get(key).await?)
    }

    async fn peek(&self, node: Node, key: &str) -> BedResult<Option<String>> {
        let region = match node {
            Node::Primary => "primary",
            Node::Replica(number) => replica(number),
        };
        text(self.0.peek(region, key)?)
    }

    async fn fault(&mut self, fault: Fault) -> BedResult<Support> {
        match fault {
            Fault::Cut { replica: number } => self.0.cut(replica(number))?,
            Fault::Delay { replica: number, by } => self.0.set_lag(replica(number), Lag::of(by))?,
            Fault::Freeze { replica: number } => self.0.pause(replica(number))?,
            Fault::Stop { replica: number } => self.0.stop(replica(number))?,
            Fault::StopPrimary => self.0.stop("primary")?,
            Fault::Failover { to } => {
                self.0.fail_over(replica(to))?;
                self.heal().await?;
            }
            _ => return Ok(Support::Unsupported),
        }
        Ok(Support::Done)
    }

    async fn heal(&mut self) -> BedResult {
        for region in REGIONS {
            self.0.set_lag(region, Lag::NONE)?;
            self.0.resume(region)?;
            self.0.start(region)?;
            self.0.heal(region)?;
        }
        Ok(())
    }
}

fn text(value: Option<Arc<[u8]>>) -> BedResult<Option<String>> {
    Ok(value.map(|bytes| String::from_utf8(bytes.to_vec())).transpose()?)
}
