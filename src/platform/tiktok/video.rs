//! Videos: started with `init`, uploaded in chunks, and posted by TikTok as soon as the last chunk has arrived.
//!
//! Nothing can appear before all bytes have arrived, so the last chunk is the step that cannot be taken back. That it
//! is about to be sent is stored before.

use std::time::Duration;

use chrono::TimeDelta;

use super::chunks::ChunkPlan;
use super::publisher::TikTokPublisher;
use super::status::PublishState;
use super::text::fitted_title;
use super::ticket::{TikTokTicket, VideoTicket};
use super::upload::{UploadEnd, VideoUpload};
use super::wire::VideoInit;
use crate::platform::backoff::PollBackoff;
use crate::platform::stale_ticket::judge_ticket_failure;
use crate::platform::upload::upload;
use crate::platform::{
    PublishContext, PublishError, TicketAge, TicketOutcome, file_changed, still_processing, ticket_payload,
};
use crate::post::{Category, Failure, MediaKind, PROCESSING_LIMIT, Platform, Post, Ticket};

/// How long an upload address accepts bytes (platform sheet, section 4).
const UPLOAD_WINDOW: TimeDelta = TimeDelta::hours(1);

impl TikTokPublisher {
    pub(super) async fn create_video_ticket(
        &self,
        post: &Post,
        context: &dyn PublishContext,
    ) -> Result<Ticket, PublishError> {
        let file = self.assets.file_of(post, MediaKind::Video).await?;
        let title = fitted_title(post)?;
        let creator = self.creator(context).await?;
        check_duration(self.assets.duration_of(&file).await, creator.longest_video())?;
        let init = VideoInit::new(&title, &self.privacy_level, &creator, ChunkPlan::for_size(file.size));
        let started = self.api.start_video(&init, context).await?;
        self.api.upload_address(&started.upload_url)?;
        let own = TikTokTicket::Video(VideoTicket {
            publish_id: started.publish_id,
            upload_url: Some(started.upload_url),
            size: Some(file.size),
            username: creator.creator_username,
        });
        Ok(Ticket::new(Platform::TikTok, context.now(), ticket_payload(&own)?))
    }

    pub(super) async fn resume_video(
        &self,
        post: &Post,
        ticket: Ticket,
        own: VideoTicket,
        age: TicketAge,
        context: &dyn PublishContext,
    ) -> Result<TicketOutcome, PublishError> {
        let total = match own.size {
            Some(size) => Some(size),
            None => self.assets.file_of(post, MediaKind::Video).await.ok().map(|file| file.size),
        };
        VideoPublish { publisher: self, post, context, ticket, own, total, age }.run().await
    }
}

/// A video on its way from its ticket to an outcome.
struct VideoPublish<'a> {
    publisher: &'a TikTokPublisher,
    post: &'a Post,
    context: &'a dyn PublishContext,
    ticket: Ticket,
    own: VideoTicket,
    /// The size of the video, as far as it is known.
    total: Option<u64>,
    /// `Stored` until the ticket of an earlier attempt has been looked up for the first time.
    age: TicketAge,
}

