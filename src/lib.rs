//! Publishes failed social video posts again: at most once each, and never lost.
//!
//! The rooms, and who may know whom (every arrow points down):
//!
//! ```text
//! main -> cli -> { settings, report } -> retry -> { store, platform } -> post
//! ```
//!
//! - [`post`]: the rules of retrying. Pure: no clock, no I/O, no async, no log.
//! - [`store`]: where posts live. The trait [`store::PostStore`] and its implementations.
//! - [`platform`]: how a post gets published. The trait [`platform::Publisher`] and its implementations.
//! - [`retry`]: the use case. One pass over what is due, one attempt at one post.
//! - [`report`]: plain data in, text out.
//! - [`settings`]: environment and `.env` to one checked [`settings::Settings`].
//! - [`cli`]: what is typed, and what is printed for it.
//!
//! The promise that holds all of this together: a publish goes through a *ticket* that the platform gives
//! (a TikTok `publish_id`, an Instagram container, a `YouTube` upload session). The ticket is in the store before
//! the step that can make the post public, and is looked up before anything is sent again.

pub mod cli;
pub mod platform;
pub mod post;
pub mod report;
pub mod retry;
pub mod settings;
pub mod store;
