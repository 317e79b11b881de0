//! The platforms, and how documents and people name them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A platform that posts are published on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Platform {
    /// TikTok, by the Content Posting API.
    #[serde(rename = "tiktok")]
    TikTok,
    /// Instagram, by the Graph API's content publishing.
    Instagram,
    /// `YouTube` Shorts, by the Data API v3.
    #[serde(rename = "youtube_shorts")]
    YouTubeShorts,
}

impl Platform {
    /// All of them, in the order in which they are listed.
    pub const ALL: [Self; 3] = [Self::TikTok, Self::Instagram, Self::YouTubeShorts];

    /// The name in documents, JSON and options.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TikTok => "tiktok",
            Self::Instagram => "instagram",
            Self::YouTubeShorts => "youtube_shorts",
        }
    }

    /// Every spelling that a document may use.
    pub fn spellings(self) -> &'static [&'static str] {
        match self {
            Self::TikTok => &["tiktok"],
            Self::Instagram => &["instagram"],
            Self::YouTubeShorts => &["youtube_shorts", "youtube"],
        }
    }

    /// The name in a sentence.
    pub fn title(self) -> &'static str {
        match self {
            Self::TikTok => "TikTok",
            Self::Instagram => "Instagram",
            Self::YouTubeShorts => "YouTube",
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that is none of the platforms'.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not one of `tiktok`, `instagram`, `youtube_shorts`")]
pub struct ParsePlatformError(String);

impl FromStr for Platform {
    type Err = ParsePlatformError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|platform| platform.spellings().contains(&name))
            .ok_or_else(|| ParsePlatformError(name.to_owned()))
    }
}
