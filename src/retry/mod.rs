//! The use case: one pass over what is due, one attempt at one post.
//!
//! Knows stores and platforms only by their traits. From [`run_pass`] one reads downwards: a pass has a worker for
//! each platform, a worker starts attempts, an attempt works under a lease. What happens is reported to a
//! [`Listener`] when it happens; what has happened is a report. Every outcome is recorded when it comes, not at the
//! end.

mod attempt;
mod breaker;
mod clock;
mod config;
mod contention;
mod context;
mod dry_run;
mod lease;
mod limiter;
mod next_step;
mod pass;
mod pass_limits;
mod records;
mod report;
mod retry_post;
mod run_record;
mod seen_posts;
mod shutdown;
#[cfg(test)]
mod tests;
mod worker;

pub use clock::StoreClock;
pub use config::PassConfig;
pub use context::{Event, Listener, RetryContext, StartDelay};
pub use dry_run::dry_run;
pub use pass::{PassOptions, idle_pass, run_pass};
pub use records::Records;
pub use report::{
    AttemptReport, DryRunReport, FoundPublished, GivenUp, MalformedPost, Obstacle, PassReport, PlannedPost,
    PlatformReport, SkipReason,
};
pub use retry_post::{ActivePlatforms, Confirmed, Force, RetryOutcome, RetryReport, may_be_published, retry_post};
pub use run_record::{pass_record, retry_record};
pub use shutdown::{Shutdown, Signal, Work};
