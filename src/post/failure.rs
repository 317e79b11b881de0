//! What a failure is, and what each category of failure leads to.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};

/// Why a publish failed. The category alone decides what follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Category {
    /// Refused, reset, DNS, TLS, time-out.
    Network,
    /// 5xx and the platforms' "try again later" codes.
    PlatformOutage,
    /// 429 and the platforms' own throttling codes.
    RateLimited,
    /// A daily cap is used up.
    QuotaExhausted,
    /// The token was refused and refreshing it did not help.
    Auth,
    /// No path, no such file, empty, outside the asset root.
    MissingAsset,
    /// The platform could not process this upload.
    MediaProcessing,
    /// The platform has all it needs and is not done yet.
    Processing,
    /// Caption too long, format refused, policy.
    RejectedContent,
    /// It cannot be told whether the post went out.
    Ambiguous,
    /// The account is banned or not allowed to publish.
    AccountRestricted,
    /// Too late to be worth publishing.
    Expired,
    /// The process died again and again in the middle.
    Interrupted,
    /// A failure that nobody has mapped.
    Unknown,
}

/// What follows from a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consequence {
    /// It consumes a retry; the backoff decides when the next is due.
    Retry,
    /// It costs no retry; the post keeps its place.
    Defer,
    /// No retry can mend it: the post is permanently failed at once.
    GiveUp,
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

    /// What follows from a failure of this category that a retry might mend, or might not.
    pub fn consequence(self, retryable: Retryable) -> Consequence {
        match self {
            Self::RateLimited | Self::QuotaExhausted | Self::Auth | Self::AccountRestricted | Self::Processing => {
                Consequence::Defer
            }
            Self::RejectedContent | Self::Ambiguous | Self::Expired => Consequence::GiveUp,
            Self::MediaProcessing => match retryable {
                Retryable::Yes => Consequence::Retry,
                Retryable::No => Consequence::GiveUp,
            },
            Self::Network | Self::PlatformOutage | Self::MissingAsset | Self::Interrupted | Self::Unknown => {
                Consequence::Retry
            }
        }
    }

    /// Whether the platform gets no further post in this pass after such a failure.
    pub fn gives_up_platform(self) -> bool {
        matches!(self, Self::RateLimited | Self::QuotaExhausted | Self::Auth | Self::AccountRestricted)
    }

    /// Whether a person has to act before the platform's posts can go out.
    pub fn needs_person(self) -> bool {
        matches!(self, Self::Auth | Self::AccountRestricted)
    }

    /// Whether it is a trouble of the platform or of the way to it, which passes: a request that can be made again
    /// without harm may be, and several in a row open the platform's circuit.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Network | Self::PlatformOutage)
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that is no category's.
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

/// Whether sending the same post again can end differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retryable {
    /// It can.
    Yes,
    /// Something about the post has to change first.
    No,
}

/// What a failure means for the ticket that the attempt worked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TicketFate {
    /// It may still lead to the post: it is kept and looked up first next time.
    Kept,
    /// The platform says that nothing can come of it any more.
    Dead,
}

/// A publish that failed, classified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Why.
    pub category: Category,
    /// In words: which platform, which raw code, what to do. Never a secret.
    pub message: String,
    /// The part of the message that says what to do.
    pub advice: Option<String>,
    /// Whether sending the same post again can end differently.
    pub retryable: Retryable,
    /// When the platform said to come back.
    pub retry_at: Option<DateTime<Utc>>,
    /// What becomes of the ticket.
    pub ticket: TicketFate,
}

impl Failure {
    /// A failure that a retry may mend and that says nothing of the ticket.
    pub fn new(category: Category, message: impl Into<String>) -> Self {
        Self {
            category,
            message: message.into(),
            advice: None,
            retryable: Retryable::Yes,
            retry_at: None,
            ticket: TicketFate::Kept,
        }
    }

    /// The same, with what to do about it at the end of its message.
    #[must_use]
    pub fn advise(self, advice: impl Into<String>) -> Self {
        let advice = advice.into();
        Self { message: format!("{}; {advice}", self.message), advice: Some(advice), ..self }
    }

    /// The same, where the same post can only fail again.
    #[must_use]
    pub fn not_retryable(self) -> Self {
        Self { retryable: Retryable::No, ..self }
    }

    /// The same, with the time at which the platform said to come back.
    #[must_use]
    pub fn retry_at(self, at: Option<DateTime<Utc>>) -> Self {
        Self { retry_at: at, ..self }
    }

    /// The same, where nothing can come of the ticket any more.
    #[must_use]
    pub fn with_dead_ticket(self) -> Self {
        Self { ticket: TicketFate::Dead, ..self }
    }

    /// What follows from it.
    pub fn consequence(&self) -> Consequence {
        self.category.consequence(self.retryable)
    }
}
