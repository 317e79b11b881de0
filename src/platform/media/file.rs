//! A file that is open and may be published. It is read by its handle only, and no byte of another version of it is
//! given out.

use std::fs::{File, Metadata};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::buffer::spare_capacity;
use rustix::io::{pread, retry_on_intr};
use sha2::{Digest, Sha256};

use super::FileError;
use super::disk::Disk;
use super::signature::recognise;
use crate::platform::duration::duration_of;
use crate::post::{Category, Failure, MediaKind, Platform};

/// A file that may be published: a regular, non-empty file of the right kind under the asset root.
#[derive(Debug, Clone)]
pub(in crate::platform) struct MediaFile {
    handle: Arc<File>,
    version: Version,
    /// Its bytes.
    pub(in crate::platform) size: u64,
    /// Its type, from its first bytes.
    pub(in crate::platform) mime: &'static str,
    kind: MediaKind,
    /// Its real path below the root.
    path: PathBuf,
    disk: Disk,
}

/// What tells one state of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    size: u64,
    /// None if the file system does not say.
    modified_at: Option<SystemTime>,
}

impl Version {
    fn of(metadata: &Metadata) -> Self {
        Self { size: metadata.len(), modified_at: metadata.modified().ok() }
    }

    /// When it was modified, in milliseconds since 1970; 0 if that is not known.
    fn modified_ms(self) -> u64 {
        let since_1970 = self.modified_at.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        since_1970.and_then(|age| u64::try_from(age.as_millis()).ok()).unwrap_or(0)
    }
}

impl MediaFile {
    /// Takes an open file if it is of this kind and not empty.
    pub(super) fn check(file: File, path: PathBuf, kind: MediaKind, disk: Disk) -> Result<Self, FileError> {
        let unusable = |why: String| Err(FileError::Unusable(why));
        let version = Version::of(&file.metadata()?);
        if version.size == 0 {
            return unusable("empty file".to_owned());
        }
        let mut head = [0u8; 16];
        let length = read_up_to(&file, &mut head)?;
        match recognise(&head[..length], version.size) {
            Some((found, mime)) if found == kind => {
                Ok(Self { handle: Arc::new(file), version, size: version.size, mime, kind, path, disk })
            }
            Some((found, _)) => unusable(format!("the file is {}, not {}", found.with_article(), kind.with_article())),
            None => unusable("not a video (MP4, MOV, WebM) or an image (JPEG, WebP, PNG)".to_owned()),
        }
    }

