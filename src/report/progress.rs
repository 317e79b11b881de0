//! The progress of a running pass: one line for each platform, updated on a terminal.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::{bytes, plural};
use crate::post::{Outcome, Platform, PostId};
use crate::retry::{Event, Listener};

/// Ignores every event, when nobody watches.
#[derive(Debug, Default)]
pub struct NoopListener;

impl Listener for NoopListener {
    fn notice(&self, _event: &Event<'_>) {}
}

/// Draws a line for each platform: the finished posts and the progress of the current upload.
#[derive(Debug)]
pub struct ProgressListener {
    lines: MultiProgress,
    platforms: Mutex<BTreeMap<Platform, (ProgressBar, PlatformProgress)>>,
}

/// A platform's posts in this pass.
#[derive(Debug, Default)]
struct PlatformProgress {
    posted: u64,
    not_posted: u64,
    in_flight: Vec<Upload>,
}

/// A post that is being worked on.
#[derive(Debug)]
struct Upload {
    id: PostId,
    file: String,
    sent: u64,
    of: u64,
    /// When its first bytes were sent.
    since: Option<Instant>,
}

impl ProgressListener {
    /// Draws in these lines.
    pub fn new(lines: MultiProgress) -> Self {
        Self { lines, platforms: Mutex::default() }
    }
}

impl Listener for ProgressListener {
    fn notice(&self, event: &Event<'_>) {
        let post = match event {
            Event::Started { post, .. } | Event::Sent { post, .. } | Event::Ended { post, .. } => post,
        };
        let mut platforms = self.platforms.lock().unwrap_or_else(PoisonError::into_inner);
        let (bar, progress) = platforms.entry(post.platform).or_insert_with(|| {
            let style = ProgressStyle::with_template("{wide_msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
            (self.lines.add(ProgressBar::new_spinner().with_style(style)), PlatformProgress::default())
        });
        match event {
            Event::Started { .. } => {
                let path = post.content.video_path.as_deref().or(post.content.image_path.as_deref());
                let file = path.and_then(|path| Path::new(path).file_name());
                let file = file.map_or_else(|| post.id.to_string(), |name| name.to_string_lossy().into_owned());
                progress.in_flight.push(Upload { id: post.id.clone(), file, sent: 0, of: 0, since: None });
            }
            Event::Sent { bytes, of, .. } => {
                if let Some(upload) = progress.in_flight.iter_mut().find(|upload| upload.id == post.id) {
                    (upload.sent, upload.of) = (*bytes, *of);
                    upload.since.get_or_insert_with(Instant::now);
                }
            }
            Event::Ended { report, .. } => {
                progress.in_flight.retain(|upload| upload.id != post.id);
                let counter =
                    if report.outcome == Outcome::Posted { &mut progress.posted } else { &mut progress.not_posted };
                *counter += 1;
            }
        }
        bar.set_message(progress.line(post.platform));
        if progress.in_flight.is_empty() {
            bar.tick();
        }
    }
}

impl PlatformProgress {
    /// Its line: the finished posts, the current file, and how many more are in flight.
    fn line(&self, platform: Platform) -> String {
        let mut parts = Vec::new();
        if self.posted > 0 {
            parts.push(format!("{} posted", self.posted));
        }
        if self.not_posted > 0 {
            parts.push(format!("{} not posted", self.not_posted));
        }
        let moving = self.in_flight.iter().find(|upload| upload.sent < upload.of).or(self.in_flight.first());
        parts.extend(moving.map(Upload::told));
        if self.in_flight.len() > 1 {
            parts.push(plural(self.in_flight.len() as u64 - 1, "more in flight", "more in flight"));
        }
        format!("{platform}: {}", parts.join(", "))
    }
}

impl Upload {
    fn told(&self) -> String {
        if self.of == 0 {
            return self.file.clone();
        }
        let elapsed = self.since.map_or(Duration::ZERO, |since| since.elapsed()).max(Duration::from_millis(200));
        let rate = u128::from(self.sent).saturating_mul(1000) / elapsed.as_millis();
        let rate = bytes(u64::try_from(rate).unwrap_or(u64::MAX));
        format!("{} {} of {} at {rate}/s", self.file, bytes(self.sent), bytes(self.of))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_what_is_done_and_what_moves() {
        let upload = |file: &str, sent, of| {
            let id = PostId::from_text(file);
            Upload { id, file: file.to_owned(), sent, of, since: None }
        };
        let mut progress = PlatformProgress { posted: 3, not_posted: 1, in_flight: vec![upload("a.mp4", 0, 0)] };
        assert_eq!(progress.line(Platform::TikTok), "tiktok: 3 posted, 1 not posted, a.mp4");
        progress.in_flight.push(upload("b.mp4", 12_300_000, 40_000_000));
        let told = progress.line(Platform::TikTok);
        assert_eq!(told, "tiktok: 3 posted, 1 not posted, b.mp4 12.3 MB of 40.0 MB at 61.5 MB/s, 1 more in flight");
    }
}
