//! What the shim adds to a write and to a read, as a ratio of the plain driver's medians, on loopback
//! and at a round trip of 1 ms.
//!
//! ```text
//! cargo run --release -p antipode-redis --example cost
//! ```

use std::error::Error;
use std::time::{Duration, Instant};

use antipode_docker::{Proxy, RedisOptions, RedisTopology};
use antipode_lineage::{Epoch, Lineage, LineageScope, Position, Shard, WriteId};
use antipode_redis::RedisStore;
use antipode_redis::redis::aio::ConnectionLike;
use antipode_redis::redis::{Client, Cmd, cmd};

const ROUNDS: usize = 2_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let topology = RedisTopology::start(RedisOptions::default()).await?;
    let proxy = Proxy::start(topology.primary().addr()).await?;
    proxy.set_delay(Duration::from_micros(500));
    let store = RedisStore::builder("posts").primary(Client::open(topology.primary().url())?).build()?;
    // What a request comes with that has touched four stores.
    let lineage = Lineage::from_iter((0..4).map(|shard| WriteId {
        store: store_name(),
        shard: Shard(shard),
        epoch: Epoch { history: 0x0a4e_02fd_5d2b_610d, term: 3 },
        position: Position(123_456_789),
    }));
    println!("{:<12}{:<22}{:>10}{:>10}{:>8}", "", "", "driver", "shim", "ratio");
    for (place, address) in [("loopback", topology.primary().addr()), ("1 ms", proxy.addr())] {
        let client = Client::open(format!("redis://{address}/"))?;
        let mut driver = client.get_multiplexed_async_connection().await?;
        let shim = store.shim(client.get_multiplexed_async_connection().await?);
        let value = "x".repeat(100);
        for words in
            ["SET post VALUE", "SET post VALUE EX 1000", "APPEND post x", "INCR n", "GET post", "MGET post n"]
        {
            let mut command = Cmd::new();
            for word in words.split(' ') {
                command.arg(if word == "VALUE" { &value } else { word });
            }
            let (mut plain, mut ours) = (Vec::with_capacity(ROUNDS), Vec::with_capacity(ROUNDS));
            for round in 0..ROUNDS {
                plain.push(time(&mut driver, &command).await?);
                // Requests that depend on the same, one after the other.
                let mut shim = shim.within(LineageScope::from(lineage.clone()));
                ours.push(time(&mut shim, &command).await?);
                if round % 500 == 0 {
                    let () = cmd("SET").arg("post").arg(&value).query_async(&mut driver).await?;
                }
            }
            let (plain, ours) = (median(plain), median(ours));
            let ratio = ours.as_secs_f64() / plain.as_secs_f64();
            let (plain, ours) = (plain.as_micros(), ours.as_micros());
            println!("{place:<12}{words:<22}{plain:>7} µs{ours:>7} µs{ratio:>8.3}");
        }
    }
    Ok(())
}

fn store_name() -> antipode_lineage::StoreName {
    match "orders".parse() {
        Ok(name) => name,
        Err(_) => unreachable!("a good name"),
    }
}

async fn time(connection: &mut impl ConnectionLike, command: &Cmd) -> Result<Duration, Box<dyn Error>> {
    let begun = Instant::now();
    connection.req_packed_command(command).await?;
    Ok(begun.elapsed())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
