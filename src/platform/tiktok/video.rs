//! Videos on TikTok: announced, uploaded in chunks, and posted by TikTok once the last chunk is in.
//!
//! Nothing can appear before all bytes have arrived, so the last chunk is the step that cannot be taken back: that it is
//! about to be sent is stored before it is.

use std::ops::Range;
use std::time::Duration;

use chrono::TimeDelta;
use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE};
use serde_json::json;

use super::account::fitted_title;
use super::chunks::ChunkPlan;
use super::classify::classify;
use super::{State, TikTokPublisher, failed_before_or_now, misunderstood, still_processing};
use crate::platform::http::{ApiResponse, SendError};
use crate::platform::media::MediaFile;
use crate::platform::patience::{Look, Patience};
use crate::platform::{PublishContext, PublishError, TicketAge, TicketOutcome};
use crate::post::{Category, Failure, MediaKind, PROCESSING_LIMIT, Platform, Post, Ticket, TicketHandle};

/// The domain of TikTok's upload hosts.
const DOMAIN: &str = "tiktokapis.com";

/// How long an upload address takes bytes.
const UPLOAD_WINDOW: TimeDelta = TimeDelta::hours(1);

/// How sending the bytes ended.
enum Upload {
    Complete,
    /// The upload address takes no more bytes.
    Closed,
}

impl TikTokPublisher {
    /// Announces a video. An announcement whose answer is lost leads nowhere: nobody has its upload address.
    pub(super) async fn create_video_ticket(
        &self,
        post: &Post,
        context: &dyn PublishContext,
    ) -> Result<Ticket, PublishError> {
        let file = self.assets.file_of(post, MediaKind::Video).await?;
        let title = fitted_title(post)?;
        let creator = self.creator(context).await?;
        check_duration(self.assets.duration_of(&file).await, creator.longest)?;
        let plan = ChunkPlan::for_size(file.size);
        let body = json!({
            "post_info": {
                "title": title,
                "privacy_level": self.privacy_level,
                "disable_comment": creator.comment_disabled,
                "disable_duet": creator.duet_disabled,
                "disable_stitch": creator.stitch_disabled,
                "brand_content_toggle": false,
                "brand_organic_toggle": false,
            },
            "source_info": {
                "source": "FILE_UPLOAD",
                "video_size": plan.size,
                "chunk_size": plan.chunk_size,
                "total_chunk_count": plan.count,
            },
        });
        let step = "take the announcement of the video";
        let data = self
            .call(step, "/v2/post/publish/video/init/", &body, context)
            .await
            .map_err(|error| error.into_retryable(step))?;
        let (Some(publish_id), Some(address)) = (data["publish_id"].as_str(), data["upload_url"].as_str()) else {
            return Err(misunderstood(step, 200).into());
        };
        self.api.trusted(address, DOMAIN, Platform::TikTok)?;
        let handle = TicketHandle::TiktokVideo {
            publish_id: publish_id.to_owned(),
            upload_url: Some(address.to_owned()),
            size: Some(file.size),
            username: creator.username,
        };
        Ok(Ticket::new(context.now(), handle))
    }

    /// Sends the bytes from `offset` on.
    async fn upload(
        &self,
        ticket: &mut Ticket,
        file: &MediaFile,
        mut offset: u64,
        context: &dyn PublishContext,
    ) -> Result<Upload, PublishError> {
        let (publish_id, address) = match &ticket.handle {
            TicketHandle::TiktokVideo { publish_id, upload_url: Some(address), .. } => {
                (publish_id.clone(), self.api.trusted(address, DOMAIN, Platform::TikTok)?)
            }
            _ => return Ok(Upload::Closed),
        };
        let plan = ChunkPlan::for_size(file.size);
        let mut patience = Patience::new(self.poll);
        while offset < plan.size {
            let range = plan.rest_of_chunk_at(offset);
            let is_last = range.end == plan.size;
            if is_last && !ticket.is_committed() {
                *ticket = ticket.clone().committed(context.now());
                context.save_ticket(ticket).await?;
            }
            let step = "take the video's bytes";
            let trouble = match self.send_chunk(&address, file, range.clone(), context).await {
                Ok(response) => match response.status {
                    200 | 201 | 206 if is_last => return Ok(Upload::Complete),
                    201 => return Ok(Upload::Complete),
                    200 | 206 => {
                        patience.note_progress(offset, range.end);
                        offset = range.end;
                        continue;
                    }
                    403..=405 => return Ok(Upload::Closed),
                    416 => {
                        Failure::new(Category::Network, "TikTok has other bytes of the video than were sent (HTTP 416)")
                    }
                    400 => {
                        let text = "TikTok refused the video's bytes (HTTP 400); encode the file again";
                        return Err(Failure::new(Category::MediaProcessing, text).not_retryable().into());
                    }
                    status => classify(step, status, "", "").retry_at(response.retry_after(context.now())),
                },
                Err(SendError::Aborted(aborted)) => return Err(aborted.into()),
                Err(error @ (SendError::File(_) | SendError::TooLong { .. })) => {
                    return Err(error.into_retryable(Platform::TikTok, step));
                }
                Err(error) => error.into_retryable(Platform::TikTok, step).into_failure()?,
            };
            if patience.bear(&trouble, context).await == Look::Enough {
                return Err(trouble.into());
            }
            log::debug!("TikTok upload interrupted, asking how far it came: {}", trouble.message);
            match self.state(ticket, &publish_id, context).await? {
                State::Uploading(Some(bytes)) if bytes < plan.size => {
                    patience.note_progress(offset, bytes);
                    offset = bytes;
                }
                State::Uploading(None) => return Err(trouble.into()),
                State::Uploading(Some(_)) | State::Processing | State::Published(_) | State::Failed(_) => {
                    return Ok(Upload::Complete);
                }
                State::Unknown(_) => return Ok(Upload::Closed),
            }
        }
        Ok(Upload::Complete)
    }

