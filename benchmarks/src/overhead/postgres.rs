//! The overhead of the Postgres shim.

use antipode::postgres::PostgresStore;
use antipode_docker::{PostgresOptions, PostgresTopology};
use indicatif::ProgressBar;

use super::ROUND_TRIPS;
use super::distance::Distance;
use super::figures::{Row, StoreFigures};
use crate::Failure;
use crate::cli::Overhead;
use crate::servers::postgres::{failed, pool, version};

const TABLES: &str =
    "CREATE TABLE posts (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body bytea NOT NULL);
    CREATE TABLE bare (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body bytea NOT NULL)";
/// The rows that are there from the beginning, to be updated and read.
const ROWS: i32 = 100;
const FILL: &str = "INSERT INTO posts (body) SELECT '' FROM generate_series(1, $1)";
const FILL_BARE: &str = "INSERT INTO bare (body) SELECT '' FROM generate_series(1, $1)";
const INSERT: &str = "INSERT INTO posts (body) VALUES ($1)";
const INSERT_BARE: &str = "INSERT INTO bare (body) VALUES ($1)";
const INSERT_BOUND: &str = "INSERT INTO posts (body, antipode_lineage) VALUES ($1, $2)";
const UPDATE: &str = "UPDATE posts SET body = $1 WHERE id = $2";
const UPDATE_BARE: &str = "UPDATE bare SET body = $1 WHERE id = $2";
const SELECT: &str = "SELECT body FROM posts WHERE id = $1";
const SELECT_LINEAGE: &str = "SELECT body, antipode_lineage FROM posts WHERE id = $1";

const WRITE: &str = "be written to";
const READ: &str = "be read";

pub(crate) async fn measure(settings: &Overhead, progress: &ProgressBar) -> Result<StoreFigures, Failure> {
    let topology = PostgresTopology::start(PostgresOptions::default().standbys(1)).await?;
    let setup = pool(&topology.primary().url()).await?;
    sqlx::raw_sql(TABLES).execute(&setup).await.map_err(failed("make the tables"))?;
    let store = PostgresStore::builder("posts").primary(setup.clone()).build();
    let migrated = store.map_err(failed("be opened"))?.migrate_table("posts").await;
    migrated.map_err(failed("migrate the table"))?;
    for fill in [FILL, FILL_BARE] {
        sqlx::query(fill).bind(ROWS).execute(&setup).await.map_err(failed("fill the tables"))?;
    }
    let version = version(&setup).await?;
    let mut figures = StoreFigures { version, write: Vec::new(), read: Vec::new() };
    for round_trip in ROUND_TRIPS {
        let servers = [topology.primary(), topology.standby(0)].map(|node| (node, node.url()));
        let distance = Distance::put(settings, progress, round_trip, servers).await?;
        measure_at(&distance, &mut figures).await?;
    }
    Ok(figures)
}

async fn measure_at(distance: &Distance<'_>, figures: &mut StoreFigures) -> Result<(), Failure> {
    let (primary, replica) = (pool(&distance.primary).await?, pool(&distance.replica).await?);
    let store = PostgresStore::builder("posts").primary(primary).replica("eu", replica);
    let store = store.build().map_err(failed("be opened"))?;
    figures.write.extend(writes(distance, &store).await?);
    figures.read.extend(reads(distance, &store).await?);
    Ok(())
}

async fn writes(distance: &Distance<'_>, store: &PostgresStore) -> Result<Vec<Row>, Failure> {
    let (raw, shim) = (pool(&distance.primary).await?, store.shim());
    let body = vec![b'x'; distance.settings.payload];
    let raw_transaction = async |statement, round: Option<u32>| {
        let mut transaction = raw.begin().await.map_err(failed(WRITE))?;
        let write = sqlx::query(statement).bind(&body);
        let write = if let Some(round) = round { write.bind(row(round)) } else { write };
        write.execute(&mut *transaction).await.map_err(failed(WRITE))?;
        transaction.commit().await.map_err(failed(WRITE))
    };
    let shim_transaction = async |statement, round: Option<u32>| {
        let mut transaction = shim.begin().await.map_err(failed(WRITE))?;
        let write = sqlx::query(statement).bind(&body);
        let write = if let Some(round) = round { write.bind(row(round)) } else { write };
        write.execute(&mut transaction).await.map_err(failed(WRITE))?;
        transaction.commit().await.map_err(failed(WRITE))
    };
    let raw_statement = async |_| {
        let insert = sqlx::query(INSERT_BARE).bind(&body);
        insert.execute(&raw).await.map(drop).map_err(failed(WRITE))
    };
    let shim_statement = async |_| {
        let lineage = shim.lineage().await.map_err(failed(WRITE))?;
        let insert = sqlx::query(INSERT_BOUND).bind(&body).bind(lineage);
        insert.execute(&shim).await.map(drop).map_err(failed(WRITE))
    };
    let raw_insert = async |_| raw_transaction(INSERT_BARE, None).await;
    let shim_insert = async |_| shim_transaction(INSERT, None).await;
    let raw_update = async |round| raw_transaction(UPDATE_BARE, Some(round)).await;
    let shim_update = async |round| shim_transaction(UPDATE, Some(round)).await;
    Ok(vec![
        distance.pairs("transaction, insert").measure(raw_insert, shim_insert).await?,
        distance.pairs("transaction, update (lineage joined)").measure(raw_update, shim_update).await?,
        distance.pairs("statement, lineage bound").measure(raw_statement, shim_statement).await?,
        distance
            .pairs("… and handed over at once")
            .measure_handed_over(raw_statement, shim_statement)
            .await?,
        distance.pairs("transaction for a statement").measure(raw_statement, shim_insert).await?,
    ])
}

async fn reads(distance: &Distance<'_>, store: &PostgresStore) -> Result<Vec<Row>, Failure> {
    let (raw, shim) = (pool(&distance.replica).await?, store.reads());
    let raw_read = async |round| {
        let row = sqlx::query(SELECT).bind(row(round)).fetch_one(&raw).await;
        row.map(drop).map_err(failed(READ))
    };
    let shim_read = async |round| {
        let row = sqlx::query(SELECT_LINEAGE).bind(row(round)).fetch_one(&shim).await;
        row.map(drop).map_err(failed(READ))
    };
    Ok(vec![
        distance.pairs("select").measure(raw_read, shim_read).await?,
        distance.pairs("… and lineage handed over at once").measure_handed_over(raw_read, shim_read).await?,
    ])
}

fn row(round: u32) -> i32 {
    round.cast_signed().rem_euclid(ROWS) + 1
}
