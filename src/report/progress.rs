//! The progress of a running pass: a line for the pass and one for each platform, updated on a terminal.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};

use super::bytes;
use super::text::duration;
use crate::post::{Outcome, Platform, Post, PostId, one_line};
use crate::retry::{Event, Listener, StartDelay};

/// How many characters of a file's name are drawn.
const MAX_FILE_CHARS: usize = 60;

/// The line for the pass. It fits into 60 columns with five-digit counts, too.
const PASS_LINE: &str = "{msg}, running {running}";

/// How often the time that the pass has taken is drawn anew.
const TICK: Duration = Duration::from_secs(1);

/// Ignores every event, when nobody watches.
#[derive(Debug, Default)]
pub struct NoopListener;

impl Listener for NoopListener {
    fn notice(&self, _event: &Event<'_>) {}
}

/// Draws the finished posts and how long the pass has taken, and for each platform what is being done.
#[derive(Debug)]
pub struct ProgressListener {
    lines: MultiProgress,
    pass: ProgressBar,
    platforms: Mutex<BTreeMap<Platform, (ProgressBar, PlatformProgress)>>,
}

/// A platform's posts in this pass.
#[derive(Debug, Default)]
struct PlatformProgress {
    due: u64,
    posted: u64,
    not_posted: u64,
    in_flight: Vec<Attempt>,
    /// Why the next post has not started yet, and for how long.
    delay: Option<(StartDelay, Duration)>,
}

/// A post that is being worked on.
#[derive(Debug)]
struct Attempt {
    id: PostId,
    file: String,
    sent: u64,
    of: u64,
    /// When its upload began, and how many bytes the platform had then, from an earlier attempt.
    began: Option<(Instant, u64)>,
    is_processing: bool,
}

impl ProgressListener {
    /// Draws in these lines.
    pub fn new(lines: MultiProgress) -> Self {
        let style = ProgressStyle::with_template("{wide_msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
        let pass = lines.add(ProgressBar::new_spinner().with_style(style));
        Self { lines, pass, platforms: Mutex::default() }
    }

    /// The style of the line for the pass, which tells how long it has taken.
    fn pass_style() -> ProgressStyle {
        let running = |state: &ProgressState, line: &mut dyn std::fmt::Write| {
            let millis = i64::try_from(state.elapsed().as_millis()).unwrap_or(i64::MAX);
            // There is nobody to tell that a line could not be written.
            line.write_str(&duration(millis.max(1_000))).unwrap_or_default();
        };
        let style = ProgressStyle::with_template(PASS_LINE);
        style.unwrap_or_else(|_| ProgressStyle::default_bar()).with_key("running", running)
    }
}

impl Listener for ProgressListener {
    fn counts_due(&self) -> bool {
        true
    }

    fn notice(&self, event: &Event<'_>) {
        let platform = match event {
            Event::Due { platform, .. } | Event::Waiting { platform, .. } => *platform,
            Event::Started { post, .. }
            | Event::Sent { post, .. }
            | Event::Processing { post }
            | Event::Left { post }
            | Event::Ended { post, .. } => post.platform,
        };
        let mut platforms = self.platforms.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = platforms.is_empty();
        if is_first {
            self.pass.set_style(Self::pass_style());
        }
        let (bar, progress) = platforms.entry(platform).or_insert_with(|| {
            let style = ProgressStyle::with_template("{wide_msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
            (self.lines.add(ProgressBar::new_spinner().with_style(style)), PlatformProgress::default())
        });
        progress.apply(event);
        bar.set_message(progress.line(platform));
        if progress.in_flight.is_empty() {
            bar.tick();
        }
        self.pass.set_message(pass_line(platforms.values().map(|(_, progress)| progress)));
        if is_first {
            // Not before there is something to draw.
            self.pass.enable_steady_tick(TICK);
        }
    }
}

/// The finished posts of all platforms. Those that are not said to be not posted are posted.
fn pass_line<'a>(platforms: impl Iterator<Item = &'a PlatformProgress>) -> String {
    let (mut posted, mut not_posted, mut due) = (0, 0, 0);
    for platform in platforms {
        posted += platform.posted;
        not_posted += platform.not_posted;
        due += platform.total();
    }
    let done = format!("{} of {due} done", posted + not_posted);
    if not_posted == 0 { done } else { format!("{done}, {not_posted} not posted") }
}

impl PlatformProgress {
    fn apply(&mut self, event: &Event<'_>) {
        match event {
            Event::Due { count, .. } => self.due = *count,
            Event::Waiting { reason, left, .. } => self.delay = Some((*reason, *left)),
            Event::Started { post, .. } => {
                self.delay = None;
                self.in_flight.push(Attempt::at(post));
            }
            Event::Sent { post, bytes, of } => {
                if let Some(attempt) = self.attempt_at(post) {
                    attempt.record_sent(*bytes, *of, Instant::now());
                }
            }
            Event::Processing { post } => {
                if let Some(attempt) = self.attempt_at(post) {
                    attempt.is_processing = true;
                }
            }
            Event::Left { post } => self.in_flight.retain(|attempt| attempt.id != post.id),
            Event::Ended { post, report } => {
                self.in_flight.retain(|attempt| attempt.id != post.id);
                if report.outcome == Outcome::Posted {
                    self.posted += 1;
                } else {
                    self.not_posted += 1;
                }
            }
        }
    }

