//! The record of an account's tokens, and which token is to be used.

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::SecretString;

use super::Platform;

/// Credentials that expire within this time are warned about.
const WARNING: TimeDelta = TimeDelta::days(7);

/// Whether credentials that expire at `at` expire soon.
pub fn expires_soon(at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    now.checked_add_signed(WARNING).is_none_or(|limit| at <= limit)
}

/// What is stored of the tokens of one account.
#[derive(Debug, Clone)]
pub struct TokenRecord {
    /// Platform and account, for example `tiktok:awx12`.
    pub key: String,
    /// The platform.
    pub platform: Platform,
    /// A fingerprint of the settings that the tokens came from. If the settings have changed, they take precedence.
    pub source: String,
    /// The token that requests carry.
    pub access_token: SecretString,
    /// When it expires. `None` if the platform did not say.
    pub access_expires_at: Option<DateTime<Utc>>,
    /// The refresh token, if there is one.
    pub refresh_token: Option<SecretString>,
    /// When that one expires.
    pub refresh_expires_at: Option<DateTime<Utc>>,
}

impl TokenRecord {
    /// Whether the access token is valid for at least `margin` from `now`.
    pub fn is_fresh(&self, now: DateTime<Utc>, margin: TimeDelta) -> bool {
        match (self.access_expires_at, now.checked_add_signed(margin)) {
            (Some(expires_at), Some(needed_until)) => expires_at > needed_until,
            (None, _) | (_, None) => true,
        }
    }

    /// When the token expires that must be renewed manually.
    pub fn expires_at(&self) -> Option<DateTime<Utc>> {
        if self.refresh_token.is_some() { self.refresh_expires_at } else { self.access_expires_at }
    }
}
