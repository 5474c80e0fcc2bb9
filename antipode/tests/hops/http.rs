//! Writer, service in another language, reader: over HTTP.

use antipode::axum::CurrentLineage;
use antipode::edge::{BAGGAGE_HEADER, Fault, Inbound};
use antipode::lineage::{Baggage, Lineage, LineageCodec, LineageScope};
use antipode::tower::{LineageLayer, Propagate};
use axum::Router;
use axum::body::Body;
use axum::routing::get;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use tower::{Layer, Service as _, ServiceExt};

use crate::foreign::Foreign;
use crate::services::{self, Service, Test, plain_client, propagate, text};
use crate::{REQUESTS, SHARDS, lineage};

/// How many requests are under way at once.
const AT_ONCE: usize = 8;

/// A service in another language, and a reader behind it that requires lineage.
struct Passage {
    hop: Foreign,
    _reader: Service,
    inbound: Inbound,
}

/// How it went for requests whose lineage the reader took as it was sent, and for those that it refused.
/// There is no third way.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    intact: u64,
    refused: u64,
}

impl Passage {
    async fn open(language: &str, propagators: &str) -> Test<Self> {
        let inbound = Inbound::require(LineageCodec::plain());
        let app = Router::new().route("/{request}", get(received));
        let reader = Service::start(app.layer(LineageLayer::new(inbound.clone()))).await?;
        let hop = Foreign::start(language, "run", &[&reader.uri("")], propagators).await?;
        Ok(Self { hop, _reader: reader, inbound })
    }

    fn uri(&self, request: u64) -> String {
        format!("http://127.0.0.1:{}/{request}", self.hop.said)
    }

    /// Sends requests with lineages of so many shards, each beside so many members of others.
    async fn send(&self, requests: u64, shards: u64, others: usize) -> Test<Tally> {
        let client = propagate().layer(plain_client());
        self.tally(requests, |request| {
            let mut client: Propagate<Client<HttpConnector, Body>> = client.clone();
            let uri = self.uri(request);
            let lineage = lineage(request, shards);
            async move {
                let scope = LineageScope::from(lineage.clone());
                if others > 0 {
                    scope.set_baggage(Baggage::read([members(others)]));
                }
                let call = async {
                    let answer = client.ready().await?.call(services::request_to(uri)).await?;
                    let status = answer.status();
                    Test::Ok((status, text(answer).await?))
                };
                let (status, said) = scope.run(call).await?;
                Ok((status, said, heard(others + 1, &lineage)))
            }
        })
        .await
    }

    /// The same in a header of more than anybody has to pass on, with the lineage as its last member.
    async fn send_behind(&self, requests: u64, others: usize) -> Test<Tally> {
        let client = plain_client();
        self.tally(requests, |request| {
            let (client, uri) = (client.clone(), self.uri(request));
            let lineage = lineage(request, 8);
            async move {
                let ours = LineageCodec::plain().encode(&lineage);
                let header = format!("{},antipode={ours}", members(others));
                let mut call = services::request_to(uri);
                call.headers_mut().insert(BAGGAGE_HEADER, HeaderValue::try_from(header)?);
                let answer = client.request(call).await?;
                let (status, said) = (answer.status(), text(answer).await?);
                // How many others arrive is not ours to say.
                let count = said.split_once(' ').map_or(Ok(0), |(count, _)| count.parse())?;
                Ok((status, said, heard(count, &lineage)))
            }
        })
        .await
    }

    /// Looks at what the reader said to each request: what it was to hear, or that it was refused.
    async fn tally<F>(&self, requests: u64, send: impl Fn(u64) -> F) -> Test<Tally>
    where
        F: Future<Output = Test<(StatusCode, String, String)>>,
    {
        let mut tally = Tally::default();
        let mut answers = stream::iter(0..requests).map(send).buffer_unordered(AT_ONCE);
        while let Some(answer) = answers.next().await {
            match answer? {
                (StatusCode::OK, said, heard) => {
                    assert_eq!(said, heard, "a lineage that was not sent");
                    tally.intact += 1;
                }
                (StatusCode::BAD_REQUEST, ..) => tally.refused += 1,
                (status, said, _) => return Err(format!("{status}: {said}").into()),
            }
        }
        Ok(tally)
    }

    fn counted(&self) -> u64 {
        self.inbound.count(Fault::Missing) + self.inbound.count(Fault::Unreadable)
    }
}

/// The reader: tells how many members of baggage it was sent, and what the request depends on.
async fn received(CurrentLineage(scope): CurrentLineage, headers: HeaderMap) -> String {
    let lines = headers.get_all(BAGGAGE_HEADER).iter();
    let members = lines.map(|line| line.as_bytes().split(|byte| *byte == b',').count()).sum();
    heard(members, &scope.lineage())
}

fn heard(members: usize, lineage: &Lineage) -> String {
    format!("{members} {}", LineageCodec::plain().encode(lineage))
}

/// Members of others, such as a user's flags: each about 80 bytes.
fn members(count: usize) -> String {
    let member = |number| {
        format!("flag-{number:03}=variant%20{number};owner=growth;rollout=50;note=%22{}%22", "x".repeat(20))
    };
    (0..count).map(member).collect::<Vec<_>>().join(",")
}

async fn arrives_intact(language: &str) -> Test {
    let passage = Passage::open(language, "tracecontext,baggage").await?;
    for shards in SHARDS {
        for others in [0, 30] {
            let tally = passage.send(REQUESTS, shards, others).await?;
            let intact = Tally { intact: REQUESTS, refused: 0 };
            assert_eq!(tally, intact, "{shards} shards, {others} others");
        }
    }
    assert_eq!(passage.counted(), 0);
    Ok(())
}

async fn is_found_out(language: &str) -> Test {
    let passage = Passage::open(language, "tracecontext").await?;
    let tally = passage.send(REQUESTS, 8, 0).await?;
    assert_eq!(tally, Tally { intact: 0, refused: REQUESTS });
    assert_eq!(passage.inbound.count(Fault::Missing), REQUESTS);
    Ok(())
}

/// 40 are within what W3C guarantees, 70 are more members, and 150 are more bytes as well.
async fn is_not_pushed_out_silently(language: &str) -> Test {
    let passage = Passage::open(language, "tracecontext,baggage").await?;
    let mut refused = 0;
    for others in [40, 70, 150] {
        let tally = passage.send_behind(REQUESTS, others).await?;
        refused += tally.refused;
        assert_eq!(tally.intact + tally.refused, REQUESTS);
        assert_eq!(passage.counted(), refused, "each loss is counted");
        println!("{language}, behind {others} others: {tally:?}");
        if others == 40 {
            assert_eq!(tally.refused, 0, "W3C guarantees 64 members and 8,192 bytes");
        }
    }
    Ok(())
}

macro_rules! languages {
    ($($language:ident),*) => {$(
        mod $language {
            use crate::services::Test;

            const LANGUAGE: &str = stringify!($language);

            #[tokio::test]
            async fn lineage_arrives_as_it_was_sent() -> Test {
                super::arrives_intact(LANGUAGE).await
            }

            #[tokio::test]
            async fn a_hop_that_passes_no_baggage_on_is_found_out() -> Test {
                super::is_found_out(LANGUAGE).await
            }

            #[tokio::test]
            async fn lineage_behind_a_crowd_is_not_pushed_out_silently() -> Test {
                super::is_not_pushed_out_silently(LANGUAGE).await
            }
        }
    )*};
}

languages!(node, python, go, java);
