//! YouTube Shorts, by `videos.insert` of the Data API v3. The facts are those of the pages on
//! <https://developers.google.com> as of November 2026. Comments name a page by its title.
//!
//! The ticket is an upload session. The session tells at any time how far the upload has come, and repeats its result
//! once it is complete ("Resumable Uploads"). The video exists as soon as the last byte has arrived, so the step that
//! cannot be undone is the last chunk. That there is no video before is inferred: the session returns it only then.

mod account;
mod api;
mod classify;
mod error;
mod metadata;
mod processing;
mod publisher;
mod recorded_response;
mod recovery;
mod responses;
mod session;
mod settings;

pub(super) use recorded_response::{meanings, stored_bytes};
pub(super) use settings::MODULE;

use publisher::YouTubePublisher;
use settings::YouTubeSettings;
