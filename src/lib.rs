//! Retries failed social video posts. Never published twice, never lost.
//!
//! Every dependency points downwards:
//!
//! ```text
//! main -> cli -> { settings, report } -> retry -> platform -> store -> post
//! ```
//!
//! - [`post`]: the rules of retrying. Pure: no clock, no I/O, no async, no log.
//! - [`store`]: where posts live. The trait [`store::PostStore`] and its implementations.
//! - [`platform`]: how a post gets published. The trait [`platform::Publisher`] and its implementations.
//! - [`retry`]: the use case. One pass over what is due, one attempt at one post.
//! - [`report`]: data in, text out.
//! - [`environment`]: how a setting is declared and read.
//! - [`settings`]: environment and `.env` to one checked [`settings::Settings`].
//! - [`cli`]: the command line, and what is printed for it.
//!
//! The *ticket* that the platform issues prevents a second publish: a TikTok `publish_id`, an
//! Instagram container, a `YouTube` upload session. It is in the store before the step that can make the post public,
//! and is checked before anything is sent again.

pub mod cli;
pub mod environment;
pub mod platform;
pub mod post;
pub mod report;
pub mod retry;
pub mod settings;
pub mod store;
