//! Bodies that are sent only while the lease is valid.

use std::io::Error;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{Stream, StreamExt, stream};
use reqwest::Body;

use crate::platform::LeaseCheck;
use crate::platform::media::{FileError, MediaFile};

/// How much of a file is read at a time.
const PIECE: usize = 256 * 1024;

/// How many pieces are read at the same time: one is read while the one before it is being sent.
const PIECES_AT_A_TIME: usize = 2;

fn lease_lost() -> Error {
    Error::other("the claim was lost")
}

/// A body in memory that is handed out only if the lease is valid at that moment.
pub(super) fn leased(bytes: Vec<u8>, lease_is_valid: LeaseCheck) -> Body {
    let piece = async move { if lease_is_valid() { Ok(bytes) } else { Err(lease_lost()) } };
    Body::wrap_stream(stream::once(piece))
}

/// Part of a file as a body, and what tells how far it has been sent: the connection's own task reads the body.
pub(super) fn file_part(file: &MediaFile, range: Range<u64>, lease_is_valid: LeaseCheck) -> (Body, Arc<Monitor>) {
    let monitor = Arc::new(Monitor::default());
    let pieces = pieces_of(file.clone(), range, lease_is_valid, Arc::clone(&monitor));
    (Body::wrap_stream(pieces), monitor)
}

/// The pieces of part of a file, in order. They end with an error if the file is not as it was when it was opened.
fn pieces_of(
    file: MediaFile,
    range: Range<u64>,
    lease_is_valid: LeaseCheck,
    monitor: Arc<Monitor>,
) -> impl Stream<Item = Result<Vec<u8>, Error>> + Send + 'static {
    let end = range.end;
    let reads = stream::iter(range.step_by(PIECE)).map(move |first| {
        let file = file.clone();
        async move { file.read(first..end.min(first.saturating_add(PIECE as u64))).await }
    });
    let mut reads = Box::pin(reads.buffered(PIECES_AT_A_TIME));
    stream::poll_fn(move |context| {
        let piece = reads.poll_next_unpin(context);
        monitor.waits_for_file.store(piece.is_pending(), Ordering::Relaxed);
        piece.map(|piece| {
            Some(match piece? {
                Ok(_) if !lease_is_valid() => Err(lease_lost()),
                Ok(piece) => {
                    monitor.moved(piece.len() as u64);
                    Ok(piece)
                }
                Err(error) => {
                    monitor.file_failed(&error);
                    Err(Error::other(error))
                }
            })
        })
    })
}

/// How far a body has been sent, shared between the connection and whoever waits for the response.
#[derive(Debug, Default)]
pub(super) struct Monitor {
    bytes: AtomicU64,
    waits_for_file: AtomicBool,
    file_problem: Mutex<Option<FileError>>,
}

impl Monitor {
    fn moved(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether the body waits for the file, and not for the connection.
    pub(super) fn waits_for_file(&self) -> bool {
        self.waits_for_file.load(Ordering::Relaxed)
    }

    fn file_failed(&self, error: &FileError) {
        *self.file_problem.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
    }

    pub(super) fn file_problem(&self) -> Option<FileError> {
        self.file_problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::platform::media::AssetStore;
    use crate::platform::test_context::post;
    use crate::post::{MediaKind, Platform};

    const SIZE: usize = 10 * PIECE + 1234;

    fn video() -> Vec<u8> {
        let mut bytes = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom".to_vec();
        bytes.extend((0..).map(|number: u32| (number >> 3).to_le_bytes()[0]).take(SIZE - bytes.len()));
        bytes
    }

    async fn file_in(folder: &Path) -> MediaFile {
        std::fs::write(folder.join("a.mp4"), video()).unwrap();
        let mut post = post(Platform::TikTok);
        post.content.video_path = Some("a.mp4".to_owned());
        AssetStore::new(folder, None).unwrap().file_of(&post, MediaKind::Video).await.unwrap()
    }

    #[tokio::test]
    async fn every_byte_of_the_part_is_handed_out_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let file = file_in(folder.path()).await;
        let video = video();
        let size = file.size;
        for range in [0..size, 0..1, size - 1..size, 7..size, 1000..700_000, 5..5] {
            let monitor = Arc::new(Monitor::default());
            let pieces = pieces_of(file.clone(), range.clone(), Arc::new(|| true), Arc::clone(&monitor));
            let pieces: Vec<_> = pieces.collect().await;
            let sent: Vec<u8> = pieces.into_iter().flat_map(Result::unwrap).collect();
            let [first, end] = [range.start, range.end].map(|at| usize::try_from(at).unwrap());
            assert!(sent == video[first..end], "{range:?}");
            assert_eq!(monitor.bytes(), range.end - range.start);
            assert!(!monitor.waits_for_file() && monitor.file_problem().is_none());
        }
    }

    #[tokio::test]
    async fn a_file_that_changes_in_the_middle_of_a_part_is_sent_in_one_version_or_not_to_its_end() {
        let changes: [fn(&File); 3] = [
            |file| file.write_all_at(&vec![9; SIZE / 2], 99).unwrap(),
            |file| file.write_all_at(b"more", SIZE as u64).unwrap(),
            |file| file.set_len(1000).unwrap(),
        ];
        for change in changes {
            let folder = tempfile::tempdir().unwrap();
            let file = file_in(folder.path()).await;
            let monitor = Arc::new(Monitor::default());
            let pieces = pieces_of(file.clone(), 0..file.size, Arc::new(|| true), Arc::clone(&monitor));
            let mut pieces = std::pin::pin!(pieces);
            let mut sent = pieces.next().await.unwrap().unwrap();
            let writer = File::options().write(true).open(folder.path().join("a.mp4")).unwrap();
            change(&writer);
            let later = writer.metadata().unwrap().modified().unwrap() + Duration::from_millis(7);
            writer.set_modified(later).unwrap();
            let error = loop {
                match pieces.next().await {
                    Some(Ok(piece)) => sent.extend(piece),
                    Some(Err(error)) => break error,
                    None => panic!("it was sent to its end"),
                }
            };
            assert!(error.to_string().contains("the file changed"), "{error}");
            assert!(sent.len() < SIZE && video().starts_with(&sent), "{} bytes", sent.len());
            assert!(matches!(monitor.file_problem(), Some(FileError::Unusable(_))), "it is not the connection's fault");
        }
    }

    #[tokio::test]
    async fn nothing_is_handed_out_after_the_lease_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let file = file_in(folder.path()).await;
        let is_valid = Arc::new(AtomicBool::new(true));
        let check = Arc::clone(&is_valid);
        let check = Arc::new(move || check.load(Ordering::Relaxed));
        let monitor = Arc::new(Monitor::default());
        let mut pieces = std::pin::pin!(pieces_of(file.clone(), 0..file.size, check, Arc::clone(&monitor)));
        assert!(pieces.next().await.unwrap().is_ok());
        is_valid.store(false, Ordering::Relaxed);
        assert!(pieces.next().await.unwrap().is_err());
        assert_eq!((monitor.bytes(), monitor.file_problem()), (PIECE as u64, None));
    }
}
