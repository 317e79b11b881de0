//! How fast and how patiently posts are worked on.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// How fast and how patiently posts are worked on.
#[derive(Debug, Clone)]
pub struct Pace {
    /// Posts in flight per platform.
    pub concurrency: usize,
    /// Least time between the starts of two publishes on one platform.
    pub gap: Duration,
    /// A post that failed longer ago than this is not published any more.
    pub expire: Option<Duration>,
    /// How long a claim lasts without renewal.
    pub claim: Duration,
    /// First wait between looks at a platform that is still processing.
    pub poll: Duration,
    /// How long one attempt waits for a platform's processing.
    pub wait: Duration,
}

impl Pace {
    /// Whether a post that failed then is not worth publishing any more at `now`.
    pub fn is_too_old(&self, failed_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
        let age = failed_at.and_then(|failed_at| now.signed_duration_since(failed_at).to_std().ok());
        self.expire.zip(age).is_some_and(|(limit, age)| age > limit)
    }
}
