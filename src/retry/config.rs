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

    /// `expire` in the form of the setting, for texts: in the largest unit of which it is a whole number.
    pub fn expire_limit(&self) -> String {
        const UNITS: [(u128, &str); 4] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
        let millis = self.expire.unwrap_or_default().as_millis();
        let (size, unit) = UNITS.into_iter().find(|(size, _)| millis.is_multiple_of(*size)).unwrap_or((1, "ms"));
        format!("{}{unit}", millis / size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_limit_is_told_as_it_is_set() {
        let told = |text: &str| {
            let expire = Some(humantime::parse_duration(text).unwrap());
            let second = Duration::from_secs(1);
            let config = PassConfig { concurrency: 1, gap: second, expire, claim: second, poll: second, wait: second };
            config.expire_limit()
        };
        for text in ["7d", "60d", "45d", "36h", "90m", "61s", "60001ms"] {
            assert_eq!(told(text), text);
        }
        assert_eq!(told("24h"), "1d");
    }
}
