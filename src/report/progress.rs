//! What is seen of a pass while it works.

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::bytes;
use crate::post::{Platform, PostId};
use crate::retry::{Event, Listener};

/// Sees nothing: what is worth knowing is in the log.
#[derive(Debug, Default)]
pub struct LogListener;

impl Listener for LogListener {
    fn notice(&self, _event: &Event<'_>) {}
}

/// Shows one line on a terminal that is written over again and again: the files being uploaded.
#[derive(Debug, Default)]
pub struct ProgressListener {
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
    fn show(uploads: &HashMap<PostId, Upload>) {
        let mut parts: Vec<String> = uploads
            .iter()
            .map(|(id, upload)| {
                let seconds = upload.since.elapsed().as_secs().max(1);
                let rate = bytes(upload.sent / seconds);
                format!("{} {id}: {} of {} ({rate}/s)", upload.platform, bytes(upload.sent), bytes(upload.of))
            })
            .collect();
        parts.sort();
        let mut stderr = std::io::stderr().lock();
        // A terminal that is gone is no reason to stop publishing.
        drop(write!(stderr, "\r\x1b[K{}", parts.join("  ")).and_then(|()| stderr.flush()));
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
        Self::show(&uploads);
    }
}
