//! Videos: started with `init`, uploaded in chunks, and posted by TikTok as soon as the last chunk has arrived.
//!
//! Nothing can appear before all bytes have arrived, so the last chunk is the step that cannot be taken back. That it
//! is about to be sent is stored before.

use std::sync::Mutex;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::chunks::ChunkPlan;
use super::publisher::TikTokPublisher;
use super::recovery::left_as_draft;
use super::status::PublishState;
use super::text::{ai_label, fitted_title};
use super::ticket::{TikTokTicket, VideoTicket};
use super::upload::{UploadEnd, VideoUpload};
use super::wire::VideoInit;
use crate::platform::backoff::PollBackoff;
use crate::platform::media::MediaFile;
use crate::platform::stale_ticket::judge_ticket_failure;
use crate::platform::upload::upload;
use crate::platform::{PublishContext, PublishError, TicketAge, TicketOutcome, still_processing, ticket_payload};
use crate::post::{Category, Content, Failure, MediaKind, PROCESSING_LIMIT, Platform, Post, Ticket};

/// The largest video that TikTok takes: 4 GB ("Media Transfer Guide"), if its GB are 2^30 bytes.
pub(super) const LARGEST_VIDEO: u64 = 4 << 30;

/// How long an upload address accepts bytes ("Direct Post").
const UPLOAD_WINDOW: TimeDelta = TimeDelta::hours(1);

impl TikTokPublisher {
    pub(super) async fn create_video_ticket(
        &self,
        post: &Post,
        context: &dyn PublishContext,
    ) -> Result<Ticket, PublishError> {
        let file = self.assets.file_of(post, MediaKind::Video).await?;
        file.ensure_at_most(LARGEST_VIDEO, Platform::TikTok)?;
        let title = fitted_title(post)?;
        let creator = self.creator(context).await?;
        check_duration(file.duration().await?, creator.longest_video())?;
        let plan = ChunkPlan::for_size(file.size);
        let init = VideoInit::new(&title, &self.privacy_level, &creator, plan, &post.content);
        let started = self.api.start_video(&init, context).await?;
        self.api.upload_address(&started.upload_url)?;
        let own = TikTokTicket::Video(VideoTicket {
            publish_id: started.publish_id,
            upload_url: Some(started.upload_url),
            size: Some(file.size),
            username: creator.creator_username,
        });
        let fingerprint = video_fingerprint(&file, &title, &post.content);
        Ok(Ticket::new(Platform::TikTok, context.now(), ticket_payload(&own)?).with_fingerprint(Some(fingerprint)))
    }

    pub(super) async fn resume_video(
        &self,
        post: &Post,
        ticket: Ticket,
        own: VideoTicket,
        age: TicketAge,
        context: &dyn PublishContext,
    ) -> Result<TicketOutcome, PublishError> {
        VideoPublish { publisher: self, post, context, ticket, own, age }.run().await
    }
}

/// What is published with a video, as a fingerprint.
pub(super) fn video_fingerprint(file: &MediaFile, title: &str, content: &Content) -> String {
    file.fingerprint(&[title, ai_label(content)])
}

/// A video on its way from its ticket to an outcome.
struct VideoPublish<'a> {
    publisher: &'a TikTokPublisher,
    post: &'a Post,
    context: &'a dyn PublishContext,
    ticket: Ticket,
    own: VideoTicket,
    /// `Stored` until the ticket of an earlier attempt has been looked up for the first time.
    age: TicketAge,
}

