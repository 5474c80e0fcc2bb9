//! What is taken from a request.

use std::sync::Arc;
use std::time::SystemTime;

use antipode_lineage::{Baggage, Lineage, LineageCodec, MAX_READ_LEN, WireError};
use http::header::GetAll;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::BAGGAGE;
use super::faults::{EdgeObserver, Fault, Faults, Treated};
use super::session::SessionTokens;

/// The most header lines of baggage that are read by default.
pub const DEFAULT_MAX_LINES: usize = 64;

/// What a service takes of the lineage that comes with a request.
///
/// | | no lineage | unreadable, or past a cap |
/// |---|---|---|
/// | [`accept`](Inbound::accept) | begins with nothing | counts as [everything](Lineage::everything) |
/// | [`accept_readable`](Inbound::accept_readable) | begins with nothing | refused |
/// | [`require`](Inbound::require) | refused | refused |
/// | [`discard`](Inbound::discard) | begins with nothing | begins with nothing |
///
/// With a codec that has keys, what is not signed by one of them is unreadable.
///
/// Whatever was not as it should be is [counted](Inbound::count), told to an
/// [observer](Inbound::observer), and logged at most once in ten seconds for each kind.
///
/// A clone shares the counts.
#[derive(Debug, Clone)]
pub struct Inbound {
    policy: Policy,
    max_bytes: usize,
    max_lines: usize,
    sessions: Option<SessionTokens>,
    faults: Arc<Faults>,
}

#[derive(Debug, Clone)]
enum Policy {
    Take { codec: LineageCodec, missing: Answer, unreadable: Answer },
    Discard,
}

#[derive(Debug, Clone, Copy)]
enum Answer {
    Take(Treated),
    Refuse,
}

/// What a request is admitted with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Admitted {
    /// The members of others, for the headers of calls that the request makes. Past a cap nothing was read,
    /// and this is empty.
    pub baggage: Baggage,
    /// The lineage to begin with.
    pub lineage: Lineage,
    /// The lineage in the baggage, if there is one that was taken as it is: who sent it can be told, in the
    /// same form, what the request came to depend on. Others are told nothing.
    pub sent: Option<Lineage>,
}

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The request has no lineage.
    #[error("request has no lineage: let its sender and every hop between pass the baggage header on")]
    Missing,
    /// The request's lineage cannot be read, or is not signed as it must be.
    #[error("request has a lineage that cannot be read")]
    Unreadable(#[from] WireError),
    /// The request has more baggage than is read.
    #[error("request has more than {max} bytes of baggage: send less, or raise the cap")]
    TooManyBytes {
        /// The cap, in bytes.
        max: usize,
    },
    /// The request has more header lines of baggage than are read.
    #[error("request has more than {max} lines of baggage: send one, or raise the cap")]
    TooManyLines {
        /// The cap.
        max: usize,
    },
}

impl Inbound {
    /// Takes the lineage of requests that have one. What cannot be read counts as everything: barriers then
    /// wait for all that the stores' primaries hold, so that nothing is silently less.
    #[must_use]
    pub fn accept(codec: LineageCodec) -> Self {
        Self::take(codec, Answer::Take(Treated::AsNothing), Answer::Take(Treated::AsEverything))
    }

    /// Takes the lineage of requests that have one, and refuses requests whose lineage cannot be read.
    #[must_use]
    pub fn accept_readable(codec: LineageCodec) -> Self {
        Self::take(codec, Answer::Take(Treated::AsNothing), Answer::Refuse)
    }

    /// Refuses requests without a lineage, or with one that cannot be read: for services that are called
    /// only by services which propagate lineage.
    #[must_use]
    pub fn require(codec: LineageCodec) -> Self {
        Self::take(codec, Answer::Refuse, Answer::Refuse)
    }

    /// Begins every request with nothing, whatever came: for services that face the public. The baggage of
    /// others passes.
    #[must_use]
    pub fn discard() -> Self {
        Self::new(Policy::Discard)
    }

    fn take(codec: LineageCodec, missing: Answer, unreadable: Answer) -> Self {
        Self::new(Policy::Take { codec, missing, unreadable })
    }

    fn new(policy: Policy) -> Self {
        let faults = Arc::new(Faults::default());
        Self { policy, max_bytes: MAX_READ_LEN, max_lines: DEFAULT_MAX_LINES, sessions: None, faults }
    }

    /// The most bytes of baggage that are read, over all header lines, with one for the end of each line.
    /// [`MAX_READ_LEN`] by default, and at most.
    #[must_use]
    pub fn max_bytes(self, max_bytes: usize) -> Self {
        Self { max_bytes: max_bytes.min(MAX_READ_LEN), ..self }
    }

    /// The most header lines of baggage that are read. [`DEFAULT_MAX_LINES`] by default.
    #[must_use]
    pub fn max_lines(self, max_lines: usize) -> Self {
        Self { max_lines, ..self }
    }

