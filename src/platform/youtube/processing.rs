//! Waiting until an uploaded video is processed: the resource "Videos" on <https://developers.google.com>. The video
//! exists, so nothing is sent again for it unless YouTube says that the upload failed.

use super::classify::{Processing, read_processing};
use super::publisher::YouTubePublisher;
use super::responses::Video;
use crate::platform::backoff::PollBackoff;
use crate::platform::explanation::labelled;
use crate::platform::{PublishContext, PublishError, TicketAge, TicketOutcome, still_processing};
use crate::post::{Category, Failure, MAX_CODE_CHARS, Platform, Publication, Retryable, excerpt};

/// What follows from what was learnt of the processing.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// The video is published.
    Publish,
    /// No more can be learnt of the video, for this reason, and it is on the channel: it counts as published.
    PublishUnchecked(Failure),
    /// The video is not processed yet: ask again later.
    Wait,
    /// The request failed for a reason that passes: ask again later, within the budget of such failures.
    Retry(Failure),
    /// The attempt ends.
    Fail(Failure),
}

fn next_step(observed: Result<Processing, Failure>) -> Step {
    let failure = match observed {
        Ok(Processing::Done) => return Step::Publish,
        Ok(Processing::NotYet) => return Step::Wait,
        Ok(Processing::Failed(failure)) => return Step::Fail(failure),
        Err(failure) => failure,
    };
    match failure.retryable {
        _ if failure.category.is_transient() => Step::Retry(failure),
        // A limit, or a response that is not YouTube's own: the next attempt asks again.
        Retryable::Yes => Step::Fail(failure),
        // Usually the right to read is missing: `youtube.upload` alone does not give it.
        Retryable::No => Step::PublishUnchecked(failure),
    }
}

impl YouTubePublisher {
    /// Polls until the video is processed. `video` is what is known of it so far.
    pub(super) async fn await_processing(
        &self,
        id: &str,
        mut video: Video,
        age: TicketAge,
        context: &dyn PublishContext,
    ) -> Result<TicketOutcome, PublishError> {
        let privacy = self.settings.privacy_status.as_str();
        let mut backoff = PollBackoff::new(self.poll);
        let (mut is_polled, mut was_seen) = (false, false);
        let mut observed = Ok(read_processing(&video));
        loop {
            match next_step(observed) {
                Step::Publish => return Ok(TicketOutcome::Published(publication(id, &video, privacy))),
                Step::PublishUnchecked(failure) => {
                    log::debug!("treating the video as published: {}", failure.message);
                    return Ok(TicketOutcome::Published(publication(id, &video, privacy)));
                }
                Step::Fail(failure) => return Err(failure.into()),
                // The first poll follows the upload at once.
                Step::Wait if !is_polled => is_polled = true,
                Step::Wait => {
                    if backoff.wait(context).await.is_break() {
                        return Err(out_of_time(id, was_seen, age).into());
                    }
                }
                Step::Retry(failure) => {
                    if backoff.wait_after(&failure, context).await.is_break() {
                        return Err(failure.into());
                    }
                }
            }
            observed = match self.api.video_processing(id, context).await {
                Ok(found) => {
                    backoff.budget().reset();
                    if let Some(found) = found {
                        was_seen = true;
                        video = found;
                    }
                    Ok(read_processing(&video))
                }
                Err(error) => Err(error.into_failure()?),
            };
        }
    }
}

/// Why an attempt that has polled long enough ends. A video of an earlier attempt that the channel never lists is gone;
/// a new one may only be listed late (not documented).
fn out_of_time(id: &str, was_seen: bool, age: TicketAge) -> Failure {
    if was_seen || age == TicketAge::Fresh {
        return still_processing(Platform::YouTubeShorts);
    }
    let text = format!("video {id} was uploaded but is no longer there; check the channel");
    Failure::new(Category::Ambiguous, labelled(Platform::YouTubeShorts, &text))
}

/// `requested` is the privacy status that was asked for. YouTube may give another one ("Revision history").
fn publication(id: &str, video: &Video, requested: &str) -> Publication {
    let given = video.status.privacy_status.as_deref().filter(|given| *given != requested);
    let warning = given.map(|given| {
        let given = excerpt(given, MAX_CODE_CHARS);
        format!(
            "YouTube set video {id} to `{given}` although `{requested}` was requested; check the channel's settings"
        )
    });
    Publication { id: Some(id.to_owned()), url: Some(format!("https://www.youtube.com/shorts/{id}")), warning }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::youtube::responses::VideoStatus;

    #[test]
    fn the_step_after_a_poll() {
        let failure = |category| Failure::new(category, "");
        let rejected = failure(Category::RejectedContent);
        assert_eq!(next_step(Ok(Processing::Done)), Step::Publish);
        assert_eq!(next_step(Ok(Processing::NotYet)), Step::Wait);
        assert_eq!(next_step(Ok(Processing::Failed(rejected.clone()))), Step::Fail(rejected));
        for category in Category::ALL {
            let (passing, lasting) = (failure(category), failure(category).not_retryable());
            if category.is_transient() {
                assert_eq!(next_step(Err(passing.clone())), Step::Retry(passing), "{category}");
            } else {
                assert_eq!(next_step(Err(passing.clone())), Step::Fail(passing), "{category}");
                assert_eq!(next_step(Err(lasting.clone())), Step::PublishUnchecked(lasting), "{category}");
            }
        }
    }

    #[test]
    fn only_an_earlier_attempts_video_that_was_never_seen_is_gone() {
        for (was_seen, age, expected) in [
            (false, TicketAge::Stored, Category::Ambiguous),
            (true, TicketAge::Stored, Category::Processing),
            (false, TicketAge::Fresh, Category::Processing),
            (true, TicketAge::Fresh, Category::Processing),
        ] {
            assert_eq!(out_of_time("v1", was_seen, age).category, expected, "{was_seen} {age:?}");
        }
    }

    #[test]
    fn another_privacy_status_than_the_requested_one_is_a_warning() {
        let warning = |given: Option<&str>| {
            let status = VideoStatus { privacy_status: given.map(str::to_owned), ..VideoStatus::default() };
            publication("v1", &Video { status, ..Video::default() }, "public").warning
        };
        assert_eq!(warning(None), None);
        assert_eq!(warning(Some("public")), None);
        assert!(warning(Some("private")).unwrap().contains("`private` although `public`"));
        let long = warning(Some(&"x".repeat(500_000))).unwrap();
        assert!(long.ends_with("check the channel's settings") && long.chars().count() < 300, "{long:.400}");
    }
}
