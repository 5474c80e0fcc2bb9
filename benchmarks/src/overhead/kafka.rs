//! The overhead of the Kafka shim.

use std::time::Duration;

use antipode::kafka::KafkaStore;
use antipode_docker::{KafkaOptions, KafkaTopology};
use indicatif::ProgressBar;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Message, Offset, TopicPartitionList};

use super::ROUND_TRIPS;
use super::figures::StoreFigures;
use super::pairs::Pairs;
use crate::Failure;
use crate::cli::Overhead;
use crate::servers::kafka::{LIMIT, consuming, failed, producing, version};

const RAW: &str = "raw";
const SHIM: &str = "shim";

pub(crate) async fn measure(settings: &Overhead, progress: &ProgressBar) -> Result<StoreFigures, Failure> {
    let topology = KafkaTopology::start(KafkaOptions::default()).await?;
    for topic in [RAW, SHIM] {
        topology.create_topic(topic, 1, 1, &[]).await?;
    }
    let mut figures = StoreFigures { version: version(), write: Vec::new(), read: Vec::new() };
    for round_trip in ROUND_TRIPS {
        let bootstrap = if round_trip.is_zero() {
            topology.bootstrap()
        } else {
            topology.link(0).set_delay(round_trip / 2);
            topology.bootstrap_through_links()
        };
        measure_at(settings, progress, round_trip, &bootstrap, &mut figures).await?;
    }
    Ok(figures)
}

async fn measure_at(
    settings: &Overhead,
    progress: &ProgressBar,
    round_trip: Duration,
    bootstrap: &str,
    figures: &mut StoreFigures,
) -> Result<(), Failure> {
    const WRITE: &str = "be written to";
    const READ: &str = "be read";
    let (producing, consuming) = (producing(bootstrap), consuming(bootstrap));
    let store = KafkaStore::builder("events").topic(SHIM).config(&consuming).build();
    let store = store.map_err(failed("be opened"))?;
    let pairs = |form| Pairs { form, round_trip, rounds: settings.rounds, progress };
    let sending: FutureProducer = producing.create().map_err(failed(WRITE))?;
    let shim_sending = store.producer(&producing).map_err(failed(WRITE))?;
    let payload = vec![b'x'; settings.payload];
    let raw_send = async |_| {
        let record = FutureRecord::<str, [u8]>::to(RAW).payload(&payload);
        sending.send(record, LIMIT).await.map(drop).map_err(|(error, _)| failed(WRITE)(error))
    };
    let shim_send = async |_| {
        let record = FutureRecord::<str, [u8]>::to(SHIM).payload(&payload);
        shim_sending.send(record, LIMIT).await.map(drop).map_err(failed(WRITE))
    };
    let sent = pairs("produce, acks=all").measure(raw_send, shim_send).await?;
    figures.write.push(sent);
    figures.write.push(pairs("… and handed over at once").measure_handed_over(raw_send, shim_send).await?);

    let raw: StreamConsumer = consuming.create().map_err(failed(READ))?;
    let shim = store.consumer(&consuming).map_err(failed(READ))?;
    for (consumer, topic) in [(&raw, RAW), (shim.inner(), SHIM)] {
        let mut partition = TopicPartitionList::new();
        let begin = partition.add_partition_offset(topic, 0, Offset::Beginning);
        begin.and_then(|()| consumer.assign(&partition)).map_err(failed(READ))?;
    }
    // As many records as were sent above are there: the clients fetch them ahead.
    let fetched = pairs("consume (fetched ahead), lineage read").measure(
        async |_| raw.recv().await.map(drop).map_err(failed(READ)),
        async |_| {
            let record = shim.recv().await.map_err(failed(READ))?;
            std::hint::black_box(record.lineage());
            Ok(())
        },
    );
    figures.read.push(fetched.await?);
    // First, each gets through what is left of the records from above.
    let through = pairs("produce and consume, lineage read").measure(
        async |_| {
            let record = FutureRecord::<str, [u8]>::to(RAW).payload(&payload);
            let delivery = sending.send(record, LIMIT).await.map_err(|(error, _)| failed(WRITE)(error))?;
            while raw.recv().await.map_err(failed(READ))?.offset() < delivery.offset {}
            Ok(())
        },
        async |_| {
            let record = FutureRecord::<str, [u8]>::to(SHIM).payload(&payload);
            let delivery = shim_sending.send(record, LIMIT).await.map_err(failed(WRITE))?;
            loop {
                let record = shim.recv().await.map_err(failed(READ))?;
                if record.offset() >= delivery.offset {
                    std::hint::black_box(record.lineage());
                    return Ok(());
                }
            }
        },
    );
    figures.read.push(through.await?);
    Ok(())
}