impl VideoPublish<'_> {
    /// Sends what is missing and polls the state until there is an outcome.
    async fn run(mut self) -> Result<TicketOutcome, PublishError> {
        let mut backoff = PollBackoff::new(self.publisher.poll);
        let mut resume_at = (self.age == TicketAge::Fresh).then_some(0);
        loop {
            if let Some(offset) = resume_at.take()
                && self.send_bytes(offset).await? == UploadEnd::Closed
            {
                return self.finish_closed().await;
            }
            let state = self.publisher.poll_state(&self.own.publish_id, &mut backoff, self.context).await?;
            match next_step(state, self.facts()) {
                Step::Finish(end) => return self.finish(end).await,
                Step::Resume(offset) => resume_at = Some(offset),
                Step::Wait => {
                    if backoff.wait(self.context).await.is_break() {
                        return self.give_up_waiting().await;
                    }
                }
            }
            self.age = TicketAge::Fresh;
        }
    }

    fn facts(&self) -> Facts {
        let is_committed = self.ticket.is_committed();
        Facts {
            is_committed,
            trusts_count: self.age == TicketAge::Stored || !is_committed,
            accepts_bytes: self.own.upload_url.is_some() && self.ticket.age(self.context.now()) < UPLOAD_WINDOW,
            total: self.total,
        }
    }

    async fn send_bytes(&mut self, offset: u64) -> Result<UploadEnd, PublishError> {
        let Some(address) = &self.own.upload_url else { return Ok(UploadEnd::Closed) };
        let (api, assets) = (&self.publisher.api, &self.publisher.assets);
        let file = assets.file_of(self.post, MediaKind::Video).await?;
        if self.own.size.is_some_and(|size| size != file.size) {
            return Err(file_changed(Platform::TikTok).into());
        }
        let sending = VideoUpload {
            api,
            publish_id: &self.own.publish_id,
            address: api.upload_address(address)?,
            file: &file,
            plan: ChunkPlan::for_size(file.size),
        };
        upload(&sending, &mut self.ticket, offset, self.publisher.poll, self.context).await
    }

    /// The upload address accepts no more bytes. Whether that matters, only the state of the publish tells.
    async fn finish_closed(&self) -> Result<TicketOutcome, PublishError> {
        let state = self.publisher.api.status(&self.own.publish_id, self.context).await?;
        let facts = Facts { trusts_count: true, accepts_bytes: false, ..self.facts() };
        match next_step(state, facts) {
            Step::Finish(end) => self.finish(end).await,
            Step::Resume(_) | Step::Wait => Err(still_processing(Platform::TikTok).into()),
        }
    }

    /// A publish that has been processing for very long is not waited for any more; the account's list may still tell.
    async fn give_up_waiting(&self) -> Result<TicketOutcome, PublishError> {
        let failure = still_processing(Platform::TikTok);
        if self.ticket.age(self.context.now()) >= PROCESSING_LIMIT {
            self.finish(End::Unknown(failure)).await
        } else {
            Err(failure.into())
        }
    }

    async fn finish(&self, end: End) -> Result<TicketOutcome, PublishError> {
        match end {
            End::Published(id) => Ok(TicketOutcome::Published(self.own.publication(id))),
            End::Failed(failure) => judge_ticket_failure(failure, self.age, self.post),
            End::NotPublished => Ok(TicketOutcome::Dead),
            End::Unknown(failure) => self.publisher.find_listed(self.post, &self.ticket, &failure, self.context).await,
        }
    }
}

/// What the next step depends on besides the state.
#[derive(Debug, Clone, Copy)]
struct Facts {
    is_committed: bool,
    /// Whether a count of bytes that falls short means that bytes are missing. Right after this attempt has sent the
    /// last of them, it may only be late.
    trusts_count: bool,
    /// Whether the upload address is known and still accepts bytes.
    accepts_bytes: bool,
    total: Option<u64>,
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    Finish(End),
    /// Send the bytes from this offset on.
    Resume(u64),
    Wait,
}

#[derive(Debug, PartialEq, Eq)]
enum End {
    /// With its id, if TikTok tells one.
    Published(Option<String>),
    Failed(Failure),
    /// Nothing was published and nothing can be, with this ticket.
    NotPublished,
    /// TikTok cannot tell whether the video was published.
    Unknown(Failure),
}

/// What follows from the state of a video (platform sheet, section 12).
fn next_step(state: PublishState, facts: Facts) -> Step {
    match state {
        PublishState::Published(id) => Step::Finish(End::Published(id)),
        PublishState::Failed(failure) => Step::Finish(End::Failed(failure)),
        PublishState::Unknown(failure) if facts.is_committed => Step::Finish(End::Unknown(failure)),
        PublishState::Unknown(_) => Step::Finish(End::NotPublished),
        PublishState::Uploading(bytes) if facts.trusts_count => match bytes.zip(facts.total) {
            Some((bytes, total)) if bytes < total && facts.accepts_bytes => Step::Resume(bytes),
            // TikTok posts only when it has all bytes, and it accepts no more.
            Some((bytes, total)) if bytes < total => Step::Finish(End::NotPublished),
            _ if !facts.is_committed && !facts.accepts_bytes => Step::Finish(End::NotPublished),
            _ => Step::Wait,
        },
        PublishState::Uploading(_) | PublishState::Processing => Step::Wait,
    }
}