    async fn send_chunk(
        &self,
        address: &url::Url,
        file: &MediaFile,
        range: Range<u64>,
        context: &dyn PublishContext,
    ) -> Result<ApiResponse, SendError> {
        let content_range = format!("bytes {}-{}/{}", range.start, range.end - 1, file.size);
        // The address carries its own token; the account's is not sent there.
        let request =
            self.http.put(address.clone()).header(CONTENT_TYPE, file.mime).header(CONTENT_RANGE, content_range);
        self.http.upload(request, file, range, context).await
    }

    /// Carries an announced video to its end: what it lacks is sent, then its state is looked at.
    pub(super) async fn resume_video(
        &self,
        post: &Post,
        mut ticket: Ticket,
        age: TicketAge,
        context: &dyn PublishContext,
    ) -> Result<TicketOutcome, PublishError> {
        let TicketHandle::TiktokVideo { publish_id, upload_url, size, .. } = ticket.handle.clone() else {
            return Ok(TicketOutcome::Dead);
        };
        let mut patience = Patience::new(self.poll);
        let mut resume_at = (age == TicketAge::Fresh).then_some(0);
        let mut is_first_look = age == TicketAge::Stored;
        loop {
            if let Some(offset) = resume_at.take() {
                let file = self.assets.file_of(post, MediaKind::Video).await?;
                if size.is_some_and(|size| size != file.size) {
                    return Err(replaced_file().into());
                }
                if matches!(self.upload(&mut ticket, &file, offset, context).await?, Upload::Closed) {
                    return self.closed_upload(post, &ticket, &publish_id, file.size, context).await;
                }
            }
            match self.patient_state(&ticket, &publish_id, &mut patience, context).await? {
                State::Published(publication) => return Ok(TicketOutcome::Published(publication)),
                State::Failed(failure) => return failed_before_or_now(failure, is_first_look, post),
                State::Unknown(_) if !ticket.is_committed() => return Ok(TicketOutcome::Dead),
                State::Unknown(failure) => return self.find_listed(post, &ticket, &failure, context).await,
                State::Uploading(bytes) if is_first_look || !ticket.is_committed() => {
                    let total = match size {
                        Some(size) => Some(size),
                        None => self.assets.file_of(post, MediaKind::Video).await.ok().map(|file| file.size),
                    };
                    let is_short = bytes.zip(total).is_some_and(|(bytes, total)| bytes < total);
                    let is_open = upload_url.is_some() && ticket.age(context.now()) < UPLOAD_WINDOW;
                    if is_short && is_open {
                        is_first_look = false;
                        resume_at = bytes;
                        continue;
                    }
                    // TikTok posts only when all bytes are in, and no more are taken.
                    if is_short || (!ticket.is_committed() && !is_open) {
                        return Ok(TicketOutcome::Dead);
                    }
                }
                State::Uploading(_) | State::Processing => {}
            }
            is_first_look = false;
            if patience.wait(context).await == Look::Enough {
                // What has been processing for so long is not believed any more; the account's list may still tell.
                let is_overdue = ticket.age(context.now()) >= PROCESSING_LIMIT;
                return if is_overdue {
                    self.find_listed(post, &ticket, &still_processing(), context).await
                } else {
                    Err(still_processing().into())
                };
            }
        }
    }

    /// The upload address takes no more bytes. Whether that matters, only the state of the upload tells.
    async fn closed_upload(
        &self,
        post: &Post,
        ticket: &Ticket,
        publish_id: &str,
        size: u64,
        context: &dyn PublishContext,
    ) -> Result<TicketOutcome, PublishError> {
        match self.state(ticket, publish_id, context).await? {
            State::Published(publication) => Ok(TicketOutcome::Published(publication)),
            State::Failed(_) => Ok(TicketOutcome::Dead),
            State::Uploading(Some(bytes)) if bytes < size => Ok(TicketOutcome::Dead),
            State::Uploading(_) | State::Unknown(_) if !ticket.is_committed() => Ok(TicketOutcome::Dead),
            State::Unknown(failure) => self.find_listed(post, ticket, &failure, context).await,
            State::Uploading(_) | State::Processing => Err(still_processing().into()),
        }
    }
}

/// The file is not the one that was announced. TikTok says that bytes are missing, so nothing can come of the upload.
fn replaced_file() -> Failure {
    let text = "the video file has changed since its upload to TikTok began; the next retry sends it as it is now";
    Failure::new(Category::MissingAsset, text).with_dead_ticket()
}

/// TikTok would take the whole upload before it said so.
fn check_duration(is: Option<Duration>, longest: Option<Duration>) -> Result<(), Failure> {
    match is.zip(longest) {
        // The fraction of a second that an encoder adds is not worth a refusal that TikTok may not make.
        Some((is, longest)) if is >= longest + Duration::from_secs(1) => {
            let (is, longest) = (Duration::from_secs(is.as_secs()), humantime::format_duration(longest));
            let text =
                format!("the video lasts {}, the account may post {longest} on TikTok", humantime::format_duration(is));
            Err(Failure::new(Category::MediaProcessing, text).advise("shorten it").not_retryable())
        }
        _ => Ok(()),
    }
}
