//! How a post gets published.
//!
//! A [`Publisher`] speaks one platform's protocol. It knows nothing of retries or of other platforms, and of stores
//! only where tokens are kept. What it needs from the attempt that it works for, it asks through [`PublishContext`]:
//! store a ticket, make sure that the lease is valid, wait. The rules that it follows are those of the platform's own
//! documentation. Every failure leaves it with a category.

mod auth;
mod backoff;
mod duration;
mod explanation;
#[cfg(test)]
mod hostile_responses;
mod http;
mod instagram;
mod limiter;
mod media;
mod origin;
mod public_url;
mod recorded_response;
mod recovery;
mod redacted;
mod resource_limit;
mod stale_ticket;
#[cfg(test)]
mod test_context;
mod tiktok;
mod token_provider;
mod upload;
mod youtube;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use self::explanation::{Explanation, UNEXPECTED, labelled};
use crate::environment::{Reader, Redactor, ScopedSecret, Variable};
use crate::post::{Category, Failure, Platform, Post, Publication, Ticket};
use crate::store::{StoreError, TokenStore};

pub use backoff::PollSettings;
pub use http::{Http, HttpSettings, client_builder};
pub use limiter::Pacing;
pub use media::AssetStore;
pub use origin::Origin;
pub use recorded_response::{Meaning, RecordedResponse};

/// The platforms that posts can be published on. A new one is a folder and a line here.
pub const PLATFORMS: [PlatformModule; 3] = [tiktok::MODULE, instagram::MODULE, youtube::MODULE];

/// The heading of the variables with a platform's addresses.
pub const ADDRESSES: &str = "Other addresses, for a gateway or a sandbox";

/// What a platform's folder offers to the rest of the program.
#[derive(Debug, Clone, Copy)]
pub struct PlatformModule {
    /// The variables of the platform; its addresses are those of the group [`ADDRESSES`].
    pub variables: &'static [Variable],
    /// Reads and checks the variables; none if the platform is not configured.
    pub read_settings: fn(&mut Reader<'_>) -> Option<Box<dyn PublisherSettings>>,
}

/// The checked settings of one platform.
pub trait PublisherSettings: Send + Sync + std::fmt::Debug {
    /// The platform.
    fn platform(&self) -> Platform;

    /// The publisher for these settings.
    fn publisher(&self, deps: &PublisherDeps) -> Arc<dyn Publisher>;
}

/// What every publisher is made with.
#[derive(Debug, Clone)]
pub struct PublisherDeps {
    /// Sends requests.
    pub http: Http,
    /// Finds the files.
    pub assets: Arc<AssetStore>,
    /// How long to poll a platform that is processing.
    pub poll: PollSettings,
    /// Whether the platforms' documented limits are kept to.
    pub pacing: Pacing,
    /// Where refreshed tokens are kept.
    pub tokens: Arc<dyn TokenStore>,
    /// Learns the tokens, and takes them out of what the platforms say.
    pub redactor: Redactor,
}

/// The publishers for these settings. No text that they give back contains a secret.
pub fn publishers<'s>(
    settings: impl IntoIterator<Item = &'s Box<dyn PublisherSettings>>,
    deps: &PublisherDeps,
) -> Vec<Arc<dyn Publisher>> {
    let redactor = || deps.redactor.clone();
    let tokens = redacted::LearningTokenStore::new(Arc::clone(&deps.tokens), redactor());
    let deps = PublisherDeps { tokens: Arc::new(tokens), ..deps.clone() };
    let redacted = |publisher| Arc::new(redacted::RedactedPublisher::new(publisher, redactor())) as _;
    settings.into_iter().map(|settings| redacted(settings.publisher(&deps))).collect()
}

/// Publishes posts on one platform.
#[async_trait]
pub trait Publisher: Send + Sync + std::fmt::Debug {
    /// The platform.
    fn platform(&self) -> Platform;

    /// When a person has to renew the account's credentials, as far as is known.
    async fn credential_expiry(&self) -> Result<Option<CredentialExpiry>, StoreError>;

    /// The ticket of an upload that the application's own attempt left, known only by the platform's id of it.
    fn adopt_upload(&self, upload_id: &str, failed_at: DateTime<Utc>, now: DateTime<Utc>) -> Ticket;

    /// What would be published now, as a fingerprint: the text as it would be sent, and the file's size and
    /// modification time.
    async fn fingerprint(&self, post: &Post) -> Result<String, PublishError>;

    /// Checks what can be checked of a post without asking the platform: its file and its texts.
    async fn check(&self, post: &Post) -> Result<(), PublishError> {
        self.fingerprint(post).await.map(drop)
    }

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

/// When an account's credentials expire. Only a person can renew them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CredentialExpiry {
    /// When they expire.
    pub at: DateTime<Utc>,
    /// When the stored access token expires, which may be later; `None` if the platform did not say.
    pub access_expires_at: Option<DateTime<Utc>>,
    /// What to do before.
    pub advice: &'static str,
}

