//! What attempts are made with.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::breaker::CircuitBreaker;
use super::limiter::{CredentialProbe, PlatformPause, StartLimiter};
use super::report::AttemptReport;
use super::{PassConfig, Shutdown, StoreClock};
use crate::environment::Redactor;
use crate::platform::Publisher;
use crate::post::{Platform, Post, RetryPolicy};
use crate::store::PostStore;

/// Everything that attempts are made with.
#[derive(Debug, Clone)]
pub struct RetryContext {
    /// Where the posts are.
    pub store: Arc<dyn PostStore>,
    /// The platforms that are configured.
    pub publishers: HashMap<Platform, Arc<dyn Publisher>>,
    /// The store's clock.
    pub clock: StoreClock,
    /// This machine, for the history.
    pub host: String,
    /// How often and when posts are retried.
    pub policy: RetryPolicy,
    /// How fast a pass works, and how long an attempt waits.
    pub config: PassConfig,
    /// Whether the process has received a stop signal.
    pub shutdown: Shutdown,
    /// The receiver of events.
    pub listener: Arc<dyn Listener>,
    /// Takes secrets out of what documents say, before it is stored or sent on.
    pub redactor: Redactor,
}

impl RetryContext {
    /// A platform for the length of a pass; none if it is not configured.
    pub(super) fn activate(&self, platform: Platform) -> Option<Arc<ActivePlatform>> {
        let publisher = Arc::clone(self.publishers.get(&platform)?);
        let limiter = Arc::new(StartLimiter::new(self.config.gap));
        let (breaker, pause, probe) = Default::default();
        Some(Arc::new(ActivePlatform { publisher, breaker, limiter, pause, probe }))
    }
}

/// A configured platform for the length of a pass: its publisher, and what stops or delays its posts.
#[derive(Debug)]
pub(super) struct ActivePlatform {
    pub(super) publisher: Arc<dyn Publisher>,
    pub(super) breaker: CircuitBreaker,
    pub(super) limiter: Arc<StartLimiter>,
    pub(super) pause: PlatformPause,
    pub(super) probe: CredentialProbe,
}

/// Something that happens while posts are worked on.
#[derive(Debug)]
pub enum Event<'a> {
    /// An attempt has begun.
    Started {
        /// At this post.
        post: &'a Post,
        /// Its number.
        attempt: u32,
    },
    /// Bytes have been sent.
    Sent {
        /// Of this post's file.
        post: &'a Post,
        /// So many.
        bytes: u64,
        /// Of so many.
        of: u64,
    },
    /// An attempt waits for its platform, which is processing what it has or is not available.
    Processing {
        /// At this post.
        post: &'a Post,
    },
    /// The next post of a platform has to wait before it may start.
    Waiting {
        /// The platform.
        platform: Platform,
        /// For what.
        reason: StartDelay,
        /// For so long.
        left: Duration,
    },
    /// So many posts of a platform were due at the start of the pass.
    Due {
        /// The platform.
        platform: Platform,
        /// How many.
        count: u64,
    },
    /// An attempt has ended without an outcome of its own: its claim was lost, or the store has failed.
    Left {
        /// At this post.
        post: &'a Post,
    },
    /// An attempt has ended, and its outcome is recorded.
    Ended {
        /// At this post.
        post: &'a Post,
        /// Like this.
        report: &'a AttemptReport,
    },
}

/// What the next post of a platform waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartDelay {
    /// The gap between the starts of two publishes.
    Gap,
    /// A limit of the platform.
    RateLimit,
}

/// Receives events.
pub trait Listener: Send + Sync + fmt::Debug {
    /// Whether it wants to know how many posts are due, which has to be counted.
    fn counts_due(&self) -> bool {
        false
    }

    /// Something has happened.
    fn notice(&self, event: &Event<'_>);
}
