//! The use case: one pass over what is due, one attempt at one post.
//!
//! Knows stores and platforms only by their traits. What happens is told to a [`Listener`] as it happens; what has
//! happened is a report. Every outcome is recorded when it comes, not at the end.

mod attempt;
mod clock;
mod gate;
mod lane;
mod pass;
mod plan;
mod report;
mod running;
mod shutdown;
mod single;
mod vault;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use crate::platform::Publisher;
use crate::post::{Pace, Platform, Post, RetryPolicy};
use crate::store::PostStore;

pub use clock::StoreClock;
pub use pass::{PassOptions, run_pass};
pub use plan::dry_run;
pub use report::{
    AttemptReport, DryRunReport, GivenUp, MalformedPost, PassReport, PlannedPost, PlatformReport, SkipReason,
};
pub use shutdown::{Shutdown, Signal};
pub use single::{Force, Gates, RetryOutcome, RetryReport, retry_post};
pub use vault::StoreVault;

/// Everything that attempts are made with.
#[derive(Debug, Clone)]
pub struct Workshop {
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
    /// How fast and how patiently.
    pub pace: Pace,
    /// Whether the process is told to stop.
    pub shutdown: Shutdown,
    /// Who is told what happens.
    pub listener: Arc<dyn Listener>,
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
    /// An attempt has ended, and its outcome is recorded.
    Ended {
        /// At this post.
        post: &'a Post,
        /// Like this.
        report: &'a AttemptReport,
    },
}

/// Is told what happens.
pub trait Listener: Send + Sync + fmt::Debug {
    /// Something has happened.
    fn notice(&self, event: &Event<'_>);
}