impl CredentialExpiry {
    /// Whether nothing is left that the platform accepts.
    pub fn is_over(&self, now: DateTime<Utc>) -> bool {
        self.at <= now && self.access_expires_at.is_some_and(|at| at <= now)
    }
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
    /// The platform says that the ticket is dead, and nothing was published with it: a new one may be asked for.
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
    /// Its failure, for a caller that decides what follows; an aborted attempt is passed on.
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

impl From<StoreError> for PublishError {
    fn from(error: StoreError) -> Self {
        Self::Aborted(error.into())
    }
}

/// Why an attempt may not go on. Nothing more is sent and nothing more is written.
#[derive(Debug, thiserror::Error)]
pub enum AttemptAborted {
    /// The lease expired or another process has it.
    #[error("the claim on the post was lost")]
    LeaseLost,
    /// A person or the application changed the post's status: nothing more is sent for it.
    #[error("the post is not failed any more")]
    NotFailed,
    /// The process was told to stop.
    #[error("the process received a stop signal")]
    ShuttingDown,
    /// The machine or the process has reached its limit of open files and connections. That is no post's fault and no
    /// platform's.
    #[error("no more files and connections can be opened: {0}")]
    ResourceLimit(String),
    /// The store cannot be reached or refused us.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a publisher may ask of the attempt that it works for.
#[async_trait]
pub trait PublishContext: Send + Sync {
    /// The time, by the store's clock.
    fn now(&self) -> DateTime<Utc>;

    /// Tells at any time, without asking the store, whether the lease is valid as far as is known.
    fn lease_check(&self) -> LeaseCheck;

    /// Makes sure that the lease is valid. Called before every request.
    async fn ensure_lease(&self) -> Result<(), AttemptAborted>;

    /// The same, and that the post is still failed. Called before bytes are sent; a ticket's write checks it too.
    async fn ensure_may_send(&self) -> Result<(), AttemptAborted>;

    /// Stores the ticket. It is durable when this returns.
    async fn save_ticket(&self, ticket: &Ticket) -> Result<(), AttemptAborted>;

    /// Removes the ticket. Nothing was published with it, and nothing can be.
    async fn drop_ticket(&self) -> Result<(), AttemptAborted>;

    /// Whether a post is recorded already as the one that the platform knows by this id. Two posts may have the same
    /// text, and what one of them has become must not be taken for the other.
    async fn is_recorded(&self, id: &str) -> Result<bool, AttemptAborted>;

    /// Keeps a secret known for as long as the attempt lasts.
    fn add_secret(&self, secret: ScopedSecret);

    /// Waits. When the process is told to stop and the grace period is over, the attempt ends in here.
    async fn sleep(&self, duration: Duration);

    /// Reports that the platform accepted the account's token.
    fn token_accepted(&self);

    /// Reports that the platform's limit on requests is nearly used up: its other posts wait for a later pass.
    fn usage_exhausted(&self, detail: String);

    /// Reports that the attempt waits for the platform, which is processing what it has or is not available.
    fn platform_awaited(&self);

    /// Reports that `bytes` of `total` have been sent, by this attempt or an earlier one.
    fn bytes_sent(&self, bytes: u64, total: u64);
}

/// Whether a lease is still valid. The body of an upload asks before every piece, so that a process that was stopped
/// in the middle sends nothing more when it comes back too late.
pub type LeaseCheck = Arc<dyn Fn() -> bool + Send + Sync>;

/// A publisher's own form of a ticket as the payload that stores keep.
fn ticket_payload(own: &impl Serialize) -> Result<Value, Failure> {
    serde_json::to_value(own)
        .map_err(|error| Failure::new(Category::Unknown, format!("the upload ticket cannot be stored: {error}")))
}

/// The payload of a stored ticket in its publisher's own form. One that cannot be read may have published the post.
fn read_ticket<T: DeserializeOwned>(ticket: &Ticket) -> Result<T, Failure> {
    serde_json::from_value(ticket.payload.clone()).map_err(|error| {
        let name = ticket.platform.title();
        let text = format!("the stored {name} ticket cannot be read ({error}); check whether the post is on {name}");
        Failure::new(Category::Ambiguous, text)
    })
}

/// A response that the platform's documentation does not describe.
fn unexpected_response(platform: Platform, step: &str, status: u16) -> Failure {
    Explanation::new(platform, step).status(status).failure(Category::Unknown, UNEXPECTED)
}

/// The platform has the post and is not done yet.
fn still_processing(platform: Platform) -> Failure {
    Failure::new(Category::Processing, labelled(platform, "still processing the post"))
}
