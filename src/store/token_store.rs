//! Where refreshed tokens are kept: all that publishers know of a store.

use async_trait::async_trait;

use super::{Lease, LeaseWrite, StoreError};
use crate::post::TokenRecord;

/// Stores the tokens of accounts, and lets one process at a time refresh them.
#[async_trait]
pub trait TokenStore: Send + Sync + std::fmt::Debug {
    /// The tokens stored under `key`.
    async fn load_token(&self, key: &str) -> Result<Option<TokenRecord>, StoreError>;

    /// Takes the right to refresh the tokens of `key`. The right expires by itself.
    async fn lock_token(&self, key: &str, lease: &Lease) -> Result<LeaseWrite, StoreError>;

    /// Stores the tokens, durably, and gives the right to refresh them back.
    async fn save_token(&self, record: &TokenRecord, by: &str) -> Result<LeaseWrite, StoreError>;

    /// Gives the right to refresh back without new tokens.
    async fn unlock_token(&self, key: &str, by: &str) -> Result<(), StoreError>;
}
