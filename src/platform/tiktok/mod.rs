//! TikTok, through the Content Posting API. The facts are those of the pages on <https://developers.tiktok.com> as of
//! November 2026. Comments name a page by its title.
//!
//! A video is started with `init`, uploaded in chunks, and posted by TikTok as soon as its last chunk has arrived. So
//! the ticket is the `publish_id`, and the step that cannot be taken back is the last chunk. A photo is not uploaded:
//! TikTok fetches it, and `init` itself starts the publish. So the intent is stored before `init` is called.

mod api;
mod chunks;
mod classify;
mod photo;
mod publisher;
mod recorded_response;
mod recovery;
mod settings;
mod status;
mod text;
mod ticket;
mod token;
mod upload;
mod video;
mod wire;

pub(super) use recorded_response::{meanings, stored_bytes};
pub(super) use settings::MODULE;

use publisher::TikTokPublisher;
use settings::TikTokSettings;
