//! Failures, their categories, and what each category leads to.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::one_line;

/// Why a publish failed. The category decides what happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// Connection refused or reset, DNS, TLS, timeout.
    Network,
    /// 5xx and the platforms' "try again later" codes.
    PlatformOutage,
    /// 429 and the platforms' own throttling codes.
    RateLimited,
    /// A daily limit is used up.
    QuotaExhausted,
    /// The token was refused and refreshing it did not help.
    Auth,
    /// No path, no such file, empty, outside the asset root.
    MissingAsset,
    /// The platform could not process this upload.
    MediaProcessing,
    /// The platform has received everything and is still processing it.
    Processing,
    /// Caption too long, format refused, policy.
    RejectedContent,
    /// It is not known whether the post was published.
    Ambiguous,
    /// The account is banned or not allowed to publish.
    AccountRestricted,
    /// The first failure is too long ago (`POST_RETRY_EXPIRE`).
    Expired,
    /// The process died repeatedly during the attempt.
    Interrupted,
    /// A failure that has no mapping.
    Unknown,
}

/// What happens after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consequence {
    /// It uses a retry. The backoff decides when the next retry is due.
    Retry,
    /// It uses no retry. The post is deferred.
    Defer,
    /// No retry can fix it. The post is permanently failed at once.
    FailPermanently,
}

impl Category {
    /// All of them, in the order of the man page.
    pub const ALL: [Self; 14] = [
        Self::Network,
        Self::PlatformOutage,
        Self::RateLimited,
        Self::QuotaExhausted,
        Self::Auth,
        Self::MissingAsset,
        Self::MediaProcessing,
        Self::Processing,
        Self::RejectedContent,
        Self::Ambiguous,
        Self::AccountRestricted,
        Self::Expired,
        Self::Interrupted,
        Self::Unknown,
    ];

    /// The name in documents, JSON and options.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::PlatformOutage => "platform_outage",
            Self::RateLimited => "rate_limited",
            Self::QuotaExhausted => "quota_exhausted",
            Self::Auth => "auth",
            Self::MissingAsset => "missing_asset",
            Self::MediaProcessing => "media_processing",
            Self::Processing => "processing",
            Self::RejectedContent => "rejected_content",
            Self::Ambiguous => "ambiguous",
            Self::AccountRestricted => "account_restricted",
            Self::Expired => "expired",
            Self::Interrupted => "interrupted",
            Self::Unknown => "unknown",
        }
    }

    /// What happens after a failure of this category, depending on whether a retry can help.
    pub fn consequence(self, retryable: Retryable) -> Consequence {
        match self {
            Self::RateLimited | Self::QuotaExhausted | Self::Auth | Self::AccountRestricted | Self::Processing => {
                Consequence::Defer
            }
            Self::RejectedContent | Self::Ambiguous | Self::Expired => Consequence::FailPermanently,
            Self::MediaProcessing => match retryable {
                Retryable::Yes => Consequence::Retry,
                Retryable::No => Consequence::FailPermanently,
            },
            Self::Network | Self::PlatformOutage | Self::MissingAsset | Self::Interrupted | Self::Unknown => {
                Consequence::Retry
            }
        }
    }

    /// Whether the platform is skipped for the rest of the pass after such a failure.
    pub fn gives_up_platform(self) -> bool {
        matches!(self, Self::RateLimited | Self::QuotaExhausted | Self::Auth | Self::AccountRestricted)
    }

    /// Whether manual action is needed before the platform's posts can be published.
    pub fn needs_person(self) -> bool {
        matches!(self, Self::Auth | Self::AccountRestricted)
    }

    /// Whether it is a temporary problem of the platform or of the connection to it: a request that is safe to repeat
    /// may be sent again, and several such failures in a row open the platform's circuit breaker.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Network | Self::PlatformOutage)
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that is not a category.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a failure category")]
pub struct ParseCategoryError(String);

impl FromStr for Category {
    type Err = ParseCategoryError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|category| category.as_str() == name)
            .ok_or_else(|| ParseCategoryError(name.to_owned()))
    }
}

/// Whether sending the same post again can succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retryable {
    /// A retry can succeed.
    Yes,
    /// The post must be changed first.
    No,
}

/// What happens to the attempt's ticket after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TicketFate {
    /// The post may still be published with it: it is kept, and the next attempt checks it first.
    Kept,
    /// The platform says that nothing can be published with it any more.
    Dead,
}

/// A failed publish and its classification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Why.
    pub category: Category,
    /// The message, in one safe line: the cause first, then what to do, and what the platform said. It can quote a
    /// platform or a document, so secrets are taken out before it leaves `platform/`.
    pub message: String,
    /// The part of the message that says in plain words what to do, or what is wrong.
    pub advice: Option<String>,
    /// Whether sending the same post again can succeed.
    pub retryable: Retryable,
    /// When the platform allows the next request.
    pub retry_at: Option<DateTime<Utc>>,
    /// What happens to the ticket.
    pub ticket: TicketFate,
}

impl Failure {
    /// A failure that a retry may fix and that does not affect the ticket.
    pub fn new(category: Category, message: impl Into<String>) -> Self {
        Self {
            category,
            message: one_line(&message.into(), usize::MAX),
            advice: None,
            retryable: Retryable::Yes,
            retry_at: None,
            ticket: TicketFate::Kept,
        }
    }

    /// Adds to the message what to do.
    #[must_use]
    pub fn advise(self, advice: impl Into<String>) -> Self {
        let advice = one_line(&advice.into(), usize::MAX);
        Self { message: format!("{}; {advice}", self.message), advice: Some(advice), ..self }
    }

    /// Marks that the same post can only fail again.
    #[must_use]
    pub fn not_retryable(self) -> Self {
        Self { retryable: Retryable::No, ..self }
    }

    /// Sets when the platform allows the next request.
    #[must_use]
    pub fn retry_at(self, at: Option<DateTime<Utc>>) -> Self {
        Self { retry_at: at, ..self }
    }

    /// Marks that nothing can be published with the ticket any more.
    #[must_use]
    pub fn with_dead_ticket(self) -> Self {
        Self { ticket: TicketFate::Dead, ..self }
    }

    /// What happens after this failure.
    pub fn consequence(&self) -> Consequence {
        self.category.consequence(self.retryable)
    }
}
