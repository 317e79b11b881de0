//! What is seen of a pass while it works.

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::bytes;
use super::table::cut;
use crate::post::{Platform, PostId};
use crate::retry::{Event, Listener};

/// Sees nothing: what is worth knowing is in the log.
#[derive(Debug, Default)]
pub struct LogListener;

impl Listener for LogListener {
    fn notice(&self, _event: &Event<'_>) {}
}

/// Shows one line on a terminal that is written over again and again: the posts in flight and how far their files are.
#[derive(Debug)]
pub struct ProgressListener {
    width: usize,
    uploads: Mutex<HashMap<PostId, Upload>>,
}

#[derive(Debug)]
struct Upload {
    platform: Platform,
    sent: u64,
    of: u64,
    since: Instant,
}

impl ProgressListener {
    /// For a terminal of so many columns: a longer line would not be written over.
    pub fn new(width: usize) -> Self {
        Self { width, uploads: Mutex::default() }
    }

    fn show(&self, uploads: &HashMap<PostId, Upload>) {
        let mut parts: Vec<String> = uploads
            .iter()
            .map(|(id, upload)| {
                if upload.of == 0 {
                    return format!("{} {id}", upload.platform);
                }
                let seconds = upload.since.elapsed().as_secs().max(1);
                let rate = bytes(upload.sent / seconds);
                format!("{} {id}: {} of {} ({rate}/s)", upload.platform, bytes(upload.sent), bytes(upload.of))
            })
            .collect();
        parts.sort();
        let mut stderr = std::io::stderr().lock();
        // A terminal that is gone is no reason to stop publishing.
        let line = cut(&parts.join("  "), self.width.saturating_sub(1));
        drop(write!(stderr, "\r\x1b[K{line}").and_then(|()| stderr.flush()));
    }
}

impl Listener for ProgressListener {
    fn notice(&self, event: &Event<'_>) {
        let mut uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Started { post, .. } => {
                let upload = Upload { platform: post.platform, sent: 0, of: 0, since: Instant::now() };
                uploads.insert(post.id.clone(), upload);
            }
            Event::Sent { post, bytes, of } => {
                if let Some(upload) = uploads.get_mut(&post.id) {
                    upload.sent = *bytes;
                    upload.of = *of;
                }
            }
            Event::Ended { post, .. } => {
                uploads.remove(&post.id);
            }
        }
        self.show(&uploads);
    }
}
