//! The files to publish. The paths in documents are not trusted.

mod beneath;
mod disk;
mod file;
mod signature;

use std::io;
use std::path::{Component, Path, PathBuf};

use url::Url;

use self::disk::Disk;
use super::PublishError;
use crate::post::{Category, Failure, MediaKind, Post};

pub(super) use disk::FileError;
pub(super) use file::MediaFile;

/// Where the files are.
#[derive(Debug)]
pub struct AssetStore {
    root: PathBuf,
    public_url: Option<Url>,
    disk: Disk,
}

impl AssetStore {
    /// # Errors
    /// If the root is not a directory, or its mount does not respond.
    pub async fn open(root: &Path, public_url: Option<Url>) -> io::Result<Self> {
        Self::on(Disk::default(), root, public_url).await
    }

    async fn on(disk: Disk, root: &Path, public_url: Option<Url>) -> io::Result<Self> {
        let root = root.to_owned();
        let found = disk.run(move || Ok(real_folder(&root))).await;
        match found {
            Ok(root) => Ok(Self { root: root?, public_url, disk }),
            Err(_) => {
                let limit = humantime::format_duration(disk.time_limit());
                Err(io::Error::new(io::ErrorKind::TimedOut, format!("no response within {limit}")))
            }
        }
    }

    /// The same at once, for tests.
    #[cfg(test)]
    pub(super) fn new(root: &Path, public_url: Option<Url>) -> io::Result<Self> {
        Ok(Self { root: real_folder(root)?, public_url, disk: Disk::default() })
    }

    /// The file that a post of this kind publishes, opened. Whatever its path leads to later, only this file is read.
    ///
    /// # Errors
    /// A failure of category `missing_asset`, or that the machine can open no more files.
    pub(super) async fn file_of(&self, post: &Post, kind: MediaKind) -> Result<MediaFile, PublishError> {
        let field = match kind {
            MediaKind::Video => "videoPath",
            MediaKind::Image => "imagePath",
        };
        let Some(path) = post.content.media_path(kind) else {
            return Err(missing(format!("the post has type {} but no `{field}`", kind.as_str())).into());
        };
        let (root, wanted, disk) = (self.root.clone(), path.to_owned(), self.disk.clone());
        let opened = self.disk.run(move || {
            let (file, relative) = beneath::open(&root, &located(&root, &wanted))?;
            MediaFile::check(file, relative, kind, disk)
        });
        opened.await.map_err(|error| error.of(&format!("`{path}` of `{field}`")).into())
    }

    /// The URL of an image.
    ///
    /// # Errors
    /// A failure of category `missing_asset` if there is no public URL.
    pub(super) fn public_url(&self, file: &MediaFile) -> Result<Url, Failure> {
        let Some(base) = &self.public_url else {
            let name = file.path().display();
            return Err(missing(format!(
                "image `{name}` needs a public URL, because the platform downloads it; set `ASSET_PUBLIC_URL`"
            )));
        };
        let mut url = base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty();
            for part in file.path().components() {
                if let Component::Normal(part) = part {
                    segments.push(&part.to_string_lossy());
                }
            }
        }
        Ok(url)
    }
}

