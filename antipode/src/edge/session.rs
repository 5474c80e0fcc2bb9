//! Session tokens: a user's lineage, kept by their browser.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use antipode_lineage::{Lineage, LineageCodec, SigningKeys, WireError};
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

use super::outbound::{InvalidHost, parse_host};

/// The longest token, in bytes. Browsers drop a cookie silently if its name, value and attributes have more
/// than 4,096 (RFC 6265 §6.1 asks for no more).
pub const MAX_SESSION_LEN: usize = 3_700;

/// The header that carries a token where cookies do not fit, such as in an app.
pub const SESSION_HEADER: &str = "antipode-session";

/// The most tokens of one request that are read.
const MAX_TOKENS: usize = 4;

/// Issues and reads session tokens: signed, expiring, for one audience.
///
/// A token holds what a user's requests did and saw, so that their next request, through another service or
/// in another region, waits for it. Give the response one, made of the lineage that the request ended with, as
/// the layer `tower::SessionLayer` does; give the requests to an [`Inbound`](super::Inbound) that takes
/// [sessions](super::Inbound::sessions). All services that share sessions have the same keys and audience.
///
/// - It shows the browser's owner which stores there are, their shards and positions; no keys, no values.
/// - Nobody without a key makes or changes one. The signature covers audience and expiry: a token of another
///   audience, or with another expiry, is one that nobody issued.
/// - **A token that is stolen or replayed only delays**: its holder waits for another's writes, and is given
///   none of them. It is no proof of who somebody is.
/// - A lineage that does not fit is issued as [everything](Lineage::everything), which covers it.
/// - It is forgotten after its lifetime: choose one far above the replicas' lag.
///
/// The text is the expiry, in seconds of Unix time, a dot, and the lineage as
/// [`LineageCodec`] makes it with keys [bound to](SigningKeys::bound_to) audience and expiry.
///
/// ```
/// use std::time::{Duration, SystemTime};
///
/// use antipode::edge::{Inbound, SessionTokens};
/// use antipode::lineage::{Lineage, SigningKey, SigningKeys, StoreName, WriteId};
/// use http::{HeaderMap, header::COOKIE};
///
/// let keys = SigningKeys::new(SigningKey::parse(b"32 random bytes from your vault.")?);
/// let sessions = SessionTokens::new(&keys, "shop.example.com", Duration::from_secs(3_600));
/// let inbound = Inbound::discard().sessions(sessions.clone());
///
/// // The user orders; the response has `set-cookie: __Host-antipode=1795284000.EQ…; Max-Age=3600; …`
/// let did = Lineage::from(WriteId::unplaced(StoreName::parse("orders")?));
/// let token = sessions.issue(&did, SystemTime::now());
///
/// // Their next request, to another service, waits for the order.
/// let mut request = HeaderMap::new();
/// request.append(COOKIE, token.cookie().parse()?);
/// assert_eq!(inbound.admit(&request)?.lineage, did);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct SessionTokens {
    keys: Arc<SigningKeys>,
    lifetime: Duration,
    domain: Option<Arc<str>>,
}

/// A token, to be sent to a browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionToken {
    text: String,
    lifetime: Duration,
    domain: Option<Arc<str>>,
}

/// Why a session token is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSession {
    /// Its time has passed. It was issued here: nothing is wrong with it but its age.
    #[error("session token expired {ago:?} ago: go on without, and issue a new one")]
    Expired {
        /// How long ago.
        ago: Duration,
    },
    /// It is longer than any that is issued.
    #[error("session token has {len} bytes, more than {MAX_SESSION_LEN}: none of ours")]
    TooLong {
        /// Its length, in bytes.
        len: usize,
    },
    /// The request has several, more than are read.
    #[error("request has more than {MAX_TOKENS} session tokens: issue them under one name and domain")]
    TooMany,
    /// It does not begin with an expiry.
    #[error("session token does not begin with its expiry: none of ours")]
    NoExpiry,
    /// Its lineage is damaged, or not signed with these keys for this audience and this expiry.
    #[error("session token was not issued with these keys for this audience, or was changed since")]
    Forged(#[from] WireError),
}

impl InvalidSession {
    /// The token is of age, and otherwise sound.
    #[must_use]
    pub fn is_expired(&self) -> bool {
        matches!(self, Self::Expired { .. })
    }
}

impl SessionTokens {
    /// Tokens for an audience: one name for all services that share sessions, such as the site's. They are
    /// valid for `lifetime`, in whole seconds.
    #[must_use]
    pub fn new(keys: &SigningKeys, audience: &str, lifetime: Duration) -> Self {
        let keys = keys.bound_to(audience);
        Self { keys: Arc::new(keys), lifetime: Duration::from_secs(lifetime.as_secs()), domain: None }
    }

    /// Has browsers send the cookie to all hosts of this domain. Without it they send it to the very host
    /// that issued it.
    ///
    /// # Errors
    /// [`InvalidHost`] if the text names no host.
    pub fn domain(self, domain: &str) -> Result<Self, InvalidHost> {
        Ok(Self { domain: Some(parse_host(domain)?.into()), ..self })
    }

