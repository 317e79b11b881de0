//! Where refreshed tokens are stored. Publishers know nothing else of a store.

use async_trait::async_trait;

use super::{Lease, LeaseWrite, StoreError};
use crate::post::TokenRecord;

/// Stores the tokens of accounts, and lets one process at a time refresh them.
#[async_trait]
pub trait TokenStore: Send + Sync + std::fmt::Debug {
    /// The tokens stored under `key`.
    async fn load_token(&self, key: &str) -> Result<Option<TokenRecord>, StoreError>;

    /// Takes the right to refresh the tokens of `key`. The right expires automatically.
    async fn lock_token(&self, key: &str, lease: &Lease) -> Result<LeaseWrite, StoreError>;

    /// Stores the tokens durably and releases the right to refresh them.
    async fn save_token(&self, record: &TokenRecord, by: &str) -> Result<LeaseWrite, StoreError>;

    /// Releases the right to refresh without new tokens.
    async fn unlock_token(&self, key: &str, by: &str) -> Result<(), StoreError>;
}