    fn attempt_at(&mut self, post: &Post) -> Option<&mut Attempt> {
        self.in_flight.iter_mut().find(|attempt| attempt.id == post.id)
    }

    /// The posts that were due at the beginning, or more if others have become due since.
    fn total(&self) -> u64 {
        self.due.max(self.posted + self.not_posted + self.in_flight.len() as u64)
    }

    /// Its line. What matters least is at the end, where a narrow terminal cuts it.
    fn line(&self, platform: Platform) -> String {
        let mut parts = Vec::new();
        let moving = self.in_flight.iter().find(|attempt| attempt.is_uploading());
        let shown =
            moving.or_else(|| self.in_flight.iter().find(|attempt| attempt.has_sent())).or(self.in_flight.first());
        parts.extend(shown.map(Attempt::phase));
        if let Some((reason, left)) = self.delay {
            let seconds = left.as_millis().div_ceil(1_000);
            parts.push(match reason {
                StartDelay::Gap => format!("next post in {seconds} s"),
                StartDelay::RateLimit => format!("rate limited, next post in {seconds} s"),
            });
        }
        if self.in_flight.len() > 1 {
            parts.push(format!("{} more in flight", self.in_flight.len() - 1));
        }
        parts.extend(shown.map(|attempt| attempt.file.clone()));
        let done = self.posted + self.not_posted;
        let head = format!("{} {done}/{}", platform.title(), self.total());
        if parts.is_empty() { head } else { format!("{head}: {}", parts.join(", ")) }
    }
}

impl Attempt {
    fn at(post: &Post) -> Self {
        let path = post.content.video_path.as_deref().or(post.content.image_path.as_deref());
        let file = path.and_then(|path| Path::new(path).file_name());
        let file = file.map_or_else(|| post.id.to_string(), |name| one_line(&name.to_string_lossy(), MAX_FILE_CHARS));
        Self { id: post.id.clone(), file, sent: 0, of: 0, began: None, is_processing: false }
    }

    fn record_sent(&mut self, bytes: u64, of: u64, now: Instant) {
        (self.sent, self.of, self.is_processing) = (bytes, of, false);
        // An upload that goes back to before where it began has begun anew.
        if self.began.is_none_or(|(_, from)| bytes < from) {
            self.began = Some((now, bytes));
        }
    }

    fn is_uploading(&self) -> bool {
        self.sent < self.of && !self.is_processing
    }

    /// Whether the platform has everything.
    fn has_sent(&self) -> bool {
        self.is_processing || (self.of > 0 && self.sent >= self.of)
    }

    fn phase(&self) -> String {
        if self.has_sent() {
            return "processing".to_owned();
        }
        if self.of == 0 {
            return "preparing".to_owned();
        }
        let percent = u128::from(self.sent) * 100 / u128::from(self.of);
        let rate = self.rate();
        match self.of.saturating_sub(self.sent).checked_div(rate) {
            Some(left) => format!("uploading {percent} % at {}/s{}", bytes(rate), time_left(left)),
            // Nothing has moved yet.
            None => format!("uploading {percent} %"),
        }
    }

