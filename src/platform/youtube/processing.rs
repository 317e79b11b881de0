//! Waiting for an uploaded video to be processed. The video exists, so nothing is sent again for it unless `YouTube` says
//! that it failed.

use serde_json::Value;

use super::YouTubePublisher;
use super::classify::{Processed, read_processing};
use crate::platform::patience::{Look, Patience};
use crate::platform::{PublishContext, PublishError, TicketAge, TicketOutcome};
use crate::post::{Category, Failure, Publication, Ticket, TicketHandle};

impl YouTubePublisher {
    /// Waits until the uploaded video is processed. The video exists, so nothing is ever sent again for it unless
    /// `YouTube` says that it failed.
    pub(super) async fn processed(
        &self,
        ticket: &mut Ticket,
        video: &Value,
        age: TicketAge,
        context: &dyn PublishContext,
    ) -> Result<TicketOutcome, PublishError> {
        let id = video["id"].as_str().unwrap_or_default().to_owned();
        if let TicketHandle::YoutubeSession { video_id, .. } = &mut ticket.handle
            && video_id.is_none()
        {
            *video_id = Some(id.clone());
            context.save_ticket(ticket).await?;
        }
        let mut video = video.clone();
        let mut patience = Patience::new(self.poll);
        let mut was_seen = false;
        loop {
            match read_processing(&video) {
                Processed::Done => return Ok(TicketOutcome::Published(self.publication(&id, &video))),
                Processed::Failed(failure) => return Err(failure.into()),
                Processed::NotYet => {}
            }
            let url = self.settings.api.at("/youtube/v3/videos");
            let query = [("part", "status,processingDetails"), ("id", id.as_str())];
            let step = "say whether the video is processed";
            match self.call(step, || self.http.get(url.clone()).query(&query), context).await {
                Ok(json) => {
                    patience.forget_troubles();
                    if json["items"][0].is_object() {
                        was_seen = true;
                        video = json["items"][0].clone();
                        if read_processing(&video) != Processed::NotYet {
                            continue;
                        }
                    }
                }
                Err(PublishError::Failed(failure)) => match failure.category {
                    Category::Network | Category::PlatformOutage if patience.bears_one_more() => {}
                    Category::Network | Category::PlatformOutage | Category::RateLimited | Category::QuotaExhausted => {
                        return Err(failure.into());
                    }
                    // Without the right to read there is no more to learn; the video is on the channel.
                    _ => {
                        log::debug!("taking the video as published: {}", failure.message);
                        return Ok(TicketOutcome::Published(self.publication(&id, &video)));
                    }
                },
                Err(aborted) => return Err(aborted),
            }
            if patience.wait(context).await == Look::Enough {
                let is_missing = !was_seen && age == TicketAge::Stored;
                return Err(if is_missing { vanished(&id) } else { still_processing() }.into());
            }
        }
    }

    fn publication(&self, id: &str, video: &Value) -> Publication {
        let wanted = self.settings.privacy_status.as_str();
        let warning = video["status"]["privacyStatus"].as_str().filter(|got| *got != wanted).map(|got| {
            format!("YouTube made video {id} `{got}` though `{wanted}` was asked for; look at the channel's settings")
        });
        Publication { id: Some(id.to_owned()), url: Some(format!("https://www.youtube.com/shorts/{id}")), warning }
    }
}

fn still_processing() -> Failure {
    let text = "YouTube has the video and is still processing it; the next pass looks again";
    Failure::new(Category::Processing, text)
}

fn vanished(id: &str) -> Failure {
    let text = format!("video {id} was uploaded to YouTube and is not there any more; look at the channel");
    Failure::new(Category::Ambiguous, text)
}
