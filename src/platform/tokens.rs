//! The tokens of one account: which to use, and how they are refreshed by one process at a time.
//!
//! A refreshed token is stored before it is used, since a platform may have made the old one worthless. What is
//! stored is preferred to the settings until those change.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

use super::{AttemptAborted, CredentialExpiry, PublishContext, PublishError};
use crate::post::{Category, Failure, Platform, TokenRecord};

/// Where refreshed tokens are kept.
#[async_trait]
pub trait TokenVault: Send + Sync + std::fmt::Debug {
    /// What is stored under `key`.
    async fn load(&self, key: &str) -> Result<Option<TokenRecord>, AttemptAborted>;

    /// Takes the right to refresh `key` for so long; false if another process has it.
    async fn lock(&self, key: &str, by: &str, lasts: Duration) -> Result<bool, AttemptAborted>;

    /// Stores the tokens, durably, and gives the right back; false if it had been lost meanwhile.
    async fn save(&self, record: &TokenRecord, by: &str) -> Result<bool, AttemptAborted>;

    /// Gives the right back without new tokens.
    async fn unlock(&self, key: &str, by: &str) -> Result<(), AttemptAborted>;
}

/// How much longer than its one request a refresh may take.
const LOCK_MARGIN: Duration = Duration::from_secs(2);

/// How long to wait between looks at what another process refreshes.
const LOOK: Duration = Duration::from_millis(250);

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
    source: TokenConfig,
    refresher: Option<Box<dyn Refresher>>,
    vault: Arc<dyn TokenVault>,
    current: Mutex<Option<Current>>,
}

/// The tokens that this process works with.
#[derive(Debug)]
struct Current {
    record: TokenRecord,
    /// When they are to be refreshed; none where they do not lapse.
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
    pub(super) fn new(source: TokenConfig, refresher: Option<Box<dyn Refresher>>, vault: Arc<dyn TokenVault>) -> Self {
        let secrets = [&source.refresh_token, &source.access_token];
        // Where there is a refresh token, the access token beside it is only a start and says nothing of a change.
        let decisive = secrets.into_iter().flatten().next();
        let mut digest = Sha256::new();
        digest.update(decisive.map(ExposeSecret::expose_secret).unwrap_or_default());
        let fingerprint = digest.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let key = format!("{}:{}", source.platform, source.account);
        Self { key, fingerprint, source, refresher, vault, current: Mutex::new(None) }
    }

    /// A token to use now.
    pub(super) async fn access(&self, context: &dyn PublishContext) -> Result<SecretString, PublishError> {
        let mut current = self.current.lock().await;
        let now = context.now();
        let mut stored = None;
        if current.is_none() {
            stored = self.stored().await?;
            let fresh = stored.clone().filter(|record| record.is_fresh(now, self.source.margin));
            *current = fresh.map(|record| Current::new(record, now, self.source.margin));
        }
        if let Some(usable) = current.as_ref().filter(|current| current.is_fresh(now)) {
            return Ok(usable.record.access_token.clone());
        }
        let known = current.as_ref().map(|current| &current.record).or(stored.as_ref());
        let Some(refresher) = &self.refresher else {
            return self.bare_token();
        };
        // Until the first refusal, an access token beside the refresh token is as good as a refreshed one.
        if let (None, Some(_), Some(start)) = (known, &self.source.refresh_token, &self.source.access_token) {
            return Ok(start.clone());
        }
        // A token works until its very end, so a refresh that fails for a passing reason is no reason to stop.
        let fallback = match known {
            Some(record) => record.is_fresh(now, TimeDelta::zero()).then(|| record.access_token.clone()),
            None => self.source.access_token.clone(),
        };
        match self.refresh(refresher.as_ref(), None, context).await {
            Ok(record) => {
                let token = record.access_token.clone();
                *current = Some(Current::new(record, context.now(), self.source.margin));
                Ok(token)
            }
            Err(PublishError::Failed(failure)) => match fallback {
                Some(token) => {
                    log::warn!("the token of {} could not be renewed yet: {}", self.source.platform, failure.message);
                    Ok(token)
                }
                None => Err(failure.into()),
            },
            Err(aborted) => Err(aborted),
        }
    }