impl VideoPublish<'_> {
    /// Sends what is missing and polls the state until there is an outcome.
    async fn run(mut self) -> Result<TicketOutcome, PublishError> {
        let mut backoff = PollBackoff::new(self.publisher.poll);
        let mut resume_at = (self.age == TicketAge::Fresh).then_some(0);
        loop {
            if let Some(offset) = resume_at.take() {
                // Bytes are missing, so nothing can be public yet.
                let Some(file) = self.unchanged_file().await? else { return Ok(TicketOutcome::Dead) };
                match self.send_bytes(&file, offset).await {
                    Ok(UploadEnd::Closed) => return self.finish_closed().await,
                    Err(PublishError::Failed(failure)) if self.is_address_too_old(&failure) => {
                        log::debug!("post {}: the upload address accepts no bytes: {}", self.post.id, failure.message);
                        return self.give_up_waiting().await;
                    }
                    sent => drop(sent?),
                }
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
            accepts_bytes: self.own.upload_url.is_some() && may_be_open(&self.ticket, self.context.now()),
            // The application's ticket does not tell the size of its video, and today's file may be another one.
            total: self.own.size,
        }
    }

    /// The file to send; none if the post or the file is not what the ticket was made for any more.
    async fn unchanged_file(&self) -> Result<Option<MediaFile>, PublishError> {
        let content = &self.post.content;
        if content.media_kind()? != MediaKind::Video {
            return Ok(None);
        }
        // Opened once: what is compared is what is sent.
        let file = self.publisher.assets.file_of(self.post, MediaKind::Video).await?;
        let current = video_fingerprint(&file, &fitted_title(self.post)?, content);
        let has_same_size = self.own.size.is_none_or(|size| size == file.size);
        Ok((has_same_size && !self.ticket.was_made_for_another(&current)).then_some(file))
    }

    async fn send_bytes(&mut self, file: &MediaFile, offset: u64) -> Result<UploadEnd, PublishError> {
        let Some(address) = &self.own.upload_url else { return Ok(UploadEnd::Closed) };
        let api = &self.publisher.api;
        let sending = VideoUpload {
            api,
            publish_id: &self.own.publish_id,
            address: api.upload_address(address)?,
            file,
            plan: ChunkPlan::for_size(file.size),
            reported: Mutex::default(),
        };
        let end = upload(&sending, &mut self.ticket, offset, self.publisher.poll, self.context).await?;
        // TikTok may say that it has everything before the last chunk was sent.
        if end == UploadEnd::Complete && !self.ticket.is_committed() {
            self.ticket = self.ticket.clone().committed(self.context.now());
            self.context.save_ticket(&self.ticket).await?;
        }
        Ok(end)
    }

    /// Whether bytes were refused because of the age of the address, whatever the response says: that is no fault of the
    /// video. The address of a video that was sent whole is used longer than it is promised to serve.
    fn is_address_too_old(&self, failure: &Failure) -> bool {
        self.ticket.is_committed()
            && self.ticket.age(self.context.now()) >= UPLOAD_WINDOW
            && matches!(failure.category, Category::Unknown | Category::MediaProcessing)
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
        if self.ticket.known_for(self.context.now()) >= PROCESSING_LIMIT {
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
            End::Draft => Err(left_as_draft(self.post).into()),
            End::Inaccessible(failure) => {
                self.publisher.judge_inaccessible(self.post, &self.ticket, failure, self.context).await
            }
            End::Unknown(failure) => {
                self.publisher.find_listed(self.post, &self.ticket, &self.own, &failure, self.context).await
            }
        }
    }
}

/// Whether an upload address may still accept bytes. As long as nothing can be public, the clock is enough to tell. Later
/// a wrong clock would lead to a second video, so TikTok itself has to refuse the bytes.
fn may_be_open(ticket: &Ticket, now: DateTime<Utc>) -> bool {
    ticket.is_committed() || ticket.age(now) < UPLOAD_WINDOW
}

/// What the next step depends on besides the state.
#[derive(Debug, Clone, Copy)]
struct Facts {
    is_committed: bool,
    /// Whether a count of bytes that falls short means that bytes are missing. Right after this attempt has sent the
    /// last of them, it may only be late.
    trusts_count: bool,
    /// Whether the upload address is known and may still accept bytes.
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
    /// A draft in the creator's inbox.
    Draft,
    /// TikTok cannot tell whether the video was published.
    Unknown(Failure),
    /// The token may not ask about the publish.
    Inaccessible(Failure),
}

