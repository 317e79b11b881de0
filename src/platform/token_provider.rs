//! The tokens of one account: which to use, and how one process at a time refreshes them.
//!
//! A refreshed token is stored before it is used, since the platform may have voided the old one. A stored token is
//! preferred to the one in the settings until the settings change.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

use super::{CredentialExpiry, PublishContext, PublishError};
use crate::post::{Category, Failure, Platform, TokenRecord};
use crate::store::{Lease, LeaseWrite, StoreError, TokenStore};

/// How much longer than its one request a refresh may take.
const LOCK_MARGIN: Duration = Duration::from_secs(2);

/// How often to check whether another process has finished its refresh.
const REFRESH_POLL: Duration = Duration::from_millis(250);

/// What a platform gave for a refresh.
#[derive(Debug)]
pub(super) struct Refreshed {
    pub(super) access_token: SecretString,
    pub(super) expires_in: Option<i64>,
    pub(super) refresh_token: Option<SecretString>,
    pub(super) refresh_expires_in: Option<i64>,
}

/// Gets new tokens from a platform.
#[async_trait]
pub(super) trait Refresher: Send + Sync + std::fmt::Debug {
    /// Asks for new tokens with the one that can get them.
    async fn refresh(&self, with: &SecretString, context: &dyn PublishContext) -> Result<Refreshed, PublishError>;
}

/// The account's tokens as the settings have them.
#[derive(Debug)]
pub(super) struct TokenConfig {
    pub(super) platform: Platform,
    /// The account, as far as the settings name it.
    pub(super) account: String,
    /// A token to start with.
    pub(super) access_token: Option<SecretString>,
    /// What new tokens are asked for with; none where the access token itself serves for that.
    pub(super) refresh_token: Option<SecretString>,
    /// How long before its end a token is refreshed.
    pub(super) margin: TimeDelta,
    /// What to do where the token is refused for good.
    pub(super) advice: &'static str,
    /// How long the right to refresh lasts: longer than a refresh can take, so that two never overlap, and no longer
    /// than need be, since the others wait for one that died.
    pub(super) lock: Duration,
}

impl TokenConfig {
    /// How long the right to refresh lasts where a request takes at most so long.
    pub(super) fn lock_for(request: Duration) -> Duration {
        request + LOCK_MARGIN
    }
}

/// The tokens of one account.
#[derive(Debug)]
pub(super) struct TokenProvider {
    key: String,
    fingerprint: String,
    config: TokenConfig,
    refresher: Option<Box<dyn Refresher>>,
    store: Arc<dyn TokenStore>,
    current: Mutex<Option<Current>>,
}

/// The tokens that this process works with.
#[derive(Debug)]
struct Current {
    record: TokenRecord,
    /// When they are to be refreshed; none where they do not expire.
    renew_at: Option<DateTime<Utc>>,
}

impl Current {
    /// Tokens that are to be refreshed `margin` before their end, but not before half of what is left of their life:
    /// one that lives shorter than the margin must not be refreshed for every request.
    fn new(record: TokenRecord, now: DateTime<Utc>, margin: TimeDelta) -> Self {
        let renew_at = record.access_expires_at.map(|end| (end - margin).max(now + (end - now) / 2));
        Self { record, renew_at }
    }

    fn is_fresh(&self, now: DateTime<Utc>) -> bool {
        self.renew_at.is_none_or(|at| now < at)
    }
}

impl TokenProvider {
    pub(super) fn new(config: TokenConfig, refresher: Option<Box<dyn Refresher>>, store: Arc<dyn TokenStore>) -> Self {
        let secrets = [&config.refresh_token, &config.access_token];
        // Where there is a refresh token, the access token beside it is only a start and says nothing of a change.
        let decisive = secrets.into_iter().flatten().next();
        let mut digest = Sha256::new();
        digest.update(decisive.map(ExposeSecret::expose_secret).unwrap_or_default());
        let fingerprint = digest.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let key = format!("{}:{}", config.platform, config.account);
        Self { key, fingerprint, config, refresher, store, current: Mutex::new(None) }
    }

    /// Whether new tokens are asked for with something other than the access token itself.
    pub(super) fn has_refresh_token(&self) -> bool {
        self.config.refresh_token.is_some()
    }

    /// A token to use now.
    pub(super) async fn access_token(&self, context: &dyn PublishContext) -> Result<SecretString, PublishError> {
        let mut current = self.current.lock().await;
        let now = context.now();
        let mut stored = None;
        if current.is_none() {
            stored = self.stored().await?;
            let fresh = stored.clone().filter(|record| record.is_fresh(now, self.config.margin));
            *current = fresh.map(|record| Current::new(record, now, self.config.margin));
        }
        if let Some(usable) = current.as_ref().filter(|current| current.is_fresh(now)) {
            return Ok(usable.record.access_token.clone());
        }
        let known = current.as_ref().map(|current| &current.record).or(stored.as_ref());
        let Some(refresher) = &self.refresher else {
            return self.bare_token();
        };
        // Until the first refusal, an access token beside the refresh token is as good as a refreshed one.
        if let (None, Some(_), Some(start)) = (known, &self.config.refresh_token, &self.config.access_token) {
            return Ok(start.clone());
        }
        // A token works until its very end, so a refresh that fails for a passing reason is no reason to stop.
        let fallback = match known {
            Some(record) => record.is_fresh(now, TimeDelta::zero()).then(|| record.access_token.clone()),
            None => self.config.access_token.clone(),
        };
        match self.refresh(refresher.as_ref(), None, context).await {
            Ok(record) => {
                let token = record.access_token.clone();
                *current = Some(Current::new(record, context.now(), self.config.margin));
                Ok(token)
            }
            Err(PublishError::Failed(failure)) => match fallback {
                Some(token) => {
                    log::warn!("the token of {} could not be renewed yet: {}", self.config.platform, failure.message);
                    Ok(token)
                }
                None => Err(failure.into()),
            },
            Err(aborted) => Err(aborted),
        }
    }

