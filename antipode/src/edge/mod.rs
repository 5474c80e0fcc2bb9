//! Trust at the edge: what lineage is taken from a request, and to whom it is sent.
//!
//! Lineage from outside is a claim. The worst that a false one does is to delay: a barrier on it asks each
//! primary once, while its replicas are probed as for any write on its way, at most one probe at a time for
//! all who wait there; it never waits past its deadline, and knows only the stores of its registry. Still,
//! who may make such claims is yours to say:
//!
//! - [`Inbound`] takes, requires or discards the lineage of a request, within caps that are checked before
//!   anything is parsed. With a signed [`LineageCodec`](crate::lineage::LineageCodec) it takes only what a
//!   holder of a key made.
//! - [`Outbound`] says which hosts are ours. All others get the baggage without the lineage.
//! - [`SessionTokens`] let a user's next request, through another service or region, carry what they just
//!   did: in a signed cookie.
//!
//! All of it works on the header map of the `http` crate, whatever server or client is around.
//!
//! ```
//! use antipode::edge::{Inbound, Outbound};
//! use antipode::lineage::LineageCodec;
//! use http::{HeaderMap, HeaderValue};
//!
//! let codec = LineageCodec::plain();
//! let inbound = Inbound::accept(codec.clone());
//! let mut request = HeaderMap::new();
//! request.append("baggage", HeaderValue::from_static("user=alice"));
//! let admitted = inbound.admit(&request)?;
//! assert!(admitted.lineage.is_empty());
//!
//! let outbound = Outbound::to_hosts(["orders.example.com", ".svc.example.com"])?;
//! let foreign = "https://api.payments.example/charge".parse()?;
//! let header = outbound.header(&foreign, &codec, &admitted.baggage, &admitted.lineage);
//! assert_eq!(header.value, "user=alice", "the lineage stays here");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod faults;
mod inbound;
mod outbound;
mod session;

use http::HeaderName;

#[cfg(feature = "tower")]
pub(crate) use self::faults::Told;
pub use self::faults::{EdgeObserver, Fault, Treated};
pub use self::inbound::{Admitted, DEFAULT_MAX_LINES, Inbound, Refused};
pub use self::outbound::{InvalidHost, Outbound};
pub use self::session::{InvalidSession, MAX_SESSION_LEN, SESSION_HEADER, SessionToken, SessionTokens};

/// The name of the header that carries baggage (W3C Baggage, "Header Name").
pub const BAGGAGE_HEADER: &str = "baggage";

/// The same, for header maps: they need not parse it each time.
pub(crate) static BAGGAGE: HeaderName = HeaderName::from_static(BAGGAGE_HEADER);
