//! An Instagram container: its ticket, its creation, and what it reports of itself. Nothing of it is public yet.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use url::Url;

use super::InstagramPublisher;
use super::api::{CREATE, READ_CONTAINER, READ_LIMIT, Refusal};
use super::caption::fitted_caption;
use super::classify::{GraphCode, classify};
use super::wire::{ContainerStatus, NewImage, NewReel, StatusCode, required_id};
use crate::platform::auth::CallError;
use crate::platform::backoff::{PollBackoff, PollSettings};
use crate::platform::explanation::{Explanation, labelled};
use crate::platform::media::{AssetStore, MediaFile};
use crate::platform::{PublishContext, PublishError, ticket_payload, unexpected_response};
use crate::post::{Category, Failure, MediaKind, Platform, Post, Ticket};

/// The payload of Instagram's tickets. Not `Debug`, since the upload address is a secret.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ContainerTicket {
    #[serde(deserialize_with = "required_id")]
    container_id: String,
    /// Where a reel's bytes go; none for an image and for what the application left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    upload_uri: Option<String>,
    /// The bytes of the reel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
}

impl ContainerTicket {
    /// The container, of a ticket that the application made if `is_from_application`.
    pub(super) fn container(&self, is_from_application: bool, post: &Post) -> Container<'_> {
        let kind = match (is_from_application, post.content.media_kind()) {
            (true, Ok(MediaKind::Video)) => ContainerKind::AdoptedReel,
            _ if self.size.is_some() => ContainerKind::Reel,
            _ => ContainerKind::Image,
        };
        Container { id: &self.container_id, kind }
    }

    pub(super) fn reel(&self) -> Option<Reel<'_>> {
        Some(Reel { uri: self.upload_uri.as_deref()?, size: self.size? })
    }
}

/// The ticket of a container that the application's own attempt left.
pub(super) fn adopted_ticket(container_id: &str, failed_at: DateTime<Utc>, now: DateTime<Utc>) -> Ticket {
    Ticket::from_application(Platform::Instagram, failed_at, now, json!({ "containerId": container_id }))
}

/// A container, and what is in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Container<'a> {
    pub(super) id: &'a str,
    pub(super) kind: ContainerKind,
}

/// What is in a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ContainerKind {
    /// A reel whose bytes we send.
    Reel,
    /// A reel that the application has sent.
    AdoptedReel,
    Image,
}

impl ContainerKind {
    /// The fields to read, and fewer if these are refused. Of a reel its upload matters too, and of ours its sound.
    pub(super) fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Reel => {
                &["id,status,status_code,video_status,copyright_check_status", "id,status,status_code,video_status"]
            }
            Self::AdoptedReel => &["id,status,status_code,video_status"],
            Self::Image => &["id,status,status_code"],
        }
    }
}

/// How containers are polled: a read costs part of the account's quota ("Rate Limits"), and one within ten seconds is
/// mostly wasted (not documented).
pub(super) fn container_poll(poll: PollSettings) -> PollSettings {
    PollSettings { first: poll.first.saturating_mul(5).min(LONGEST_FIRST_WAIT), total: poll.total }
}

/// The waits double up to this.
const LONGEST_FIRST_WAIT: Duration = Duration::from_secs(60);

/// The largest reel that Instagram takes: 300 MB ("IG User Media"), if its MB are 2^20 bytes.
const LARGEST_REEL: u64 = 300 << 20;

/// The largest image that Instagram takes: 8 MiB ("Error Codes").
const LARGEST_IMAGE: u64 = 8 << 20;

/// What would be sent of a post now.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) file: MediaFile,
    caption: String,
    /// Where Instagram fetches an image; none for a reel.
    pub(super) image_url: Option<Url>,
    is_ai_generated: bool,
}

impl Draft {
    pub(super) async fn of(post: &Post, assets: &AssetStore) -> Result<Self, PublishError> {
        let kind = post.content.media_kind()?;
        let file = assets.file_of(post, kind).await?;
        let caption = fitted_caption(post)?;
        let image_url = match kind {
            MediaKind::Video => None,
            MediaKind::Image => Some(assets.public_url(&file)?),
        };
        Ok(Self { file, caption, image_url, is_ai_generated: post.content.is_ai_generated })
    }