    /// Takes the lineage of session tokens too, whatever the policy for baggage is: these are signed.
    ///
    /// No request is refused for its token: users could not help it. One that is not valid, such as after
    /// its key was forgotten, counts as everything; an expired one as nothing.
    #[must_use]
    pub fn sessions(self, sessions: SessionTokens) -> Self {
        Self { sessions: Some(sessions), ..self }
    }

    /// Told of every fault. Counting begins anew.
    #[must_use]
    pub fn observer(self, observer: impl EdgeObserver) -> Self {
        Self { faults: Arc::new(Faults::told_to(observer)), ..self }
    }

    /// Reads a request's baggage and decides what it begins with.
    ///
    /// # Errors
    /// [`Refused`] as the policy says: see [`Inbound`].
    pub fn admit(&self, headers: &HeaderMap) -> Result<Admitted, Refused> {
        let mut admitted = self.admit_baggage(headers)?;
        if let Some(sessions) = &self.sessions {
            self.join_session(&mut admitted.lineage, sessions, headers);
        }
        Ok(admitted)
    }

    /// How often a fault was found.
    #[must_use]
    pub fn count(&self, fault: Fault) -> u64 {
        self.faults.count(fault)
    }

    /// What lineages are read with; `None` if they are not.
    #[cfg(feature = "tower")]
    pub(crate) fn codec(&self) -> Option<&LineageCodec> {
        match &self.policy {
            Policy::Take { codec, .. } => Some(codec),
            Policy::Discard => None,
        }
    }

    fn admit_baggage(&self, headers: &HeaderMap) -> Result<Admitted, Refused> {
        let lines = match self.lines(headers) {
            Ok(lines) => lines,
            Err(refused) => return self.treat(Baggage::default(), refused),
        };
        let Policy::Take { codec, .. } = &self.policy else {
            let baggage = Baggage::read(lines);
            self.faults.received(baggage.lineage_len());
            return Ok(Admitted { baggage, lineage: Lineage::new(), sent: None });
        };
        let (baggage, lineage) = Baggage::take(codec, lines);
        self.faults.received(baggage.lineage_len());
        match lineage {
            Ok(Some(lineage)) => Ok(Admitted { baggage, sent: Some(lineage.clone()), lineage }),
            Ok(None) => self.treat(baggage, Refused::Missing),
            Err(error) => self.treat(baggage, error.into()),
        }
    }

    fn join_session(&self, lineage: &mut Lineage, sessions: &SessionTokens, headers: &HeaderMap) {
        match sessions.read(headers, SystemTime::now()) {
            Ok(session) => session.iter().for_each(|session| lineage.join(session)),
            Err(error) if error.is_expired() => {
                self.faults.found(Fault::SessionExpired, Treated::AsNothing, &error);
            }
            Err(error) => {
                self.faults.found(Fault::SessionInvalid, Treated::AsEverything, &error);
                lineage.join(&Lineage::everything());
            }
        }
    }

    /// Looks at the sizes first: what is past a cap is not parsed.
    fn lines<'h>(&self, headers: &'h HeaderMap) -> Result<GetAll<'h, HeaderValue>, Refused> {
        let lines = headers.get_all(&BAGGAGE);
        let (mut bytes, mut count) = (0, 0);
        for line in &lines {
            bytes += line.len() + 1;
            count += 1;
            if count > self.max_lines {
                return Err(Refused::TooManyLines { max: self.max_lines });
            }
            if bytes > self.max_bytes {
                return Err(Refused::TooManyBytes { max: self.max_bytes });
            }
        }
        Ok(lines)
    }

    fn treat(&self, baggage: Baggage, refused: Refused) -> Result<Admitted, Refused> {
        let answer = match &self.policy {
            Policy::Discard => Answer::Take(Treated::AsNothing),
            Policy::Take { missing, .. } if refused.is_missing() => *missing,
            Policy::Take { unreadable, .. } => *unreadable,
        };
        let treated = match answer {
            Answer::Take(treated) => treated,
            Answer::Refuse => Treated::Refused,
        };
        self.faults.found(refused.fault(), treated, &refused);
        match treated {
            Treated::Refused => Err(refused),
            Treated::AsEverything => Ok(Admitted { baggage, lineage: Lineage::everything(), sent: None }),
            Treated::AsNothing => Ok(Admitted { baggage, lineage: Lineage::new(), sent: None }),
        }
    }
}

impl Refused {
    /// No lineage came.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing)
    }

    /// More came than is read.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        matches!(self, Self::TooManyBytes { .. } | Self::TooManyLines { .. })
    }

    /// The status of a response that says so: 431 past a cap, else 400.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        if self.is_too_large() {
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
        } else {
            StatusCode::BAD_REQUEST
        }
    }

    /// The kind of it, as it is counted.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Missing => Fault::Missing,
            Self::Unreadable(_) => Fault::Unreadable,
            Self::TooManyBytes { .. } | Self::TooManyLines { .. } => Fault::TooLarge,
        }
    }
}
