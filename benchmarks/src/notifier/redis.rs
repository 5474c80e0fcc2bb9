//! Notifications through Redis streams.

use antipode::barrier::{BoxFuture, OnMissing};
use antipode::redis::{LINEAGE_FIELD, RedisShim, RedisStore};
use redis::aio::{ConnectionManager, MultiplexedConnection};
use redis::streams::{StreamId, StreamReadOptions, StreamReadReply};
use redis::{AsyncCommands, AsyncConnectionConfig, Client, RedisResult, Value};

use super::{Channel, Notification, Notifier, Subscription};
use crate::Failure;
use crate::cli::Pair;
use crate::posts::Reference;
use crate::servers::redis::{PREFIX, RedisServers, failed, raw_connection, version};

/// How long a read may block at the server, in milliseconds; then it is repeated.
const BLOCK_MS: usize = 1_000;
const BATCH: usize = 100;
const POST: &str = "post";

/// The primary of a server that nothing delays, with a stream for each channel.
pub(crate) struct RedisNotifier {
    servers: RedisServers,
    writer: RedisStore,
    reader: RedisStore,
    raw: ConnectionManager,
    version: String,
}

impl RedisNotifier {
    pub(crate) async fn open(given: Option<&Pair>) -> Result<Self, Failure> {
        let servers = RedisServers::open(given, 0).await?;
        let url = servers.primary.clone();
        let store = || {
            let client = Client::open(url.as_str()).map_err(failed("be reached"))?;
            let store = RedisStore::builder("notifications").primary(client);
            store.on_missing(OnMissing::Error).build().map_err(failed("be opened"))
        };
        Ok(Self {
            writer: store()?,
            reader: store()?,
            raw: raw_connection(&url).await?,
            version: version(&url).await?,
            servers,
        })
    }

    /// A connection of its own, on which a read may block.
    async fn blocking(&self) -> Result<MultiplexedConnection, Failure> {
        let client = Client::open(self.servers.primary.as_str()).map_err(failed("be reached"))?;
        let settings = AsyncConnectionConfig::new().set_response_timeout(None);
        client.get_multiplexed_async_connection_with_config(&settings).await.map_err(failed("be reached"))
    }
}

fn stream(channel: Channel) -> String {
    format!("{PREFIX}{channel}")
}

impl Notifier for RedisNotifier {
    fn version(&self) -> String {
        self.version.clone()
    }

    fn clean_up(&self) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(self.servers.clean_up())
    }

    fn publish<'a>(&'a self, channel: Channel, post: &'a Reference) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            const OPERATION: &str = "publish a notification";
            let fields = [(POST, post.to_string())];
            let published: RedisResult<String> = if channel.carries_lineage() {
                self.writer.shim(self.raw.clone()).xadd(stream(channel), "*", &fields).await
            } else {
                self.raw.clone().xadd(stream(channel), "*", &fields).await
            };
            published.map_err(failed(OPERATION))?;
            Ok(())
        })
    }

    fn subscribe(&self, channel: Channel) -> BoxFuture<'_, Result<Box<dyn Subscription>, Failure>> {
        Box::pin(async move {
            let connection = self.blocking().await?;
            let connection = if channel.carries_lineage() {
                Connection::Shim(self.reader.shim(connection).leaving_entries())
            } else {
                Connection::Raw(connection)
            };
            let subscription =
                StreamSubscription { stream: stream(channel), after: "0".to_owned(), connection };
            Ok(Box::new(subscription) as Box<dyn Subscription>)
        })
    }
}

struct StreamSubscription {
    stream: String,
    /// The last entry read.
    after: String,
    connection: Connection,
}

enum Connection {
    Raw(MultiplexedConnection),
    Shim(RedisShim<MultiplexedConnection>),
}

impl Subscription for StreamSubscription {
    fn next(&mut self) -> BoxFuture<'_, Result<Vec<Notification>, Failure>> {
        Box::pin(async move {
            let options = StreamReadOptions::default().block(BLOCK_MS).count(BATCH);
            let (streams, after) = ([&self.stream], [&self.after]);
            let reply: RedisResult<Option<StreamReadReply>> = match &mut self.connection {
                Connection::Raw(raw) => raw.xread_options(&streams, &after, &options).await,
                Connection::Shim(shim) => shim.xread_options(&streams, &after, &options).await,
            };
            let reply = reply.map_err(failed("receive notifications"))?.unwrap_or_default();
            let entries: Vec<StreamId> = reply.keys.into_iter().flat_map(|stream| stream.ids).collect();
            if let Some(last) = entries.last() {
                self.after.clone_from(&last.id);
            }
            entries.iter().map(|entry| self.connection.parse(entry)).collect()
        })
    }
}

impl Connection {
    fn parse(&self, entry: &StreamId) -> Result<Notification, Failure> {
        let field = |name: &str| match entry.map.get(name) {
            Some(Value::BulkString(bytes)) => Some(bytes.as_slice()),
            _ => None,
        };
        let garbled = || Failure::Garbled { what: "a notification", found: format!("{entry:?}") };
        let post = field(POST).and_then(Reference::parse).ok_or_else(garbled)?;
        let lineage = match self {
            Self::Raw(_) => Default::default(),
            Self::Shim(shim) => shim.entry_lineage(entry).map_err(failed("read a notification's lineage"))?,
        };
        Ok(Notification { post, lineage, lineage_bytes: field(LINEAGE_FIELD).map_or(0, <[u8]>::len) })
    }
}
