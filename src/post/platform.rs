//! The platforms, and how documents, rows and people name what is theirs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A platform that posts are published on. A new one is a variant, and an entry in [`Platform::ALL`] and in
/// `Platform::info`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "&'static str", try_from = "String")]
pub enum Platform {
    /// TikTok, through the Content Posting API.
    TikTok,
    /// Instagram, through the Graph API's content publishing.
    Instagram,
    /// `YouTube` Shorts, through the Data API v3.
    YouTubeShorts,
}

/// A field of a post, as the two stores name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldName {
    /// In a document; a dot leads into an object.
    pub path: &'static str,
    /// In a row.
    pub column: &'static str,
}

/// The fields of a post that belong to one platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlatformFields {
    /// The platform's id of the published post.
    pub id: FieldName,
    /// Where the published post can be seen.
    pub url: FieldName,
    /// The platform's id of an upload that the application's own attempt left; none if it leaves none there.
    pub left_upload: Option<FieldName>,
}

/// The names of one platform.
struct PlatformInfo {
    /// In a sentence.
    title: &'static str,
    /// In documents; the first is also the name in JSON and options.
    spellings: &'static [&'static str],
    fields: PlatformFields,
}

const fn field(path: &'static str, column: &'static str) -> FieldName {
    FieldName { path, column }
}

static TIKTOK: PlatformInfo = PlatformInfo {
    title: "TikTok",
    spellings: &["tiktok"],
    fields: PlatformFields {
        id: field("tiktokVideoId", "tiktok_video_id"),
        url: field("tiktokShareUrl", "tiktok_share_url"),
        left_upload: Some(field("uploadProgress.publishId", "upload_publish_id")),
    },
};

static INSTAGRAM: PlatformInfo = PlatformInfo {
    title: "Instagram",
    spellings: &["instagram"],
    fields: PlatformFields {
        id: field("instagramMediaId", "instagram_media_id"),
        url: field("instagramPermalink", "instagram_permalink"),
        left_upload: Some(field("instagramContainerId", "instagram_container_id")),
    },
};

static YOUTUBE_SHORTS: PlatformInfo = PlatformInfo {
    title: "YouTube",
    spellings: &["youtube_shorts", "youtube"],
    fields: PlatformFields {
        id: field("youtubeVideoId", "youtube_video_id"),
        url: field("youtubeUrl", "youtube_url"),
        left_upload: None,
    },
};

impl Platform {
    /// All of them, in the order in which they are listed.
    pub const ALL: [Self; 3] = [Self::TikTok, Self::Instagram, Self::YouTubeShorts];

    fn info(self) -> &'static PlatformInfo {
        match self {
            Self::TikTok => &TIKTOK,
            Self::Instagram => &INSTAGRAM,
            Self::YouTubeShorts => &YOUTUBE_SHORTS,
        }
    }

    /// The name in documents, JSON and options.
    pub fn as_str(self) -> &'static str {
        self.info().spellings[0]
    }

    /// Every spelling that a document may use.
    pub fn spellings(self) -> &'static [&'static str] {
        self.info().spellings
    }

    /// The name in a sentence.
    pub fn title(self) -> &'static str {
        self.info().title
    }

    /// The fields of a post that belong to it.
    pub fn fields(self) -> PlatformFields {
        self.info().fields
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<Platform> for &'static str {
    fn from(platform: Platform) -> Self {
        platform.as_str()
    }
}

/// A name that is not a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not one of {}", known_names())]
pub struct ParsePlatformError {
    name: String,
}

fn known_names() -> String {
    Platform::ALL.map(|platform| format!("`{platform}`")).join(", ")
}

impl FromStr for Platform {
    type Err = ParsePlatformError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|platform| platform.spellings().contains(&name))
            .ok_or_else(|| ParsePlatformError { name: name.to_owned() })
    }
}

impl TryFrom<String> for Platform {
    type Error = ParsePlatformError;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        name.parse()
    }
}