/// What follows from the state of a video. The states are those of "Get Post Status". No page says what to do next: it
/// is inferred from the "Media Transfer Guide", by which TikTok starts posting when it has all bytes.
fn next_step(state: PublishState, facts: Facts) -> Step {
    match state {
        PublishState::Published(id) => Step::Finish(End::Published(id)),
        PublishState::Failed(failure) => Step::Finish(End::Failed(failure)),
        PublishState::Unknown(failure) if facts.is_committed => Step::Finish(End::Unknown(failure)),
        PublishState::Unknown(_) => Step::Finish(End::NotPublished),
        PublishState::Draft => Step::Finish(End::Draft),
        PublishState::Inaccessible(failure) => Step::Finish(End::Inaccessible(failure)),
        PublishState::Uploading(bytes) if facts.trusts_count => match bytes.zip(facts.total) {
            Some((bytes, total)) if bytes < total && facts.accepts_bytes => Step::Resume(bytes),
            // TikTok posts only when it has all bytes, and it accepts no more.
            Some((bytes, total)) if bytes < total => Step::Finish(End::NotPublished),
            // It has them all, so it may post, whoever sent them.
            Some(_) => Step::Wait,
            None if !facts.is_committed && !facts.accepts_bytes => Step::Finish(End::NotPublished),
            // The last byte was never sent. If others have arrived, the response to the first chunk says so.
            None if !facts.is_committed => Step::Resume(0),
            None => Step::Wait,
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
    use crate::platform::media::AssetStore;
    use crate::platform::test_context::post;

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
            (uploading(Some(30)), "t", Step::Wait),
            (uploading(None), "ta", Step::Resume(0)),
            (uploading(None), "cta", Step::Wait),
            (uploading(None), "ct", Step::Wait),
            (uploading(None), "t", finish(End::NotPublished)),
            (PublishState::Processing, "t", Step::Wait),
            (PublishState::Processing, "ct", Step::Wait),
            (PublishState::Draft, "ct", finish(End::Draft)),
            (PublishState::Inaccessible(failure()), "ct", finish(End::Inaccessible(failure()))),
            (PublishState::Inaccessible(failure()), "ta", finish(End::Inaccessible(failure()))),
        ] {
            let text = format!("{state:?} {letters}");
            assert_eq!(next_step(state, facts(letters)), step, "{text}");
        }
    }

    #[test]
    fn the_clock_closes_an_upload_address_only_while_nothing_can_be_public() {
        let made_at = DateTime::<Utc>::UNIX_EPOCH;
        let ticket = Ticket::new(Platform::TikTok, made_at, serde_json::Value::Null);
        let committed = ticket.clone().committed(made_at);
        for (age, is_open) in [
            (TimeDelta::minutes(59), true),
            (TimeDelta::hours(1), false),
            (TimeDelta::days(1), false),
            // The clock was set back.
            (TimeDelta::days(-1), true),
        ] {
            assert_eq!(may_be_open(&ticket, made_at + age), is_open, "{age}");
            assert!(may_be_open(&committed, made_at + age), "{age}");
        }
    }

    #[test]
    fn the_applications_ticket_is_waited_for_until_tiktok_itself_ends_it() {
        let facts = Facts { total: None, ..facts("ct") };
        for bytes in [None, Some(0), Some(10), Some(u64::MAX)] {
            assert_eq!(next_step(PublishState::Uploading(bytes), facts), Step::Wait, "{bytes:?}");
        }
        assert_eq!(next_step(PublishState::Processing, facts), Step::Wait);
        let failed = next_step(PublishState::Failed(failure()), facts);
        assert_eq!(failed, Step::Finish(End::Failed(failure())));
        let unknown = next_step(PublishState::Unknown(failure()), facts);
        assert_eq!(unknown, Step::Finish(End::Unknown(failure())));
    }

    #[tokio::test]
    async fn a_fingerprint_changes_with_the_title_the_label_and_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut post = post(Platform::TikTok);
        post.content.video_path = Some("a.mp4".to_owned());
        let assets = AssetStore::new(folder.path(), None).unwrap();
        let path = folder.path().join("a.mp4");
        std::fs::write(&path, b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom").unwrap();
        let file = assets.file_of(&post, MediaKind::Video).await.unwrap();
        let plain = Content::default();
        let first = video_fingerprint(&file, "Hello", &plain);
        assert_eq!(video_fingerprint(&file, "Hello", &plain), first);
        assert_ne!(video_fingerprint(&file, "Hello you", &plain), first);
        let labelled = Content { is_ai_generated: true, ..Content::default() };
        assert_ne!(video_fingerprint(&file, "Hello", &labelled), first);
        std::fs::write(&path, b"\0\0\0\x18ftypmp42\0\0\0\0mp42isomandmore").unwrap();
        let longer = assets.file_of(&post, MediaKind::Video).await.unwrap();
        assert_ne!(video_fingerprint(&longer, "Hello", &plain), first);
    }

    #[test]
    fn a_video_may_be_a_fraction_of_a_second_too_long() {
        let check = |is: u64, longest| check_duration(Some(Duration::from_millis(is)), longest);
        let longest = Some(Duration::from_secs(180));
        assert_eq!(check(180_999, longest), Ok(()));
        assert_eq!(check(u64::MAX, None), Ok(()));
        assert_eq!(check(u64::MAX, Some(Duration::from_secs(u64::MAX))), Ok(()));
        assert!(check(u64::MAX, Some(Duration::from_secs(1))).is_err());
        assert!(check_duration(Some(Duration::MAX), longest).is_err());
        assert_eq!(check_duration(None, longest), Ok(()));
        let failure = check(195_500, longest).unwrap_err();
        assert_eq!(failure.category, Category::MediaProcessing);
        let text = "the video lasts 3m 15s, but the account may post at most 3m on TikTok; shorten it";
        assert_eq!(failure.message, text);
    }
}
