//! Prints how long topologies take to start and how precise a proxy's delay is.

use std::time::{Duration, Instant};

use antipode_docker::{
    KafkaOptions, KafkaTopology, PostgresOptions, PostgresTopology, Proxy, RedisOptions, RedisTopology,
    TopologyError,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    for round_trip in [0, 1_000, 2_000, 20_000, 150_000].map(Duration::from_micros) {
        ping_pong(round_trip).await?;
    }
    throughput(Duration::from_millis(50)).await?;
    redis().await?;
    postgres().await?;
    kafka(1).await?;
    kafka(3).await?;
    Ok(())
}

async fn ping_pong(round_trip: Duration) -> Result<(), Box<dyn std::error::Error>> {
    let proxy = Proxy::start(echo().await?).await?;
    proxy.set_delay(round_trip / 2);
    let mut client = TcpStream::connect(proxy.addr()).await?;
    client.set_nodelay(true)?;
    let rounds = if round_trip > Duration::from_millis(10) { 20 } else { 2_000 };
    let mut taken = Vec::new();
    for _ in 0..rounds {
        let begun = Instant::now();
        client.write_all(b"ping").await?;
        client.read_exact(&mut [0; 4]).await?;
        taken.push(begun.elapsed());
    }
    taken.sort();
    let quantile = |share: usize| taken.get(taken.len() * share / 100).copied().unwrap_or_default();
    println!(
        "round trip {round_trip:?}: p1 {:?}, p50 {:?}, p99 {:?}",
        quantile(1),
        quantile(50),
        quantile(99)
    );
    Ok(())
}

async fn throughput(one_way: Duration) -> Result<(), Box<dyn std::error::Error>> {
    const BYTES: usize = 512 << 20;
    for delay in [Duration::ZERO, one_way] {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let proxy = Proxy::start(listener.local_addr()?).await?;
        proxy.set_delay(delay);
        let mut sender = TcpStream::connect(proxy.addr()).await?;
        let (mut receiver, _) = listener.accept().await?;
        let begun = Instant::now();
        let sending = tokio::spawn(async move {
            let chunk = vec![0; 1 << 20];
            for _ in 0..BYTES / chunk.len() {
                sender.write_all(&chunk).await?;
            }
            sender.shutdown().await
        });
        let mut buffer = vec![0; 1 << 20];
        while receiver.read(&mut buffer).await? > 0 {}
        sending.await??;
        let rate = BYTES as f64 / begun.elapsed().as_secs_f64() / 1e6;
        println!("throughput with {delay:?} one way: {rate:.0} MB/s");
    }
    Ok(())
}

async fn redis() -> Result<(), TopologyError> {
    let begun = Instant::now();
    let topology = RedisTopology::start(RedisOptions::default()).await?;
    println!("redis with 2 replicas: started in {:?}", begun.elapsed());
    let begun = Instant::now();
    drop(topology);
    println!("redis with 2 replicas: gone in {:?}", begun.elapsed());
    Ok(())
}

async fn postgres() -> Result<(), TopologyError> {
    let begun = Instant::now();
    let topology = PostgresTopology::start(PostgresOptions::default()).await?;
    println!("postgres with 2 standbys: started in {:?}", begun.elapsed());
    let begun = Instant::now();
    drop(topology);
    println!("postgres with 2 standbys: gone in {:?}", begun.elapsed());
    Ok(())
}

async fn echo() -> std::io::Result<std::net::SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                stream.set_nodelay(true)?;
                let (mut reader, mut writer) = stream.into_split();
                tokio::io::copy(&mut reader, &mut writer).await
            });
        }
    });
    Ok(addr)
}

async fn kafka(brokers: usize) -> Result<(), TopologyError> {
    let begun = Instant::now();
    let topology = KafkaTopology::start(KafkaOptions::default().brokers(brokers)).await?;
    println!("kafka with {brokers} brokers: started in {:?}", begun.elapsed());
    let begun = Instant::now();
    drop(topology);
    println!("kafka with {brokers} brokers: gone in {:?}", begun.elapsed());
    Ok(())
}
