//! A post, and what a notification says of it.

use rand::Rng;

/// A version of a post. Its body begins with what it is, so that a reader can tell without any help
/// which post and which version it got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Post {
    pub(crate) reference: Reference,
    pub(crate) body: Vec<u8>,
}

/// What a notification refers to: this version of this post.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) post: String,
    pub(crate) version: u64,
}

impl Post {
    /// A post whose body has `payload` random bytes after its head.
    pub(crate) fn new(id: impl Into<String>, version: u64, payload: usize, rng: &mut impl Rng) -> Self {
        let reference = Reference { post: id.into(), version };
        let mut body = reference.to_string().into_bytes();
        body.push(b'\n');
        let head = body.len();
        body.resize(head + payload, 0);
        if let Some(payload) = body.get_mut(head..) {
            rng.fill_bytes(payload);
        }
        Self { reference, body }
    }

    pub(crate) fn id(&self) -> &str {
        &self.reference.post
    }
}

impl Reference {
    /// Reads the text back; `None` if it is none.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let (post, version) = text.split_once(' ')?;
        Some(Self { post: post.to_owned(), version: version.parse().ok()? })
    }
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.post, self.version)
    }
}
