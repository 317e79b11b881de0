//! The tokens of one account: which to use, and how one process at a time refreshes them.
//!
//! A refreshed token is stored before it is used, since the platform may have voided the old one. A stored token is
//! preferred to the one in the settings until the settings change.
#![warn(clippy::arithmetic_side_effects)]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

use super::explanation::labelled;
use super::{CredentialExpiry, PublishContext, PublishError};
use crate::post::{Category, Failure, Platform, TokenRecord};
use crate::store::{Lease, LeaseWrite, StoreError, TokenStore};

/// How much longer than its one request a refresh may take.
const LOCK_MARGIN: Duration = Duration::from_secs(2);

/// Nobody gives a token for longer. A longer time is no end at all.
const LONGEST_LIFE: TimeDelta = TimeDelta::days(100 * 365);

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
        request.saturating_add(LOCK_MARGIN)
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
        // The end may be anything: it is the platform's word, or what somebody has stored.
        let renew_at = record.access_expires_at.map(|end| {
            let half_of_the_rest = end.signed_duration_since(now).checked_div(2);
            let at_half = half_of_the_rest.and_then(|half| now.checked_add_signed(half));
            end.checked_sub_signed(margin).max(at_half).unwrap_or(end)
        });
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
            let token = self.bare_token()?;
            *current = Some(self.not_stored(&token));
            return Ok(token);
        };
        // Until the first refusal, an access token beside the refresh token is as good as a refreshed one.
        if let (None, Some(_), Some(start)) = (known, &self.config.refresh_token, &self.config.access_token) {
            *current = Some(self.not_stored(start));
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
                    log::warn!(
                        "the access token for {} could not be refreshed yet: {}",
                        self.config.platform,
                        failure.message
                    );
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
            return Err(self.rejected("the access token was refused, and nothing is set to refresh it with").into());
        };
        let record = self.refresh(refresher.as_ref(), Some(rejected), context).await?;
        let token = record.access_token.clone();
        *current = Some(Current::new(record, context.now(), self.config.margin));
        Ok(token)
    }

    /// A token of the settings, to be used until it is refused. It is kept, so that the store is not asked for another
    /// before every request.
    fn not_stored(&self, token: &SecretString) -> Current {
        let record = TokenRecord {
            key: self.key.clone(),
            platform: self.config.platform,
            source: self.fingerprint.clone(),
            access_token: token.clone(),
            access_expires_at: None,
            refresh_token: None,
            refresh_expires_at: None,
        };
        Current { record, renew_at: None }
    }

    /// What is stored, unless the settings have changed since.
    async fn stored(&self) -> Result<Option<TokenRecord>, StoreError> {
        Ok(self.store.load_token(&self.key).await?.filter(|record| record.source == self.fingerprint))
    }

    /// When the stored credentials expire and a person must renew them, if known.
    pub(super) async fn credential_expiry(&self) -> Result<Option<CredentialExpiry>, StoreError> {
        let expiry = |record: TokenRecord| {
            let (at, access_expires_at) = (record.expires_at()?, record.access_expires_at);
            Some(CredentialExpiry { at, access_expires_at, advice: self.config.advice })
        };
        Ok(self.stored().await?.and_then(expiry))
    }

    /// The failure of an account whose token is refused for good.
    pub(super) fn rejected(&self, why: &str) -> Failure {
        Failure::new(Category::Auth, labelled(self.config.platform, why)).advise(self.config.advice)
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
        let ends = |seconds: Option<i64>| seconds.and_then(|seconds| end_of_life(seconds, now));
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

/// When a token ends that is said to live for so long; none if that is no time at all, as platforms write "never", or
/// longer than any.
fn end_of_life(seconds: i64, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let life = TimeDelta::try_seconds(seconds).filter(|life| *life > TimeDelta::zero() && *life <= LONGEST_LIFE)?;
    now.checked_add_signed(life)
}

fn same(one: &SecretString, other: &SecretString) -> bool {
    one.expose_secret() == other.expose_secret()
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::platform::test_context::TestContext;
    use crate::store::memory::InMemoryPostStore;

    const KEY: &str = "tiktok:shop";

    /// Gives `access-1`, `access-2`, … and remembers what it was asked with.
    #[derive(Debug)]
    struct NumberedTokens {
        expires_in: i64,
        /// How long an answer takes.
        takes: Duration,
        gives_refresh_tokens: bool,
        asked_with: std::sync::Mutex<Vec<String>>,
        /// The next refresh fails like this.
        failure: std::sync::Mutex<Option<Failure>>,
    }

    impl NumberedTokens {
        fn asked_with(&self) -> Vec<String> {
            self.asked_with.lock().unwrap().clone()
        }

        fn fail_next(&self, category: Category) {
            *self.failure.lock().unwrap() = Some(Failure::new(category, "scripted"));
        }
    }

    #[async_trait]
    impl Refresher for Arc<NumberedTokens> {
        async fn refresh(&self, with: &SecretString, context: &dyn PublishContext) -> Result<Refreshed, PublishError> {
            let number = {
                let mut asked_with = self.asked_with.lock().unwrap();
                asked_with.push(with.expose_secret().to_owned());
                asked_with.len()
            };
            context.sleep(self.takes).await;
            if let Some(failure) = self.failure.lock().unwrap().take() {
                return Err(failure.into());
            }
            Ok(Refreshed {
                access_token: SecretString::from(format!("access-{number}")),
                expires_in: Some(self.expires_in),
                refresh_token: self.gives_refresh_tokens.then(|| SecretString::from(format!("refresh-{number}"))),
                refresh_expires_in: self.gives_refresh_tokens.then_some(30 * 24 * 3600),
            })
        }
    }

    /// A platform whose tokens last an hour, and the store that all processes share.
    struct TestBench {
        context: TestContext,
        store: Arc<InMemoryPostStore>,
        platform: Arc<NumberedTokens>,
    }

    impl TestBench {
        fn new() -> Self {
            Self::with(|_| {})
        }

        fn with(change: impl FnOnce(&mut NumberedTokens)) -> Self {
            let clock = TestContext::default();
            let store = InMemoryPostStore::new(move || clock.now());
            let mut platform = NumberedTokens {
                expires_in: 3600,
                takes: Duration::ZERO,
                gives_refresh_tokens: true,
                asked_with: std::sync::Mutex::default(),
                failure: std::sync::Mutex::default(),
            };
            change(&mut platform);
            Self { context: TestContext::default(), store: Arc::new(store), platform: Arc::new(platform) }
        }

        /// The provider of a process that has just started.
        fn provider(&self, config: TokenConfig) -> TokenProvider {
            let refresher: Box<dyn Refresher> = Box::new(Arc::clone(&self.platform));
            TokenProvider::new(config, Some(refresher), Arc::<InMemoryPostStore>::clone(&self.store))
        }

        async fn token(&self, provider: &TokenProvider) -> String {
            text(&provider.access_token(&self.context).await.unwrap())
        }
    }

    /// Tokens are refreshed five minutes before their end.
    fn config(refresh_token: Option<&str>, access_token: Option<&str>) -> TokenConfig {
        TokenConfig {
            platform: Platform::TikTok,
            account: "shop".to_owned(),
            access_token: access_token.map(SecretString::from),
            refresh_token: refresh_token.map(SecretString::from),
            margin: TimeDelta::minutes(5),
            advice: "renew TIKTOK_REFRESH_TOKEN",
            lock: TokenConfig::lock_for(Duration::from_secs(30)),
        }
    }

    fn text(token: &SecretString) -> String {
        token.expose_secret().to_owned()
    }

    async fn wait(seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_that_an_earlier_process_stored_is_used_while_it_is_fresh() {
        let bench = TestBench::new();
        assert_eq!(bench.token(&bench.provider(config(Some("r"), None))).await, "access-1");
        wait(3000).await;
        assert_eq!(bench.token(&bench.provider(config(Some("r"), None))).await, "access-1");
        assert_eq!(bench.platform.asked_with(), ["r"]);
        wait(400).await;
        assert_eq!(bench.token(&bench.provider(config(Some("r"), None))).await, "access-2");
        assert_eq!(bench.platform.asked_with(), ["r", "refresh-1"]);
    }

    #[tokio::test(start_paused = true)]
    async fn settings_that_have_changed_win_over_what_is_stored() {
        let bench = TestBench::new();
        assert_eq!(bench.token(&bench.provider(config(Some("old"), None))).await, "access-1");
        assert_eq!(bench.token(&bench.provider(config(Some("new"), None))).await, "access-2");
        assert_eq!(bench.token(&bench.provider(config(Some("newer"), Some("start")))).await, "start");
        assert_eq!(bench.platform.asked_with(), ["old", "new"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refreshed_token_is_stored_when_it_is_used_for_the_first_time() {
        let bench = TestBench::new();
        let token = bench.token(&bench.provider(config(Some("r"), None))).await;
        let record = bench.store.load_token(KEY).await.unwrap().unwrap();
        assert_eq!(text(&record.access_token), token);
        assert_eq!(record.refresh_token.as_ref().map(text).as_deref(), Some("refresh-1"));
        assert_eq!(record.access_expires_at, Some(bench.context.now() + TimeDelta::hours(1)));
    }

    /// A store that takes no tokens.
    #[derive(Debug)]
    struct FullStore(Arc<InMemoryPostStore>);

    #[async_trait]
    impl TokenStore for FullStore {
        async fn load_token(&self, key: &str) -> Result<Option<TokenRecord>, StoreError> {
            self.0.load_token(key).await
        }

        async fn lock_token(&self, key: &str, lease: &Lease) -> Result<LeaseWrite, StoreError> {
            self.0.lock_token(key, lease).await
        }

        async fn save_token(&self, _record: &TokenRecord, _by: &str) -> Result<LeaseWrite, StoreError> {
            Err(StoreError::new("store tokens", "the disk is full"))
        }

        async fn unlock_token(&self, key: &str, by: &str) -> Result<(), StoreError> {
            self.0.unlock_token(key, by).await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refreshed_token_that_cannot_be_stored_is_not_used() {
        let bench = TestBench::new();
        let store = Arc::new(FullStore(Arc::clone(&bench.store)));
        let provider = TokenProvider::new(config(Some("r"), None), Some(Box::new(Arc::clone(&bench.platform))), store);
        let refused = provider.access_token(&bench.context).await;
        assert!(matches!(refused, Err(PublishError::Aborted(_))), "{refused:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn one_process_refreshes_and_the_other_takes_its_token() {
        let bench = TestBench::with(|platform| platform.takes = Duration::from_secs(3));
        let (first, second) = (bench.provider(config(Some("r"), None)), bench.provider(config(Some("r"), None)));
        let tokens = tokio::join!(bench.token(&first), bench.token(&second));
        assert_eq!(tokens, ("access-1".to_owned(), "access-1".to_owned()));
        assert_eq!(bench.platform.asked_with(), ["r"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_died_in_the_middle_of_a_refresh_keeps_the_others_waiting_no_longer_than_its_lock() {
        let (bench, started) = (TestBench::new(), Instant::now());
        let lease = Lease { by: "dead".to_owned(), lasts: Duration::from_secs(32) };
        assert_eq!(bench.store.lock_token(KEY, &lease).await.unwrap(), LeaseWrite::Applied);
        assert_eq!(bench.token(&bench.provider(config(Some("r"), None))).await, "access-1");
        assert_eq!(started.elapsed(), Duration::from_secs(32));
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_without_anything_to_renew_it_is_used_until_it_is_refused() {
        let bench = TestBench::new();
        let bare = |access_token| {
            TokenProvider::new(config(None, access_token), None, Arc::<InMemoryPostStore>::clone(&bench.store))
        };
        let provider = bare(Some("bare"));
        assert_eq!(bench.token(&provider).await, "bare");
        let without = bare(None);
        let refused = SecretString::from("bare");
        for error in [provider.renew(&refused, &bench.context).await, without.access_token(&bench.context).await] {
            let failure = error.unwrap_err().into_failure().unwrap();
            assert_eq!(failure.category, Category::Auth);
            assert_eq!(failure.advice.as_deref(), Some("renew TIKTOK_REFRESH_TOKEN"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_beside_a_refresh_token_is_used_until_it_is_refused() {
        let bench = TestBench::new();
        let provider = bench.provider(config(Some("r"), Some("start")));
        assert_eq!(bench.token(&provider).await, "start");
        let start = SecretString::from("start");
        assert_eq!(text(&provider.renew(&start, &bench.context).await.unwrap()), "access-1");
        assert_eq!(bench.token(&provider).await, "access-1");
        // Another request was on its way with the old one.
        assert_eq!(text(&provider.renew(&start, &bench.context).await.unwrap()), "access-1");
        // Another process was, too.
        let elsewhere = bench.provider(config(Some("r"), Some("start")));
        assert_eq!(text(&elsewhere.renew(&start, &bench.context).await.unwrap()), "access-1");
        assert_eq!(bench.platform.asked_with(), ["r"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_that_renews_itself_is_what_the_next_one_is_asked_with() {
        let bench = TestBench::with(|platform| platform.gives_refresh_tokens = false);
        let provider = bench.provider(config(None, Some("long")));
        assert_eq!(bench.token(&provider).await, "access-1");
        wait(3400).await;
        assert_eq!(bench.token(&provider).await, "access-2");
        assert_eq!(bench.platform.asked_with(), ["long", "access-1"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_used_to_its_end_while_its_refresh_fails() {
        let bench = TestBench::new();
        let provider = bench.provider(config(Some("r"), None));
        assert_eq!(bench.token(&provider).await, "access-1");
        wait(3400).await;
        bench.platform.fail_next(Category::Network);
        assert_eq!(bench.token(&provider).await, "access-1");
        wait(200).await;
        bench.platform.fail_next(Category::Network);
        let failure = provider.access_token(&bench.context).await.unwrap_err().into_failure().unwrap();
        assert_eq!(failure.category, Category::Network);
        // The right to refresh was given back each time.
        assert_eq!(bench.token(&provider).await, "access-4");
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_that_lives_shorter_than_the_margin_is_used_for_half_of_its_life() {
        let bench = TestBench::with(|platform| platform.expires_in = 60);
        let provider = bench.provider(config(Some("r"), None));
        for (seconds, token) in [(0, "access-1"), (29, "access-1"), (2, "access-2"), (28, "access-2")] {
            wait(seconds).await;
            assert_eq!(bench.token(&provider).await, token);
        }
    }

    #[test]
    fn a_token_that_ends_at_the_end_of_all_times_is_renewed_at_some_time() {
        let now: DateTime<Utc> = "2026-11-23T10:00:00Z".parse().unwrap();
        for end in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
            for now in [DateTime::<Utc>::MIN_UTC, DateTime::UNIX_EPOCH, now, DateTime::<Utc>::MAX_UTC] {
                let record = TokenRecord {
                    key: KEY.to_owned(),
                    platform: Platform::TikTok,
                    source: String::new(),
                    access_token: SecretString::from("a"),
                    access_expires_at: Some(end),
                    refresh_token: None,
                    refresh_expires_at: None,
                };
                let renew_at = Current::new(record, now, TimeDelta::minutes(5)).renew_at;
                assert!(renew_at.is_some_and(|at| at <= end.max(now)), "{renew_at:?}");
            }
        }
    }

    #[test]
    fn an_absurd_life_of_a_token_is_none() {
        let now: DateTime<Utc> = "2026-11-23T10:00:00Z".parse().unwrap();
        for seconds in [i64::MIN, -1, 0, 100 * 365 * 24 * 3600 + 1, 9_000_000_000_000_000, i64::MAX] {
            assert_eq!(end_of_life(seconds, now), None, "{seconds}");
        }
        let in_an_hour = now + TimeDelta::hours(1);
        assert_eq!(end_of_life(3600, now), Some(in_an_hour));
        assert_eq!(end_of_life(3600, DateTime::<Utc>::MAX_UTC), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_credentials_expire_with_the_stored_refresh_token() {
        let bench = TestBench::new();
        let provider = bench.provider(config(Some("r"), None));
        assert_eq!(provider.credential_expiry().await.unwrap(), None);
        let refreshed_at = bench.context.now();
        bench.token(&provider).await;
        let expiry = provider.credential_expiry().await.unwrap().unwrap();
        assert_eq!(expiry.at, refreshed_at + TimeDelta::days(30));
        // The access token lives for an hour, but it is only over with the refresh token.
        assert!(!expiry.is_over(refreshed_at + TimeDelta::days(29)));
        assert!(expiry.is_over(expiry.at));
        assert_eq!(expiry.advice, "renew TIKTOK_REFRESH_TOKEN");
    }
}