    /// A token in the place of one that the platform refused.
    pub(super) async fn replace(
        &self,
        refused: &SecretString,
        context: &dyn PublishContext,
    ) -> Result<SecretString, PublishError> {
        let mut current = self.current.lock().await;
        let newer = current.as_ref().map(|current| &current.record.access_token).filter(|token| !same(token, refused));
        if let Some(token) = newer {
            return Ok(token.clone());
        }
        let Some(refresher) = &self.refresher else {
            return Err(self.refused("there is nothing to renew it with").into());
        };
        let record = self.refresh(refresher.as_ref(), Some(refused), context).await?;
        let token = record.access_token.clone();
        *current = Some(Current::new(record, context.now(), self.source.margin));
        Ok(token)
    }

    /// What is stored, unless the settings have changed since.
    async fn stored(&self) -> Result<Option<TokenRecord>, AttemptAborted> {
        Ok(self.vault.load(&self.key).await?.filter(|record| record.source == self.fingerprint))
    }

    /// When a person has to sign in again, as far as the stored tokens tell.
    pub(super) async fn credential_expiry(&self) -> Result<Option<CredentialExpiry>, AttemptAborted> {
        let lapses_at = self.stored().await?.and_then(|record| record.lapses_at());
        Ok(lapses_at.map(|at| CredentialExpiry { at, advice: self.source.advice }))
    }

    /// The failure of an account whose token is refused for good.
    pub(super) fn refused(&self, why: &str) -> Failure {
        let platform = self.source.platform.title();
        Failure::new(Category::Auth, format!("{platform} refused the sign-in: {why}")).advise(self.source.advice)
    }

    fn bare_token(&self) -> Result<SecretString, PublishError> {
        let token = self.source.access_token.clone();
        token.ok_or_else(|| self.refused("no access token is set").into())
    }

    /// Refreshes, or takes what another process has refreshed meanwhile.
    async fn refresh(
        &self,
        refresher: &dyn Refresher,
        refused: Option<&SecretString>,
        context: &dyn PublishContext,
    ) -> Result<TokenRecord, PublishError> {
        let by = uuid::Uuid::new_v4().to_string();
        loop {
            let locked = self.vault.lock(&self.key, &by, self.source.lock).await?;
            let stored = self.stored().await?;
            let is_renewed = |record: &TokenRecord| {
                record.is_fresh(context.now(), self.source.margin)
                    && refused.is_none_or(|refused| !same(refused, &record.access_token))
            };
            if let Some(record) = stored.as_ref().filter(|record| is_renewed(record)) {
                if locked {
                    self.vault.unlock(&self.key, &by).await?;
                }
                return Ok(record.clone());
            }
            if !locked {
                context.pause(LOOK).await;
                continue;
            }
            let result = self.ask(refresher, stored.as_ref(), context).await;
            let Ok(record) = result else {
                self.vault.unlock(&self.key, &by).await?;
                return result;
            };
            if self.vault.save(&record, &by).await? {
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
        let with = match &self.source.refresh_token {
            Some(from_settings) => Some(stored_refresh.unwrap_or(from_settings)),
            None => stored_access.or(self.source.access_token.as_ref()),
        };
        let Some(with) = with else { return Err(self.refused("no token is set").into()) };
        let given = refresher.refresh(with, context).await?;
        let now = context.now();
        let ends = |seconds: Option<i64>| -> Option<DateTime<Utc>> {
            now.checked_add_signed(seconds.and_then(TimeDelta::try_seconds)?)
        };
        let kept = self.source.refresh_token.is_some().then(|| with.clone());
        let kept_until = stored.and_then(|record| record.refresh_expires_at);
        Ok(TokenRecord {
            key: self.key.clone(),
            platform: self.source.platform,
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