    /// A token in the place of one that the platform refused.
    pub(super) async fn renew(
        &self,
        rejected: &SecretString,
        context: &dyn PublishContext,
    ) -> Result<SecretString, PublishError> {
        let mut current = self.current.lock().await;
        let newer = current.as_ref().map(|current| &current.record.access_token).filter(|token| !same(token, rejected));
        if let Some(token) = newer {
            return Ok(token.clone());
        }
        let Some(refresher) = &self.refresher else {
            return Err(self.rejected("there is nothing to renew it with").into());
        };
        let record = self.refresh(refresher.as_ref(), Some(rejected), context).await?;
        let token = record.access_token.clone();
        *current = Some(Current::new(record, context.now(), self.config.margin));
        Ok(token)
    }

    /// What is stored, unless the settings have changed since.
    async fn stored(&self) -> Result<Option<TokenRecord>, StoreError> {
        Ok(self.store.load_token(&self.key).await?.filter(|record| record.source == self.fingerprint))
    }

    /// When a person has to sign in again, as far as the stored tokens tell.
    pub(super) async fn credential_expiry(&self) -> Result<Option<CredentialExpiry>, StoreError> {
        let expires_at = self.stored().await?.and_then(|record| record.expires_at());
        Ok(expires_at.map(|at| CredentialExpiry { at, advice: self.config.advice }))
    }

    /// The failure of an account whose token is refused for good.
    pub(super) fn rejected(&self, why: &str) -> Failure {
        let platform = self.config.platform.title();
        Failure::new(Category::Auth, format!("{platform} refused the sign-in: {why}")).advise(self.config.advice)
    }

    fn bare_token(&self) -> Result<SecretString, PublishError> {
        let token = self.config.access_token.clone();
        token.ok_or_else(|| self.rejected("no access token is set").into())
    }

    /// Refreshes, or takes what another process has refreshed meanwhile.
    async fn refresh(
        &self,
        refresher: &dyn Refresher,
        rejected: Option<&SecretString>,
        context: &dyn PublishContext,
    ) -> Result<TokenRecord, PublishError> {
        let by = uuid::Uuid::new_v4().to_string();
        loop {
            let lease = Lease { by: by.clone(), lasts: self.config.lock };
            let has_lock = self.store.lock_token(&self.key, &lease).await? == LeaseWrite::Applied;
            let stored = self.stored().await?;
            let is_renewed = |record: &TokenRecord| {
                record.is_fresh(context.now(), self.config.margin)
                    && rejected.is_none_or(|rejected| !same(rejected, &record.access_token))
            };
            if let Some(record) = stored.as_ref().filter(|record| is_renewed(record)) {
                if has_lock {
                    self.store.unlock_token(&self.key, &by).await?;
                }
                return Ok(record.clone());
            }
            if !has_lock {
                context.sleep(REFRESH_POLL).await;
                continue;
            }
            let result = self.ask(refresher, stored.as_ref(), context).await;
            let Ok(record) = result else {
                self.store.unlock_token(&self.key, &by).await?;
                return result;
            };
            if self.store.save_token(&record, &by).await? == LeaseWrite::Applied {
                return Ok(record);
            }
        }
    }

    async fn ask(
        &self,
        refresher: &dyn Refresher,
        stored: Option<&TokenRecord>,
        context: &dyn PublishContext,
    ) -> Result<TokenRecord, PublishError> {
        let stored_refresh = stored.and_then(|record| record.refresh_token.as_ref());
        let stored_access = stored.map(|record| &record.access_token);
        let with = match &self.config.refresh_token {
            Some(from_settings) => Some(stored_refresh.unwrap_or(from_settings)),
            None => stored_access.or(self.config.access_token.as_ref()),
        };
        let Some(with) = with else { return Err(self.rejected("no token is set").into()) };
        let given = refresher.refresh(with, context).await?;
        let now = context.now();
        let ends = |seconds: Option<i64>| -> Option<DateTime<Utc>> {
            now.checked_add_signed(seconds.and_then(TimeDelta::try_seconds)?)
        };
        let kept = self.config.refresh_token.is_some().then(|| with.clone());
        let kept_until = stored.and_then(|record| record.refresh_expires_at);
        Ok(TokenRecord {
            key: self.key.clone(),
            platform: self.config.platform,
            source: self.fingerprint.clone(),
            access_expires_at: ends(given.expires_in),
            refresh_expires_at: ends(given.refresh_expires_in).or(kept_until),
            access_token: given.access_token,
            refresh_token: given.refresh_token.or(kept),
        })
    }
}

fn same(one: &SecretString, other: &SecretString) -> bool {
    one.expose_secret() == other.expose_secret()
}
