//! The store as the publishers' vault of tokens.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::platform::{AttemptAborted, TokenVault};
use crate::post::TokenRecord;
use crate::store::{Lease, LeaseWrite, PostStore, StoreError};

/// Keeps tokens in a post store.
#[derive(Debug)]
pub struct StoreVault(pub Arc<dyn PostStore>);

pub(super) fn away(error: StoreError) -> AttemptAborted {
    AttemptAborted::Store(Arc::new(error))
}

/// The error that [`away`] has put into a halt.
pub(super) fn cause_of(halt: &(dyn Error + Send + Sync + 'static)) -> StoreError {
    halt.downcast_ref().cloned().unwrap_or_else(|| StoreError::new("use the post store", halt.to_string()))
}

#[async_trait]
impl TokenVault for StoreVault {
    async fn load(&self, key: &str) -> Result<Option<TokenRecord>, AttemptAborted> {
        self.0.load_token(key).await.map_err(away)
    }

    async fn lock(&self, key: &str, by: &str, lasts: Duration) -> Result<bool, AttemptAborted> {
        let lease = Lease { by: by.to_owned(), lasts };
        Ok(self.0.lock_token(key, &lease).await.map_err(away)? == LeaseWrite::Applied)
    }

    async fn save(&self, record: &TokenRecord, by: &str) -> Result<bool, AttemptAborted> {
        Ok(self.0.save_token(record, by).await.map_err(away)? == LeaseWrite::Applied)
    }

    async fn unlock(&self, key: &str, by: &str) -> Result<(), AttemptAborted> {
        self.0.unlock_token(key, by).await.map_err(away)
    }
}