    /// A token for what a request did and saw. `now` is the time of day.
    #[must_use]
    pub fn issue(&self, lineage: &Lineage, now: SystemTime) -> SessionToken {
        let expiry = seconds(now).saturating_add(self.lifetime.as_secs());
        let codec = self.codec(expiry);
        let text = |lineage: &Lineage| format!("{expiry}.{}", codec.encode(lineage));
        let mut whole = text(lineage);
        if whole.len() > MAX_SESSION_LEN {
            let mut top = Lineage::everything();
            top.join(lineage);
            whole = text(&top);
        }
        SessionToken { text: whole, lifetime: self.lifetime, domain: self.domain.clone() }
    }

    /// The lineage of the request's tokens, in its cookies or in [`SESSION_HEADER`]; of several their join;
    /// `None` if it has none. `now` is the time of day.
    ///
    /// # Errors
    /// [`InvalidSession`] if one of them is not valid. Expired beside valid ones do not count.
    pub fn read(&self, headers: &HeaderMap, now: SystemTime) -> Result<Option<Lineage>, InvalidSession> {
        let (mut joined, mut expired) = (None, None);
        for (at, token) in self.tokens(headers).enumerate() {
            if at == MAX_TOKENS {
                return Err(InvalidSession::TooMany);
            }
            match self.parse(token, now) {
                Ok(lineage) => joined.get_or_insert_with(Lineage::new).join(&lineage),
                Err(error) if error.is_expired() => expired = Some(error),
                Err(error) => return Err(error),
            }
        }
        match (joined, expired) {
            (None, Some(expired)) => Err(expired),
            (joined, _) => Ok(joined),
        }
    }

    /// The lineage of one token's text.
    ///
    /// # Errors
    /// [`InvalidSession`] for every text that was not issued with these keys for this audience, and after
    /// its expiry.
    pub fn parse(&self, token: impl AsRef<[u8]>, now: SystemTime) -> Result<Lineage, InvalidSession> {
        let token = token.as_ref();
        if token.len() > MAX_SESSION_LEN {
            return Err(InvalidSession::TooLong { len: token.len() });
        }
        let dot = token.iter().position(|byte| *byte == b'.').ok_or(InvalidSession::NoExpiry)?;
        let (expiry, rest) = token.split_at(dot);
        let expiry = number(expiry).ok_or(InvalidSession::NoExpiry)?;
        // Before the expiry is believed: a changed digit must not pass for age.
        let lineage = self.codec(expiry).decode(rest.get(1..).unwrap_or_default())?;
        match seconds(now).checked_sub(expiry) {
            Some(ago) => Err(InvalidSession::Expired { ago: Duration::from_secs(ago) }),
            None => Ok(lineage),
        }
    }

    fn codec(&self, expiry: u64) -> LineageCodec {
        LineageCodec::signed(self.keys.bound_to(expiry.to_be_bytes()))
    }

    fn tokens<'a>(&self, headers: &'a HeaderMap) -> impl Iterator<Item = &'a [u8]> {
        let name = cookie_name(self.domain.as_deref());
        let cookies =
            headers.get_all(COOKIE).into_iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
        let ours = cookies
            .filter_map(move |pair| pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"="));
        ours.chain(headers.get_all(SESSION_HEADER).into_iter().map(HeaderValue::as_bytes))
    }
}

impl SessionToken {
    /// The text, for [`SESSION_HEADER`]: digits, letters, `-`, `_` and one `.`, at most [`MAX_SESSION_LEN`]
    /// bytes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The cookie as browsers send it: the value of a `cookie` header.
    #[must_use]
    pub fn cookie(&self) -> String {
        format!("{}={}", cookie_name(self.domain.as_deref()), self.text)
    }

    /// The value of a `set-cookie` header. Scripts do not see the cookie, it goes over TLS only, and with
    /// requests from other sites only if they are navigations. Its name's prefix has browsers refuse it
    /// from a neighbouring host (RFC 6265bis, "Cookie Name Prefixes").
    #[must_use]
    pub fn set_cookie(&self) -> String {
        let domain = self.domain.as_deref().map(|domain| format!("; Domain={domain}")).unwrap_or_default();
        let (cookie, max_age) = (self.cookie(), self.lifetime.as_secs());
        format!("{cookie}; Max-Age={max_age}; Path=/{domain}; HttpOnly; Secure; SameSite=Lax")
    }
}

/// A cookie for a domain must not have the prefix of those for one host.
fn cookie_name(domain: Option<&str>) -> &'static str {
    if domain.is_some() { "__Secure-antipode" } else { "__Host-antipode" }
}

/// Unix time. Before 1970 it is 1970: what was issued then has expired.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Decimal, in the one form that is issued.
fn number(text: &[u8]) -> Option<u64> {
    let number: u64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (number.to_string().as_bytes() == text).then_some(number)
}
