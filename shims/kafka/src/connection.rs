//! A connection to one broker, for the store's own questions.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use antipode_barrier::BoxFuture;
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// The longest answer that is read: offsets of some 100,000 partitions.
const MAX_ANSWER: usize = 16 << 20;

/// How long one exchange with a broker may take; whoever waits for it gives up earlier.
const LIMIT: Duration = Duration::from_secs(10);

/// A byte stream to a broker.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// How a store reaches the brokers for its own questions: `TCP` by default. For TLS and SASL, implement
/// it: return a stream on which the handshakes are done.
pub trait Dial: Send + Sync + 'static {
    /// Connects to `host:port`.
    fn dial<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Stream>>>;
}

/// Plain TCP.
pub(crate) struct Tcp;

impl Dial for Tcp {
    fn dial<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }
}

/// One kind of request with the version spoken.
pub(crate) struct Api {
    pub(crate) key: ApiKey,
    pub(crate) version: i16,
}

/// Requests that go out in one write. Brokers answer in order.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    out: Vec<u8>,
    count: i32,
}

impl Flight {
    pub(crate) fn with<Q: Encodable + HeaderVersion>(mut self, api: &Api, request: &Q) -> io::Result<Self> {
        self.count += 1;
        let header = RequestHeader::default()
            .with_request_api_key(api.key as i16)
            .with_request_api_version(api.version)
            .with_correlation_id(self.count)
            .with_client_id(Some(StrBytes::from_static_str("antipode")));
        let mut frame = BytesMut::new();
        header.encode(&mut frame, Q::header_version(api.version)).map_err(invalid)?;
        request.encode(&mut frame, api.version).map_err(invalid)?;
        let len = i32::try_from(frame.len()).map_err(io::Error::other)?;
        self.out.extend_from_slice(&len.to_be_bytes());
        self.out.extend_from_slice(&frame);
        Ok(self)
    }
}

/// The answers to a flight, to be read in its order.
#[derive(Debug)]
pub(crate) struct Answers {
    frames: VecDeque<Bytes>,
    read: i32,
}

impl Answers {
    pub(crate) fn next<A: Decodable + HeaderVersion>(&mut self, api: &Api) -> io::Result<A> {
        let mut frame = self.frames.pop_front().ok_or(io::ErrorKind::UnexpectedEof)?;
        self.read += 1;
        let header = ResponseHeader::decode(&mut frame, A::header_version(api.version)).map_err(invalid)?;
        if header.correlation_id != self.read {
            return Err(invalid("an answer to another question"));
        }
        A::decode(&mut frame, api.version).map_err(invalid)
    }
}

pub(crate) struct Connection {
    stream: Box<dyn Stream>,
}

impl Connection {
    pub(crate) async fn dial(dialer: &dyn Dial, address: &str) -> io::Result<Self> {
        Ok(Self { stream: within_limit(dialer.dial(address)).await? })
    }

    pub(crate) async fn fly(&mut self, flight: &Flight) -> io::Result<Answers> {
        within_limit(self.exchange(flight)).await
    }

    async fn exchange(&mut self, flight: &Flight) -> io::Result<Answers> {
        self.stream.write_all(&flight.out).await?;
        self.stream.flush().await?;
        let mut answers = Answers { frames: VecDeque::new(), read: 0 };
        for _ in 0..flight.count {
            let len = usize::try_from(self.stream.read_i32().await?).unwrap_or(usize::MAX);
            if len > MAX_ANSWER {
                return Err(invalid("this is no kafka broker's answer"));
            }
            let mut frame = vec![0; len];
            self.stream.read_exact(&mut frame).await?;
            answers.frames.push_back(frame.into());
        }
        Ok(answers)
    }
}

async fn within_limit<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(LIMIT, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn invalid(error: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::{MetadataRequest, MetadataResponse};
    use tokio::io::duplex;

    use super::*;

    const METADATA: Api = Api { key: ApiKey::Metadata, version: 10 };

    async fn answered_with(answer: &'static [u8]) -> io::Result<MetadataResponse> {
        let (ours, mut theirs) = duplex(1 << 16);
        theirs.write_all(answer).await.unwrap();
        let flight = Flight::default().with(&METADATA, &MetadataRequest::default()).unwrap();
        Connection { stream: Box::new(ours) }.fly(&flight).await?.next(&METADATA)
    }

    #[tokio::test]
    async fn an_answer_that_is_none_is_refused_before_it_is_read() {
        let foreign = answered_with(b"HTTP/1.1 400 Bad Request\r\n").await.unwrap_err();
        assert!(foreign.to_string().contains("no kafka broker"), "{foreign}");
        let negative = answered_with(&[0xff; 8]).await.unwrap_err();
        assert!(negative.to_string().contains("no kafka broker"), "{negative}");
        let swapped = answered_with(&[0, 0, 0, 5, 0, 0, 0, 9, 0]).await.unwrap_err();
        assert!(swapped.to_string().contains("another question"), "{swapped}");
        let short = answered_with(&[0, 0, 0, 6, 0, 0, 0, 1, 0, 0]).await.unwrap_err();
        assert_eq!(short.kind(), io::ErrorKind::InvalidData, "{short}");
    }
}