    /// Its real path below the root.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Its name without folders.
    pub(in crate::platform) fn name(&self) -> String {
        self.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// What is published with it and these texts, as a short text that is the same only for the same texts, size and
    /// time of modification.
    pub(in crate::platform) fn fingerprint(&self, texts: &[&str]) -> String {
        let mut digest = Sha256::new();
        for text in texts {
            digest.update((text.len() as u64).to_be_bytes());
            digest.update(text);
        }
        digest.update(self.size.to_be_bytes());
        digest.update(self.version.modified_ms().to_be_bytes());
        digest.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }

    /// The platform would refuse a larger file only after it has received all of it, or has fetched it.
    ///
    /// # Errors
    /// That the file is larger than `largest`.
    pub(in crate::platform) fn ensure_at_most(&self, largest: u64, platform: Platform) -> Result<(), Failure> {
        if self.size <= largest {
            return Ok(());
        }
        let text = format!(
            "the {} has {} bytes, but {} takes at most {largest}: `{}`",
            self.kind.as_str(),
            self.size,
            platform.title(),
            self.path.display()
        );
        Err(Failure::new(Category::MediaProcessing, text).advise("make it smaller").not_retryable())
    }

    /// How long the video is, if the file contains it.
    pub(in crate::platform) async fn duration(&self) -> Result<Option<Duration>, FileError> {
        let (handle, size) = (Arc::clone(&self.handle), self.size);
        let read = move || Ok(duration_of(size, |buffer, offset| handle.read_exact_at(buffer, offset)));
        self.disk.run(read).await.map_err(|error| self.named(error))
    }

    /// # Errors
    /// That the file is not as it was when it was opened.
    pub(in crate::platform) async fn ensure_unchanged(&self) -> Result<(), FileError> {
        let (handle, version) = (Arc::clone(&self.handle), self.version);
        self.disk.run(move || check_version(&handle, version)).await.map_err(|error| self.named(error))
    }

    /// The bytes of a range that is short enough for the memory.
    ///
    /// # Errors
    /// That they cannot be read, or that the file is not as it was when it was opened.
    pub(in crate::platform) async fn read(&self, range: Range<u64>) -> Result<Vec<u8>, FileError> {
        let (handle, version) = (Arc::clone(&self.handle), self.version);
        let length = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
        // Allocated here, because what a thread allocates stays with that thread when it has been freed.
        let room = Vec::with_capacity(length);
        let read = move || read_into(room, &handle, range.start, length, version);
        self.disk.run(read).await.map_err(|error| self.named(error))
    }

    fn named(&self, error: FileError) -> FileError {
        error.of(&format!("`{}`", self.path.display()))
    }
}

fn changed() -> FileError {
    FileError::Unusable("the file changed while it was being uploaded".to_owned())
}

fn check_version(file: &File, version: Version) -> Result<(), FileError> {
    if Version::of(&file.metadata()?) == version { Ok(()) } else { Err(changed()) }
}

fn read_into(
    mut bytes: Vec<u8>,
    file: &File,
    start: u64,
    length: usize,
    version: Version,
) -> Result<Vec<u8>, FileError> {
    while bytes.len() < length {
        let offset = start + bytes.len() as u64;
        let read = retry_on_intr(|| pread(file, spare_capacity(&mut bytes), offset));
        if read.map_err(std::io::Error::from)? == 0 {
            return Err(changed());
        }
    }
    // A vector may be given more room than it asks for.
    bytes.truncate(length);
    // After the bytes were read, so that none of another version can be among them.
    check_version(file, version)?;
    Ok(bytes)
}

fn read_up_to(file: &File, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read_at(&mut buffer[length..], length as u64)? {
            0 => break,
            more => length += more,
        }
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn media_file(path: &Path) -> MediaFile {
        let file = File::open(path).unwrap();
        MediaFile::check(file, PathBuf::from("a.mp4"), MediaKind::Video, Disk::default()).unwrap()
    }

    fn video(size: usize) -> Vec<u8> {
        let mut bytes = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom".to_vec();
        bytes.extend((0..).map(|number: u64| number.to_le_bytes()[0]).take(size - bytes.len()));
        bytes
    }

    fn change_of(path: &Path, change: impl FnOnce(&File)) {
        let file = File::options().write(true).open(path).unwrap();
        change(&file);
        file.set_modified(file.metadata().unwrap().modified().unwrap() + Duration::from_millis(7)).unwrap();
    }

    #[tokio::test]
    async fn a_file_that_has_changed_is_not_read_any_further() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.mp4");
        let bytes = video(1000);
        let changes: [fn(&File); 3] = [
            |file| file.write_all_at(&[9; 10], 400).unwrap(),
            |file| file.write_all_at(&[9; 10], 1000).unwrap(),
            |file| file.set_len(900).unwrap(),
        ];
        for change in changes {
            std::fs::write(&path, &bytes).unwrap();
            let file = media_file(&path);
            assert_eq!(file.read(100..300).await.unwrap(), bytes[100..300]);
            assert_eq!(file.ensure_unchanged().await, Ok(()));
            change_of(&path, change);
            let error = FileError::Unusable("the file changed while it was being uploaded: `a.mp4`".to_owned());
            assert_eq!(file.read(300..600).await, Err(error.clone()));
            assert_eq!(file.read(850..1000).await, Err(error.clone()));
            assert_eq!(file.ensure_unchanged().await, Err(error));
        }
    }

    #[tokio::test]
    async fn what_takes_the_place_of_the_path_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.mp4");
        let bytes = video(1000);
        std::fs::write(&path, &bytes).unwrap();
        let file = media_file(&path);
        std::fs::write(folder.path().join("b.mp4"), video(2000)).unwrap();
        std::fs::rename(folder.path().join("b.mp4"), &path).unwrap();
        assert_eq!(file.read(0..1000).await.unwrap(), bytes);
    }

    #[test]
    fn a_file_that_no_platform_would_take_is_never_sent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.mp4");
        std::fs::write(&path, video(1000)).unwrap();
        let file = media_file(&path);
        assert_eq!(file.ensure_at_most(1000, Platform::TikTok), Ok(()));
        let failure = file.ensure_at_most(999, Platform::TikTok).unwrap_err();
        assert_eq!(failure.consequence(), crate::post::Consequence::FailPermanently);
        let text = "the video has 1000 bytes, but TikTok takes at most 999: `a.mp4`; make it smaller";
        assert_eq!(failure.message, text);
    }
}
