//! An Instagram container: made, filled with the bytes of a reel, and read. Nothing of it is public yet.

use reqwest::header::AUTHORIZATION;
use secrecy::ExposeSecret;
use serde_json::json;

use super::account::fitted_caption;
use super::classify::{GraphCode, classify, classify_upload};
use super::{CallError, InstagramPublisher, misunderstood};
use crate::platform::http::text_or_number;
use crate::platform::patience::{Look, Patience};
use crate::platform::{PublishContext, PublishError};
use crate::post::{Category, Failure, MediaKind, Platform, Post, Ticket, TicketHandle};

/// The domain of the upload host.
const DOMAIN: &str = "facebook.com";

/// A container, and whether we are filling it with a reel: only then are its bytes and its sound of interest.
#[derive(Debug, Clone, Copy)]
pub(super) struct Container<'a> {
    pub(super) id: &'a str,
    pub(super) is_reel: bool,
}

/// What a container says of itself.
pub(super) enum State {
    Processing {
        /// Bytes of the reel that have arrived, while some are missing.
        uploaded: Option<u64>,
    },
    Finished,
    Published,
    Failed(Failure),
    Expired,
    /// It cannot be read, for a reason that will not pass.
    Unreadable(Failure),
}

impl InstagramPublisher {
    /// Whether the account has posts left today. Where that cannot be read, publishing will tell.
    async fn check_quota(&self, context: &dyn PublishContext) -> Result<(), PublishError> {
        let step = "say how many posts the account has left";
        let url = self.of_account("content_publishing_limit");
        let request = || self.http.get(url.clone()).query(&[("fields", "config,quota_usage")]);
        let limit = match self.call(step, request, context).await {
            Ok(json) => json["data"][0].clone(),
            Err(CallError::Stopped(error)) => return Err(error),
            Err(error) => {
                let failure = error.into_retryable(step).into_failure()?;
                log::debug!("going on without knowing the quota: {}", failure.message);
                return Ok(());
            }
        };
        match (limit["quota_usage"].as_u64(), limit["config"]["quota_total"].as_u64()) {
            (Some(used), Some(total)) if used >= total => {
                let text = format!("the Instagram account has used {used} of its {total} posts of 24 h");
                Err(Failure::new(Category::QuotaExhausted, text).into())
            }
            _ => Ok(()),
        }
    }

    /// Makes a container. One whose id is lost is never seen by anyone and dies after a day.
    pub(super) async fn create(&self, post: &Post, context: &dyn PublishContext) -> Result<Ticket, PublishError> {
        let kind = post.content.media_kind()?;
        let file = self.assets.file_of(post, kind).await?;
        let caption = fitted_caption(post)?;
        let fields = match kind {
            MediaKind::Video => json!({ "media_type": "REELS", "upload_type": "resumable", "caption": caption }),
            MediaKind::Image => json!({ "image_url": self.assets.public_url(&file)?.as_str(), "caption": caption }),
        };
        self.check_quota(context).await?;
        let step = "make a container for the post";
        let url = self.of_account("media");
        let json = self
            .call(step, || self.http.post(url.clone()).json(&fields), context)
            .await
            .map_err(|error| error.into_retryable(step))?;
        let Some(container_id) = text_or_number(&json["id"]) else { return Err(misunderstood(step, 200).into()) };
        let upload_uri = json["uri"].as_str().map(str::to_owned);
        let size = match kind {
            MediaKind::Video => {
                let Some(uri) = &upload_uri else { return Err(misunderstood(step, 200).into()) };
                self.settings.upload.trusted(uri, DOMAIN, Platform::Instagram)?;
                Some(file.size)
            }
            MediaKind::Image => None,
        };
        Ok(Ticket::new(context.now(), TicketHandle::InstagramContainer { container_id, upload_uri, size }))
    }