    /// Checks that Instagram takes a file of this size.
    pub(super) fn check_size(&self) -> Result<(), Failure> {
        let largest = if self.image_url.is_some() { LARGEST_IMAGE } else { LARGEST_REEL };
        self.file.ensure_at_most(largest, Platform::Instagram)
    }

    /// The same text for the same post.
    pub(super) fn fingerprint(&self) -> String {
        let image_url = self.image_url.as_ref().map_or("", Url::as_str);
        let label = if self.is_ai_generated { "is_ai_generated" } else { "" };
        self.file.fingerprint(&[self.caption.as_str(), image_url, label])
    }
}

/// The upload of a reel. Not `Debug`, since the upload address is a secret.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Reel<'a> {
    pub(super) uri: &'a str,
    pub(super) size: u64,
}

/// What a container reports of the bytes of its reel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Uploaded {
    /// None are missing.
    All,
    /// Those before this offset have arrived.
    Until(u64),
    /// It does not report them.
    NotReported,
}

/// What a container reports of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ContainerState {
    Processing {
        uploaded: Uploaded,
    },
    Finished,
    /// It is finished, but the copyright check has found a match.
    CopyrightMatch,
    Published,
    /// It is published, but bytes are missing, as in a sample of "Upload Video to Meta Servers". This proves neither.
    Contradictory {
        /// Bytes of the reel that have arrived.
        uploaded: u64,
    },
    Failed(Failure),
    Expired,
    /// It cannot be read, for a reason that is neither temporary nor the account's.
    Unreadable(Failure),
}

impl InstagramPublisher {
    /// Creates a container. One whose id is lost is invisible and expires after a day.
    pub(super) async fn create(&self, post: &Post, context: &dyn PublishContext) -> Result<Ticket, PublishError> {
        let draft = Draft::of(post, &self.assets).await?;
        draft.check_size()?;
        self.check_quota(context).await?;
        let Draft { file, caption, image_url, is_ai_generated } = &draft;
        let retryable = |error: CallError<Refusal>| error.into_retryable(Platform::Instagram, CREATE);
        let payload = if let Some(image_url) = image_url {
            let image = NewImage { image_url: image_url.as_str(), caption, is_ai_generated: *is_ai_generated };
            let container = self.api.create_image(&image, context).await.map_err(retryable)?;
            ContainerTicket { container_id: container.id, upload_uri: None, size: None }
        } else {
            let reel = NewReel::new(caption, *is_ai_generated);
            let created = self.api.create_reel(&reel, context).await.map_err(retryable)?;
            self.api.upload_url(&created.uri)?;
            ContainerTicket { container_id: created.id, upload_uri: Some(created.uri), size: Some(file.size) }
        };
        let ticket = Ticket::new(Platform::Instagram, context.now(), ticket_payload(&payload)?);
        Ok(ticket.with_fingerprint(Some(draft.fingerprint())))
    }

    /// Whether the account has posts left today. Where that cannot be read, the publish call will tell.
    async fn check_quota(&self, context: &dyn PublishContext) -> Result<(), PublishError> {
        let limit = match self.api.publishing_limit(context).await {
            Ok(limit) => limit.unwrap_or_default(),
            Err(CallError::NoToken(error)) => return Err(error),
            // The right to read the limit is not needed to publish.
            Err(CallError::Refused(refusal))
                if refusal.failure.category == Category::Auth && !refusal.is_token_refused() =>
            {
                log::debug!("continuing without the account's quota: {}", refusal.failure.message);
                return Ok(());
            }
            Err(error) => {
                let failure = error.into_retryable(Platform::Instagram, READ_LIMIT).into_failure()?;
                // It stops all calls for the account, and a further one would make a block longer.
                if failure.category.gives_up_platform() {
                    return Err(failure.into());
                }
                log::debug!("continuing without the account's quota: {}", failure.message);
                return Ok(());
            }
        };
        match (limit.quota_usage, limit.config.quota_total) {
            (Some(used), Some(total)) if used >= total => {
                let text = format!("the account has used {used} of its {total} posts per 24 hours");
                Err(Failure::new(Category::QuotaExhausted, labelled(Platform::Instagram, &text)).into())
            }
            _ => Ok(()),
        }
    }

