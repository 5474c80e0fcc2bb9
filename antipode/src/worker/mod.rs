//! A harness for handlers of messages: each runs in its message's lineage, once what that depends on is
//! visible here.
//!
//! - [`Worker`] takes messages from a [`Source`], runs a bounded number of handlers at once, and stops in
//!   good order.
#![cfg_attr(
    feature = "kafka",
    doc = "- A [`Gate`](crate::kafka::Gate) is a source: records of a key one after the other, offsets committed only past what is handled."
)]
#![cfg_attr(
    feature = "redis",
    doc = "- A [`RedisStream`] is one: entries that a group gives to one consumer, acknowledged once handled."
)]
#![cfg_attr(
    feature = "mongodb",
    doc = "- [`MongoChanges`] is one: the changes of a collection, of each document in order, resumed where they were handled up to."
)]
//! - [`Source`] and [`Message`] are what another queue implements.
#![cfg_attr(
    feature = "kafka",
    doc = r#"
```no_run
use std::time::Duration;

use antipode::kafka::Gate;
use antipode::worker::Worker;

# async fn example(gate: Gate, stop: impl Future<Output = ()>) -> Result<(), Box<dyn std::error::Error>> {
let worker = Worker::new().concurrency(32).drain_within(Duration::from_secs(20));
let tally = worker
    .run(gate, stop, async |posted| {
        println!("post {:?} can be read here", posted.payload());
        Ok::<_, std::io::Error>(())
    })
    .await?;
println!("{} handled, {} cut off", tally.handled, tally.cut_off);
# Ok(()) }
```
"#
)]

#[cfg(feature = "kafka")]
mod gate;
#[cfg(feature = "mongodb")]
mod mongo_changes;
#[cfg(feature = "redis")]
mod redis_stream;
mod run;
mod source;

#[cfg(feature = "kafka")]
pub use gate::Record;
#[cfg(feature = "mongodb")]
pub use mongo_changes::{Change, MongoChanges};
#[cfg(feature = "redis")]
pub use redis_stream::{Entry, RedisStream};
pub use run::{Tally, Worker, WorkerError};
pub use source::{Message, Source};