/// TikTok would say so only after it has received the whole video.
fn check_duration(is: Option<Duration>, longest: Option<Duration>) -> Result<(), Failure> {
    match is.zip(longest) {
        // The fraction of a second that an encoder adds is not worth a refusal that TikTok may not make.
        Some((is, longest)) if is >= longest.saturating_add(Duration::from_secs(1)) => {
            let is = humantime::format_duration(Duration::from_secs(is.as_secs()));
            let longest = humantime::format_duration(longest);
            let text = format!("the video lasts {is}, but the account may post at most {longest} on TikTok");
            Err(Failure::new(Category::MediaProcessing, text).advise("shorten it").not_retryable())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure() -> Failure {
        Failure::new(Category::PlatformOutage, "why")
    }

    /// Facts of which these are true: c for committed, t for a trusted count, a for an address that accepts bytes.
    fn facts(letters: &str) -> Facts {
        let has = |letter: char| letters.contains(letter);
        Facts { is_committed: has('c'), trusts_count: has('t'), accepts_bytes: has('a'), total: Some(30) }
    }

    #[test]
    fn the_state_and_the_ticket_decide_what_follows() {
        let uploading = PublishState::Uploading;
        let finish = Step::Finish;
        for (state, letters, step) in [
            (PublishState::Published(Some("7".into())), "t", finish(End::Published(Some("7".into())))),
            (PublishState::Published(None), "c", finish(End::Published(None))),
            (PublishState::Failed(failure()), "", finish(End::Failed(failure()))),
            (PublishState::Failed(failure()), "ct", finish(End::Failed(failure()))),
            // An id that is not known any more proves that nothing was published only before the last chunk.
            (PublishState::Unknown(failure()), "ta", finish(End::NotPublished)),
            (PublishState::Unknown(failure()), "cta", finish(End::Unknown(failure()))),
            (PublishState::Unknown(failure()), "c", finish(End::Unknown(failure()))),
            // Missing bytes are sent while they are accepted, even after the commitment.
            (uploading(Some(10)), "ta", Step::Resume(10)),
            (uploading(Some(10)), "cta", Step::Resume(10)),
            (uploading(Some(10)), "t", finish(End::NotPublished)),
            (uploading(Some(10)), "ct", finish(End::NotPublished)),
            // This attempt has sent them all: the count is late.
            (uploading(Some(10)), "ca", Step::Wait),
            (uploading(Some(10)), "c", Step::Wait),
            // None are missing, as far as TikTok tells.
            (uploading(Some(30)), "ta", Step::Wait),
            (uploading(Some(30)), "ct", Step::Wait),
            (uploading(Some(30)), "t", finish(End::NotPublished)),
            (uploading(None), "ta", Step::Wait),
            (uploading(None), "ct", Step::Wait),
            (uploading(None), "t", finish(End::NotPublished)),
            (PublishState::Processing, "t", Step::Wait),
            (PublishState::Processing, "ct", Step::Wait),
        ] {
            let text = format!("{state:?} {letters}");
            assert_eq!(next_step(state, facts(letters)), step, "{text}");
        }
        // The application's ticket does not say how large the video was.
        let unknown = Facts { total: None, ..facts("ct") };
        assert_eq!(next_step(uploading(Some(10)), unknown), Step::Wait);
    }

    #[test]
    fn a_video_may_be_a_fraction_of_a_second_too_long() {
        let check = |is: u64, longest| check_duration(Some(Duration::from_millis(is)), longest);
        let longest = Some(Duration::from_secs(180));
        assert_eq!(check(180_999, longest), Ok(()));
        assert_eq!(check(u64::MAX, None), Ok(()));
        assert_eq!(check(u64::MAX, Some(Duration::from_secs(u64::MAX))), Ok(()));
        assert_eq!(check_duration(None, longest), Ok(()));
        let failure = check(195_500, longest).unwrap_err();
        assert_eq!(failure.category, Category::MediaProcessing);
        let text = "the video lasts 3m 15s, but the account may post at most 3m on TikTok; shorten it";
        assert_eq!(failure.message, text);
    }
}
