//! The resumable upload, for every platform: part after part, resumed where it was interrupted, and committed before
//! the last byte where that byte publishes.

use std::ops::Range;

use async_trait::async_trait;

use super::backoff::{PollBackoff, PollSettings};
use super::explanation::labelled;
use super::{PublishContext, PublishError};
use crate::post::{Category, Failure, Ticket};

/// The least progress after which the interruptions before it do not count any more. Google takes bytes in multiples of
/// this. A platform that confirms one byte at a time would otherwise keep an upload going for ever.
const MIN_PROGRESS: u64 = 256 * 1024;

/// What became of a part that was sent.
#[derive(Debug)]
pub(super) enum PartOutcome<E> {
    /// The platform has all bytes before this offset.
    StoredUntil(u64),
    /// The upload has ended.
    Ended(E),
    /// The part may not have arrived; the platform has to be asked how far the upload has come.
    Interrupted(Failure),
}

/// How far an upload has come, by the platform's own word.
#[derive(Debug)]
pub(super) enum UploadProgress<E> {
    /// It has all bytes before this offset and waits for the rest.
    StoredUntil(u64),
    /// The upload has ended.
    Ended(E),
}

/// One upload at one platform.
#[async_trait]
pub(super) trait ResumableUpload: Send + Sync {
    /// How an upload can end, in the platform's terms.
    type End: Send;

    /// Whether the post can become public as soon as the last byte has arrived. Then that it is about to be sent is
    /// stored before.
    const LAST_BYTE_PUBLISHES: bool;

    /// The file's size in bytes, not 0.
    fn size(&self) -> u64;

    /// The end of the part that begins at `offset`.
    fn part_end(&self, offset: u64) -> u64;

    /// Fails if the file is not as it was when the upload began. Called before every part.
    async fn ensure_unchanged(&self) -> Result<(), PublishError>;

    /// Sends a part.
    async fn send_part(
        &self,
        range: Range<u64>,
        context: &dyn PublishContext,
    ) -> Result<PartOutcome<Self::End>, PublishError>;

    /// Asks how far the upload has come, after an interruption.
    async fn progress(
        &self,
        interruption: &Failure,
        context: &dyn PublishContext,
    ) -> Result<UploadProgress<Self::End>, PublishError>;
}

/// Sends the bytes from `offset` on, until the upload ends or is interrupted too often without progress. Only bytes
/// beyond all that were stored before are progress, and only if they are enough. A part of which less is taken is an
/// interruption.
pub(super) async fn upload<U: ResumableUpload>(
    upload: &U,
    ticket: &mut Ticket,
    mut offset: u64,
    poll: PollSettings,
    context: &dyn PublishContext,
) -> Result<U::End, PublishError> {
    let mut backoff = PollBackoff::new(poll);
    let mut highest = offset;
    loop {
        let end = upload.part_end(offset);
        upload.ensure_unchanged().await?;
        if U::LAST_BYTE_PUBLISHES && end == upload.size() && !ticket.is_committed() {
            *ticket = ticket.clone().committed(context.now());
            context.save_ticket(ticket).await?;
        }
        let interruption = match upload.send_part(offset..end, context).await? {
            PartOutcome::StoredUntil(next) if is_progress(offset, next, end) => {
                if is_progress(highest, next, end) {
                    highest = next;
                    backoff.restart();
                }
                offset = next;
                continue;
            }
            PartOutcome::StoredUntil(next) => {
                let (taken, sent) = (next.saturating_sub(offset), end - offset);
                let text = format!("only {taken} of {sent} bytes that were sent were accepted");
                Failure::new(Category::Network, labelled(ticket.platform, &text))
            }
            PartOutcome::Ended(end) => return Ok(end),
            PartOutcome::Interrupted(failure) => failure,
        };
        let is_over = backoff.wait_after(&interruption, context).await.is_break();
        let is_given_up = is_over && interruption.category.is_transient();
        // With the last byte on its way the post may be public, so the platform is asked once even then.
        let may_be_public = U::LAST_BYTE_PUBLISHES && ticket.is_committed();
        if is_given_up && !may_be_public {
            return Err(interruption.into());
        }
        log::debug!(
            "{}: upload interrupted, checking how many bytes have arrived: {}",
            ticket.platform,
            interruption.message
        );
        let progress = match upload.progress(&interruption, context).await {
            // The interruption came first, and it may say when the platform takes requests again.
            Err(PublishError::Failed(failure)) if is_given_up => {
                log::debug!("{}: the bytes that have arrived are not known: {}", ticket.platform, failure.message);
                return Err(interruption.into());
            }
            asked => asked?,
        };
        match progress {
            // No more is sent in this attempt, but the platform may say that nothing is missing.
            UploadProgress::StoredUntil(_) if is_over => return Err(interruption.into()),
            UploadProgress::StoredUntil(next) => {
                if is_progress(highest, next, end) {
                    highest = next;
                    backoff.restart();
                }
                offset = next;
            }
            UploadProgress::Ended(end) => return Ok(end),
        }
    }
}