    /// How many bytes a second have been sent in this attempt.
    fn rate(&self) -> u64 {
        let (elapsed, from) = self.began.map_or((Duration::ZERO, 0), |(at, from)| (at.elapsed(), from));
        let moved = u128::from(self.sent.saturating_sub(from));
        let rate = moved.saturating_mul(1_000) / elapsed.max(Duration::from_millis(200)).as_millis();
        u64::try_from(rate).unwrap_or(u64::MAX)
    }
}

/// What is left of an upload, in one unit.
fn time_left(seconds: u64) -> String {
    match seconds {
        0..120 => format!(", {seconds} s left"),
        120..7_200 => format!(", {} min left", seconds / 60),
        _ => format!(", {} h left", seconds / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr;

    use super::*;
    use crate::post::PostDraft;

    fn attempt(file: &str, sent: u64, of: u64) -> Attempt {
        let id = PostId::from_text(file);
        Attempt { id, file: file.to_owned(), sent, of, began: None, is_processing: false }
    }

    #[test]
    fn a_line_tells_what_is_done_and_what_moves() {
        let mut progress = PlatformProgress { due: 14, posted: 3, not_posted: 1, ..PlatformProgress::default() };
        assert_eq!(progress.line(Platform::TikTok), "TikTok 4/14");
        progress.in_flight.push(attempt("a.mp4", 0, 0));
        assert_eq!(progress.line(Platform::TikTok), "TikTok 4/14: preparing, a.mp4");
        progress.in_flight.push(attempt("b.mp4", 12_300_000, 40_000_000));
        assert_eq!(
            progress.line(Platform::TikTok),
            "TikTok 4/14: uploading 30 % at 61.5 MB/s, 0 s left, 1 more in flight, b.mp4"
        );
        progress.in_flight.remove(1);
        progress.in_flight[0].is_processing = true;
        progress.delay = Some((StartDelay::Gap, Duration::from_millis(7_200)));
        assert_eq!(progress.line(Platform::TikTok), "TikTok 4/14: processing, next post in 8 s, a.mp4");
        progress.in_flight.clear();
        progress.delay = Some((StartDelay::RateLimit, Duration::from_secs(90)));
        assert_eq!(progress.line(Platform::TikTok), "TikTok 4/14: rate limited, next post in 90 s");
        assert_eq!(pass_line([&progress].into_iter()), "4 of 14 done, 1 not posted");
        progress.not_posted = 0;
        assert_eq!(pass_line([&progress].into_iter()), "3 of 14 done");
    }

    #[test]
    fn what_matters_fits_into_sixty_columns() {
        let mut slow = attempt("", 400_000_000, 1_000_000_000);
        slow.began = Instant::now().checked_sub(Duration::from_secs(2_000)).map(|at| (at, 0));
        let progress =
            PlatformProgress { due: 1_400, posted: 140, in_flight: vec![slow], ..PlatformProgress::default() };
        let line = progress.line(Platform::Instagram);
        assert!(line.contains("uploading 40 % at ") && line.contains(" min left"), "{line}");
        assert!(line.trim_end_matches(", ").width() <= 60, "{line}");
        for (due, posted, not_posted) in [(14, 10, 2), (1_400, 140, 0), (99_999, 88_888, 11_111), (99_999, 0, 99_999)] {
            let progress = PlatformProgress { due, posted, not_posted, ..PlatformProgress::default() };
            let line = PASS_LINE.replace("{msg}", &pass_line([&progress].into_iter()));
            for millis in [3_599_000, 86_399_000, 863_999_000] {
                let line = line.replace("{running}", &duration(millis));
                assert!(line.width() <= 60, "{line}");
            }
        }
    }

    #[test]
    fn a_rate_counts_what_this_attempt_has_sent() {
        let seconds_ago = |seconds| Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap();
        let mut attempt = attempt("a.mp4", 0, 0);
        // The platform has half of the file from an earlier attempt.
        attempt.record_sent(500_000_000, 1_000_000_000, seconds_ago(100));
        assert_eq!(attempt.phase(), "uploading 50 %");
        attempt.record_sent(600_000_000, 1_000_000_000, Instant::now());
        let phase = attempt.phase();
        assert!(phase.starts_with("uploading 60 % at ") && phase.ends_with("/s, 6 min left"), "{phase}");
        // Its ticket is dead, and another upload begins.
        attempt.record_sent(0, 1_000_000_000, seconds_ago(10));
        attempt.record_sent(200_000_000, 1_000_000_000, Instant::now());
        let phase = attempt.phase();
        assert!(phase.starts_with("uploading 20 % at ") && phase.ends_with("/s, 40 s left"), "{phase}");
    }

    #[test]
    fn the_name_of_a_file_cannot_draw_over_the_line() {
        let mut draft = PostDraft { platform: Some("tiktok".to_owned()), ..PostDraft::new(PostId::from_text("p1")) };
        draft.content.video_path = Some(format!("renders/\u{1b}[1A\n{}.mp4", "x".repeat(5_000)));
        let attempt = Attempt::at(&draft.check().unwrap());
        assert!(attempt.file.starts_with("\\u{1b}[1A xxx") && attempt.file.chars().count() == 60, "{}", attempt.file);
    }

    #[test]
    fn what_has_become_due_meanwhile_is_counted() {
        let progress = PlatformProgress { due: 1, posted: 2, ..PlatformProgress::default() };
        assert_eq!(progress.line(Platform::YouTubeShorts), "YouTube 2/2");
    }
}
