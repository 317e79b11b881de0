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

/// The form of a platform's ids. An id from a document or an answer that does not have it may be an attempt to reach
/// another address with the account's token.
struct IdForm {
    /// The most characters, all of them ASCII.
    longest: usize,
    is_allowed: fn(u8) -> bool,
}

impl IdForm {
    /// The form as a regular expression that MongoDB understands.
    fn pattern(&self) -> String {
        let allowed = (0..=u8::MAX).filter(|byte| (self.is_allowed)(*byte));
        let class: String = allowed.map(|byte| format!("\\x{byte:02x}")).collect();
        format!("\\A[{class}]{{1,{}}}\\z", self.longest)
    }

    fn matches(&self, id: &str) -> bool {
        (1..=self.longest).contains(&id.len()) && id.bytes().all(self.is_allowed)
    }
}

/// A number of 64 bits.
const NUMBER: IdForm = IdForm { longest: 20, is_allowed: |byte| byte.is_ascii_digit() };

/// TikTok's `publish_id`, for example `v_pub_file~v2-1.123`. TikTok documents at most 64 characters, and other limits of
/// its documentation are known to be exceeded.
const PUBLISH_ID: IdForm =
    IdForm { longest: 128, is_allowed: |byte| byte.is_ascii_alphanumeric() || b"_~-.".contains(&byte) };

/// Eleven characters today; `YouTube` does not promise the number.
const VIDEO_ID: IdForm =
    IdForm { longest: 64, is_allowed: |byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte) };

/// The names of one platform.
struct PlatformInfo {
    /// In a sentence.
    title: &'static str,
    /// In documents; the first is also the name in JSON and options.
    spellings: &'static [&'static str],
    fields: PlatformFields,
    /// The domains on which published posts can be seen.
    sites: &'static [&'static str],
    /// The form of the ids of published posts.
    post_id: IdForm,
    /// The form of the ids of uploads; none if an upload has no id.
    upload_id: Option<IdForm>,
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
    sites: &["tiktok.com"],
    post_id: NUMBER,
    upload_id: Some(PUBLISH_ID),
};

static INSTAGRAM: PlatformInfo = PlatformInfo {
    title: "Instagram",
    spellings: &["instagram"],
    fields: PlatformFields {
        id: field("instagramMediaId", "instagram_media_id"),
        url: field("instagramPermalink", "instagram_permalink"),
        left_upload: Some(field("instagramContainerId", "instagram_container_id")),
    },
    sites: &["instagram.com"],
    post_id: NUMBER,
    upload_id: Some(NUMBER),
};

static YOUTUBE_SHORTS: PlatformInfo = PlatformInfo {
    title: "YouTube",
    spellings: &["youtube_shorts", "youtube"],
    fields: PlatformFields {
        id: field("youtubeVideoId", "youtube_video_id"),
        url: field("youtubeUrl", "youtube_url"),
        left_upload: None,
    },
    sites: &["youtube.com", "youtu.be"],
    post_id: VIDEO_ID,
    upload_id: None,
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

    /// Whether a host is one on which its published posts can be seen: a domain of its site, or one below it.
    pub fn is_site(self, host: &str) -> bool {
        let is_below = |before: &str| before.is_empty() || before.ends_with('.');
        self.info().sites.iter().any(|site| host.strip_suffix(*site).is_some_and(is_below))
    }

    /// Whether this has the form of its ids of published posts.
    pub fn is_post_id(self, id: &str) -> bool {
        self.info().post_id.matches(id)
    }

    /// The form of its ids of uploads as a regular expression; none if no application leaves one behind.
    pub fn upload_id_pattern(self) -> Option<String> {
        self.info().upload_id.as_ref().map(IdForm::pattern)
    }

    /// Whether this has the form of its ids of uploads.
    pub fn is_upload_id(self, id: &str) -> bool {
        self.info().upload_id.as_ref().is_some_and(|form| form.matches(id))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Ids that would lead a request elsewhere, or are none.
    const FORGED: [&str; 14] = [
        "",
        " ",
        ".",
        "..",
        "1/comments?message=hi&method=post",
        "17?access_token=x",
        "17#x",
        "17%2Fcomments",
        "17\n18",
        "17,18",
        "17 ",
        "1\u{202e}7",
        "１７",
        "-17",
    ];

    #[test]
    fn an_id_that_could_lead_elsewhere_has_no_platforms_form() {
        for id in FORGED {
            let is_dots = id.chars().all(|c| c == '.');
            // In a body dots lead nowhere, and TikTok's ids are in bodies only.
            assert!(!Platform::TikTok.is_upload_id(id) || id == "-17" || is_dots, "{id}");
            assert!(!Platform::YouTubeShorts.is_post_id(id) || id == "-17", "{id}");
            assert!(!Platform::TikTok.is_post_id(id), "{id}");
            assert!(!Platform::Instagram.is_post_id(id) && !Platform::Instagram.is_upload_id(id), "{id}");
        }
        let (number, other) = ("1".repeat(21), "a".repeat(129));
        assert!(!Platform::Instagram.is_upload_id(&number) && !Platform::TikTok.is_post_id(&number));
        assert!(!Platform::TikTok.is_upload_id(&other) && !Platform::YouTubeShorts.is_post_id(&other));
        assert!(!Platform::YouTubeShorts.is_upload_id("17"), "its sessions have addresses");
    }

    #[test]
    fn a_site_is_a_domain_or_below_it() {
        for host in ["tiktok.com", "www.tiktok.com", "vm.tiktok.com"] {
            assert!(Platform::TikTok.is_site(host), "{host}");
        }
        for host in ["", "com", "eviltiktok.com", "tiktok.com.evil.example", "tiktok.com.", "www.instagram.com"] {
            assert!(!Platform::TikTok.is_site(host), "{host}");
        }
    }

    #[test]
    fn the_ids_that_platforms_give_have_their_form() {
        for id in ["v_pub_file~v2-1.123456", "v_inbox_file~v2.7", "v_pub_url~v2.1", "p_pub_url~v2.1"] {
            assert!(Platform::TikTok.is_upload_id(id), "{id}");
        }
        assert!(Platform::TikTok.is_post_id("7512345678901234567"));
        assert!(
            Platform::Instagram.is_upload_id("17895000000000001")
                && Platform::Instagram.is_post_id("18010000000000001")
        );
        assert!(Platform::YouTubeShorts.is_post_id("dQw4w9WgXcQ") && Platform::YouTubeShorts.is_post_id("-_abcdefghi"));
    }
}
