//! Instagram, through the Graph API's content publishing. The facts are those of the platform sheet of November 2026.
//!
//! - A post is a *container*: it is created, filled with the bytes of a reel, processed, and made public by one call,
//!   `media_publish`. The ticket is the container.
//! - That call is the only step that cannot be undone, and no error of it proves that nothing was published (section
//!   5). After any error the container is read, at once and twice after a wait, and only then is the same container
//!   published again.
//! - A second container is never created once the first may be public (section 11).
//! - Images cannot be uploaded as bytes; Instagram fetches them from a public address (section 2).
//! - The texts of errors are localised, so only their numbers decide (section 7). A response that is not in Instagram's
//!   own form, such as a gateway's page, ends neither a post nor a ticket.

mod answer;
mod api;
mod caption;
mod classify;
mod container;
mod publish;
mod publisher;
mod rate_limit;
mod recovery;
mod reel;
mod settings;
mod token;
mod wire;

pub(super) use answer::meanings;
pub(super) use settings::MODULE;

use publisher::InstagramPublisher;
use settings::InstagramSettings;