/// Whether an upload that had `before` bytes and now has `after` has made progress: to the end of the last part, or by
/// enough bytes.
fn is_progress(before: u64, after: u64, part_end: u64) -> bool {
    after > before && (after >= part_end || after.abs_diff(before) >= MIN_PROGRESS)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;
    use std::time::Duration;

    use chrono::TimeDelta;
    use serde_json::Value;

    use super::*;
    use crate::platform::test_context::TestContext;
    use crate::post::Platform;

    const POLL: PollSettings = PollSettings { first: Duration::from_secs(2), total: Duration::from_secs(300) };

    /// Plays what a platform answers, part by part.
    #[derive(Default)]
    struct Script {
        /// After how many checks the file has changed; never without a number.
        unchanged_for: Mutex<Option<usize>>,
        parts: Mutex<VecDeque<PartOutcome<&'static str>>>,
        progress: Mutex<VecDeque<UploadProgress<&'static str>>>,
        /// Why no progress is told; none if it is.
        silence: Mutex<Option<Failure>>,
        sent: Mutex<Vec<Range<u64>>>,
    }

    #[async_trait]
    impl ResumableUpload for Script {
        type End = &'static str;
        const LAST_BYTE_PUBLISHES: bool = true;

        fn size(&self) -> u64 {
            30
        }

        fn part_end(&self, offset: u64) -> u64 {
            (offset + 10).min(30)
        }

        async fn ensure_unchanged(&self) -> Result<(), PublishError> {
            match self.unchanged_for.lock().unwrap().as_mut() {
                Some(0) => Err(Failure::new(Category::MissingAsset, "the file changed").into()),
                Some(left) => {
                    *left -= 1;
                    Ok(())
                }
                None => Ok(()),
            }
        }

        async fn send_part(
            &self,
            range: Range<u64>,
            _context: &dyn PublishContext,
        ) -> Result<PartOutcome<&'static str>, PublishError> {
            self.sent.lock().unwrap().push(range.clone());
            Ok(self.parts.lock().unwrap().pop_front().unwrap_or(PartOutcome::StoredUntil(range.end)))
        }

        async fn progress(
            &self,
            _interruption: &Failure,
            _context: &dyn PublishContext,
        ) -> Result<UploadProgress<&'static str>, PublishError> {
            if let Some(failure) = self.silence.lock().unwrap().clone() {
                return Err(failure.into());
            }
            Ok(self.progress.lock().unwrap().pop_front().unwrap_or(UploadProgress::StoredUntil(0)))
        }
    }

    fn interrupted(category: Category) -> PartOutcome<&'static str> {
        PartOutcome::Interrupted(Failure::new(category, "interrupted"))
    }

    async fn run(script: &Script, context: &TestContext) -> Result<&'static str, Failure> {
        let mut ticket = Ticket::new(Platform::YouTubeShorts, context.now(), Value::Null);
        upload(script, &mut ticket, 0, POLL, context).await.map_err(|error| error.into_failure().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn the_commitment_is_stored_once_and_before_the_last_part() {
        let (script, context) = (Script::default(), TestContext::default());
        *script.parts.lock().unwrap() = [
            PartOutcome::StoredUntil(10),
            PartOutcome::StoredUntil(20),
            interrupted(Category::Network),
            PartOutcome::Ended("done"),
        ]
        .into();
        *script.progress.lock().unwrap() = [UploadProgress::StoredUntil(25)].into();
        assert_eq!(run(&script, &context).await, Ok("done"));
        assert_eq!(*script.sent.lock().unwrap(), [0..10, 10..20, 20..30, 25..30]);
        let saved = context.saved.lock().unwrap();
        assert!(matches!(&saved[..], [ticket] if ticket.is_committed()), "{saved:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn of_a_file_that_has_changed_no_part_is_sent_and_none_is_committed() {
        for unchanged_for in 0..3 {
            let (script, context) = (Script::default(), TestContext::default());
            *script.unchanged_for.lock().unwrap() = Some(unchanged_for);
            assert_eq!(run(&script, &context).await.unwrap_err().category, Category::MissingAsset);
            assert_eq!(script.sent.lock().unwrap().len(), unchanged_for);
            assert!(context.saved.lock().unwrap().is_empty(), "nothing can have become public");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_new_maximum_is_progress() {
        let (script, context) = (Script::default(), TestContext::default());
        // The platform takes a part and then says that it has none, again and again.
        *script.parts.lock().unwrap() = (0..100)
            .flat_map(|_| [PartOutcome::StoredUntil(10), PartOutcome::StoredUntil(20), interrupted(Category::Network)])
            .collect();
        let failure = run(&script, &context).await.unwrap_err();
        assert_eq!(failure.category, Category::Network);
        assert_eq!(script.sent.lock().unwrap().len(), 12);
    }

    #[tokio::test(start_paused = true)]
    async fn a_platform_that_takes_a_byte_at_a_time_does_not_keep_an_upload_going() {
        // It says so in the response to every part, or only when it is asked.
        for is_told_at_once in [true, false] {
            let (script, context) = (Script::default(), TestContext::default());
            let part = |bytes| {
                if is_told_at_once { PartOutcome::StoredUntil(bytes) } else { interrupted(Category::Network) }
            };
            *script.parts.lock().unwrap() = (1..20).map(part).collect();
            *script.progress.lock().unwrap() = (1..20).map(UploadProgress::StoredUntil).collect();
            let failure = run(&script, &context).await.unwrap_err();
            assert_eq!(failure.category, Category::Network);
            assert_eq!(*script.sent.lock().unwrap(), [0..10, 1..11, 2..12, 3..13], "{is_told_at_once}");
            assert_eq!(failure.message.contains("only 1 of 10 bytes"), is_told_at_once, "{}", failure.message);
        }
    }

    #[test]
    fn progress_is_enough_bytes_or_all_that_were_sent() {
        const PART: u64 = 32 << 20;
        for (before, after, part_end, is_enough) in [
            (0, 0, PART, false),
            (0, 1, PART, false),
            (0, MIN_PROGRESS - 1, PART, false),
            (0, MIN_PROGRESS, PART, true),
            (PART - 9, PART, PART, true),
            (PART - 9, PART - 1, PART, false),
            // Less than there was before.
            (PART, 9, PART, false),
            (PART, PART, PART, false),
            (0, u64::MAX, PART, true),
        ] {
            assert_eq!(is_progress(before, after, part_end), is_enough, "{before} {after} {part_end}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_that_is_not_transient_ends_it_at_once() {
        let (script, context) = (Script::default(), TestContext::default());
        *script.parts.lock().unwrap() = [interrupted(Category::RejectedContent)].into();
        assert_eq!(run(&script, &context).await.unwrap_err().category, Category::RejectedContent);
        assert_eq!(script.sent.lock().unwrap().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_that_is_none_by_the_platforms_own_word_ends_as_it_says() {
        let (script, context) = (Script::default(), TestContext::default());
        *script.parts.lock().unwrap() = [interrupted(Category::Unknown)].into();
        *script.progress.lock().unwrap() = [UploadProgress::Ended("done")].into();
        assert_eq!(run(&script, &context).await, Ok("done"));
        assert_eq!(script.sent.lock().unwrap().len(), 1);
    }

    /// An interruption after which the platform wants to be left alone for two hours.
    fn down(context: &TestContext) -> Failure {
        Failure::new(Category::PlatformOutage, "down").retry_at(Some(context.now() + TimeDelta::hours(2)))
    }

    #[tokio::test(start_paused = true)]
    async fn an_upload_that_is_given_up_after_the_last_part_asks_once_whether_it_has_ended() {
        for (told, is_ended) in [(UploadProgress::Ended("done"), true), (UploadProgress::StoredUntil(20), false)] {
            let (script, context) = (Script::default(), TestContext::default());
            *script.parts.lock().unwrap() =
                [PartOutcome::StoredUntil(10), PartOutcome::StoredUntil(20), PartOutcome::Interrupted(down(&context))]
                    .into();
            *script.progress.lock().unwrap() = [told].into();
            let expected = if is_ended { Ok("done") } else { Err(down(&context)) };
            assert_eq!(run(&script, &context).await, expected);
            assert!(script.progress.lock().unwrap().is_empty(), "it was not asked");
            assert_eq!(*script.sent.lock().unwrap(), [0..10, 10..20, 20..30], "nothing is sent again");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_upload_that_is_given_up_before_the_last_part_asks_nothing() {
        let (script, context) = (Script::default(), TestContext::default());
        *script.parts.lock().unwrap() = [PartOutcome::Interrupted(down(&context))].into();
        *script.progress.lock().unwrap() = [UploadProgress::Ended("done")].into();
        assert_eq!(run(&script, &context).await, Err(down(&context)));
        assert_eq!(script.progress.lock().unwrap().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_upload_that_is_given_up_and_gets_no_answer_ends_with_its_interruption() {
        let (script, context) = (Script::default(), TestContext::default());
        *script.parts.lock().unwrap() =
            [PartOutcome::StoredUntil(10), PartOutcome::StoredUntil(20), PartOutcome::Interrupted(down(&context))]
                .into();
        *script.silence.lock().unwrap() = Some(Failure::new(Category::Unknown, "a page"));
        assert_eq!(run(&script, &context).await, Err(down(&context)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_of_which_nothing_is_taken_is_an_interruption() {
        let (script, context) = (Script::default(), TestContext::default());
        *script.parts.lock().unwrap() = [PartOutcome::StoredUntil(0), PartOutcome::Ended("done")].into();
        assert_eq!(run(&script, &context).await, Ok("done"));
    }
}
