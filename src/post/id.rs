//! The identity of a post.

use std::fmt;

/// The `_id` of a post: as people write it, and as its store finds it.
///
/// The two differ where one text can stand for several values: in MongoDB the string `42` and the integer 42
/// are different ids, and both are written `42`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PostId {
    text: String,
    key: String,
}

impl PostId {
    /// An id whose store finds it by another form than the one that people write.
    pub fn new(text: impl Into<String>, key: impl Into<String>) -> Self {
        Self { text: text.into(), key: key.into() }
    }

    /// An id that its store finds by the very text that people write.
    pub fn from_text(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { key: text.clone(), text }
    }

    /// As people write it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// As its store finds it; only that store can read this form.
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl fmt::Display for PostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
