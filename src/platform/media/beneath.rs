//! Opens a file below a folder so that nothing outside the folder is opened, even if paths change at the same time.

use std::fs::File;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, open as open_path, openat, statat};
use rustix::io::retry_on_intr;

use super::FileError;

/// A folder on the way needs to be searchable, not readable.
#[cfg(any(target_os = "linux", target_os = "android"))]
const SEARCH: OFlags = OFlags::PATH;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const SEARCH: OFlags = OFlags::RDONLY;

const FOLDER: OFlags = SEARCH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Without waiting: a pipe would wait for its other end.
const FILE: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// Opens a regular file, and tells its real path below `root`, which is a real path itself.
///
/// Symbolic links are resolved first. Then the real path is walked from the root, folder by folder, and no link is
/// followed any more: one that has taken the place of a file or a folder meanwhile leads nowhere.
pub(super) fn open(root: &Path, wanted: &Path) -> Result<(File, PathBuf), FileError> {
    let real = wanted.canonicalize()?;
    let relative = real.strip_prefix(root).map_err(|_| unusable("outside the asset root"))?.to_owned();
    let Some(name) = relative.file_name() else { return Err(not_regular()) };
    let mut folder = retry_on_intr(|| open_path(root, FOLDER, Mode::empty())).map_err(std::io::Error::from)?;
    for part in relative.parent().into_iter().flat_map(Path::components) {
        let Component::Normal(part) = part else { return Err(unusable("outside the asset root")) };
        folder = retry_on_intr(|| openat(&folder, part, FOLDER, Mode::empty())).map_err(std::io::Error::from)?;
    }
    // To open a device can have an effect already, so what is something else is not opened.
    let found = retry_on_intr(|| statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW)).map_err(std::io::Error::from)?;
    if !FileType::from_raw_mode(found.st_mode).is_file() {
        return Err(not_regular());
    }
    let file = retry_on_intr(|| openat(&folder, name, FILE, Mode::empty())).map_err(std::io::Error::from)?;
    let file = File::from(file);
    if !file.metadata()?.is_file() {
        return Err(not_regular());
    }
    Ok((file, relative))
}

fn unusable(why: &str) -> FileError {
    FileError::Unusable(why.to_owned())
}

fn not_regular() -> FileError {
    unusable("not a regular file")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn a_link_that_takes_the_place_of_a_file_or_its_folder_never_leads_out() {
        let outer = tempfile::tempdir().unwrap();
        let outer = outer.path().canonicalize().unwrap();
        let root = outer.join("root");
        for folder in ["root/day", "outside"] {
            std::fs::create_dir_all(outer.join(folder)).unwrap();
        }
        std::fs::write(root.join("day/a"), b"inside").unwrap();
        std::fs::write(outer.join("outside/a"), b"secret").unwrap();
        let is_over = AtomicBool::new(false);
        let mut read = Vec::new();
        std::thread::scope(|threads| {
            threads.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    std::fs::rename(root.join("day"), root.join("real")).unwrap();
                    symlink(outer.join("outside"), root.join("day")).unwrap();
                    std::fs::remove_file(root.join("day")).unwrap();
                    std::fs::rename(root.join("real"), root.join("day")).unwrap();
                }
            });
            for _ in 0..5_000 {
                let opened = open(&root, &root.join("day/a"));
                read.extend(opened.ok().map(|(file, _)| std::io::read_to_string(file).unwrap_or_default()));
            }
            is_over.store(true, Ordering::Relaxed);
        });
        // With everything in its place again it opens.
        let (file, _) = open(&root, &root.join("day/a")).unwrap();
        read.push(std::io::read_to_string(file).unwrap());
        assert!(read.iter().all(|text| text == "inside"), "{read:?}");
    }
}
