//! Bodies that are sent only while the lease is valid.

use std::io::{Error, SeekFrom};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::Body;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use crate::platform::LeaseCheck;
use crate::platform::media::MediaFile;

/// How much of a file is in memory at a time.
const PIECE: usize = 256 * 1024;

fn lease_lost() -> Error {
    Error::other("the claim was lost")
}

/// A body in memory that is handed out only if the lease is valid at that moment.
pub(super) fn leased(bytes: Vec<u8>, lease_is_valid: LeaseCheck) -> Body {
    let piece = async move { if lease_is_valid() { Ok(bytes) } else { Err(lease_lost()) } };
    Body::wrap_stream(stream::once(piece))
}

/// Part of a file as a body.
pub(super) struct FileBody;

impl FileBody {
    /// The body, and what tells how far it has been sent: the connection's own task reads the body.
    ///
    /// # Errors
    /// Why the file cannot be read.
    pub(super) async fn open(
        file: &MediaFile,
        range: Range<u64>,
        lease_is_valid: LeaseCheck,
    ) -> Result<(Body, Arc<Monitor>), String> {
        let mut handle = tokio::fs::File::open(&file.path).await.map_err(|error| error.to_string())?;
        handle.seek(SeekFrom::Start(range.start)).await.map_err(|error| error.to_string())?;
        let monitor = Arc::new(Monitor::default());
        let feed = Arc::clone(&monitor);
        let part = handle.take(range.end - range.start);
        let pieces = ReaderStream::with_capacity(part, PIECE).map(move |piece| match piece {
            Ok(_) if !lease_is_valid() => Err(lease_lost()),
            Ok(piece) => {
                feed.moved(piece.len() as u64);
                Ok(piece)
            }
            Err(error) => {
                feed.file_failed(&error);
                Err(error)
            }
        });
        Ok((Body::wrap_stream(pieces.into_stream()), monitor))
    }
}

/// How far a body has been sent, shared between the connection and whoever waits for the response.
#[derive(Debug, Default)]
pub(super) struct Monitor {
    bytes: AtomicU64,
    file_problem: Mutex<Option<String>>,
}

impl Monitor {
    fn moved(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn file_failed(&self, error: &Error) {
        *self.file_problem.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
    }

    pub(super) fn file_problem(&self) -> Option<String> {
        self.file_problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