/// The real path of a folder.
fn real_folder(path: &Path) -> io::Result<PathBuf> {
    let real = path.canonicalize()?;
    if real.is_dir() { Ok(real) } else { Err(io::Error::from(io::ErrorKind::NotADirectory)) }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::test_context::post;
    use crate::post::Platform;

    const MP4: &[u8] = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom";
    const JPEG: &[u8] = b"\xFF\xD8\xFF\xE0\0\x10JFIF\0\x01";

    async fn check(folder: &Path, name: &str, kind: MediaKind) -> Result<MediaFile, Failure> {
        let assets = AssetStore::new(folder, None).unwrap();
        let mut post = post(Platform::TikTok);
        match kind {
            MediaKind::Video => post.content.video_path = Some(name.to_owned()),
            MediaKind::Image => post.content.image_path = Some(name.to_owned()),
        }
        assets.file_of(&post, kind).await.map_err(|error| error.into_failure().unwrap())
    }

    #[tokio::test]
    async fn only_a_regular_non_empty_file_of_the_right_kind_under_the_root_will_do() {
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
        let _socket = std::os::unix::net::UnixListener::bind(root.join("socket.mp4")).unwrap();
        let link = |target: &str, name: &str| std::os::unix::fs::symlink(target, root.join(name)).unwrap();
        link("../secret.mp4", "link.mp4");
        link("a.mp4", "inner.mp4");
        link(root.join("a.mp4").canonicalize().unwrap().to_str().unwrap(), "absolute.mp4");
        link("/dev/zero", "device.mp4");
        link("..", "out");
        link("loop.mp4", "loop.mp4");

        assert_eq!(check(&root, "a.mp4", MediaKind::Video).await.unwrap().mime, "video/mp4");
        assert_eq!(check(&root, "sub/../a.mp4", MediaKind::Video).await.unwrap().size, MP4.len() as u64);
        for inside in ["inner.mp4", "absolute.mp4", "out/root/a.mp4", root.join("a.mp4").to_str().unwrap()] {
            assert!(check(&root, inside, MediaKind::Video).await.is_ok(), "{inside}");
        }
        // The path of a web server that serves the root.
        assert!(check(&root, "/sub/../a.mp4", MediaKind::Video).await.is_ok());
        for (name, problem) in [
            ("none.mp4", "no such file"),
            ("../secret.mp4", "outside the asset root"),
            ("link.mp4", "outside the asset root"),
            ("out/secret.mp4", "outside the asset root"),
            ("device.mp4", "outside the asset root"),
            ("/etc/passwd", "no such file"),
            ("/proc/self/environ", "no such file"),
            ("../../../../../../../../proc/self/environ", "outside the asset root"),
            ("/../secret.mp4", "outside the asset root"),
            ("sub", "not a regular file"),
            (".", "not a regular file"),
            ("socket.mp4", "not a regular file"),
            ("loop.mp4", "symbolic links"),
            ("empty.mp4", "empty"),
            ("text.mp4", "not a video (MP4, MOV, WebM) or an image"),
            ("short", "not a video (MP4, MOV, WebM) or an image"),
            ("photo.mp4", "not a video (MP4, MOV, WebM) or an image"),
            ("a.jpg", "the file is an image, not a video"),
        ] {
            let failure = check(&root, name, MediaKind::Video).await.unwrap_err();
            assert_eq!(failure.category, Category::MissingAsset, "{name}");
            assert!(failure.message.contains(problem), "{name}: {}", failure.message);
            assert!(failure.message.ends_with(&format!("`{name}` of `videoPath`")), "{name}: {}", failure.message);
        }
    }

    #[tokio::test]
    async fn a_root_is_a_folder_and_one_that_does_not_answer_takes_the_time_limit() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.mp4"), MP4).unwrap();
        let opened = async |disk, path: &Path| AssetStore::on(disk, path, None).await.map(|assets| assets.root);
        let root = folder.path().canonicalize().unwrap();
        assert_eq!(opened(Disk::default(), &root.join(".")).await.unwrap(), root);
        for (name, kind) in [("none", io::ErrorKind::NotFound), ("a.mp4", io::ErrorKind::NotADirectory)] {
            assert_eq!(opened(Disk::default(), &root.join(name)).await.unwrap_err().kind(), kind);
        }
        let error = opened(Disk::stuck(), &root).await.unwrap_err();
        assert_eq!(error.to_string(), "no response within 50ms");
    }

    #[tokio::test]
    async fn a_public_address_is_the_base_and_the_path_below_the_root_escaped() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("été 1")).unwrap();
        std::fs::write(folder.path().join("été 1/a#b.jpg"), JPEG).unwrap();
        let file = check(folder.path(), "été 1/a#b.jpg", MediaKind::Image).await.unwrap();
        let assets = AssetStore::new(folder.path(), Some(Url::parse("https://cdn.example/m/").unwrap())).unwrap();
        assert_eq!(assets.public_url(&file).unwrap().as_str(), "https://cdn.example/m/%C3%A9t%C3%A9%201/a%23b.jpg");
    }
}