    /// Reads a container. A read that fails for a temporary reason is repeated a few times.
    pub(super) async fn read_state(
        &self,
        container: Container<'_>,
        context: &dyn PublishContext,
    ) -> Result<ContainerState, PublishError> {
        let mut backoff = PollBackoff::new(self.container_poll);
        loop {
            let failure = match self.api.read_container(container, context).await {
                Ok(status) => return Ok(state_of(&status)),
                Err(CallError::Refused(refusal)) if refusal.code.is_expired() => return Ok(ContainerState::Expired),
                Err(CallError::Refused(Refusal { failure, code })) if code.is_gone() => {
                    return Ok(ContainerState::Unreadable(failure));
                }
                // A container that exists is sometimes not found for a while.
                Err(CallError::Refused(Refusal { failure, code })) if code.may_reappear() => {
                    if backoff.budget().try_consume() && backoff.wait(context).await.is_continue() {
                        continue;
                    }
                    if code.is_missing() {
                        self.check_account(context).await?;
                    }
                    return Ok(ContainerState::Unreadable(failure));
                }
                Err(error) => error.into_retryable(Platform::Instagram, READ_CONTAINER).into_failure()?,
            };
            if backoff.wait_after(&failure, context).await.is_break() {
                return Err(failure.into());
            }
        }
    }

    /// Makes sure that the token has access to the account, when it seems to have none to a container.
    async fn check_account(&self, context: &dyn PublishContext) -> Result<(), PublishError> {
        match self.api.publishing_limit(context).await {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(unexpected_response(Platform::Instagram, READ_LIMIT, 200).into()),
            Err(CallError::Refused(refusal)) => Err(account_failure(refusal).into()),
            Err(error) => Err(error.into_retryable(Platform::Instagram, READ_LIMIT)),
        }
    }
}

/// The failure of an account that cannot be read. One that is not found exists, but not for this token.
fn account_failure(Refusal { failure, code }: Refusal) -> Failure {
    if code.is_missing() { Failure { category: Category::Auth, ..failure } } else { failure }
}

pub(super) fn state_of(container: &ContainerStatus) -> ContainerState {
    let phase = &container.video_status.uploading_phase;
    let uploaded = match phase.status.as_deref() {
        Some("complete") => Uploaded::All,
        Some(_) => Uploaded::Until(phase.bytes_transferred.unwrap_or(0)),
        None => phase.bytes_transferred.map_or(Uploaded::NotReported, Uploaded::Until),
    };
    match container.status_code {
        StatusCode::Finished if container.copyright_check_status.matches_found => ContainerState::CopyrightMatch,
        StatusCode::Finished => ContainerState::Finished,
        StatusCode::Published => match uploaded {
            Uploaded::Until(uploaded) if phase.status.is_some() => ContainerState::Contradictory { uploaded },
            Uploaded::All | Uploaded::Until(_) | Uploaded::NotReported => ContainerState::Published,
        },
        StatusCode::Expired => ContainerState::Expired,
        StatusCode::Error => ContainerState::Failed(processing_failure(&container.status)),
        StatusCode::InProgress => ContainerState::Processing { uploaded },
    }
}

fn processing_failure(status: &str) -> Failure {
    let code = GraphCode::in_status(status);
    let explanation = Explanation::new(Platform::Instagram, "process the media").words(status);
    let failure = if code.subcode.is_some() {
        classify(explanation, 200, code)
    } else {
        explanation.failure(Category::MediaProcessing, "the media could not be processed")
    };
    // A container that has failed will not get ready, and that it has failed is known whatever the number means.
    let category = match failure.category {
        Category::Processing | Category::Unknown => Category::MediaProcessing,
        category => category,
    };
    Failure { category, ..failure }.with_dead_ticket()
}

