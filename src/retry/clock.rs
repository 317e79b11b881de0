//! The one place that reads a clock.

use chrono::{DateTime, TimeDelta, Utc};

use crate::store::{PostStore, StoreError};

/// The store's clock, as this machine can tell it: its own clock and how far the two are apart.
#[derive(Debug, Clone, Copy)]
pub struct StoreClock {
    ahead: TimeDelta,
}

impl StoreClock {
    /// Asks the store for the time.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn set_by(store: &dyn PostStore) -> Result<Self, StoreError> {
        let asked_at = local_now();
        let store_now = store.now().await?;
        let answered_at = local_now();
        // Within the time that the answer took, nobody can say whose clock is right.
        let ahead = if store_now < asked_at {
            store_now - asked_at
        } else if store_now > answered_at {
            store_now - answered_at
        } else {
            TimeDelta::zero()
        };
        Ok(Self { ahead })
    }

    /// The store's time, in whole milliseconds as stores keep it.
    pub fn now(&self) -> DateTime<Utc> {
        let now = local_now() + self.ahead;
        DateTime::from_timestamp_millis(now.timestamp_millis()).unwrap_or(now)
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the clock that everything else is handed")]
fn local_now() -> DateTime<Utc> {
    Utc::now()
}
