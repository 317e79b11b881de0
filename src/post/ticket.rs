//! The ticket: the platform's own handle on one publish.
//!
//! It is stored before the step that can make the post public and looked up before anything is sent again,
//! until the platform says that it is dead. With it a repeated publish is impossible.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::Platform;

/// A platform's handle on one publish, and how far that publish may have come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ticket {
    /// When the platform gave it.
    pub made_at: DateTime<Utc>,
    /// Stored *before* the step after which the post may be public: the last chunk, the publish call, a photo's
    /// init. A dead ticket without it has published nothing; with it, that cannot be told from the ticket alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committed_at: Option<DateTime<Utc>>,
    /// Whether the application made it, in its own attempt. How far that came is not known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub left_behind: bool,
    /// The handle itself.
    pub handle: TicketHandle,
}

/// What each platform gives.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum TicketHandle {
    /// A TikTok video: `publish_id` from init. Nothing can appear before all bytes are in.
    TiktokVideo {
        /// What `status/fetch` is asked with.
        publish_id: String,
        /// Where the bytes go for one hour; none where the application made the ticket. A secret.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        upload_url: Option<String>,
        /// Bytes announced at init.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        size: Option<u64>,
        /// The account's name, for the link.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        username: Option<String>,
    },
    /// A TikTok photo: init starts the publish at once, so the intent is stored before there is an id.
    TiktokPhoto {
        /// What `status/fetch` is asked with; none until init was answered.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        publish_id: Option<String>,
        /// The account's name, for the link.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        username: Option<String>,
    },
    /// An Instagram media container. Nothing is public before `media_publish`.
    InstagramContainer {
        /// What is polled and published.
        container_id: String,
        /// Where a reel's bytes go; none for an image or where the application made the ticket. A secret.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        upload_uri: Option<String>,
        /// Bytes of the reel.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        size: Option<u64>,
    },
    /// A `YouTube` resumable upload session. The video exists once the last byte is in.
    YoutubeSession {
        /// Where the bytes go and the state is asked. A secret.
        session_uri: String,
        /// Bytes announced at the start.
        size: u64,
        /// The video, once it exists.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        video_id: Option<String>,
    },
}

/// Upload addresses authorise the upload, so they are not printed.
impl fmt::Debug for TicketHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TiktokVideo { publish_id, .. } => write!(f, "TiktokVideo({publish_id})"),
            Self::TiktokPhoto { publish_id, .. } => write!(f, "TiktokPhoto({publish_id:?})"),
            Self::InstagramContainer { container_id, .. } => write!(f, "InstagramContainer({container_id})"),
            Self::YoutubeSession { size, video_id, .. } => {
                write!(f, "YoutubeSession({size} bytes, video {video_id:?})")
            }
        }
    }
}

impl Ticket {
    /// A fresh ticket that has not come to any step that can publish.
    pub fn new(made_at: DateTime<Utc>, handle: TicketHandle) -> Self {
        Self { made_at, committed_at: None, left_behind: false, handle }
    }

    /// The `publish_id` that the application's own attempt left behind. How far that attempt came is not known,
    /// so it counts as committed.
    pub fn left_behind_on_tiktok(publish_id: String, failed_at: DateTime<Utc>) -> Self {
        let handle = TicketHandle::TiktokVideo { publish_id, upload_url: None, size: None, username: None };
        Self { left_behind: true, ..Self::new(failed_at, handle).committed(failed_at) }
    }

    /// The container that the application's own attempt left behind; it counts as committed likewise.
    pub fn left_behind_on_instagram(container_id: String, failed_at: DateTime<Utc>) -> Self {
        let handle = TicketHandle::InstagramContainer { container_id, upload_uri: None, size: None };
        Self { left_behind: true, ..Self::new(failed_at, handle).committed(failed_at) }
    }

    /// The same ticket, about to take the step that can make the post public.
    #[must_use]
    pub fn committed(self, at: DateTime<Utc>) -> Self {
        Self { committed_at: Some(at), ..self }
    }

    /// Whether the post may have become public through it.
    pub fn is_committed(&self) -> bool {
        self.committed_at.is_some()
    }

    /// The platform that gave it.
    pub fn platform(&self) -> Platform {
        match self.handle {
            TicketHandle::TiktokVideo { .. } | TicketHandle::TiktokPhoto { .. } => Platform::TikTok,
            TicketHandle::InstagramContainer { .. } => Platform::Instagram,
            TicketHandle::YoutubeSession { .. } => Platform::YouTubeShorts,
        }
    }

    /// How long ago the platform gave it.
    pub fn age(&self, now: DateTime<Utc>) -> TimeDelta {
        now.signed_duration_since(self.made_at)
    }
}
