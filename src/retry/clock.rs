//! The clock of a pass: the store's.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use crate::store::{PostStore, StoreError, machine_now};

/// The store's clock, calculated from this machine's clock and the difference between the two.
#[derive(Clone)]
pub struct StoreClock {
    local: Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>,
    ahead: TimeDelta,
}

impl fmt::Debug for StoreClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreClock").field("ahead", &self.ahead).finish_non_exhaustive()
    }
}

impl StoreClock {
    /// Asks the store for the time, and compares it with this machine's clock.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn set_by(store: &dyn PostStore) -> Result<Self, StoreError> {
        Self::from_local(Arc::new(machine_now), store).await
    }

    /// The same with another clock for this machine's.
    pub(super) async fn from_local(
        local: Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>,
        store: &dyn PostStore,
    ) -> Result<Self, StoreError> {
        let asked_at = local();
        let store_now = store.now().await?;
        let answered_at = local();
        // A difference smaller than the response time cannot be measured.
        let ahead = if store_now < asked_at {
            store_now - asked_at
        } else if store_now > answered_at {
            store_now - answered_at
        } else {
            TimeDelta::zero()
        };
        Ok(Self { local, ahead })
    }

    /// The store's time, in whole milliseconds as stores keep it.
    pub fn now(&self) -> DateTime<Utc> {
        let local = (self.local)();
        // A store whose clock stands at the end of all times is not believed.
        let now = local.checked_add_signed(self.ahead).unwrap_or(local);
        DateTime::from_timestamp_millis(now.timestamp_millis()).unwrap_or(now)
    }
}
