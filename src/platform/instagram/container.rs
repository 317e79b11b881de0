//! An Instagram container: its ticket, its creation, and what it reports of itself. Nothing of it is public yet.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::InstagramPublisher;
use super::api::{CREATE, InstagramApi, READ_CONTAINER, READ_LIMIT, Refusal};
use super::caption::fitted_caption;
use super::classify::{GraphCode, classify};
use super::wire::{ContainerStatus, NewImage, StatusCode};
use crate::platform::auth::CallError;
use crate::platform::backoff::{PollBackoff, PollSettings};
use crate::platform::{PublishContext, PublishError, ticket_payload};
use crate::post::{Category, Failure, MediaKind, Platform, Post, Ticket};

/// The payload of Instagram's tickets. Not `Debug`, since the upload address is a secret.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ContainerTicket {
    container_id: String,
    /// Where a reel's bytes go; none for an image and for what the application left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    upload_uri: Option<String>,
    /// The bytes of the reel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
}

impl ContainerTicket {
    pub(super) fn container(&self) -> Container<'_> {
        Container { id: &self.container_id, is_reel: self.size.is_some() }
    }

    pub(super) fn reel(&self) -> Option<Reel<'_>> {
        Some(Reel { uri: self.upload_uri.as_deref()?, size: self.size? })
    }
}

/// The ticket of a container that the application's own attempt left.
pub(super) fn adopted_ticket(container_id: &str, failed_at: DateTime<Utc>) -> Ticket {
    Ticket::from_application(Platform::Instagram, failed_at, json!({ "containerId": container_id }))
}

/// A container, and whether it is filled with a reel by us: only then do its bytes and its sound matter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Container<'a> {
    pub(super) id: &'a str,
    pub(super) is_reel: bool,
}

/// The upload of a reel. Not `Debug`, since the upload address is a secret.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Reel<'a> {
    pub(super) uri: &'a str,
    pub(super) size: u64,
}

/// What a container reports of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ContainerState {
    Processing {
        /// Bytes of the reel that have arrived, while some are missing.
        uploaded: Option<u64>,
    },
    Finished,
    Published,
    Failed(Failure),
    Expired,
    /// It cannot be read, for a reason that is not temporary.
    Unreadable(Failure),
}

impl InstagramPublisher {
    /// Creates a container. One whose id is lost is invisible and expires after a day.
    pub(super) async fn create(&self, post: &Post, context: &dyn PublishContext) -> Result<Ticket, PublishError> {
        let kind = post.content.media_kind()?;
        let file = self.assets.file_of(post, kind).await?;
        let caption = fitted_caption(post)?;
        let retryable = |error: CallError<Refusal>| error.into_retryable(Platform::Instagram, CREATE);
        let payload = match kind {
            MediaKind::Video => {
                self.check_quota(context).await?;
                let reel = self.api.create_reel(&caption, context).await.map_err(retryable)?;
                self.api.upload_url(&reel.uri)?;
                ContainerTicket { container_id: reel.id, upload_uri: Some(reel.uri), size: Some(file.size) }
            }
            MediaKind::Image => {
                let image_url = self.assets.public_url(&file)?;
                self.check_quota(context).await?;
                let image = NewImage { image_url: image_url.as_str(), caption: &caption };
                let container = self.api.create_image(&image, context).await.map_err(retryable)?;
                ContainerTicket { container_id: container.id, upload_uri: None, size: None }
            }
        };
        Ok(Ticket::new(Platform::Instagram, context.now(), ticket_payload(&payload)?))
    }

    /// Whether the account has posts left today. Where that cannot be read, the publish call will tell.
    async fn check_quota(&self, context: &dyn PublishContext) -> Result<(), PublishError> {
        let limit = match self.api.publishing_limit(context).await {
            Ok(limit) => limit.unwrap_or_default(),
            Err(CallError::NoToken(error)) => return Err(error),
            Err(error) => {
                let failure = error.into_retryable(Platform::Instagram, READ_LIMIT).into_failure()?;
                log::debug!("continuing without the account's quota: {}", failure.message);
                return Ok(());
            }
        };
        match (limit.quota_usage, limit.config.quota_total) {
            (Some(used), Some(total)) if used >= total => {
                let text = format!("the Instagram account has used {used} of its {total} posts per 24 hours");
                Err(Failure::new(Category::QuotaExhausted, text).into())
            }
            _ => Ok(()),
        }
    }
}

/// Reads a container. A read that fails for a temporary reason is repeated a few times.
pub(super) async fn read_state(
    api: &InstagramApi,
    container: Container<'_>,
    poll: PollSettings,
    context: &dyn PublishContext,
) -> Result<ContainerState, PublishError> {
    let mut backoff = PollBackoff::new(poll);
    loop {
        let failure = match api.read_container(container, context).await {
            Ok(status) => return Ok(state_of(&status)),
            Err(CallError::Refused(Refusal { failure, code })) if code.is_gone() => {
                return Ok(ContainerState::Unreadable(failure));
            }
            // A container that exists is sometimes not found for a while (section 4).
            Err(CallError::Refused(Refusal { failure, code })) if code.may_reappear() => {
                if backoff.budget().try_consume() && backoff.wait(context).await.is_continue() {
                    continue;
                }
                return Ok(ContainerState::Unreadable(not_found(failure, code)));
            }
            Err(error) => error.into_retryable(Platform::Instagram, READ_CONTAINER).into_failure()?,
        };
        if backoff.wait_after(&failure, context).await.is_break() {
            return Err(failure.into());
        }
    }
}

