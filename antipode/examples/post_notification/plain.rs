//! The three services as a team has them.

use std::sync::Arc;

use antipode::kafka::rdkafka::message::Message;
use antipode::kafka::rdkafka::producer::FutureRecord;
use antipode::postgres::sqlx;
use antipode::redis::redis::AsyncCommands;
use antipode::redis::redis::aio::ConnectionManager;
use antipode::{kafka, postgres};
use axum::extract::{Path, State};
use http::StatusCode;
use reqwest_middleware::ClientWithMiddleware;

use crate::answer::{Answer, Failure, QUEUED};

/// In the US: stores posts, and announces them.
pub(crate) struct Posts {
    pub(crate) posts: postgres::sqlx::PgPool,
    pub(crate) announcements: kafka::rdkafka::producer::FutureProducer,
}

/// In Europe: keeps a feed of what was announced.
pub(crate) struct Feeds {
    pub(crate) feeds: ConnectionManager,
    pub(crate) announcements: kafka::rdkafka::consumer::StreamConsumer,
}

/// In Europe: shows the posts of a feed.
pub(crate) struct Pages {
    pub(crate) posts: postgres::sqlx::PgPool,
    pub(crate) client: ClientWithMiddleware,
    pub(crate) feeds: String,
}

pub(crate) async fn publish(State(app): State<Arc<Posts>>, Path(id): Path<i64>) -> Answer {
    let insert = "INSERT INTO posts (id, body) VALUES ($1, 'hello')";
    sqlx::query(insert).bind(id).execute(&app.posts).await?;
    let announced = id.to_string();
    let record = FutureRecord::to("announcements").key("ada").payload(&announced);
    app.announcements.send(record, QUEUED).await.map_err(|(error, _)| error)?;
    Ok((StatusCode::CREATED, String::new()))
}

pub(crate) async fn follow(app: Arc<Feeds>) -> Result<(), Failure> {
    loop {
        let record = app.announcements.recv().await?;
        let id = String::from_utf8_lossy(record.payload().unwrap_or_default()).into_owned();
        let mut feeds = app.feeds.clone();
        let added = feeds.set::<_, _, ()>(format!("feed:{id}"), &id);
        added.await?;
    }
}

pub(crate) async fn feed(State(app): State<Arc<Feeds>>, Path(id): Path<i64>) -> Answer {
    let announced: Option<String> = app.feeds.clone().get(format!("feed:{id}")).await?;
    match announced {
        Some(id) => Ok((StatusCode::OK, id)),
        None => Ok((StatusCode::NO_CONTENT, String::new())),
    }
}

/// 204 if the post was not announced yet, 410 if it was and is not there.
pub(crate) async fn page(State(app): State<Arc<Pages>>, Path(id): Path<i64>) -> Answer {
    let feed = app.client.get(format!("{}/feed/{id}", app.feeds)).send().await?;
    if feed.status() != StatusCode::OK {
        return Ok((StatusCode::NO_CONTENT, String::new()));
    }
    let select = "SELECT body FROM posts WHERE id = $1";
    let post: Option<String> = sqlx::query_scalar(select).bind(id).fetch_optional(&app.posts).await?;
    match post {
        Some(body) => Ok((StatusCode::OK, body)),
        None => Ok((StatusCode::GONE, String::new())),
    }
}
