//! The files to publish. The paths in documents are not trusted.

use std::fs::Metadata;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use url::Url;

use super::duration::duration_of;
use crate::post::{Category, Failure, MediaKind, Post};

/// Where the files are.
#[derive(Debug)]
pub struct AssetStore {
    root: PathBuf,
    public_url: Option<Url>,
}

/// A file that may be published: a regular, non-empty file of the right kind under the asset root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MediaFile {
    /// Its real path, with symbolic links resolved.
    pub(super) path: PathBuf,
    /// Its bytes.
    pub(super) size: u64,
    /// When it was last modified, in milliseconds since 1970; 0 if the file system does not say.
    modified_ms: u64,
    /// Its type, from its first bytes.
    pub(super) mime: &'static str,
    /// Its path below the root.
    relative: PathBuf,
}

impl MediaFile {
    /// Its name without folders.
    pub(super) fn name(&self) -> String {
        self.relative.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// What is published with it and these texts, as a short text that is the same only for the same texts, size and
    /// time of modification.
    pub(super) fn fingerprint(&self, texts: &[&str]) -> String {
        let mut digest = Sha256::new();
        for text in texts {
            digest.update((text.len() as u64).to_be_bytes());
            digest.update(text);
        }
        digest.update(self.size.to_be_bytes());
        digest.update(self.modified_ms.to_be_bytes());
        digest.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}

impl AssetStore {
    /// # Errors
    /// If the root is not a directory.
    pub fn new(root: &Path, public_url: Option<Url>) -> std::io::Result<Self> {
        let root = root.canonicalize()?;
        if !root.is_dir() {
            return Err(std::io::Error::from(std::io::ErrorKind::NotADirectory));
        }
        Ok(Self { root, public_url })
    }

    /// The file that a post of this kind publishes.
    ///
    /// # Errors
    /// A failure of category `missing_asset`.
    pub(super) async fn file_of(&self, post: &Post, kind: MediaKind) -> Result<MediaFile, Failure> {
        let field = match kind {
            MediaKind::Video => "videoPath",
            MediaKind::Image => "imagePath",
        };
        let Some(path) = post.content.media_path(kind) else {
            return Err(missing(format!("the post has type {} but no `{field}`", kind.as_str())));
        };
        let (root, path) = (self.root.clone(), path.to_owned());
        tokio::task::spawn_blocking(move || {
            inspect(&root, &located(&root, &path), kind).map_err(|problem| (path, problem))
        })
        .await
        .unwrap_or_else(|_| Err((String::new(), "unreadable file".to_owned())))
        .map_err(|(path, problem)| missing(format!("{problem}: `{path}` of `{field}`")))
    }

    /// The duration of a video, if its file contains it.
    pub(super) async fn duration_of(&self, file: &MediaFile) -> Option<Duration> {
        let path = file.path.clone();
        let told = tokio::task::spawn_blocking(move || duration_of(&mut std::fs::File::open(path).ok()?)).await;
        told.ok().flatten()
    }

    /// The URL of an image.
    ///
    /// # Errors
    /// A failure of category `missing_asset` if there is no public URL.
    pub(super) fn public_url(&self, file: &MediaFile) -> Result<Url, Failure> {
        let Some(base) = &self.public_url else {
            let name = file.relative.display();
            return Err(missing(format!(
                "image `{name}` needs a public URL, because the platform downloads it; set `ASSET_PUBLIC_URL`"
            )));
        };
        let mut url = base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty();
            for part in file.relative.components() {
                if let Component::Normal(part) = part {
                    segments.push(&part.to_string_lossy());
                }
            }
        }
        Ok(url)
    }
}

fn missing(message: String) -> Failure {
    Failure::new(Category::MissingAsset, message)
}

/// Where the file of a post is looked for: an absolute path that leads outside the root is one of a web server's, and
/// begins at the root.
fn located(root: &Path, path: &str) -> PathBuf {
    let wanted = Path::new(path);
    let is_inside = || wanted.canonicalize().is_ok_and(|real| real.starts_with(root));
    if wanted.is_absolute() && !wanted.starts_with(root) && !is_inside() {
        return root.join(path.trim_start_matches('/'));
    }
    root.join(wanted)
}

/// Resolves a path and checks the file. A pipe or a device is never opened.
fn inspect(root: &Path, wanted: &Path, kind: MediaKind) -> Result<MediaFile, String> {
    let path = wanted.canonicalize().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => "no such file".to_owned(),
        _ => error.to_string(),
    })?;
    let relative = path.strip_prefix(root).map_err(|_| "outside the asset root".to_owned())?.to_owned();
    let metadata = path.metadata().map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("not a regular file".to_owned());
    }
    if metadata.len() == 0 {
        return Err("empty file".to_owned());
    }
    let mut head = [0u8; 16];
    let mut file = std::fs::File::open(&path).map_err(|error| error.to_string())?;
    let length = read_up_to(&mut file, &mut head).map_err(|error| error.to_string())?;
    match recognise(&head[..length]) {
        Some((found, mime)) if found == kind => {
            Ok(MediaFile { path, size: metadata.len(), modified_ms: modified_ms(&metadata), mime, relative })
        }
        Some((found, _)) => Err(format!("the file is {}, not {}", found.with_article(), kind.with_article())),
        None => Err("neither an MP4, MOV or WebM video nor a JPEG, WebP or PNG image, by its first bytes".to_owned()),
    }
}

