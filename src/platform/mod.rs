//! How a post gets published.
//!
//! A [`Publisher`] speaks one platform's protocol and knows nothing of stores, retries or other platforms. What it
//! needs of the attempt that it works for, it asks through [`PublishContext`]: that a ticket be stored, that the claim still
//! stands, that time pass. The rules that it follows are those of the platform sheets; every failure leaves it with a
//! category.

mod duration;
mod http;
mod instagram;
mod media;
mod origin;
mod patience;
mod tiktok;
mod tokens;
mod youtube;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};

use crate::post::{Failure, Platform, Post, Publication, Ticket};

pub use http::{Http, HttpSettings, client_builder};
pub use instagram::{InstagramCredentials, InstagramPublisher, InstagramSettings};
pub use media::AssetStore;
pub use origin::Origin;
pub use patience::PollSettings;
pub use tiktok::{TikTokCredentials, TikTokPublisher, TikTokSettings};
pub use tokens::TokenVault;
pub use youtube::{YouTubePublisher, YouTubeSettings};

/// How far the clocks of the store and of a platform may be apart, where a post is searched for by its time.
const CLOCK_SLACK: TimeDelta = TimeDelta::minutes(5);

/// What every publisher works with.
#[derive(Debug, Clone)]
pub struct PublisherDeps {
    /// Speaks HTTP.
    pub http: Http,
    /// Finds the files.
    pub assets: Arc<AssetStore>,
    /// How long to look at a platform that is processing.
    pub poll: PollSettings,
    /// Where refreshed tokens are kept.
    pub vault: Arc<dyn TokenVault>,
}

/// Publishes posts on one platform.
#[async_trait]
pub trait Publisher: Send + Sync + std::fmt::Debug {
    /// The platform.
    fn platform(&self) -> Platform;

    /// When a person has to sign in to the account again, as far as is known.
    async fn credential_expiry(&self) -> Result<Option<CredentialExpiry>, AttemptAborted>;

    /// Asks the platform for a new ticket. Nothing is public yet when it returns, unless the platform gives tickets
    /// only for publishes that have started; then the intent was stored first.
    async fn create_ticket(&self, post: &Post, context: &dyn PublishContext) -> Result<Ticket, PublishError>;

    /// Carries a ticket to its end, from wherever it stands: looks it up unless it is fresh, sends what is missing,
    /// waits, publishes.
    async fn resume_publish(
        &self,
        post: &Post,
        ticket: Ticket,
        age: TicketAge,
        context: &dyn PublishContext,
    ) -> Result<TicketOutcome, PublishError>;
}

/// The end of an account's sign-in, which only a person can put off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CredentialExpiry {
    /// When it ends.
    pub at: DateTime<Utc>,
    /// What to do before.
    pub advice: &'static str,
}

/// Where a ticket comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TicketAge {
    /// This attempt has just asked for it; nothing has been done with it.
    Fresh,
    /// It was stored before; how far it came must be looked up.
    Stored,
}

/// Where a ticket led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TicketOutcome {
    /// The post is on its platform.
    Published(Publication),
    /// The platform says that nothing can come of the ticket any more, and nothing has: a new one may be asked for.
    Dead,
}

/// Why a publish did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// It failed.
    #[error("{}", .0.message)]
    Failed(Failure),
    /// The attempt may not go on.
    #[error(transparent)]
    Aborted(#[from] AttemptAborted),
}

impl PublishError {
    /// Its failure, to be weighed further; what halts the attempt is handed on.
    pub(crate) fn into_failure(self) -> Result<Failure, AttemptAborted> {
        match self {
            Self::Failed(failure) => Ok(failure),
            Self::Aborted(aborted) => Err(aborted),
        }
    }
}

impl From<Failure> for PublishError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Why an attempt may not go on. Nothing more is sent and nothing more is written.
#[derive(Debug, thiserror::Error)]
pub enum AttemptAborted {
    /// The claim ran out or is another's.
    #[error("the claim on the post was lost")]
    ClaimLost,
    /// The process was told to stop.
    #[error("the process was told to stop")]
    Stopping,
    /// The store is away.
    #[error("the post store is away")]
    Store(#[source] Arc<dyn std::error::Error + Send + Sync>),
}

/// What a publisher may ask of the attempt that it works for.
#[async_trait]
pub trait PublishContext: Send + Sync {
    /// The time, by the store's clock.
    fn now(&self) -> DateTime<Utc>;

    /// Tells at any time, without asking the store, whether the claim stands as far as is known.
    fn lease_check(&self) -> LeaseCheck;

    /// Makes sure that the claim stands; to be asked before every request.
    async fn ensure_lease(&self) -> Result<(), AttemptAborted>;

    /// Stores the ticket. It is durable when this returns.
    async fn save_ticket(&self, ticket: &Ticket) -> Result<(), AttemptAborted>;

    /// Whether a post is recorded already as the one that the platform knows by this id. Two posts may have the same
    /// words, and what one of them has become must not be taken for the other.
    async fn is_recorded(&self, id: &str) -> Result<bool, AttemptAborted>;

    /// Lets time pass. Where the process is told to stop and the time to settle is over, the attempt ends in here.
    async fn pause(&self, duration: Duration);

    /// Tells whoever watches that the platform has taken the account's token.
    fn token_accepted(&self);

    /// Tells whoever watches that so many bytes of so many have been sent.
    fn sent(&self, bytes: u64, of: u64);
}

/// Whether a claim still stands. The body of an upload asks it before every piece, so that a process that was stopped
/// in the middle sends nothing more when it comes back too late.
pub type LeaseCheck = Arc<dyn Fn() -> bool + Send + Sync>;
