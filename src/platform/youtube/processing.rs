//! Waiting until an uploaded video is processed: the resource "Videos" on <https://developers.google.com>. The video
//! exists, so nothing is sent again for it unless YouTube says that the upload failed.

use super::api::REPORT_PROCESSING;
use super::classify::{Processing, read_processing};
use super::publisher::YouTubePublisher;
use super::responses::Video;
use crate::platform::auth::CallError;
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

/// Why the processing could not be looked up.
#[derive(Debug, PartialEq, Eq)]
enum LookupError {
    /// The token may upload, but not read.
    NoReadAccess(Failure),
    /// Any other reason.
    Failed(Failure),
}

fn next_step(observed: Result<Processing, LookupError>) -> Step {
    match observed {
        Ok(Processing::Done) => Step::Publish,
        Ok(Processing::NotYet) => Step::Wait,
        Ok(Processing::Failed(failure)) => Step::Fail(failure),
        Err(LookupError::NoReadAccess(failure)) => Step::PublishUnchecked(failure),
        Err(LookupError::Failed(failure)) if failure.category.is_transient() => Step::Retry(failure),
        // YouTube refuses the look-up for good, which says nothing of the video.
        Err(LookupError::Failed(failure)) if refuses_lookup(&failure) => Step::PublishUnchecked(failure),
        // The account, a limit, or a response that is not YouTube's own: the next attempt asks again.
        Err(LookupError::Failed(failure)) => Step::Fail(failure),
    }
}

/// Whether a failure to look the video up concerns neither the account nor a later moment.
fn refuses_lookup(failure: &Failure) -> bool {
    failure.retryable == Retryable::No && !failure.category.gives_up_platform()
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
                Err(CallError::Refused(refusal)) if refusal.lacks_read_access => {
                    Err(LookupError::NoReadAccess(refusal.failure))
                }
                Err(error) => {
                    let error = error.into_retryable(Platform::YouTubeShorts, REPORT_PROCESSING);
                    Err(LookupError::Failed(error.into_failure()?))
                }
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
            for failure in [failure(category), failure(category).not_retryable()] {
                let unread = |failure: &Failure| Err(LookupError::NoReadAccess(failure.clone()));
                assert_eq!(next_step(unread(&failure)), Step::PublishUnchecked(failure.clone()), "{category}");
                let step = next_step(Err(LookupError::Failed(failure.clone())));
                let expected = match failure.retryable {
                    _ if category.is_transient() => Step::Retry(failure),
                    Retryable::No if !category.gives_up_platform() => Step::PublishUnchecked(failure),
                    _ => Step::Fail(failure),
                };
                assert_eq!(step, expected, "{category}");
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
