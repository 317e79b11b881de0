//! Instagram, through the Graph API's content publishing. The facts are those of the pages on
//! <https://developers.facebook.com> as of November 2026. Comments name a page by its title.
//!
//! - A post is a *container*: it is created, filled with the bytes of a reel, processed, and made public by one call,
//!   `media_publish`. The ticket is the container.
//! - That call is the only step that cannot be undone, and no error of it proves that nothing was published (seen, not
//!   documented). After any error the container is read, at once and twice after a wait, and only then is the same
//!   container published again.
//! - A second container is never created once the first may be public.
//! - Images cannot be uploaded as bytes; Instagram fetches them from a public address ("IG User Media").
//! - The texts of errors are localised, so only their numbers decide ("Handling Errors"). A response that is not in
//!   Instagram's own form, such as a gateway's page, ends neither a post nor a ticket.

mod api;
mod caption;
mod classify;
mod container;
mod publish;
mod publisher;
mod rate_limit;
mod recorded_response;
mod recovery;
mod reel;
mod settings;
mod token;
mod wire;

pub(super) use recorded_response::meanings;
pub(super) use settings::MODULE;

use publisher::InstagramPublisher;
use settings::InstagramSettings;
