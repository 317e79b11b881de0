//! Work on the file system with a time limit: a mount whose server is gone does not answer.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::platform::explanation::plain;
use crate::platform::resource_limit::is_resource_limit;
use crate::platform::{AttemptAborted, PublishError};
use crate::post::{Category, Failure};

/// How long one piece of work may take.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// How many threads work at a time. Those that a dead mount holds never come back, and some have to be left for what
/// else needs threads.
const MOST_THREADS: usize = 64;

/// Why a file cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::platform) enum FileError {
    /// There is no file that can be published.
    #[error("{0}")]
    Unusable(String),
    /// The machine or the process can open no more files.
    #[error("{0}")]
    ResourceLimit(String),
}

impl FileError {
    /// Adds which file it is about.
    pub(super) fn of(self, file: &str) -> Self {
        match self {
            Self::Unusable(why) => Self::Unusable(format!("{why}: {file}")),
            limit @ Self::ResourceLimit(_) => limit,
        }
    }
}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        if is_resource_limit(&error) {
            return Self::ResourceLimit(error.to_string());
        }
        Self::Unusable(match error.kind() {
            io::ErrorKind::NotFound => "no such file".to_owned(),
            _ => plain(&error.to_string()),
        })
    }
}

impl From<FileError> for PublishError {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Unusable(why) => Self::Failed(Failure::new(Category::MissingAsset, why)),
            FileError::ResourceLimit(why) => Self::Aborted(AttemptAborted::ResourceLimit(why)),
        }
    }
}

/// Where work on the file system is done, away from the threads that must not wait.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    threads: Arc<Semaphore>,
    time_limit: Duration,
}

impl Default for Disk {
    fn default() -> Self {
        Self { threads: Arc::new(Semaphore::new(MOST_THREADS)), time_limit: TIME_LIMIT }
    }
}

impl Disk {
    /// One whose threads are all held by a mount that does not answer.
    #[cfg(test)]
    pub(super) fn stuck() -> Self {
        Self { threads: Arc::new(Semaphore::new(0)), time_limit: Duration::from_millis(50) }
    }

    /// How long one piece of work may take.
    pub(super) fn time_limit(&self) -> Duration {
        self.time_limit
    }

    /// Does a piece of work. What takes too long is left to itself: nobody waits for it, not even the end of the process.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, FileError> + Send + 'static,
    ) -> Result<T, FileError> {
        let threads = Arc::clone(&self.threads);
        let worked = async {
            let permit = threads.acquire_owned().await;
            let working = tokio::task::spawn_blocking(move || {
                let done = work();
                // Only now: until here the thread was in use, even if its time was over long ago.
                drop(permit);
                done
            });
            working.await
        };
        match tokio::time::timeout(self.time_limit, worked).await {
            Ok(Ok(done)) => done,
            Ok(Err(_panic)) => Err(FileError::Unusable("an internal error while reading the file".to_owned())),
            Err(_) => {
                let limit = humantime::format_duration(self.time_limit);
                Err(FileError::Unusable(format!("reading the file took longer than {limit}")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_mount_that_does_not_answer_takes_the_time_limit_and_not_more_threads_than_that() {
        let disk = Disk { threads: Arc::new(Semaphore::new(2)), time_limit: Duration::from_millis(50) };
        let mut mounts = Vec::new();
        for _ in 0..4 {
            let (mount, answer) = mpsc::channel::<()>();
            mounts.push(mount);
            let stuck = disk.run(move || {
                // It ends with the test, when the other side is gone.
                answer.recv().unwrap_or_default();
                Ok(())
            });
            let error = stuck.await.unwrap_err();
            assert_eq!(error, FileError::Unusable("reading the file took longer than 50ms".to_owned()));
        }
        assert_eq!(disk.threads.available_permits(), 0, "they are still at it");
        drop(mounts);
        let patient = Disk { time_limit: Duration::from_secs(30), ..disk };
        assert_eq!(patient.run(|| Ok(7)).await, Ok(7));
    }

    #[test]
    fn too_many_open_files_are_not_the_files_fault() {
        let too_many = FileError::from(io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error()));
        assert!(matches!(PublishError::from(too_many), PublishError::Aborted(AttemptAborted::ResourceLimit(_))));
        let forbidden = FileError::from(io::Error::from(io::ErrorKind::PermissionDenied)).of("`a.mp4`");
        let failure = PublishError::from(forbidden).into_failure().unwrap();
        assert_eq!(failure.category, Category::MissingAsset);
        assert_eq!(failure.message, "permission denied: `a.mp4`");
    }
}
