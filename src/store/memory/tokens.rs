//! The token records, and the right to refresh them.

use async_trait::async_trait;

use super::{InMemoryPostStore, claim_of};
use crate::post::{Claim, TokenRecord};
use crate::store::{Lease, LeaseWrite, StoreError, TokenStore};

/// The tokens of one account. Until they are saved for the first time there is only the lock.
#[derive(Debug, Default)]
pub(super) struct StoredToken {
    pub(super) record: Option<TokenRecord>,
    lock: Option<Claim>,
}

impl StoredToken {
    fn is_locked_by(&self, by: &str) -> bool {
        self.lock.as_ref().is_some_and(|lock| lock.by == by)
    }
}

#[async_trait]
impl TokenStore for InMemoryPostStore {
    async fn load_token(&self, key: &str) -> Result<Option<TokenRecord>, StoreError> {
        Ok(self.state().tokens.get(key).and_then(|token| token.record.clone()))
    }

    async fn lock_token(&self, key: &str, lease: &Lease) -> Result<LeaseWrite, StoreError> {
        let mut state = self.state();
        let now = self.time();
        let token = state.tokens.entry(key.to_owned()).or_default();
        if token.lock.as_ref().is_some_and(|lock| lock.is_live(now)) {
            return Ok(LeaseWrite::Lost);
        }
        token.lock = Some(claim_of(lease, now));
        Ok(LeaseWrite::Applied)
    }

    async fn save_token(&self, record: &TokenRecord, by: &str) -> Result<LeaseWrite, StoreError> {
        let mut state = self.state();
        let Some(token) = state.tokens.get_mut(&record.key).filter(|token| token.is_locked_by(by)) else {
            return Ok(LeaseWrite::Lost);
        };
        *token = StoredToken { record: Some(record.clone()), lock: None };
        Ok(LeaseWrite::Applied)
    }

    async fn unlock_token(&self, key: &str, by: &str) -> Result<(), StoreError> {
        if let Some(token) = self.state().tokens.get_mut(key).filter(|token| token.is_locked_by(by)) {
            token.lock = None;
        }
        Ok(())
    }
}
