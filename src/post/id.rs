//! The identity of a post.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Platform;

/// The `_id` of a post, in two forms: as people write it, and as its store looks it up.
///
/// They differ if one text can mean several values: in MongoDB the string `42` and the integer 42
/// are different ids, and both are written `42`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PostId {
    text: String,
    key: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_delivery: bool,
}

impl PostId {
    /// An id whose store key differs from the text that people write.
    pub fn new(text: impl Into<String>, key: impl Into<String>) -> Self {
        Self { text: text.into(), key: key.into(), is_delivery: false }
    }

    /// An id whose store key is the text that people write.
    pub fn from_text(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { key: text.clone(), text, is_delivery: false }
    }

    /// The id of a delivery: of one of the platforms of a post for several.
    #[must_use]
    pub fn of_delivery(self) -> Self {
        Self { is_delivery: true, ..self }
    }

    /// As people write it, exactly. It can be of any length and contain any character.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is a delivery's. The text is then the post's own, for all its deliveries.
    pub fn is_delivery(&self) -> bool {
        self.is_delivery
    }

    /// How a command names the post: quoted for a shell, and with the platform if it is a delivery's. Without that a
    /// command would be about the other deliveries, too.
    pub fn in_command(&self, platform: Platform) -> String {
        let option = if self.is_delivery { format!("--platform {platform} ") } else { String::new() };
        format!("{option}{}", super::shell_quoted(&self.text))
    }

    /// The store's key. Only that store can read it.
    pub fn key(&self) -> &str {
        &self.key
    }
}

/// For logs and messages: one safe line, which is cut if the id is very long.
impl fmt::Display for PostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&super::shown_id(&self.text))
    }
}
