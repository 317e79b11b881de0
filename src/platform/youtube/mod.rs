//! YouTube Shorts, by `videos.insert` of the Data API v3: facts of the vendor's pages as of November 2026. Sections in
//! comments are those of the platform sheet.
//!
//! The ticket is an upload session. The session tells at any time how far the upload has come, and repeats its result
//! once it is complete. The video exists as soon as the last byte has arrived, so the step that cannot be undone is the
//! last chunk.

mod account;
mod answer;
mod api;
mod classify;
mod error;
mod metadata;
mod processing;
mod publisher;
mod recovery;
mod responses;
mod session;
mod settings;

pub(super) use answer::{meanings, stored_bytes};
pub(super) use settings::MODULE;

use publisher::YouTubePublisher;
use settings::YouTubeSettings;
