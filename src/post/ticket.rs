//! The ticket: the platform's own identifier of one publish.
//!
//! It is stored before the step that can make the post public, and checked before anything is sent again, until the
//! platform says that it is dead. This prevents a second publish.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Platform;

/// A platform's identifier of one publish, and how far that publish may have got.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ticket {
    /// The platform that gave it.
    pub platform: Platform,
    /// When the platform gave it.
    pub made_at: DateTime<Utc>,
    /// Stored *before* the step after which the post may be public: the last chunk, the publish call, a photo's init.
    /// A dead ticket without it has published nothing. With it, the ticket alone does not show whether it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committed_at: Option<DateTime<Utc>>,
    /// When postretry first looked at it, if the application made it in its own attempt. How far that attempt came, and
    /// with which file, is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopted_at: Option<DateTime<Utc>>,
    /// What it was made for: the text as it is sent, and the file's size and modification time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// The handle itself, in the form of the platform's publisher. It may hold an upload address, which is a secret.
    pub payload: Value,
}

/// Upload addresses authorise the upload, so the payload is not printed.
impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("platform", &self.platform)
            .field("made_at", &self.made_at)
            .field("committed_at", &self.committed_at)
            .field("adopted_at", &self.adopted_at)
            .finish_non_exhaustive()
    }
}

impl Ticket {
    /// A new ticket that has not reached a step that can publish.
    pub fn new(platform: Platform, made_at: DateTime<Utc>, payload: Value) -> Self {
        Self { platform, made_at, committed_at: None, adopted_at: None, fingerprint: None, payload }
    }

    /// A ticket that the application's own attempt left, first looked at now. How far that attempt came is not known, so
    /// it counts as committed since `failed_at`.
    pub fn from_application(platform: Platform, failed_at: DateTime<Utc>, now: DateTime<Utc>, payload: Value) -> Self {
        Self { adopted_at: Some(now), ..Self::new(platform, failed_at, payload).committed(failed_at) }
    }

    /// The same ticket, made for what has this fingerprint.
    #[must_use]
    pub fn with_fingerprint(self, fingerprint: Option<String>) -> Self {
        Self { fingerprint, ..self }
    }

    /// The same ticket, about to take the step that can make the post public.
    #[must_use]
    pub fn committed(self, at: DateTime<Utc>) -> Self {
        Self { committed_at: Some(at), ..self }
    }

    /// The same ticket with another payload.
    #[must_use]
    pub fn with_payload(self, payload: Value) -> Self {
        Self { payload, ..self }
    }

    /// Whether the post may have become public through it.
    pub fn is_committed(&self) -> bool {
        self.committed_at.is_some()
    }

    /// Whether the application made it.
    pub fn is_from_application(&self) -> bool {
        self.adopted_at.is_some()
    }

    /// Whether what is to be published now, by its fingerprint, is something else than what the ticket was made for. Of
    /// a ticket without one that is not known.
    pub fn was_made_for_another(&self, current: &str) -> bool {
        self.fingerprint.as_deref().is_some_and(|made_for| made_for != current)
    }

    /// How long postretry has known it: since the platform gave it, or since it was adopted from the application.
    pub fn known_for(&self, now: DateTime<Utc>) -> TimeDelta {
        now.signed_duration_since(self.adopted_at.unwrap_or(self.made_at))
    }

    /// How long ago the platform gave it.
    pub fn age(&self, now: DateTime<Utc>) -> TimeDelta {
        now.signed_duration_since(self.made_at)
    }
}