/// Instagram would publish the reel nevertheless, at the account's risk.
pub(super) fn copyright_match() -> Failure {
    let text = "the copyright check found a match in the video; change its sound or pictures";
    let failure = Failure::new(Category::RejectedContent, labelled(Platform::Instagram, text));
    failure.not_retryable().with_dead_ticket()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::read_ticket;
    use crate::platform::test_context::post;
    use crate::post::{Retryable, TicketFate};

    fn state(text: &str) -> ContainerState {
        state_of(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn a_containers_state_follows_from_its_status_code_and_its_upload() {
        use ContainerState::{Contradictory, CopyrightMatch, Expired, Finished, Processing, Published};
        for (text, expected) in [
            (r#"{"status_code":"FINISHED"}"#, Finished),
            (r#"{"status_code":"FINISHED","copyright_check_status":{"matches_found":false}}"#, Finished),
            (r#"{"status_code":"FINISHED","copyright_check_status":{"matches_found":true}}"#, CopyrightMatch),
            (r#"{"status_code":"PUBLISHED","copyright_check_status":{"matches_found":true}}"#, Published),
            (r#"{"status_code":"PUBLISHED"}"#, Published),
            (r#"{"status_code":"PUBLISHED","video_status":{"uploading_phase":{"status":"complete"}}}"#, Published),
            (r#"{"status_code":"PUBLISHED","video_status":{"uploading_phase":{"bytes_transferred":9}}}"#, Published),
            (
                r#"{"status_code":"PUBLISHED","video_status":{"uploading_phase":
                    {"status":"in_progress","bytes_transferred":50002}}}"#,
                Contradictory { uploaded: 50002 },
            ),
            (
                r#"{"status_code":"PUBLISHED","video_status":{"uploading_phase":{"status":"error"}}}"#,
                Contradictory { uploaded: 0 },
            ),
            (r#"{"status_code":"EXPIRED"}"#, Expired),
            (r#"{"status_code":"IN_PROGRESS"}"#, Processing { uploaded: Uploaded::NotReported }),
            ("{}", Processing { uploaded: Uploaded::NotReported }),
            (
                r#"{"video_status":{"uploading_phase":{"status":"in_progress","bytes_transferred":50002}}}"#,
                Processing { uploaded: Uploaded::Until(50002) },
            ),
            (
                r#"{"video_status":{"uploading_phase":{"status":"not_started"}}}"#,
                Processing { uploaded: Uploaded::Until(0) },
            ),
            (
                r#"{"video_status":{"uploading_phase":{"status":"complete","bytes_transferred":9}}}"#,
                Processing { uploaded: Uploaded::All },
            ),
            (
                r#"{"video_status":{"uploading_phase":{"bytes_transferred":9}}}"#,
                Processing { uploaded: Uploaded::Until(9) },
            ),
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
            (r#"{"status_code":"ERROR","status":"Error 2207099"}"#, Category::MediaProcessing, Retryable::Yes),
            (r#"{"status_code":"ERROR","status":"9007/2207027"}"#, Category::MediaProcessing, Retryable::Yes),
            (r#"{"status_code":"ERROR"}"#, Category::MediaProcessing, Retryable::Yes),
        ] {
            let ContainerState::Failed(failure) = state(text) else { panic!("{text}") };
            let found = (failure.category, failure.retryable, failure.ticket);
            assert_eq!(found, (category, retryable, TicketFate::Dead), "{text}");
        }
        let matched = copyright_match();
        let found = (matched.category, matched.retryable, matched.ticket);
        assert_eq!(found, (Category::RejectedContent, Retryable::No, TicketFate::Dead));
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
        assert_eq!(read.container(false, &post(Platform::Instagram)).kind, ContainerKind::Reel);
        assert!(read.reel() == payload.reel());

        let forged = json!({ "containerId": "17/comments?message=hi&method=post" });
        let Err(failure) = read_ticket::<ContainerTicket>(&ticket.with_payload(forged)) else { panic!("it was read") };
        assert_eq!(failure.category, Category::Ambiguous);

        let image = ContainerTicket { container_id: "17".to_owned(), upload_uri: None, size: None };
        assert_eq!(ticket_payload(&image).unwrap(), json!({ "containerId": "17" }));
        assert_eq!(image.container(false, &post(Platform::Instagram)).kind, ContainerKind::Image);
    }

    #[test]
    fn what_the_application_left_may_have_been_published_and_cannot_be_filled() {
        let ticket = adopted_ticket("17", DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH);
        assert!(ticket.is_committed() && ticket.is_from_application() && ticket.fingerprint.is_none());
        let read: ContainerTicket = read_ticket(&ticket).unwrap();
        let mut post = post(Platform::Instagram);
        for (video, image, kind) in [
            (Some("a.mp4"), None, ContainerKind::AdoptedReel),
            (None, Some("a.jpg"), ContainerKind::Image),
            (None, None, ContainerKind::Image),
        ] {
            post.content.video_path = video.map(str::to_owned);
            post.content.image_path = image.map(str::to_owned);
            let container = read.container(true, &post);
            assert_eq!((container.id, container.kind), ("17", kind));
        }
        assert!(read.reel().is_none());
    }

    #[tokio::test]
    async fn a_fingerprint_changes_with_whatever_is_sent() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.mp4"), b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom").unwrap();
        std::fs::write(folder.path().join("a.jpg"), b"\xFF\xD8\xFF\xE0\0\x10JFIF\0\x01").unwrap();
        let assets = |base: &str| AssetStore::new(folder.path(), Some(Url::parse(base).unwrap())).unwrap();
        let (here, there) = (assets("https://cdn.example/m/"), assets("https://cdn.example/n/"));
        let mut reel = post(Platform::Instagram);
        reel.content.video_path = Some("a.mp4".to_owned());
        reel.content.caption = Some("Hi".to_owned());
        let mut image = reel.clone();
        image.content.video_path = None;
        image.content.image_path = Some("a.jpg".to_owned());

        for (post, depends_on_address) in [(reel, false), (image, true)] {
            let changed = |change: fn(&mut Post)| {
                let mut post = post.clone();
                change(&mut post);
                post
            };
            let first = Draft::of(&post, &here).await.unwrap().fingerprint();
            assert_eq!(Draft::of(&post, &here).await.unwrap().fingerprint(), first);
            let elsewhere = Draft::of(&post, &there).await.unwrap().fingerprint();
            assert_eq!(elsewhere != first, depends_on_address);
            for (other, is_same) in [
                (changed(|post| post.content.caption = Some("Hi there".to_owned())), false),
                (changed(|post| post.content.hashtags = vec!["one".to_owned()]), false),
                (changed(|post| post.content.is_ai_generated = true), false),
                // The title is not sent.
                (changed(|post| post.content.title = Some("Title".to_owned())), true),
            ] {
                let fingerprint = Draft::of(&other, &here).await.unwrap().fingerprint();
                assert_eq!(fingerprint == first, is_same, "{:?}", other.content);
            }
        }
    }

    #[test]
    fn a_token_without_access_to_the_account_has_to_be_renewed() {
        let category = |subcode| {
            let code = GraphCode { code: Some(100), subcode, is_transient: false };
            account_failure(Refusal { failure: Failure::new(Category::Unknown, ""), code }).category
        };
        assert_eq!((category(Some(33)), category(None)), (Category::Auth, Category::Unknown));
    }

    #[test]
    fn containers_are_polled_at_five_times_the_configured_wait_and_at_most_a_minute() {
        let first = |first| container_poll(PollSettings { first, total: Duration::ZERO }).first;
        assert_eq!(first(Duration::from_secs(2)), Duration::from_secs(10));
        assert_eq!(first(Duration::from_millis(10)), Duration::from_millis(50));
        assert_eq!(first(Duration::from_secs(60)), Duration::from_secs(60));
        assert_eq!(first(Duration::MAX), Duration::from_secs(60));
    }
}