fn modified_ms(metadata: &Metadata) -> u64 {
    let since_1970 = metadata.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    since_1970.and_then(|age| u64::try_from(age.as_millis()).ok()).unwrap_or(0)
}

fn read_up_to(file: &mut std::fs::File, buffer: &mut [u8]) -> std::io::Result<usize> {
    use std::io::Read;
    let mut length = 0;
    while length < buffer.len() {
        match file.read(&mut buffer[length..])? {
            0 => break,
            more => length += more,
        }
    }
    Ok(length)
}

/// The type of a file, from its first bytes.
fn recognise(head: &[u8]) -> Option<(MediaKind, &'static str)> {
    let at = |offset: usize, magic: &[u8]| head.get(offset..offset + magic.len()) == Some(magic);
    if at(4, b"ftyp") {
        // HEIC pictures and audio files use the same container.
        if [b"heic", b"heix", b"mif1", b"avif", b"M4A ", b"M4B "].iter().any(|brand| at(8, *brand)) {
            return None;
        }
        let mime = if at(8, b"qt  ") { "video/quicktime" } else { "video/mp4" };
        return Some((MediaKind::Video, mime));
    }
    // Old QuickTime files begin with one of these atoms instead.
    if [b"moov", b"mdat", b"wide", b"free", b"skip"].iter().any(|atom| at(4, *atom)) {
        return Some((MediaKind::Video, "video/quicktime"));
    }
    if at(0, &[0x1A, 0x45, 0xDF, 0xA3]) {
        return Some((MediaKind::Video, "video/webm"));
    }
    if at(0, &[0xFF, 0xD8, 0xFF]) {
        return Some((MediaKind::Image, "image/jpeg"));
    }
    if at(0, b"RIFF") && at(8, b"WEBP") {
        return Some((MediaKind::Image, "image/webp"));
    }
    if at(0, b"\x89PNG\r\n\x1a\n") {
        return Some((MediaKind::Image, "image/png"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const MP4: &[u8] = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom";
    const JPEG: &[u8] = b"\xFF\xD8\xFF\xE0\0\x10JFIF\0\x01";

    fn check(folder: &Path, name: &str, kind: MediaKind) -> Result<MediaFile, String> {
        let root = folder.canonicalize().unwrap();
        inspect(&root, &located(&root, name), kind)
    }

    #[test]
    fn only_a_regular_non_empty_file_of_the_right_kind_under_the_root_will_do() {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("root");
        std::fs::create_dir_all(root.join("sub")).unwrap();
        std::fs::write(root.join("a.mp4"), MP4).unwrap();
        std::fs::write(root.join("a.jpg"), JPEG).unwrap();
        std::fs::write(root.join("empty.mp4"), b"").unwrap();
        std::fs::write(root.join("text.mp4"), b"this is no video").unwrap();
        std::fs::write(root.join("short"), b"ab").unwrap();
        std::fs::write(root.join("photo.mp4"), b"\0\0\0\x18ftypheic\0\0\0\0mif1heic").unwrap();
        std::fs::write(outer.path().join("secret.mp4"), MP4).unwrap();
        std::os::unix::fs::symlink("../secret.mp4", root.join("link.mp4")).unwrap();
        std::os::unix::fs::symlink("a.mp4", root.join("inner.mp4")).unwrap();

        assert_eq!(check(&root, "a.mp4", MediaKind::Video).unwrap().mime, "video/mp4");
        assert_eq!(check(&root, "sub/../a.mp4", MediaKind::Video).unwrap().size, MP4.len() as u64);
        assert!(check(&root, "inner.mp4", MediaKind::Video).is_ok());
        assert!(check(&root, root.join("a.mp4").to_str().unwrap(), MediaKind::Video).is_ok());
        // The path of a web server that serves the root.
        assert!(check(&root, "/sub/../a.mp4", MediaKind::Video).is_ok());
        for (name, problem) in [
            ("none.mp4", "no such file"),
            ("../secret.mp4", "outside the asset root"),
            ("link.mp4", "outside the asset root"),
            ("/etc/passwd", "no such file"),
            ("/../secret.mp4", "outside the asset root"),
            ("sub", "not a regular file"),
            ("empty.mp4", "empty"),
            ("text.mp4", "first bytes"),
            ("short", "first bytes"),
            ("photo.mp4", "first bytes"),
            ("a.jpg", "the file is an image, not a video"),
        ] {
            let error = check(&root, name, MediaKind::Video).unwrap_err();
            assert!(error.contains(problem), "{name}: {error}");
        }
    }

    #[test]
    fn a_public_address_is_the_base_and_the_path_below_the_root_escaped() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("été 1")).unwrap();
        std::fs::write(folder.path().join("été 1/a#b.jpg"), JPEG).unwrap();
        let file = check(folder.path(), "été 1/a#b.jpg", MediaKind::Image).unwrap();
        let assets = AssetStore::new(folder.path(), Some(Url::parse("https://cdn.example/m/").unwrap())).unwrap();
        assert_eq!(assets.public_url(&file).unwrap().as_str(), "https://cdn.example/m/%C3%A9t%C3%A9%201/a%23b.jpg");
    }
}