    /// What the container says of itself. A read that fails for a passing reason is borne a few times.
    pub(super) async fn state(
        &self,
        container: Container<'_>,
        context: &dyn PublishContext,
    ) -> Result<State, PublishError> {
        let step = "say how the container stands";
        let url = self.url(container.id);
        let fields = if container.is_reel {
            "id,status,status_code,video_status,copyright_check_status"
        } else {
            "id,status,status_code"
        };
        let request = || self.http.get(url.clone()).query(&[("fields", fields)]);
        let mut patience = Patience::new(self.poll);
        let json = loop {
            let failure = match self.call(step, request, context).await {
                Ok(json) => break json,
                Err(CallError::Refused { failure, graph }) => {
                    if graph.subcode == Some(2_207_006) || graph.subcode == Some(2_207_020) {
                        return Ok(State::Unreadable(failure));
                    }
                    // A container that was just there is at times not found; for good that means another account.
                    let is_passing_absence = graph.is_missing() || graph.subcode == Some(2_207_008);
                    if is_passing_absence {
                        if patience.bears_one_more() && patience.wait(context).await == Look::Again {
                            continue;
                        }
                        let category = if graph.is_missing() { Category::Auth } else { failure.category };
                        return Ok(State::Unreadable(Failure { category, ..failure }));
                    }
                    failure
                }
                Err(error) => error.into_retryable(step).into_failure()?,
            };
            if patience.bear(&failure, context).await == Look::Enough {
                return Err(failure.into());
            }
        };
        let status = json["status"].as_str().unwrap_or_default();
        Ok(match json["status_code"].as_str().unwrap_or_default() {
            "FINISHED" if json["copyright_check_status"]["matches_found"].as_bool() == Some(true) => {
                State::Failed(infringing())
            }
            "FINISHED" => State::Finished,
            "PUBLISHED" => State::Published,
            "EXPIRED" => State::Expired,
            "ERROR" => {
                let graph = GraphCode::in_status(status);
                let failure = if graph.subcode.is_some() {
                    classify("process the media", 200, graph, status)
                } else {
                    let text = format!("Instagram failed to process the media: {status}");
                    Failure::new(Category::MediaProcessing, text)
                };
                State::Failed(failure.with_dead_ticket())
            }
            _ => {
                let phase = &json["video_status"]["uploading_phase"];
                let is_uploading = phase["status"].as_str().is_some_and(|status| status != "complete");
                State::Processing {
                    uploaded: phase["bytes_transferred"]
                        .as_u64()
                        .or(is_uploading.then_some(0))
                        .filter(|_| is_uploading),
                }
            }
        })
    }

    /// Sends the bytes of a reel from `offset` on; an upload that breaks off is resumed where it stands.
    pub(super) async fn upload(
        &self,
        post: &Post,
        container: Container<'_>,
        uri: &str,
        size: u64,
        mut offset: u64,
        context: &dyn PublishContext,
    ) -> Result<(), PublishError> {
        let file = self.assets.file_of(post, MediaKind::Video).await?;
        if file.size != size {
            let text = "the video file has changed since its upload to Instagram began";
            return Err(Failure::new(Category::MissingAsset, text).with_dead_ticket().into());
        }
        let url = self.settings.upload.trusted(uri, DOMAIN, Platform::Instagram)?;
        let mut token = self.tokens.access(context).await?;
        let mut is_renewed = false;
        let mut patience = Patience::new(self.poll);
        loop {
            let request = self
                .http
                .post(url.clone())
                .header(AUTHORIZATION, format!("OAuth {}", token.expose_secret()))
                .header("offset", offset)
                .header("file_size", size);
            let trouble = match self.http.upload(request, &file, offset..size, context).await {
                Ok(response) => {
                    let json = response.json();
                    if response.is_success() && json["success"].as_bool() == Some(true) {
                        return Ok(());
                    }
                    let failure = if response.is_success() {
                        misunderstood("take the video's bytes", response.status)
                    } else {
                        classify_upload(response.status, &json).retry_at(response.retry_after(context.now()))
                    };
                    if failure.category == Category::Auth && !is_renewed && self.settings.credentials.app.is_some() {
                        token = self.tokens.replace(&token, context).await?;
                        is_renewed = true;
                        continue;
                    }
                    failure
                }
                Err(error) => error.into_retryable(Platform::Instagram, "take the video's bytes").into_failure()?,
            };
            if patience.bear(&trouble, context).await == Look::Enough {
                return Err(trouble.into());
            }
            match self.state(container, context).await? {
                State::Processing { uploaded: Some(bytes) } if bytes < size => {
                    patience.note_progress(offset, bytes);
                    offset = bytes;
                }
                State::Processing { uploaded: Some(_) | None } | State::Finished | State::Published => return Ok(()),
                State::Failed(failure) => return Err(failure.into()),
                State::Expired | State::Unreadable(_) => return Err(trouble.with_dead_ticket().into()),
            }
        }
    }
}

/// Instagram would publish it all the same, and the account would bear the consequences.
fn infringing() -> Failure {
    let text = "Instagram's copyright check found a match in the video; change its sound or pictures";
    Failure::new(Category::RejectedContent, text).not_retryable().with_dead_ticket()
}