/// A container that stays missing most likely exists, but not for this token (section 10).
fn not_found(failure: Failure, code: GraphCode) -> Failure {
    if code.is_missing() { Failure { category: Category::Auth, ..failure } } else { failure }
}

fn state_of(container: &ContainerStatus) -> ContainerState {
    match container.status_code {
        StatusCode::Finished if container.copyright_check_status.matches_found => {
            ContainerState::Failed(copyright_match())
        }
        StatusCode::Finished => ContainerState::Finished,
        StatusCode::Published => ContainerState::Published,
        StatusCode::Expired => ContainerState::Expired,
        StatusCode::Error => ContainerState::Failed(processing_failure(&container.status)),
        StatusCode::InProgress => {
            let phase = &container.video_status.uploading_phase;
            let is_uploading = phase.status.as_deref().is_some_and(|status| status != "complete");
            ContainerState::Processing { uploaded: is_uploading.then(|| phase.bytes_transferred.unwrap_or(0)) }
        }
    }
}

fn processing_failure(status: &str) -> Failure {
    let code = GraphCode::in_status(status);
    let failure = if code.subcode.is_some() {
        classify("process the media", 200, code, status)
    } else {
        Failure::new(Category::MediaProcessing, format!("Instagram failed to process the media: {status}"))
    };
    failure.with_dead_ticket()
}

/// Instagram would publish the reel nevertheless, at the account's risk.
fn copyright_match() -> Failure {
    let text = "Instagram's copyright check found a match in the video; change its sound or pictures";
    Failure::new(Category::RejectedContent, text).not_retryable().with_dead_ticket()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::read_ticket;
    use crate::post::{Retryable, TicketFate};

    fn state(text: &str) -> ContainerState {
        state_of(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn a_containers_state_follows_from_its_status_code_and_its_upload() {
        use ContainerState::{Expired, Finished, Processing, Published};
        for (text, expected) in [
            (r#"{"status_code":"FINISHED"}"#, Finished),
            (r#"{"status_code":"FINISHED","copyright_check_status":{"matches_found":false}}"#, Finished),
            (r#"{"status_code":"PUBLISHED"}"#, Published),
            (r#"{"status_code":"EXPIRED"}"#, Expired),
            (r#"{"status_code":"IN_PROGRESS"}"#, Processing { uploaded: None }),
            ("{}", Processing { uploaded: None }),
            (
                r#"{"video_status":{"uploading_phase":{"status":"in_progress","bytes_transferred":50002}}}"#,
                Processing { uploaded: Some(50002) },
            ),
            (r#"{"video_status":{"uploading_phase":{"status":"not_started"}}}"#, Processing { uploaded: Some(0) }),
            (
                r#"{"video_status":{"uploading_phase":{"status":"complete","bytes_transferred":9}}}"#,
                Processing { uploaded: None },
            ),
            (r#"{"video_status":{"uploading_phase":{"bytes_transferred":9}}}"#, Processing { uploaded: None }),
        ] {
            assert_eq!(state(text), expected, "{text}");
        }
    }

    #[test]
    fn a_failed_container_is_dead_and_its_subcode_decides() {
        for (text, category, retryable) in [
            (r#"{"status_code":"ERROR","status":"9/2207042"}"#, Category::QuotaExhausted, Retryable::Yes),
            (r#"{"status_code":"ERROR","status":"Error code 2207026"}"#, Category::MediaProcessing, Retryable::No),
            (r#"{"status_code":"ERROR","status":"Error"}"#, Category::MediaProcessing, Retryable::Yes),
            (r#"{"status_code":"ERROR"}"#, Category::MediaProcessing, Retryable::Yes),
            (
                r#"{"status_code":"FINISHED","copyright_check_status":{"matches_found":true}}"#,
                Category::RejectedContent,
                Retryable::No,
            ),
        ] {
            let ContainerState::Failed(failure) = state(text) else { panic!("{text}") };
            let found = (failure.category, failure.retryable, failure.ticket);
            assert_eq!(found, (category, retryable, TicketFate::Dead), "{text}");
        }
    }

    #[test]
    fn a_ticket_is_read_as_it_was_written() {
        let payload = ContainerTicket {
            container_id: "17".to_owned(),
            upload_uri: Some("https://rupload.facebook.com/x".to_owned()),
            size: Some(9),
        };
        let json = ticket_payload(&payload).unwrap();
        assert_eq!(json, json!({ "containerId": "17", "uploadUri": "https://rupload.facebook.com/x", "size": 9 }));
        let ticket = Ticket::new(Platform::Instagram, DateTime::UNIX_EPOCH, json);
        let read: ContainerTicket = read_ticket(&ticket).unwrap();
        assert!(read.container().is_reel);
        assert!(read.reel() == payload.reel());

        let image = ContainerTicket { container_id: "17".to_owned(), upload_uri: None, size: None };
        assert_eq!(ticket_payload(&image).unwrap(), json!({ "containerId": "17" }));
    }

    #[test]
    fn what_the_application_left_may_have_been_published_and_cannot_be_filled() {
        let ticket = adopted_ticket("17", DateTime::UNIX_EPOCH);
        assert!(ticket.is_committed() && ticket.from_application);
        let read: ContainerTicket = read_ticket(&ticket).unwrap();
        assert_eq!((read.container().id, read.container().is_reel), ("17", false));
        assert!(read.reel().is_none());
    }
}
