//! How fast a pass works, and how long an attempt waits.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// How fast a pass works, and how long an attempt waits.
#[derive(Debug, Clone)]
pub struct PassConfig {
    /// Posts in flight per platform.
    pub concurrency: usize,
    /// Least time between the starts of two publishes on one platform.
    pub gap: Duration,
    /// A post that failed longer ago than this is not published any more.
    pub expire: Option<Duration>,
    /// How long a claim lasts without renewal.
    pub claim: Duration,
    /// Initial polling interval for a platform that is still processing.
    pub poll: Duration,
    /// How long one attempt waits for a platform's processing.
    pub wait: Duration,
}

impl PassConfig {
    /// Whether a post that failed then is too old at `now` to be published.
    pub fn is_expired(&self, failed_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
        let age = failed_at.and_then(|failed_at| now.signed_duration_since(failed_at).to_std().ok());
        self.expire.zip(age).is_some_and(|(limit, age)| age > limit)
    }
}
